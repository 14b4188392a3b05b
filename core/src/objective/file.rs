//! Batches in files, and their evaluation: `{"objective": {…}, "sequences": [{…}, …]}` in, loss and gradients out.
//!
//! This module only defines the structure of the files; the caller reads and writes JSON.
//!
//! ```
//! use flowrl_core::objective::file::BatchFile;
//! let file: BatchFile = serde_json::from_str(
//!     r#"{"objective": {"preset": "exact-tb", "log_z": "given"},
//!         "sequences": [{"group": 0, "reward": 1.0, "log_z": 0.5, "logp": [-1.0, -0.5], "ref_logp": [-1.0, -1.5]}]}"#,
//! )?;
//! let result = file.evaluate::<f64>()?;
//! // δ = 0.5 + (−1.5) − 1.0 − (−2.5), ℓ = δ².
//! assert_eq!(result.sequences[0].residual, 0.5);
//! assert_eq!(result.loss, 0.25);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Error, Evaluation, Objective, ObjectiveSpec, Sequence};
use crate::Real;
use crate::backend::{Backend, ObjectiveError};

/// A batch file. Unknown keys at the top level (for example `expected`) are ignored.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BatchFile {
    /// The options of the objective. A key that this objective does not use is ignored.
    pub objective: ObjectiveSpec,
    /// The completions of the batch.
    pub sequences: Vec<SequenceRecord>,
}

/// One completion in a batch file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceRecord {
    /// Number of the prompt that this completion answers.
    pub group: usize,
    /// The raw reward.
    pub reward: f64,
    /// log Z of its prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_z: Option<f64>,
    /// V(x) of its prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Token log-probabilities under the policy.
    pub logp: Vec<f64>,
    /// Token log-probabilities under the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ref_logp: Option<Vec<f64>>,
    /// Token log-probabilities under the policy that sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_logp: Option<Vec<f64>>,
    /// Token log-probabilities under the engine that drew the tokens, if it differs from the policy that sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_logp: Option<Vec<f64>>,
    /// Whether this completion was cut at the length limit.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub truncated: bool,
    /// log F(s_t) before each token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_flow: Option<Vec<f64>>,
    /// Entropy of the policy's distribution before each token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<Vec<f64>>,
}

/// The output of `flowrl-cli loss`.
#[derive(Clone, Debug, Serialize)]
pub struct BatchResult {
    /// Loss ℓ of the batch.
    pub loss: f64,
    /// Every metric that the objective has.
    pub metrics: BTreeMap<String, f64>,
    /// Results of the sequences, in the order of the file.
    pub sequences: Vec<SequenceResult>,
}

/// The results of one completion.
#[derive(Clone, Debug, Serialize)]
pub struct SequenceResult {
    /// Shaped reward r̂, or advantage A for a policy gradient.
    pub advantage: f64,
    /// Residual δ; 0 for a policy gradient.
    pub residual: f64,
    /// Importance weight w.
    pub weight: f64,
    /// The log Z that was used; 0 for a policy gradient.
    pub log_z: f64,
    /// ∂ℓ/∂log Z, the derivative of the loss.
    pub d_log_z: f64,
    /// ∂ℓ/∂l_t of every token.
    pub d_logp: Vec<f64>,
    /// ∂ℓ/∂log F(s_t), if the objective takes flows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub d_log_flow: Vec<f64>,
    /// ∂ℓ/∂entropy before every token, if the objective has an entropy bonus.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub d_entropy: Vec<f64>,
}

impl BatchFile {
    /// Evaluates the batch in `T`.
    pub fn evaluate<T: Real>(&self) -> Result<BatchResult, Error> {
        self.evaluate_with(|objective, sequences: &[Sequence<'_, T>]| objective.compute(sequences))
    }

    /// Evaluates the batch on a device.
    pub fn evaluate_on<B: Backend>(&self, backend: &B) -> Result<BatchResult, ObjectiveError<B::Error>> {
        self.evaluate_with(|objective, sequences| objective.compute_on(backend, sequences))
    }

    fn evaluate_with<T: Real, E: From<Error>>(
        &self,
        compute: impl FnOnce(&Objective, &[Sequence<'_, T>]) -> Result<Evaluation<T>, E>,
    ) -> Result<BatchResult, E> {
        let objective = self.objective.resolve()?;
        let convert = |values: &[f64]| values.iter().map(|&v| T::of(v)).collect::<Vec<T>>();
        let tokens: Vec<[Option<Vec<T>>; 6]> = self
            .sequences
            .iter()
            .map(|s| {
                let optional = [&s.ref_logp, &s.old_logp, &s.rollout_logp, &s.log_flow, &s.entropy];
                let [ref_logp, old_logp, rollout_logp, log_flow, entropy] = optional.map(|x| x.as_deref().map(convert));
                [Some(convert(&s.logp)), ref_logp, old_logp, rollout_logp, log_flow, entropy]
            })
            .collect();
        let sequences: Vec<_> = self
            .sequences
            .iter()
            .zip(&tokens)
            .map(|(s, [logp, ref_logp, old_logp, rollout_logp, log_flow, entropy])| Sequence {
                group: s.group,
                reward: T::of(s.reward),
                log_probs: logp.as_deref().unwrap_or_default(),
                ref_log_probs: ref_logp.as_deref(),
                old_log_probs: old_logp.as_deref(),
                rollout_log_probs: rollout_logp.as_deref(),
                log_flows: log_flow.as_deref(),
                entropies: entropy.as_deref(),
                log_z: s.log_z.map(T::of),
                value: s.value.map(T::of),
                truncated: s.truncated,
            })
            .collect();
        let evaluation = compute(&objective, &sequences)?;
        Ok(BatchResult {
            loss: evaluation.loss,
            metrics: evaluation.diagnostics.metrics().map(|(name, value)| (name.to_owned(), value)).collect(),
            sequences: (0..sequences.len())
                .map(|i| SequenceResult {
                    advantage: evaluation.advantages[i].f64(),
                    residual: evaluation.residuals[i].f64(),
                    weight: evaluation.weights[i].f64(),
                    log_z: evaluation.log_z[i].f64(),
                    d_log_z: evaluation.d_log_z[i].f64(),
                    d_logp: evaluation.d_log_probs(i).iter().map(|d| d.f64()).collect(),
                    d_log_flow: evaluation.d_log_flows(i).iter().map(|d| d.f64()).collect(),
                    d_entropy: evaluation.d_entropies(i).iter().map(|d| d.f64()).collect(),
                })
                .collect(),
        })
    }
}
