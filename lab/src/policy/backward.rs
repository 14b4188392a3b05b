//! The backward pass, from ∂loss/∂log-probabilities to the network. It runs over the distinct states of the last
//! forward pass in the order of their first visit, so that a gradient does not depend on when, or together with which
//! others, a state was evaluated.

use alloc::vec::Vec;

use flowrl_core::Real;

use super::error::PolicyError;
use super::memo::{NONE, Rows};
use super::network::{Inputs, Network, reserve};
use super::{Backward, LabPolicy};
use crate::Environment;
use crate::error::check_len;

/// Buffers of the backward pass, kept for their allocations.
#[derive(Debug, Default)]
pub(super) struct Scratch<T> {
    /// Position of each row of the memo among the visited rows, or `NONE`.
    slot_of: Vec<u32>,
    /// The visited rows, in the order of the batch.
    visited: Vec<u32>,
    /// States, ones and hidden matrices of the visited rows.
    rows: Rows<T>,
    /// ∂loss/∂logits, (visited, outputs).
    d_logits: Vec<T>,
    /// ∂loss/∂entropy, (visited); empty if the loss does not depend on entropies.
    d_entropies: Vec<T>,
}

impl<T: Real, E: Environment, N: Network<T>> LabPolicy<T, E, N> {
    pub(super) fn propagate(&mut self, d_log_probs: &[T], d_entropies: Option<&[T]>) -> Result<(), PolicyError> {
        if self.last.steps.is_empty() && !d_log_probs.is_empty() {
            return Err(PolicyError::NoForward);
        }
        let n = self.last.steps.len();
        check_len("d_log_probs", d_log_probs.len(), n)?;
        d_entropies.map_or(Ok(()), |d| check_len("d_entropies", d.len(), n))?;
        for (argument, slice) in [("d_log_backward", &self.d_log_backward), ("d_log_flows", &self.d_log_flows)] {
            slice.as_ref().map_or(Ok(()), |d| check_len(argument, d.len(), n))?;
        }
        let (d_log_backward, d_log_flows) = (self.d_log_backward.take(), self.d_log_flows.take());
        let d_log_backward =
            d_log_backward.filter(|_| self.heads.backward == Backward::Learned && self.heads.parents > 0);
        let d_log_flows = d_log_flows.filter(|_| self.heads.flows);

        // This evaluates states again only if something was scored at another temperature in the meantime.
        let temperature = self.last.temperature;
        let last = core::mem::take(&mut self.last);
        let (memo, evaluator) = self.parts();
        let ensured = memo.ensure(&evaluator, temperature, last.states());
        self.last = last;
        ensured?;

        let Self { backend, network, memo, last, scratch, heads, .. } = self;
        let Scratch { slot_of, visited, rows, d_logits, d_entropies: d_entropy_of } = scratch;
        slot_of.clear();
        slot_of.resize(memo.rows.states.len(), NONE);
        visited.clear();
        let mut visit = |state: u32| {
            let row = memo.row(state);
            if slot_of[row] == NONE {
                slot_of[row] = visited.len() as u32;
                visited.push(row as u32);
            }
        };
        for step in &last.steps {
            visit(step.state);
            if d_log_backward.is_some() && step.next != NONE {
                visit(step.next);
            }
        }

        // Sum the gradients of all log-probabilities per logit, in the order of the batch.
        let (actions, outputs) = (heads.actions, heads.outputs());
        reserve(d_logits, visited.len() * outputs);
        d_logits[..visited.len() * outputs].fill(T::zero());
        let place = |state: u32| slot_of[memo.row(state)] as usize * outputs;
        for (i, step) in last.steps.iter().enumerate() {
            let start = place(step.state);
            d_logits[start + step.action as usize] += d_log_probs[i];
            if let Some(d) = &d_log_flows {
                d_logits[start + outputs - 1] += d[i];
            }
            if let Some(d) = d_log_backward.as_ref().filter(|_| step.next != NONE) {
                d_logits[place(step.next) + actions + step.parent as usize] += d[i];
            }
        }
        d_entropy_of.clear();
        if let Some(d_entropies) = d_entropies {
            d_entropy_of.resize(visited.len(), T::zero());
            for (step, &d) in last.steps.iter().zip(d_entropies) {
                d_entropy_of[slot_of[memo.row(step.state)] as usize] += d;
            }
        }
        // The backward pass of the softmax turns c_a into s·(c_a − p_a·Σc).
        let scale = T::of(1.0 / temperature);
        for (&row, d) in visited.iter().zip(d_logits.chunks_exact_mut(outputs)) {
            let row = row as usize;
            softmax_backward(&memo.rows.forward[row * actions..][..actions], scale, &mut d[..actions]);
            if d_log_backward.is_some() {
                let p = &memo.rows.backward[row * heads.parents..][..heads.parents];
                softmax_backward(p, T::one(), &mut d[actions..actions + heads.parents]);
            }
        }
        let entropies = d_entropy_of.iter().zip(&*visited);
        for ((&d_entropy, &row), d) in entropies.zip(d_logits.chunks_exact_mut(outputs)) {
            let row = row as usize;
            let log_p = &memo.rows.log_forward[row * actions..][..actions];
            let p = &memo.rows.forward[row * actions..][..actions];
            entropy_backward(log_p, p, memo.rows.entropy[row], scale * d_entropy, &mut d[..actions]);
        }

        rows.gather(&memo.rows, visited, network.hidden_widths(), heads.ones);
        let inputs = Inputs { backend, states: &rows.states, ones: &rows.ones, ones_each: heads.ones };
        network.backward(&inputs, &rows.hidden, d_logits)?;
        Ok(())
    }
}

fn softmax_backward<T: Real>(probabilities: &[T], scale: T, d: &mut [T]) {
    let total: T = d.iter().copied().sum();
    for (d, &p) in d.iter_mut().zip(probabilities) {
        *d = scale * (*d - p * total);
    }
}

/// Adds ∂(c·H)/∂z = −c·p·(log p + H). An illegal action is skipped: it has p = 0 and log p = −∞.
fn entropy_backward<T: Real>(log_probabilities: &[T], probabilities: &[T], entropy: T, c: T, d: &mut [T]) {
    for ((d, &log_p), &p) in d.iter_mut().zip(log_probabilities).zip(probabilities).filter(|(_, p)| **p > T::zero()) {
        *d -= c * p * (log_p + entropy);
    }
}

impl<T: Real> Rows<T> {
    /// Copies the parts of some rows of `other` that the network's backward pass needs.
    fn gather(&mut self, other: &Self, rows: &[u32], widths: &[usize], ones: usize) {
        self.states.clear();
        self.states.extend(rows.iter().map(|&row| other.states[row as usize]));
        self.ones.clear();
        for &row in rows {
            self.ones.extend_from_slice(&other.ones[row as usize * ones..][..ones]);
        }
        self.hidden.resize(widths.len(), Vec::new());
        for ((mine, theirs), &width) in self.hidden.iter_mut().zip(&other.hidden).zip(widths) {
            mine.clear();
            for &row in rows {
                mine.extend_from_slice(&theirs[row as usize * width..][..width]);
            }
        }
    }
}
