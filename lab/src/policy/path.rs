//! Completions as paths through an environment.

use alloc::vec::Vec;

use flowrl_core::policy::Sequences;

use super::error::PolicyError;
use super::memo::NONE;
use crate::error::ensure;
use crate::{Environment, Error, Outcome};

/// The steps of all completions of a batch, one after the other.
#[derive(Debug, Default)]
pub(super) struct Path {
    pub(super) steps: Vec<Step>,
    pub(super) temperature: f64,
}

/// One step of a trajectory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The state that the step leaves.
    pub(super) state: u32,
    pub(super) action: u32,
    /// The state that the step reaches, or `NONE` if it ends the trajectory.
    pub(super) next: u32,
    /// Index of `state` among the parents of `next`, or `NONE` on a tree and at the end.
    pub(super) parent: u32,
}

impl Path {
    /// Follows every completion. A completion may stop before it ends.
    pub(super) fn walk(
        &mut self,
        environment: &(impl Environment + ?Sized),
        sequences: &Sequences<'_>,
    ) -> Result<(), PolicyError> {
        check_prompts(sequences.prompts)?;
        self.steps.clear();
        for (sequence, completion) in sequences.completions.iter().enumerate() {
            let mut at = Some(0);
            for (token, &got) in completion.iter().enumerate() {
                let refused = |state| PolicyError::Action { sequence, token, got, state };
                let state = at.ok_or_else(|| refused(None))?;
                let known = (got as usize) < environment.actions();
                let outcome = known.then(|| environment.step(state, got as usize)).flatten();
                let next = match outcome.ok_or_else(|| refused(Some(state)))? {
                    Outcome::State(next) => Some(next),
                    Outcome::Object(_) => None,
                };
                let parent = match next.filter(|_| environment.parents() > 0) {
                    Some(next) => parent(environment, state, got as usize, next)?,
                    None => NONE,
                };
                let next_number = next.map_or(NONE, |next| next as u32);
                self.steps.push(Step { state: state as u32, action: got, next: next_number, parent });
                at = next;
            }
        }
        Ok(())
    }

    /// Iterates over both states of every step, with repetitions and with `NONE` for the ends.
    pub(super) fn states(&self) -> impl Iterator<Item = u32> {
        self.steps.iter().flat_map(|step| [step.state, step.next])
    }
}

fn parent(
    environment: &(impl Environment + ?Sized),
    state: usize,
    action: usize,
    next: usize,
) -> Result<u32, PolicyError> {
    let k = (0..environment.parents()).find(|&k| environment.parent(next, k) == Some((state, action)));
    let rule = "every step into it must come from one of its parents";
    k.map(|k| k as u32).ok_or(PolicyError::Environment { state: next, rule })
}

/// Checks that every prompt is the only one of the lab, the single token 0.
pub(super) fn check_prompts(prompts: &[&[u32]]) -> Result<(), PolicyError> {
    match prompts.iter().position(|prompt| *prompt != [0]) {
        None => Ok(()),
        Some(index) => Err(PolicyError::Prompt { index }),
    }
}

/// Checks that the temperature is finite and in the range that the caller tested as `good`.
pub(super) fn check_temperature(got: f64, good: bool) -> Result<(), Error> {
    ensure(good && got.is_finite(), "temperature", got, "a finite number above 0 (or 0 to sample greedily)")
}
