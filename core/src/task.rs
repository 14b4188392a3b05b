//! Prompts and rewards.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A task's verdict on one completion.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Judgement {
    /// The raw reward, which must be finite. `None` leaves the completion out of the step, and out of the means of its
    /// group: nothing is known about it, for example because a judge did not answer.
    pub reward: Option<f64>,
    /// The reason, as one hyphenated lower-case word: `correct`, `wrong`, `unparseable`, …
    pub verdict: Cow<'static, str>,
    /// The rewards of which this one is a weighted sum, by name.
    pub parts: Vec<(Cow<'static, str>, f64)>,
    /// The answer of the completion in a form that equal answers share, to count distinct answers and votes.
    pub answer: Option<Box<str>>,
    /// A sentence about the verdict, for people: the test that failed, the exception that was raised.
    pub log: Option<Box<str>>,
}

impl Judgement {
    /// Returns a judgement of this reward and verdict.
    pub fn new(reward: f64, verdict: impl Into<Cow<'static, str>>) -> Self {
        Self { reward: Some(reward), verdict: verdict.into(), ..Self::default() }
    }

    /// Returns a judgement without a reward, which leaves the completion out.
    pub fn without_reward(verdict: impl Into<Cow<'static, str>>) -> Self {
        Self { verdict: verdict.into(), ..Self::default() }
    }

    /// Returns whether the reward is above 0.
    pub fn is_success(&self) -> bool {
        self.reward > Some(0.0)
    }
}

/// The reason why completions could not be judged: a server that does not answer, a program that cannot be started.
pub type JudgeError = Box<dyn core::error::Error + Send + Sync>;

/// One completion to judge.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Number of the prompt.
    pub prompt: usize,
    /// Tokens of the completion, including its end token.
    pub completion: &'a [u32],
    /// Whether the completion ended by itself rather than at the limit.
    pub ended: bool,
}

/// A set of prompts and the rewards of their completions.
pub trait Task {
    /// Returns the number of prompts in this task.
    fn prompts(&self) -> usize;

    /// Returns the tokens of prompt `index`, at least one.
    fn prompt(&self, index: usize) -> &[u32];

    /// Judges one completion.
    ///
    /// # Errors
    /// Returns the reason why there is no verdict. This ends the step, so a completion that is merely bad gets a verdict
    /// and a low reward instead.
    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError>;

    /// Judges all completions of a step, in order. By default this goes through them one after another; a task that asks
    /// a server or runs programs overrides it to do many at once.
    ///
    /// # Errors
    /// See [`Task::judge`].
    fn judge_batch(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        attempts.iter().map(|attempt| self.judge(*attempt)).collect()
    }
}
