//! Memoises the outputs of the network, so that each distinct state is evaluated once per set of weights.

use alloc::vec;
use alloc::vec::Vec;

use flowrl_core::Real;
use flowrl_core::backend::CpuBackend;
use flowrl_core::kernel::Math;
use flowrl_core::kernel::softmax::summarize;

use super::error::PolicyError;
use super::network::{Inputs, Network};
use super::{Backward, Heads};
use crate::{Environment, Outcome};

/// Stands for a missing row, parent or state.
pub(super) const NONE: u32 = u32::MAX;

/// Environments of at most this many states are evaluated as a whole, in one product.
const WHOLE: usize = 256;

/// The parts of a policy that evaluate states.
pub(super) struct Evaluator<'a, T: Real, E: ?Sized, N> {
    pub(super) backend: &'a CpuBackend<T>,
    pub(super) environment: &'a E,
    pub(super) network: &'a N,
    pub(super) heads: Heads,
}

/// Rows of distinct states, for one set of weights and one temperature.
#[derive(Debug)]
pub(super) struct Memo<T> {
    /// The row of each state, or `NONE`, (states).
    row_of: Vec<u32>,
    pub(super) rows: Rows<T>,
    /// The rows of one evaluation, before they are appended to `rows`.
    block: Rows<T>,
    logits: Vec<T>,
    temperature: f64,
}

/// The inputs and outputs of the network for n states.
#[derive(Debug, Default)]
pub(super) struct Rows<T> {
    /// Numbers of the states, (n).
    pub(super) states: Vec<u32>,
    /// Indices of the ones in their descriptions, (n, ones of a state).
    pub(super) ones: Vec<u32>,
    /// Matrices of n rows for the network's backward pass.
    pub(super) hidden: Vec<Vec<T>>,
    /// log P_F, (n, A). An illegal action has −∞, and probability 0 in `forward`.
    pub(super) log_forward: Vec<T>,
    pub(super) forward: Vec<T>,
    /// log P_B, (n, parents). A missing parent has −∞, and probability 0 in `backward`.
    pub(super) log_backward: Vec<T>,
    pub(super) backward: Vec<T>,
    /// log F, (n); empty unless flows are learned.
    pub(super) log_flow: Vec<T>,
    /// Entropy of P_F, (n).
    pub(super) entropy: Vec<T>,
}

impl<T: Real> Rows<T> {
    fn clear(&mut self) {
        self.states.clear();
        self.ones.clear();
        self.hidden.iter_mut().for_each(Vec::clear);
        for values in [
            &mut self.log_forward,
            &mut self.forward,
            &mut self.log_backward,
            &mut self.backward,
            &mut self.log_flow,
            &mut self.entropy,
        ] {
            values.clear();
        }
    }

    /// Appends the rows of `other`. The hidden matrices of `other` may have more rows than states, so only that many
    /// are copied.
    fn append(&mut self, other: &Self, widths: &[usize]) {
        let n = other.states.len();
        self.states.extend_from_slice(&other.states);
        self.ones.extend_from_slice(&other.ones);
        self.hidden.resize(widths.len(), Vec::new());
        for ((mine, theirs), width) in self.hidden.iter_mut().zip(&other.hidden).zip(widths) {
            mine.extend_from_slice(&theirs[..n * width]);
        }
        self.log_forward.extend_from_slice(&other.log_forward);
        self.forward.extend_from_slice(&other.forward);
        self.log_backward.extend_from_slice(&other.log_backward);
        self.backward.extend_from_slice(&other.backward);
        self.log_flow.extend_from_slice(&other.log_flow);
        self.entropy.extend_from_slice(&other.entropy);
    }

    /// Evaluates `self.states` and fills in the other fields.
    pub(super) fn evaluate<E: Environment + ?Sized, N: Network<T>>(
        &mut self,
        evaluator: &Evaluator<'_, T, E, N>,
        temperature: f64,
        logits: &mut Vec<T>,
    ) -> Result<(), PolicyError> {
        let Evaluator { backend, environment, network, heads } = evaluator;
        let n = self.states.len();
        self.ones.clear();
        for (i, &state) in self.states.iter().enumerate() {
            environment.describe(state as usize, &mut self.ones);
            let mine = self.ones.get(i * heads.ones..).unwrap_or_default();
            if mine.len() != heads.ones || mine.iter().any(|&one| one as usize >= heads.features) {
                let rule = "`describe` must append as many indices as for state 0, all below `features()`";
                return Err(PolicyError::Environment { state: state as usize, rule });
            }
        }
        let inputs = Inputs { backend, states: &self.states, ones: &self.ones, ones_each: heads.ones };
        network.forward(&inputs, &mut self.hidden, logits)?;

        let (actions, outputs) = (heads.actions, heads.outputs());
        self.log_forward.clear();
        self.log_backward.clear();
        self.log_flow.clear();
        for (&state, logits) in self.states.iter().zip(logits.chunks_exact(outputs)) {
            let state = state as usize;
            let mut legal = false;
            for (action, &logit) in logits[..actions].iter().enumerate() {
                let outcome = environment.step(state, action);
                if matches!(outcome, Some(Outcome::State(next)) if next <= state || next >= environment.states()) {
                    let rule = "an action must lead to a state with a larger number, below `states()`";
                    return Err(PolicyError::Environment { state, rule });
                }
                legal |= outcome.is_some();
                self.log_forward.push(if outcome.is_some() { logit } else { T::neg_infinity() });
            }
            if !legal {
                return Err(PolicyError::Environment { state, rule: "at least one action must be legal" });
            }
            for k in 0..heads.parents {
                let logit = if heads.backward == Backward::Learned { logits[actions + k] } else { T::zero() };
                let parent = environment.parent(state, k).is_some();
                self.log_backward.push(if parent { logit } else { T::neg_infinity() });
            }
            if heads.flows {
                self.log_flow.push(logits[outputs - 1]);
            }
        }

        self.forward.clear();
        self.forward.resize(n * actions, T::zero());
        self.backward.clear();
        self.backward.resize(n * heads.parents, T::zero());
        self.entropy.clear();
        let Self { log_forward, forward, log_backward, backward, entropy, .. } = self;
        let scale = T::of(1.0 / temperature);
        flowrl_core::with_math!(backend, M => {
            for (l, p) in log_forward.chunks_exact_mut(actions).zip(forward.chunks_exact_mut(actions)) {
                entropy.push(log_softmax::<T, M>(l, p, scale));
            }
            for (l, p) in log_backward.chunks_exact_mut(heads.parents.max(1)).zip(backward.chunks_exact_mut(heads.parents.max(1))) {
                // The start has no parents.
                if l.iter().any(|l| *l != T::neg_infinity()) {
                    log_softmax::<T, M>(l, p, T::one());
                }
            }
        });
        Ok(())
    }
}

/// Replaces `logits` by their log-softmax at `scale`, writes the probabilities and returns the entropy. A logit of −∞
/// stays −∞, with probability 0.
#[inline(always)]
fn log_softmax<T: Real, M: Math>(logits: &mut [T], probabilities: &mut [T], scale: T) -> T {
    let summary = summarize::<T, M>(logits, scale);
    for (l, p) in logits.iter_mut().zip(probabilities) {
        *l = summary.log_prob(*l * scale);
        *p = M::exp(*l);
    }
    summary.entropy
}

impl<T: Real> Memo<T> {
    pub(super) fn new(states: usize) -> Self {
        Self {
            row_of: vec![NONE; states],
            rows: Rows::default(),
            block: Rows::default(),
            logits: Vec::new(),
            temperature: 1.0,
        }
    }

    /// Discards every row. This must be called whenever the weights change.
    pub(super) fn clear(&mut self) {
        for &state in self.rows.states.iter().chain(&self.block.states) {
            self.row_of[state as usize] = NONE;
        }
        self.rows.clear();
        self.block.clear();
    }

    /// Returns the row of a state that [`Memo::ensure`] was called with.
    pub(super) fn row(&self, state: u32) -> usize {
        self.row_of[state as usize] as usize
    }

    /// Evaluates the given states that have no row yet, and skips `NONE`.
    pub(super) fn ensure<E: Environment + ?Sized, N: Network<T>>(
        &mut self,
        evaluator: &Evaluator<'_, T, E, N>,
        temperature: f64,
        states: impl Iterator<Item = u32>,
    ) -> Result<(), PolicyError> {
        if temperature != self.temperature {
            self.clear();
            self.temperature = temperature;
        }
        self.block.states.clear();
        let count = self.rows.states.len();
        if self.row_of.len() <= WHOLE {
            if count == 0 {
                self.block.states.extend(0..self.row_of.len() as u32);
                self.row_of.iter_mut().zip(0..).for_each(|(row, i)| *row = i);
            }
        } else {
            for state in states.filter(|&state| state != NONE) {
                let row = &mut self.row_of[state as usize];
                if *row == NONE {
                    *row = (count + self.block.states.len()) as u32;
                    self.block.states.push(state);
                }
            }
        }
        if self.block.states.is_empty() {
            return Ok(());
        }
        let evaluated = self.block.evaluate(evaluator, temperature, &mut self.logits);
        if evaluated.is_err() {
            self.clear();
            return evaluated;
        }
        self.rows.append(&self.block, evaluator.network.hidden_widths());
        self.block.states.clear();
        Ok(())
    }
}
