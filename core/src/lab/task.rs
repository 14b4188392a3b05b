//! A task of the lab as a [`Task`]: one prompt that says nothing, and actions for tokens.

use super::{Environment, Outcome};
use crate::task::{Judgement, Task};

/// Completions of the single prompt `[0]` are trajectories of an [`Environment`]: token t is the action taken in state t.
///
/// A trajectory that ends is judged by its object: verdict `mode` or `other`. One that does not, because it was cut off or takes
/// an action that is illegal, has the smallest reward there is and verdict `unfinished` or `illegal`.
///
/// ```
/// use flowrl_core::lab::{Hypergrid, HypergridReward, LabTask};
/// use flowrl_core::task::Task;
/// let task = LabTask::new(Hypergrid::new(8, 2, HypergridReward::Easy)?);
/// let to_the_mode = [0, 1, 2]; // +1 in dimension 0, +1 in dimension 1, stop
/// assert_eq!(task.judge(0, &to_the_mode, true).verdict, "mode");
/// # Ok::<(), flowrl_core::lab::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LabTask<E> {
    environment: E,
    least_reward: f64,
}

/// Where a completion leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// To an object, with its last action.
    Finished(usize),
    /// Only so far.
    Unfinished(usize),
    /// Nowhere: this action is illegal, or comes after the end.
    Illegal {
        /// Its position in the completion.
        token: usize,
    },
}

/// Takes `actions` one after the other from state 0.
#[must_use]
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
    /// The task of this environment.
    #[must_use]
    pub fn new(environment: E) -> Self {
        let rewards = (0..environment.objects()).map(|x| environment.reward(x));
        let least_reward = rewards.fold(f64::INFINITY, f64::min);
        Self { environment, least_reward }
    }

    /// The environment.
    #[must_use]
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

    fn judge(&self, _index: usize, completion: &[u32], _ended: bool) -> Judgement {
        let least = |verdict| Judgement { reward: self.least_reward, verdict };
        match walk(&self.environment, completion) {
            Walk::Finished(object) => Judgement {
                reward: self.environment.reward(object),
                verdict: if self.environment.is_mode(object) { "mode" } else { "other" },
            },
            Walk::Unfinished(_) => least("unfinished"),
            Walk::Illegal { .. } => least("illegal"),
        }
    }
}
