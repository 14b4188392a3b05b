//! Both phases for a whole batch, in buffers that this module owns. This serves programs that do not pack their own
//! batches.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::{Batch, Diagnostics, Error, Gradients, Mask, Objective, Outcomes, Totals};
use crate::Real;
use crate::backend::{Backend, ObjectiveError};

/// One completion of T tokens. Fields that are not needed may be left out:
/// `Sequence { reward: 1.0, log_probs: &l, ..Default::default() }`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequence<'a, T> {
    /// Number of the prompt that this completion answers. Sequences with the same number are compared with each other.
    pub group: usize,
    /// The raw reward.
    pub reward: T,
    /// (T) log π(y_t | x, y_<t) under the policy being trained.
    pub log_probs: &'a [T],
    /// (T) log-probabilities under the frozen reference.
    pub ref_log_probs: Option<&'a [T]>,
    /// (T) log-probabilities under the policy that sampled. `None` for all sequences means on policy.
    pub old_log_probs: Option<&'a [T]>,
    /// (T) log F(s_t), for sub-trajectory and detailed balance.
    pub log_flows: Option<&'a [T]>,
    /// (T) entropy of the policy's distribution before each token, for an entropy bonus.
    pub entropies: Option<&'a [T]>,
    /// log Z of the prompt, if it is learned or given.
    pub log_z: Option<T>,
    /// V(x) of the prompt, for PPO.
    pub value: Option<T>,
    /// (T) log-probabilities under the engine that drew the tokens, if it differs from the policy that sampled. `None`
    /// for all sequences means that it does not.
    pub rollout_log_probs: Option<&'a [T]>,
    /// Whether this completion was cut at the length limit.
    pub truncated: bool,
}

/// The loss of a batch, its gradients, and the numbers behind them. Vectors with one element per sequence are in the
/// order of the batch.
#[derive(Clone, Debug)]
pub struct Evaluation<T> {
    /// Loss ℓ of this batch.
    pub loss: f64,
    /// The metrics of this batch.
    pub diagnostics: Diagnostics,
    /// Shaped rewards r̂, or advantages A for a policy gradient.
    pub advantages: Vec<T>,
    /// Residuals δ; 0 for a policy gradient.
    pub residuals: Vec<T>,
    /// Importance weights w.
    pub weights: Vec<T>,
    /// The log Z that was used.
    pub log_z: Vec<T>,
    /// ∂ℓ/∂log Z of each sequence.
    pub d_log_z: Vec<T>,
    offsets: Vec<usize>,
    d_log_probs: Vec<T>,
    d_log_flows: Vec<T>,
    d_entropies: Vec<T>,
}

impl<T> Evaluation<T> {
    /// Returns ∂ℓ/∂l_t of every token of sequence i.
    ///
    /// # Panics
    /// Panics if the batch has no sequence i, as indexing does.
    pub fn d_log_probs(&self, i: usize) -> &[T] {
        let tokens: Range<usize> = self.offsets[i]..self.offsets[i + 1];
        &self.d_log_probs[tokens]
    }

    /// Returns ∂ℓ/∂log F(s_t) of sequence i, or an empty slice if the objective takes no flows.
    ///
    /// # Panics
    /// Panics if the batch has no sequence i.
    pub fn d_log_flows(&self, i: usize) -> &[T] {
        let tokens: Range<usize> = self.offsets[i]..self.offsets[i + 1];
        self.d_log_flows.get(tokens).unwrap_or_default()
    }

    /// Returns ∂ℓ/∂entropy before every token of sequence i, or an empty slice without an entropy bonus.
    ///
    /// # Panics
    /// Panics if the batch has no sequence i.
    pub fn d_entropies(&self, i: usize) -> &[T] {
        let tokens: Range<usize> = self.offsets[i]..self.offsets[i + 1];
        self.d_entropies.get(tokens).unwrap_or_default()
    }
}

impl Objective {
    /// Computes loss and gradients of a whole batch. See the example at [the module](super).
    ///
    /// # Errors
    /// Returns the errors of [`advantages`](Self::advantages) and [`evaluate`](Self::evaluate), and [`Error::Missing`]
    /// if only some sequences have an input.
    pub fn compute<T: Real>(&self, sequences: &[Sequence<'_, T>]) -> Result<Evaluation<T>, Error> {
        self.pack(sequences, |outcomes, batch| self.compute_packed(outcomes, batch))
    }

    /// Runs [`compute`](Self::compute) on a device.
    pub fn compute_on<B: Backend>(
        &self,
        backend: &B,
        sequences: &[Sequence<'_, B::Real>],
    ) -> Result<Evaluation<B::Real>, ObjectiveError<B::Error>> {
        self.pack(sequences, |outcomes, batch| {
            self.in_two_phases(outcomes, batch, |batch, totals, order, out| {
                backend.evaluate(self, batch, totals, order, out)
            })
        })
    }

    /// Runs [`compute`](Self::compute) on a batch that is already packed. `outcomes` must hold the rewards and the
    /// inputs that the batch does not hold. This computes the advantages and masks, so it does not read
    /// `batch.advantages` and `batch.masks`.
    ///
    /// # Errors
    /// Returns the errors of [`advantages`](Self::advantages) and [`evaluate`](Self::evaluate).
    pub fn compute_packed<T: Real>(
        &self,
        outcomes: Outcomes<'_, T>,
        batch: Batch<'_, T>,
    ) -> Result<Evaluation<T>, Error> {
        self.in_two_phases(outcomes, batch, |batch, totals, order, out| self.evaluate(batch, totals, order, out))
    }

    /// Packs sequences and passes them to `work`.
    fn pack<'a, T: Real, E: From<Error>>(
        &self,
        sequences: &[Sequence<'a, T>],
        work: impl FnOnce(Outcomes<'_, T>, Batch<'_, T>) -> Result<Evaluation<T>, E>,
    ) -> Result<Evaluation<T>, E> {
        let optional: [(&'static str, Optional<'a, T>); 5] = [
            ("ref_log_probs", |s| s.ref_log_probs),
            ("old_log_probs", |s| s.old_log_probs),
            ("rollout_log_probs", |s| s.rollout_log_probs),
            ("log_flows", |s| s.log_flows),
            ("entropies", |s| s.entropies),
        ];
        let mut offsets = vec![0];
        for (i, sequence) in sequences.iter().enumerate() {
            let wanted = sequence.log_probs.len();
            offsets.push(offsets[i] + wanted);
            for (argument, slice) in optional.map(|(argument, get)| (argument, get(sequence))) {
                let of = "tokens in this sequence";
                slice.map_or(Ok(()), |s| super::batch::check_len(argument, s.len(), wanted, of))?;
            }
        }
        let log_probs: Vec<T> = sequences.iter().flat_map(|s| s.log_probs).copied().collect();
        let mut packed = [const { None }; 5];
        for (packed, (argument, get)) in packed.iter_mut().zip(optional) {
            *packed = per_sequence(sequences, argument, get)?.map(|slices| slices.concat());
        }
        let [ref_log_probs, old_log_probs, rollout_log_probs, log_flows, entropies] =
            packed.each_ref().map(Option::as_deref);
        let (groups, rewards): (Vec<_>, Vec<_>) = sequences.iter().map(|s| (s.group, s.reward)).unzip();
        let log_z = if self.log_z().is_some_and(super::LogZ::is_input) {
            per_sequence(sequences, "log_z", |s| s.log_z)?
        } else {
            None
        };
        let values = if self.needs_value() { per_sequence(sequences, "values", |s| s.value)? } else { None };
        let batch = Batch {
            offsets: &offsets,
            groups: &groups,
            advantages: &[],
            log_probs: &log_probs,
            ref_log_probs,
            old_log_probs,
            rollout_log_probs,
            log_flows,
            entropies,
            log_z: log_z.as_deref(),
            masks: None,
        };
        let truncated: Vec<bool> = sequences.iter().map(|s| s.truncated).collect();
        let outcomes = Outcomes {
            rewards: &rewards,
            values: values.as_deref(),
            truncated: Some(&truncated),
            ..Outcomes::default()
        };
        work(outcomes, batch)
    }

    /// Runs both phases. `evaluate` is the second phase, on the host or on a device.
    fn in_two_phases<T: Real, E: From<Error>>(
        &self,
        outcomes: Outcomes<'_, T>,
        batch: Batch<'_, T>,
        evaluate: impl FnOnce(&Batch<'_, T>, Totals, &mut [usize], &mut Gradients<'_, T>) -> Result<Diagnostics, E>,
    ) -> Result<Evaluation<T>, E> {
        let (sequences, tokens) = (batch.groups.len(), batch.log_probs.len());
        let zeros = |len| vec![T::zero(); len];
        let mut order = vec![0; sequences];
        let (mut advantages, mut masks) = (zeros(sequences), vec![Mask::In; sequences]);
        let outcomes = Outcomes {
            groups: batch.groups,
            offsets: Some(batch.offsets),
            ref_log_probs: batch.ref_log_probs,
            old_log_probs: Some(batch.old_log_probs.unwrap_or(batch.log_probs)),
            ..outcomes
        };
        self.advantages(&outcomes, &mut order, &mut advantages, &mut masks)?;

        let batch = Batch { advantages: &advantages, masks: Some(&masks), ..batch };
        let totals = batch.totals();
        let mut d_log_probs = zeros(tokens);
        let mut d_log_flows = zeros(if self.needs_flows() { tokens } else { 0 });
        let mut d_entropies = zeros(if self.needs_entropies() { tokens } else { 0 });
        let [mut d_log_z, mut log_z, mut residuals, mut weights] = [(); 4].map(|()| zeros(sequences));
        let mut out = Gradients {
            d_log_probs: &mut d_log_probs,
            d_log_flows: &mut d_log_flows,
            d_entropies: &mut d_entropies,
            d_log_z: &mut d_log_z,
            log_z: &mut log_z,
            residuals: &mut residuals,
            weights: &mut weights,
        };
        let diagnostics = evaluate(&batch, totals, &mut order, &mut out)?;
        let offsets = batch.offsets.iter().map(|end| end - batch.offsets[0]).collect();
        Ok(Evaluation {
            loss: diagnostics.loss,
            diagnostics,
            advantages,
            residuals,
            weights,
            log_z,
            d_log_z,
            offsets,
            d_log_probs,
            d_log_flows,
            d_entropies,
        })
    }
}

/// An input that a sequence may have.
type Optional<'a, T> = fn(&Sequence<'a, T>) -> Option<&'a [T]>;

/// Returns an input of every sequence, or `None` if no sequence has it.
fn per_sequence<'a, T, V>(
    sequences: &[Sequence<'a, T>],
    argument: &'static str,
    get: impl Fn(&Sequence<'a, T>) -> Option<V>,
) -> Result<Option<Vec<V>>, Error> {
    if sequences.iter().all(|s| get(s).is_none()) {
        return Ok(None);
    }
    let because = "other sequences have it: give it for all, or for none";
    let each = |(i, s)| get(s).ok_or(Error::Missing { argument, sequence: Some(i), because });
    sequences.iter().enumerate().map(each).collect::<Result<Vec<V>, Error>>().map(Some)
}
