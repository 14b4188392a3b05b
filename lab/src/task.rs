//! Implements [`Task`] for the environments of the lab: a single prompt without content, and actions as tokens.

use flowrl_core::task::{Attempt, JudgeError, Judgement, Task};

use super::{Environment, Outcome};

/// A [`Task`] whose completions are the trajectories of an [`Environment`]. Its only prompt is `[0]`, and token t
/// of a completion is the action taken in state t.
///
/// A trajectory that ends is judged by its object, with verdict `mode` or `other`. A trajectory that is cut off or
/// takes an illegal action gets the smallest reward of the environment, and verdict `unfinished` or `illegal`.
///
/// ```
/// use flowrl_lab::{Hypergrid, HypergridReward, LabTask};
/// use flowrl_core::task::{Attempt, Task};
/// let task = LabTask::new(Hypergrid::new(8, 2, HypergridReward::Easy)?);
/// let to_the_mode = [0, 1, 2]; // +1 in dimension 0, +1 in dimension 1, stop
/// let attempt = Attempt { prompt: 0, completion: &to_the_mode, ended: true };
/// assert_eq!(task.judge(attempt)?.verdict, "mode");
/// # Ok::<(), flowrl_core::task::JudgeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LabTask<E> {
    environment: E,
    least_reward: f64,
}

/// The result of following a completion through an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// The last action produced this object.
    Finished(usize),
    /// The completion stopped at this state, before an object.
    Unfinished(usize),
    /// An action is illegal, or comes after the end.
    Illegal {
        /// Position of the action in the completion.
        token: usize,
    },
}

/// Follows `actions` from state 0 and returns where they lead.
pub fn walk(environment: &(impl Environment + ?Sized), actions: &[u32]) -> Walk {
    let mut at = Walk::Unfinished(0);
    for (token, &action) in actions.iter().enumerate() {
        let Walk::Unfinished(state) = at else { return Walk::Illegal { token } };
        at = match environment.step(state, action as usize) {
            Some(Outcome::State(next)) => Walk::Unfinished(next),
            Some(Outcome::Object(object)) => Walk::Finished(object),
            None => return Walk::Illegal { token },
        };
    }
    at
}

impl<E: Environment> LabTask<E> {
    /// Creates the task of this environment. It visits every object once to find the smallest reward.
    pub fn new(environment: E) -> Self {
        let rewards = (0..environment.objects()).map(|x| environment.reward(x));
        let least_reward = rewards.fold(f64::INFINITY, f64::min);
        Self { environment, least_reward }
    }

    /// Returns the environment.
    pub const fn environment(&self) -> &E {
        &self.environment
    }
}

impl<E: Environment> Task for LabTask<E> {
    fn prompts(&self) -> usize {
        1
    }

    fn prompt(&self, _index: usize) -> &[u32] {
        &[0]
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        Ok(match walk(&self.environment, attempt.completion) {
            Walk::Finished(object) => {
                let verdict = if self.environment.is_mode(object) { "mode" } else { "other" };
                Judgement::new(self.environment.reward(object), verdict)
            }
            Walk::Unfinished(_) => Judgement::new(self.least_reward, "unfinished"),
            Walk::Illegal { .. } => Judgement::new(self.least_reward, "illegal"),
        })
    }
}
