//! Defines the tasks of the lab: a finite graph without cycles, in which an object is built step by step.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

/// The result of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The action leads to this state.
    State(usize),
    /// The action ends the trajectory with this object.
    Object(usize),
}

/// A finite graph of states without cycles. A trajectory starts at state 0 and takes actions until one of them ends
/// it with an object. Trajectories are completions: their actions are the tokens, including the last one.
///
/// States are numbered in topological order: an action leads to a state with a **larger** number. This makes exact
/// distributions a single pass over the states, without samples.
///
/// If every state has one parent, the graph is a tree, an object has one trajectory, and L_ref is the
/// log-probability of a reference policy π_ref. Otherwise several trajectories give the same object. Trajectory
/// balance then compares with the backward policy P_B (a distribution over the parents of each state), and L_ref =
/// Σ log P_B: δ = log Z + Σ log P_F − βr − Σ log P_B (Malkin and others, *Trajectory balance*, 2022).
pub trait Environment {
    /// Returns the number of states.
    fn states(&self) -> usize;
    /// Returns the number of objects.
    fn objects(&self) -> usize;
    /// Returns A, the number of actions. Some may be illegal in some states, but every state has a legal one.
    fn actions(&self) -> usize;
    /// Returns the number of actions in the longest trajectory.
    fn max_length(&self) -> usize;

    /// Returns the result of `action` in `state`, or `None` if the action is illegal there.
    fn step(&self, state: usize, action: usize) -> Option<Outcome>;

    /// Returns the reward r of an object. The target is π_ref·exp(βr)/Z over objects, with π_ref(x) ∝ 1 if the
    /// graph is not a tree.
    fn reward(&self, object: usize) -> f64;
    /// Returns whether the object is a mode, one of the objects that a policy is meant to find.
    fn is_mode(&self, object: usize) -> bool;

    /// Returns log π_ref(action | state) of a legal action. This is not used if [`Environment::parents`] is above 0.
    fn log_reference(&self, state: usize, action: usize) -> f64;

    /// Returns the largest number of parents of a state, or 0 for a tree, where P_B is 1.
    fn parents(&self) -> usize {
        0
    }
    /// Returns the k-th parent of a state and the action that leads from there to `state`, or `None` if there is no
    /// such parent. k is below [`Environment::parents`] and indexes the backward log-probabilities.
    fn parent(&self, state: usize, k: usize) -> Option<(usize, usize)> {
        let _ = (state, k);
        None
    }

    /// Returns the length of a state's description, which is a vector of zeros and ones.
    fn features(&self) -> usize;
    /// Appends the indices of the ones in the description of a state. Every state has the same number of them.
    fn describe(&self, state: usize, ones: &mut Vec<u32>);
}

/// Implements the methods of [`Environment`] by those of `$inner`.
macro_rules! forward {
    ($self:ident => $inner:expr) => {
        fn states(&$self) -> usize {
            $inner.states()
        }
        fn objects(&$self) -> usize {
            $inner.objects()
        }
        fn actions(&$self) -> usize {
            $inner.actions()
        }
        fn max_length(&$self) -> usize {
            $inner.max_length()
        }
        fn step(&$self, state: usize, action: usize) -> Option<Outcome> {
            $inner.step(state, action)
        }
        fn reward(&$self, object: usize) -> f64 {
            $inner.reward(object)
        }
        fn is_mode(&$self, object: usize) -> bool {
            $inner.is_mode(object)
        }
        fn log_reference(&$self, state: usize, action: usize) -> f64 {
            $inner.log_reference(state, action)
        }
        fn parents(&$self) -> usize {
            $inner.parents()
        }
        fn parent(&$self, state: usize, k: usize) -> Option<(usize, usize)> {
            $inner.parent(state, k)
        }
        fn features(&$self) -> usize {
            $inner.features()
        }
        fn describe(&$self, state: usize, ones: &mut Vec<u32>) {
            $inner.describe(state, ones);
        }
    };
}

pub(crate) use forward;

// A task and a policy can share one environment, or choose its type at run time.
impl<E: Environment + ?Sized> Environment for &E {
    forward!(self => (**self));
}

impl<E: Environment + ?Sized> Environment for Box<E> {
    forward!(self => (**self));
}

impl<E: Environment + ?Sized> Environment for Rc<E> {
    forward!(self => (**self));
}
