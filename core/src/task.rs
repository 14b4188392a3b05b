//! Prompts and rewards.

/// What a task says of one completion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// The raw reward, finite.
    pub reward: f64,
    /// Why, in one hyphenated lower-case word: `correct`, `wrong`, `unparseable`, …
    pub verdict: &'static str,
}

/// Prompts, and what completions of them are worth.
pub trait Task {
    /// Number of prompts.
    fn prompts(&self) -> usize;

    /// Tokens of prompt `index`, at least one.
    fn prompt(&self, index: usize) -> &[u32];

    /// Judges a completion of prompt `index`; `ended` says whether it ended by itself rather than at the limit.
    fn judge(&self, index: usize, completion: &[u32], ended: bool) -> Judgement;
}
