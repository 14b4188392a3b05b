//! Prompts and rewards.

/// What a task says of one completion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// The raw reward, finite.
    pub reward: f64,
    /// Why, in one hyphenated lower-case word: `correct`, `wrong`, `unparseable`, …
    pub verdict: &'static str,
}
