//! Draws trajectories, all of a request in lockstep.

use alloc::vec;
use alloc::vec::Vec;

use flowrl_core::Real;
use flowrl_core::backend::Sampler;
use flowrl_core::kernel::softmax::argmax;
use flowrl_core::policy::{Completions, SampleRequest};

use super::LabPolicy;
use super::error::PolicyError;
use super::network::Network;
use super::path::{check_prompts, check_temperature};
use crate::error::ensure;
use crate::{Environment, Outcome};

/// A drawn action, with the log-probability and the entropy of the distribution that it was drawn from.
#[derive(Clone, Copy)]
struct Draw<T> {
    trajectory: u32,
    action: u32,
    log_prob: T,
    entropy: T,
}

impl<T: Real, E: Environment, N: Network<T>> LabPolicy<T, E, N> {
    pub(super) fn draw(&mut self, request: &SampleRequest<'_>) -> Result<Completions<T>, PolicyError> {
        let SampleRequest { prompts, samples, max_tokens, sampler, stream, step } = *request;
        check_prompts(prompts)?;
        self.check_request(max_tokens, &sampler)?;
        let temperature = if sampler.temperature > 0.0 { sampler.temperature } else { 1.0 };
        let count = prompts.len() * samples;
        let longest = self.environment.max_length();

        // `active` holds (trajectory, state) of the unfinished trajectories, and `draws` every draw in the order of
        // steps.
        let mut active: Vec<(u32, u32)> = (0..count as u32).map(|i| (i, 0)).collect();
        let mut draws: Vec<Draw<T>> = Vec::new();
        let mut lengths = vec![0; count];
        let epsilon = self.exploration;
        let exploring = epsilon > 0.0 && sampler.temperature > 0.0;
        for t in 0..longest {
            if active.is_empty() {
                break;
            }
            let (memo, evaluator) = self.parts();
            memo.ensure(&evaluator, temperature, active.iter().map(|a| a.1))?;
            let (rows, actions) = (&memo.rows, evaluator.heads.actions);
            let environment = evaluator.environment;
            let mut broken = None;
            active.retain_mut(|(trajectory, state)| {
                let row = memo.row(*state);
                let (p, l) = (&rows.forward[row * actions..][..actions], &rows.log_forward[row * actions..][..actions]);
                let u = T::of(stream.uniform(step, *trajectory, t as u32));
                let (action, log_prob, entropy) = if exploring {
                    explore(p, l, epsilon, u)
                } else {
                    let action = if sampler.temperature == 0.0 { argmax(l) } else { pick(p.iter().copied(), u) };
                    (action, l[action], rows.entropy[row])
                };
                draws.push(Draw { trajectory: *trajectory, action: action as u32, log_prob, entropy });
                lengths[*trajectory as usize] += 1;
                match environment.step(*state as usize, action) {
                    Some(Outcome::State(next)) => *state = next as u32,
                    Some(Outcome::Object(_)) => return false,
                    None => broken = Some(*state as usize),
                }
                true
            });
            if let Some(state) = broken {
                // This happens if the logits are NaN, so that no action has a probability.
                return Err(PolicyError::Environment { state, rule: "the network's logits must be finite there" });
            }
        }
        if let Some(&(_, state)) = active.first() {
            let rule = "a trajectory must end within `max_length()` actions";
            return Err(PolicyError::Environment { state: state as usize, rule });
        }
        Ok(pack(prompts.len(), samples, &lengths, &draws))
    }

    fn check_request(&self, max_tokens: usize, sampler: &Sampler) -> Result<(), PolicyError> {
        let Sampler { temperature, top_k, top_p } = *sampler;
        let wanted = self.environment.max_length();
        if max_tokens < wanted {
            return Err(PolicyError::MaxTokens { got: max_tokens, wanted });
        }
        check_temperature(temperature, temperature >= 0.0)?;
        ensure(top_k == 0, "top_k", top_k as f64, "0: the lab samples from all legal actions")?;
        Ok(ensure(top_p == 1.0, "top_p", top_p, "1: the lab samples from all legal actions")?)
    }
}

/// Reorders draws from the order of steps to the order of trajectories.
fn pack<T: Real>(prompts: usize, samples: usize, lengths: &[usize], draws: &[Draw<T>]) -> Completions<T> {
    let mut offsets = Vec::with_capacity(lengths.len() + 1);
    offsets.push(0);
    for (i, length) in lengths.iter().enumerate() {
        offsets.push(offsets[i] + length);
    }
    let mut tokens = vec![0; draws.len()];
    let mut log_probs = vec![T::zero(); draws.len()];
    let mut entropies = vec![T::zero(); draws.len()];
    let mut next = offsets.clone();
    for draw in draws {
        let place = &mut next[draw.trajectory as usize];
        (tokens[*place], log_probs[*place], entropies[*place]) = (draw.action, draw.log_prob, draw.entropy);
        *place += 1;
    }
    let prompt_of = (0..prompts).flat_map(|p| core::iter::repeat_n(p, samples)).collect();
    let ended = vec![true; lengths.len()];
    Completions { prompt_of, offsets, tokens, log_probs, entropies, ended, excluded: Vec::new() }
}

/// Returns the first index at which the running sum exceeds u, or the last one with a probability above 0 if rounding
/// leaves the sum short.
fn pick<T: Real>(probabilities: impl Iterator<Item = T>, u: T) -> usize {
    let (mut sum, mut last) = (T::zero(), 0);
    for (i, p) in probabilities.enumerate() {
        if p > T::zero() {
            sum += p;
            last = i;
            if sum > u {
                break;
            }
        }
    }
    last
}

/// Draws from (1 − ε)·P_F + ε·uniform over the legal actions. Returns the action, its log-probability and the entropy.
fn explore<T: Real>(p: &[T], l: &[T], epsilon: f64, u: T) -> (usize, T, T) {
    let legal = |i: usize| l[i] > T::neg_infinity();
    let uniform = T::of(epsilon / (0..l.len()).filter(|&i| legal(i)).count().max(1) as f64);
    let keep = T::of(1.0 - epsilon);
    let mixed = |i: usize| if legal(i) { keep * p[i] + uniform } else { T::zero() };
    let action = pick((0..p.len()).map(mixed), u);
    let term = |i: usize| if mixed(i) > T::zero() { -mixed(i) * mixed(i).ln() } else { T::zero() };
    (action, mixed(action).ln(), (0..p.len()).map(term).sum())
}
