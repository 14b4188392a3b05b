//! Prompts and rewards.

/// A task's verdict on one completion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// The raw reward, which must be finite.
    pub reward: f64,
    /// Reason for the reward in one hyphenated lower-case word, for example `correct`, `wrong` or `unparseable`.
    pub verdict: &'static str,
}

/// A set of prompts with a reward for each completion of them.
pub trait Task {
    /// Returns the number of prompts in this task.
    fn prompts(&self) -> usize;

    /// Returns the tokens of prompt `index`, at least one.
    fn prompt(&self, index: usize) -> &[u32];

    /// Judges a completion of prompt `index`. `ended` is true if the completion ended by itself, false if it reached
    /// the length limit.
    fn judge(&self, index: usize, completion: &[u32], ended: bool) -> Judgement;
}
