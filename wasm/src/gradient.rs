//! The theorem behind FlowRL in numbers: E\[∇TB\] = 2∇KL.

use std::fmt;
use std::rc::Rc;

use flowrl_core::exact::{self, log_sum_exp};
use flowrl_core::objective::{Batch, FlowRl, LogZ, Objective, Outcomes};
use flowrl_core::policy::{Policy as _, SampleRequest, Sequences};
use flowrl_core::random::{Purpose, Stream};
use flowrl_core::{Real, backend};
use flowrl_lab::{Environment, Landscape, Target, balance_gradient, divergence_gradient};

use crate::error::Error;
use crate::lane::{Policy, Shared, policy};

/// A policy on a landscape, and gradients with respect to its logits. The logits are a table of shape (1 + side, side):
/// first the logits of the rows, then for every row the logits of the columns.
///
/// ```
/// use flowrl_lab::{Landscape, LandscapeOptions};
/// use flowrl_wasm::GradientBench;
/// let landscape = Landscape::preset(LandscapeOptions::default())?;
/// let mut bench = GradientBench::new(landscape, 6.0, &[1.0 / 256.0; 256])?;
/// let expected = bench.expected(-3.0)?;
/// assert!(expected.iter().zip(bench.divergence()).all(|(a, b)| (a - b).abs() < 1e-12));
/// let [few, many] = [8, 4096].map(|batch| bench.cosines(Some(0.0), batch, 4, 7).map(|c| c.iter().sum::<f64>() / 4.0));
/// assert!(few? < many?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct GradientBench {
    landscape: Landscape,
    beta: f64,
    log_z: f64,
    log_pf: Vec<f64>,
    divergence: Vec<f64>,
    policy: Policy,
}

impl fmt::Debug for GradientBench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GradientBench").field("beta", &self.beta).finish_non_exhaustive()
    }
}

/// Smallest probability of an answer, relative to the most likely one. Smaller differences are lost in the logits.
const LEAST_SHARE: f64 = 1e-12;

impl GradientBench {
    /// Creates a policy with probabilities in proportion to `weights`.
    ///
    /// # Errors
    /// Returns an error if there is not one weight for each answer, if a weight is negative or not finite, or if none
    /// is above 0.
    pub fn new(landscape: Landscape, beta: f64, weights: &[f64]) -> Result<Self, Error> {
        let side = landscape.side();
        let log_weights = log_weights("policy", weights, landscape.objects(), LEAST_SHARE)?;
        let mut log_pf: Vec<f64> = log_weights.chunks_exact(side).map(log_sum_exp).collect();
        let total = log_sum_exp(&log_pf);
        log_pf.extend_from_slice(&log_weights);
        for (row, chunk) in log_pf.clone()[..side].iter().zip(log_pf[side..].chunks_exact_mut(side)) {
            chunk.iter_mut().for_each(|l| *l -= row);
        }
        log_pf[..side].iter_mut().for_each(|l| *l -= total);

        let mut divergence = vec![0.0; log_pf.len()];
        divergence_gradient(&landscape as &dyn Environment, &log_pf, beta, &mut divergence)?;
        divergence.iter_mut().for_each(|d| *d *= 2.0);
        let mut policy = policy(&(Rc::new(landscape.clone()) as Shared), None, 0)?;
        let logits = &mut policy.parameters_mut()[0].value;
        logits.iter_mut().zip(&log_pf).for_each(|(logit, &l)| *logit = l as f32);
        let log_z = Target::plain(&landscape as &dyn Environment, beta)?.log_z;
        Ok(Self { landscape, beta, log_z, log_pf, divergence, policy })
    }

    /// Returns log Z of the target.
    pub const fn log_z(&self) -> f64 {
        self.log_z
    }

    /// Returns 2∇KL(π ‖ π*), computed exactly.
    pub fn divergence(&self) -> &[f64] {
        &self.divergence
    }

    /// Computes E_π\[∇TB\] for a value of log Z exactly, as the sum over all answers weighted with their probabilities.
    ///
    /// # Errors
    /// Returns an error if log Z is not finite.
    pub fn expected(&self, log_z: f64) -> Result<Vec<f64>, Error> {
        if !log_z.is_finite() {
            return Err(Error::Option { option: "logZ", got: log_z, wanted: "a finite number" });
        }
        let mut out = vec![0.0; self.log_pf.len()];
        balance_gradient(&self.landscape as &dyn Environment, &self.log_pf, self.beta, log_z, &mut out)?;
        Ok(out)
    }

    /// Computes ∇TB of a batch of sampled answers with the code that trains. If `log_z` is `None`, the batch's own
    /// estimate is used (VarGrad).
    ///
    /// # Errors
    /// Returns an error if `batch` is not between 1 and 65536, or if log Z is not finite.
    pub fn sampled(&mut self, log_z: Option<f64>, batch: usize, seed: u32, draw: u32) -> Result<Vec<f64>, Error> {
        if !(1..=1 << 16).contains(&batch) {
            return Err(Error::Option { option: "batch", got: batch as f64, wanted: "between 1 and 65536" });
        }
        let request = SampleRequest {
            prompts: &[&[0]],
            samples: batch,
            max_tokens: 2,
            sampler: backend::Sampler::default(),
            stream: Stream::new(u64::from(seed), Purpose::Evaluate),
            step: draw,
        };
        let drawn = self.policy.sample(&request)?;
        let completions = drawn.slices();
        let sequences = Sequences { prompts: &[&[0]], completions: &completions, prompt_of: &drawn.prompt_of };
        let ref_log_probs = self.policy.score(&sequences, flowrl_core::policy::Model::Reference, 1.0)?.log_probs;
        let log_probs = self.policy.forward(&sequences, 1.0, None)?.log_probs;
        let side = self.landscape.side();
        let reward = |i| {
            let answer = drawn.get(i);
            self.landscape.reward(answer[0] as usize * side + answer[1] as usize) as f32
        };
        let rewards: Vec<f32> = (0..drawn.len()).map(reward).collect();
        let given = log_z.map(|log_z| vec![log_z as f32; drawn.len()]);
        let batch = Batch {
            offsets: &drawn.offsets,
            groups: &drawn.prompt_of,
            advantages: &[],
            log_probs: &log_probs,
            ref_log_probs: Some(&ref_log_probs),
            old_log_probs: None,
            log_flows: None,
            log_z: given.as_deref(),
            ..Batch::default()
        };
        let outcomes = Outcomes { rewards: &rewards, ..Outcomes::default() };
        let source = if log_z.is_some() { LogZ::Given } else { LogZ::GroupMean };
        let objective = FlowRl::exact_tb().with_beta(self.beta).with_log_z(source);
        let evaluation = Objective::FlowRl(objective).compute_packed(outcomes, batch)?;
        let mut d_log_probs = Vec::with_capacity(log_probs.len());
        (0..drawn.len()).for_each(|i| d_log_probs.extend_from_slice(evaluation.d_log_probs(i)));
        self.policy.backward(&d_log_probs, None, None)?;
        let gradient = self.policy.parameters()[0].grad.iter().map(|&g| f64::from(g)).collect();
        self.policy.zero_grad()?;
        Ok(gradient)
    }

    /// Returns the cosines between the gradients of `draws` batches and the exact gradient. A cosine is 1 if the two
    /// have the same direction. The errors are those of [`sampled`](Self::sampled).
    pub fn cosines(&mut self, log_z: Option<f64>, batch: usize, draws: u32, seed: u32) -> Result<Vec<f64>, Error> {
        let one = |draw| self.sampled(log_z, batch, seed, draw).map(|g| cosine(&g, &self.divergence));
        (0..draws).map(one).collect()
    }
}

/// Returns the cosine of the angle between two vectors, or NaN if one of them is 0.
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / Real::sqrt(dot(a, a) * dot(b, b))
}

/// Returns the natural logarithms of weights, after raising each weight to at least `least` times the largest.
pub(crate) fn log_weights(
    argument: &'static str,
    weights: &[f64],
    wanted: usize,
    least: f64,
) -> Result<Vec<f64>, Error> {
    exact::check_len(argument, weights.len(), wanted)?;
    exact::check_finite(argument, weights)?;
    let largest = weights.iter().copied().fold(0.0, f64::max);
    let lowest = weights.iter().copied().fold(f64::INFINITY, f64::min);
    if lowest < 0.0 {
        return Err(Error::Option { option: argument, got: lowest, wanted: "weights that are at least 0" });
    }
    if largest <= 0.0 {
        return Err(Error::Option { option: argument, got: largest, wanted: "weights with at least one above 0" });
    }
    Ok(weights.iter().map(|&w| Real::ln(w.max(least * largest))).collect())
}
