//! What an objective reads and writes: slices that the caller owns.

/// B sequences with N = `offsets[B]` tokens, packed without padding. Sequence i holds tokens `offsets[i]..offsets[i + 1]`.
///
/// Groups may be interleaved; a group is every sequence with the same number. Log-probabilities are natural logarithms.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    /// (B + 1) token offsets, ascending, the first 0.
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
    /// (B) log Z of each sequence's prompt. Needed where log Z is learned or given.
    pub log_z: Option<&'a [T]>,
}

/// Where an objective writes, for a [`Batch`] of B sequences and N tokens.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// (N) ∂loss/∂log π(y_t).
    pub d_log_probs: &'a mut [T],
    /// (B) ∂loss/∂log Z of each sequence; all zero for a baseline.
    pub d_log_z: &'a mut [T],
    /// (B) δ, the residual; zero for a baseline.
    pub residuals: &'a mut [T],
    /// (B) w, the importance weight (detached); for a baseline its sequence ratio where it has one, else 1.
    pub weights: &'a mut [T],
}
