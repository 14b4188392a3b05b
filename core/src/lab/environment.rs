//! What a task of the lab is made of: a finite graph without cycles, along which an object is built step by step.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

/// What an action leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Another state.
    State(usize),
    /// The end: a finished object.
    Object(usize),
}

/// A finite graph of states without cycles. A trajectory starts at state 0 and takes actions until one of them ends it with an
/// object. Trajectories are completions: their actions are the tokens, the last one included.
///
/// States are numbered in topological order: an action leads to a state with a **larger** number. So exact distributions are
/// one pass over the states, never samples.
///
/// Where every state has one parent the graph is a tree, an object has one trajectory, and L_ref is the log-probability of a
/// reference policy π_ref. Otherwise several trajectories give the same object; trajectory balance then compares with
/// the backward policy P_B (a distribution over the parents of each state), and L_ref = Σ log P_B:
/// δ = log Z + Σ log P_F − βr − Σ log P_B (SPEC §10; Malkin and others, *Trajectory balance*, 2022).
pub trait Environment {
    /// Number of states.
    fn states(&self) -> usize;
    /// Number of objects.
    fn objects(&self) -> usize;
    /// Actions of a state at most, A. Some may be illegal in some states; every state has a legal one.
    fn actions(&self) -> usize;
    /// Actions of a trajectory at most.
    fn max_length(&self) -> usize;

    /// Where `action` leads from `state`; `None` where it is illegal.
    fn step(&self, state: usize, action: usize) -> Option<Outcome>;

    /// r of an object: the target is π_ref·exp(βr)/Z over objects, π_ref(x) ∝ 1 on a graph that is no tree.
    fn reward(&self, object: usize) -> f64;
    /// Whether an object is one of those to be found.
    fn is_mode(&self, object: usize) -> bool;

    /// log π_ref(action | state) of a legal action. Not used where [`Environment::parents`] is above 0.
    fn log_reference(&self, state: usize, action: usize) -> f64;

    /// Parents of a state at most; 0 for a tree, where P_B is 1.
    fn parents(&self) -> usize {
        0
    }
    /// The k-th parent of a state and the action that leads from there to `state`; `None` where it has none. k is below
    /// [`Environment::parents`]; backward log-probabilities are indexed by it.
    fn parent(&self, state: usize, k: usize) -> Option<(usize, usize)> {
        let _ = (state, k);
        None
    }

    /// Length of a state's description: a vector of zeros and ones.
    fn features(&self) -> usize;
    /// Appends the places of the ones, the same number for every state.
    fn describe(&self, state: usize, ones: &mut Vec<u32>);
}

/// A pointer to an environment is one too: a task and a policy can share it, and its type can be chosen at run time.
macro_rules! pointer {
    ($($pointer:ty),+) => {$(
        impl<E: Environment + ?Sized> Environment for $pointer {
            fn states(&self) -> usize {
                (**self).states()
            }
            fn objects(&self) -> usize {
                (**self).objects()
            }
            fn actions(&self) -> usize {
                (**self).actions()
            }
            fn max_length(&self) -> usize {
                (**self).max_length()
            }
            fn step(&self, state: usize, action: usize) -> Option<Outcome> {
                (**self).step(state, action)
            }
            fn reward(&self, object: usize) -> f64 {
                (**self).reward(object)
            }
            fn is_mode(&self, object: usize) -> bool {
                (**self).is_mode(object)
            }
            fn log_reference(&self, state: usize, action: usize) -> f64 {
                (**self).log_reference(state, action)
            }
            fn parents(&self) -> usize {
                (**self).parents()
            }
            fn parent(&self, state: usize, k: usize) -> Option<(usize, usize)> {
                (**self).parent(state, k)
            }
            fn features(&self) -> usize {
                (**self).features()
            }
            fn describe(&self, state: usize, ones: &mut Vec<u32>) {
                (**self).describe(state, ones);
            }
        }
    )+};
}

pointer!(&E, Box<E>, Rc<E>);
