//! What an objective reads and writes: slices that the caller owns.

use core::ops::Range;

use super::Error;
use crate::Real;

/// B sequences with N tokens, packed without padding. Sequence i holds tokens `offsets[i] − offsets[0]` up to
/// `offsets[i + 1] − offsets[0]` of the token slices, so a part of a batch is a part of each slice: see [`Batch::part`].
///
/// Groups may be interleaved; a group is every sequence with the same number. Log-probabilities are natural logarithms.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    /// (B + 1) token offsets, ascending.
    pub offsets: &'a [usize],
    /// (B) which prompt a sequence answers.
    pub groups: &'a [usize],
    /// (B) reward after [`Objective::advantages`](super::Objective::advantages): r̂ for FlowRL, A for a baseline.
    pub advantages: &'a [T],
    /// (N) log π(y_t | x, y_<t), the policy being trained.
    pub log_probs: &'a [T],
    /// (N) the same under the frozen reference. Needed by FlowRL, and by a baseline with a KL term.
    pub ref_log_probs: Option<&'a [T]>,
    /// (N) the same under the policy that sampled. `None` means on policy: importance weights are 1.
    pub old_log_probs: Option<&'a [T]>,
    /// (N) log F(s_t), the log-flow of the state before each token. Needed by sub-trajectory and detailed balance, which take
    /// log Z instead of the first one of a sequence.
    pub log_flows: Option<&'a [T]>,
    /// (B) log Z of each sequence's prompt. Needed where log Z is learned or given.
    pub log_z: Option<&'a [T]>,
}

/// Where an objective writes, for a [`Batch`] of B sequences and N tokens. What the slices held before does not matter.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// (N) ∂loss/∂log π(y_t).
    pub d_log_probs: &'a mut [T],
    /// (N) ∂loss/∂log F(s_t); not touched, and may be empty, where the objective takes no flows. See
    /// [`Objective::needs_flows`](super::Objective::needs_flows).
    pub d_log_flows: &'a mut [T],
    /// (B) ∂loss/∂log Z of each sequence; zero for a baseline, and where log Z is a constant.
    pub d_log_z: &'a mut [T],
    /// (B) the log Z that was used; zero for a baseline.
    pub log_z: &'a mut [T],
    /// (B) δ, the residual; zero for a baseline.
    pub residuals: &'a mut [T],
    /// (B) w, the importance weight (detached); for a baseline its sequence ratio where it has one, else 1.
    pub weights: &'a mut [T],
}

/// What the averages of the loss divide by: the size of the **whole** batch, also when only a part of it is evaluated.
/// Losses and gradients of the parts then add up to those of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// B, sequences.
    pub sequences: usize,
    /// N, tokens.
    pub tokens: usize,
}

impl<'a, T: Real> Batch<'a, T> {
    /// The totals of this batch, to evaluate it in one piece.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let tokens = match self.offsets {
            [first, .., last] => last.saturating_sub(*first),
            _ => 0,
        };
        Totals { sequences: self.groups.len(), tokens }
    }

    /// Sequences `sequences` of this batch, sharing its memory. Cut between groups where log Z comes from the group.
    ///
    /// # Errors
    /// As [`Objective::evaluate`](super::Objective::evaluate) for the shapes, and [`Error::Length`] for a range outside.
    pub fn part(&self, sequences: Range<usize>) -> Result<Self, Error> {
        self.validate()?;
        let outside =
            Error::Length { argument: "sequences", got: sequences.end, want: self.groups.len(), of: "sequences" };
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
            log_flows: self.log_flows.map(|x| &x[tokens]),
            log_z: self.log_z.map(|x| &x[sequences]),
        })
    }

    /// Checks offsets and lengths, so that every index below is in range.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let sequences = self.groups.len();
        check_length("offsets", self.offsets.len(), sequences + 1, "offsets (one more than `groups`)")?;
        if let Some(i) = (1..self.offsets.len()).find(|&i| self.offsets[i] < self.offsets[i - 1]) {
            return Err(Error::Offsets { index: i, got: self.offsets[i], previous: self.offsets[i - 1] });
        }
        let tokens = self.totals().tokens;
        check_length("advantages", self.advantages.len(), sequences, "sequences")?;
        check_length("log_probs", self.log_probs.len(), tokens, "tokens")?;
        let token_slices = [
            ("ref_log_probs", self.ref_log_probs),
            ("old_log_probs", self.old_log_probs),
            ("log_flows", self.log_flows),
        ];
        for (argument, slice) in token_slices {
            slice.map_or(Ok(()), |s| check_length(argument, s.len(), tokens, "tokens"))?;
        }
        self.log_z.map_or(Ok(()), |z| check_length("log_z", z.len(), sequences, "sequences"))?;
        check_finite("advantages", self.advantages)?;
        self.log_z.map_or(Ok(()), |z| check_finite("log_z", z))
    }

    /// The tokens of sequence i in the token slices.
    pub(super) fn tokens(&self, i: usize) -> Range<usize> {
        self.offsets[i] - self.offsets[0]..self.offsets[i + 1] - self.offsets[0]
    }
}

impl<T: Real> Gradients<'_, T> {
    pub(super) fn validate(&self, sequences: usize, tokens: usize, flows: bool) -> Result<(), Error> {
        check_length("d_log_probs", self.d_log_probs.len(), tokens, "tokens")?;
        if flows {
            check_length("d_log_flows", self.d_log_flows.len(), tokens, "tokens")?;
        }
        check_length("d_log_z", self.d_log_z.len(), sequences, "sequences")?;
        check_length("log_z (output)", self.log_z.len(), sequences, "sequences")?;
        check_length("residuals", self.residuals.len(), sequences, "sequences")?;
        check_length("weights", self.weights.len(), sequences, "sequences")
    }
}

pub(super) fn check_length(argument: &'static str, got: usize, want: usize, of: &'static str) -> Result<(), Error> {
    if got == want { Ok(()) } else { Err(Error::Length { argument, got, want, of }) }
}

/// Checks one value per sequence.
pub(super) fn check_finite<T: Real>(argument: &'static str, values: &[T]) -> Result<(), Error> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(sequence) => Err(Error::NonFinite { argument, sequence, token: None, got: values[sequence].f64() }),
    }
}
