//! The inputs and outputs of an objective, as slices that the caller owns.

use core::ops::Range;

use super::{Error, Mask, Objective};
use crate::Real;

/// B sequences with N tokens, packed without padding. Sequence i holds tokens `offsets[i] − offsets[0]` up to
/// `offsets[i + 1] − offsets[0]` of the token slices, so a part of a batch is a part of each slice: see
/// [`Batch::part`].
///
/// A group is all sequences with the same group number; groups may be interleaved. Log-probabilities are natural
/// logarithms.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    /// (B + 1) token offsets, ascending.
    pub offsets: &'a [usize],
    /// (B) number of the prompt that each sequence answers.
    pub groups: &'a [usize],
    /// (B) shaped rewards from [`Objective::advantages`](super::Objective::advantages): r̂ for FlowRL, A for a policy
    /// gradient.
    pub advantages: &'a [T],
    /// (N) log π(y_t | x, y_<t) under the policy being trained.
    pub log_probs: &'a [T],
    /// (N) log-probabilities under the frozen reference. Needed by FlowRL, and by a policy gradient with a KL term.
    pub ref_log_probs: Option<&'a [T]>,
    /// (N) log-probabilities under the policy that sampled. `None` means on policy, with importance weights of 1.
    pub old_log_probs: Option<&'a [T]>,
    /// (N) log-probabilities under the engine that drew the tokens, if this is not the policy of `old_log_probs`. Read
    /// if `rollout_correction` is set; `None` means that engine and policy agree.
    pub rollout_log_probs: Option<&'a [T]>,
    /// (N) log F(s_t), the log-flow of the state before each token. Needed by sub-trajectory and detailed balance,
    /// which use log Z in place of a sequence's first log-flow.
    pub log_flows: Option<&'a [T]>,
    /// (N) entropy, in nats, of the policy's distribution before each token. Needed by a policy gradient with an
    /// entropy bonus.
    pub entropies: Option<&'a [T]>,
    /// (B) log Z of each sequence's prompt. Needed if log Z is learned or given.
    pub log_z: Option<&'a [T]>,
    /// (B) masks of the sequences, from [`Objective::advantages`](super::Objective::advantages). `None` means that all
    /// sequences are in the loss; the others have no gradient.
    pub masks: Option<&'a [Mask]>,
}

impl<T> Default for Batch<'_, T> {
    fn default() -> Self {
        Self {
            offsets: &[0],
            groups: &[],
            advantages: &[],
            log_probs: &[],
            ref_log_probs: None,
            old_log_probs: None,
            rollout_log_probs: None,
            log_flows: None,
            entropies: None,
            log_z: None,
            masks: None,
        }
    }
}

/// The outputs of an objective for a [`Batch`] of B sequences and N tokens. Previous contents of the slices do not
/// matter.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// (N) ∂loss/∂log π(y_t).
    pub d_log_probs: &'a mut [T],
    /// (N) ∂loss/∂log F(s_t). If the objective takes no flows, this is not touched and may be empty: see
    /// [`Objective::needs_flows`](super::Objective::needs_flows).
    pub d_log_flows: &'a mut [T],
    /// (N) ∂loss/∂entropy. Without an entropy bonus, this is not touched and may be empty: see
    /// [`Objective::needs_entropies`](super::Objective::needs_entropies).
    pub d_entropies: &'a mut [T],
    /// (B) ∂loss/∂log Z of each sequence; 0 for a policy gradient, and if log Z is a constant.
    pub d_log_z: &'a mut [T],
    /// (B) the log Z that was used; 0 for a policy gradient.
    pub log_z: &'a mut [T],
    /// (B) δ, the residual; 0 for a policy gradient.
    pub residuals: &'a mut [T],
    /// (B) w, the importance weight (detached). For a policy gradient this is the sequence ratio, if it has one,
    /// otherwise 1.
    pub weights: &'a mut [T],
}

/// The divisors of the loss's averages: the size of the **whole** batch, even if only a part of it is evaluated, so
/// that losses and gradients of the parts add up to those of the whole. Sequences and tokens that a mask drops are not
/// counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Number of sequences, B.
    pub sequences: usize,
    /// Number of tokens, N.
    pub tokens: usize,
}

impl Totals {
    /// Counts the sequences at these offsets that are not [`Mask::Out`], and the tokens of those that are [`Mask::In`].
    pub fn of(offsets: &[usize], masks: Option<&[Mask]>) -> Self {
        let mut totals = Self { sequences: 0, tokens: 0 };
        for (i, ends) in offsets.windows(2).enumerate() {
            let mask = masks.and_then(|masks| masks.get(i)).copied().unwrap_or_default();
            totals.sequences += usize::from(mask != Mask::Out);
            totals.tokens += if mask == Mask::In { ends[1].saturating_sub(ends[0]) } else { 0 };
        }
        totals
    }
}

impl<'a, T: Real> Batch<'a, T> {
    /// Returns the totals of this batch, to evaluate it in one piece.
    pub fn totals(&self) -> Totals {
        Totals::of(self.offsets, self.masks)
    }

    /// Returns a part of this batch that shares its memory. If log Z comes from the group, cut between groups.
    ///
    /// # Errors
    /// Returns an error if a length of this batch does not fit, and [`Error::Length`] if the range is outside of it.
    pub fn part(&self, sequences: Range<usize>) -> Result<Self, Error> {
        self.validate()?;
        let outside =
            Error::Length { argument: "sequences", got: sequences.end, wanted: self.groups.len(), of: "sequences" };
        let groups = self.groups.get(sequences.clone()).ok_or(outside)?;
        let start = self.offsets[0];
        let tokens = self.offsets[sequences.start] - start..self.offsets[sequences.end] - start;
        Ok(Self {
            offsets: &self.offsets[sequences.start..=sequences.end],
            groups,
            advantages: &self.advantages[sequences.clone()],
            log_probs: &self.log_probs[tokens.clone()],
            ref_log_probs: self.ref_log_probs.map(|x| &x[tokens.clone()]),
            old_log_probs: self.old_log_probs.map(|x| &x[tokens.clone()]),
            rollout_log_probs: self.rollout_log_probs.map(|x| &x[tokens.clone()]),
            log_flows: self.log_flows.map(|x| &x[tokens.clone()]),
            entropies: self.entropies.map(|x| &x[tokens]),
            log_z: self.log_z.map(|x| &x[sequences.clone()]),
            masks: self.masks.map(|x| &x[sequences]),
        })
    }

    /// Checks offsets and lengths, so that every index below is in range.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let sequences = self.groups.len();
        check_offsets(self.offsets, sequences)?;
        let tokens = self.offsets[sequences] - self.offsets[0];
        check_len("advantages", self.advantages.len(), sequences, "sequences")?;
        check_len("log_probs", self.log_probs.len(), tokens, "tokens")?;
        let token_slices = [
            ("ref_log_probs", self.ref_log_probs),
            ("old_log_probs", self.old_log_probs),
            ("rollout_log_probs", self.rollout_log_probs),
            ("log_flows", self.log_flows),
            ("entropies", self.entropies),
        ];
        for (argument, slice) in token_slices {
            slice.map_or(Ok(()), |s| check_len(argument, s.len(), tokens, "tokens"))?;
        }
        self.log_z.map_or(Ok(()), |z| check_len("log_z", z.len(), sequences, "sequences"))?;
        self.masks.map_or(Ok(()), |masks| check_len("masks", masks.len(), sequences, "sequences"))?;
        check_finite("advantages", self.advantages)?;
        self.log_z.map_or(Ok(()), |z| check_finite("log_z", z))
    }

    /// Returns whether sequence i is in the loss.
    pub(super) fn keeps(&self, i: usize) -> bool {
        self.masks.is_none_or(|masks| masks[i] == Mask::In)
    }

    /// Returns the range of sequence i in the token slices.
    pub(super) fn tokens(&self, i: usize) -> Range<usize> {
        self.offsets[i] - self.offsets[0]..self.offsets[i + 1] - self.offsets[0]
    }
}

impl<T: Real> Gradients<'_, T> {
    /// Sets every output of a sequence that a mask drops to 0.
    pub(super) fn drop_sequence(&mut self, batch: &Batch<'_, T>, i: usize) {
        let tokens = batch.tokens(i);
        self.d_log_probs[tokens.clone()].fill(T::zero());
        for optional in [&mut *self.d_log_flows, &mut *self.d_entropies] {
            if let Some(d) = optional.get_mut(tokens.clone()) {
                d.fill(T::zero());
            }
        }
        self.d_log_z[i] = T::zero();
        self.log_z[i] = T::zero();
        self.residuals[i] = T::zero();
        self.weights[i] = T::zero();
    }

    pub(super) fn validate(&self, objective: &Objective, sequences: usize, tokens: usize) -> Result<(), Error> {
        check_len("d_log_probs", self.d_log_probs.len(), tokens, "tokens")?;
        if objective.needs_flows() {
            check_len("d_log_flows", self.d_log_flows.len(), tokens, "tokens")?;
        }
        if objective.needs_entropies() {
            check_len("d_entropies", self.d_entropies.len(), tokens, "tokens")?;
        }
        check_len("d_log_z", self.d_log_z.len(), sequences, "sequences")?;
        check_len("log_z (output)", self.log_z.len(), sequences, "sequences")?;
        check_len("residuals", self.residuals.len(), sequences, "sequences")?;
        check_len("weights", self.weights.len(), sequences, "sequences")
    }
}

/// Checks that there is one more offset than sequences, and that offsets ascend.
pub(super) fn check_offsets(offsets: &[usize], sequences: usize) -> Result<(), Error> {
    check_len("offsets", offsets.len(), sequences + 1, "offsets (one more than `groups`)")?;
    match (1..offsets.len()).find(|&i| offsets[i] < offsets[i - 1]) {
        None => Ok(()),
        Some(index) => Err(Error::Offsets { index, got: offsets[index], previous: offsets[index - 1] }),
    }
}

pub(super) fn check_len(argument: &'static str, got: usize, wanted: usize, of: &'static str) -> Result<(), Error> {
    if got == wanted { Ok(()) } else { Err(Error::Length { argument, got, wanted, of }) }
}

/// Checks that the values, one per sequence, are finite.
pub(super) fn check_finite<T: Real>(argument: &'static str, values: &[T]) -> Result<(), Error> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(sequence) => Err(Error::NonFinite { argument, sequence, token: None, got: values[sequence].f64() }),
    }
}
