//! Both sides of FlowRL's theorem E\[∇TB\] = 2∇KL, computed independently.

use alloc::vec;
use alloc::vec::Vec;

use flowrl_core::Real;
use flowrl_core::exact::{Error, check_len};

use super::{Environment, Outcome};

/// Writes E_π\[∇δ²\] with the samples held fixed into `out`, for a table of logits (states, A) of the same shape. This
/// is the gradient that trajectory balance follows on average: Σ_x π(x)·2δ(x)·∇log π(x), with δ = log Z + log
/// π(x) − log π_ref(x) − βr(x).
///
/// The function visits every trajectory in turn. The result is 2·∇KL(π ‖ π*) for any log Z ([`divergence_gradient`]): a
/// wrong log Z adds a constant to δ, and E\[∇log π\] = 0. It changes the gradient of a sample, but not the expectation.
///
/// # Errors
/// Returns an error if a slice has the wrong length, or if a legal action has NaN or +∞.
///
/// ```
/// use flowrl_lab::{Bandit, balance_gradient, divergence_gradient};
/// let log_third = (1.0_f64 / 3.0).ln();
/// let bandit = Bandit::new(&[1.0, 0.5, 0.0], &[log_third; 3])?;
/// let log_pf = [0.5_f64.ln(), 0.3_f64.ln(), 0.2_f64.ln()];
/// let (mut balance, mut divergence) = ([0.0; 3], [0.0; 3]);
/// divergence_gradient(&bandit, &log_pf, 4.0, &mut divergence)?;
/// for log_z in [0.0, 5.0, -20.0] {
///     balance_gradient(&bandit, &log_pf, 4.0, log_z, &mut balance)?;
///     assert!(balance.iter().zip(&divergence).all(|(b, d)| (b - 2.0 * d).abs() < 1e-14));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn balance_gradient(
    environment: &(impl Environment + ?Sized),
    log_pf: &[f64],
    beta: f64,
    log_z: f64,
    out: &mut [f64],
) -> Result<(), Error> {
    check(environment, log_pf, out)?;
    out.fill(0.0);
    let mut walk = Walker { environment, log_pf, beta, log_z, taken: Vec::new(), out };
    walk.from(0, 0.0, 0.0);
    Ok(())
}

struct Walker<'a, E: ?Sized> {
    environment: &'a E,
    log_pf: &'a [f64],
    beta: f64,
    log_z: f64,
    /// The (state, action) pairs taken so far.
    taken: Vec<(usize, usize)>,
    out: &'a mut [f64],
}

impl<E: Environment + ?Sized> Walker<'_, E> {
    fn from(&mut self, state: usize, log_prob: f64, log_reference: f64) {
        let actions = self.environment.actions();
        for action in 0..actions {
            let Some(outcome) = self.environment.step(state, action) else { continue };
            let log_prob = log_prob + self.log_pf[state * actions + action];
            let log_reference = log_reference + self.environment.log_reference(state, action);
            self.taken.push((state, action));
            match outcome {
                Outcome::State(next) => self.from(next, log_prob, log_reference),
                Outcome::Object(object) if log_prob > f64::NEG_INFINITY => {
                    let residual = self.log_z + log_prob - log_reference - self.beta * self.environment.reward(object);
                    self.add(2.0 * residual * Real::exp(log_prob));
                }
                Outcome::Object(_) => {}
            }
            self.taken.pop();
        }
    }

    /// Adds `weight`·∇log π of the path so far. In each of its states, the derivative by a logit is 1 for the action
    /// taken and 0 for the others, minus the probability of the action.
    fn add(&mut self, weight: f64) {
        let actions = self.environment.actions();
        for &(state, taken) in &self.taken {
            for action in (0..actions).filter(|&action| self.environment.step(state, action).is_some()) {
                let one = f64::from(u8::from(action == taken));
                let index = state * actions + action;
                self.out[index] += weight * (one - Real::exp(self.log_pf[index]));
            }
        }
    }
}

/// Writes ∇KL(π ‖ π*), with π* = π_ref·exp(βr)/Z, into `out`, for a table of logits (states, A) of a tree of the same
/// shape.
///
/// This is one descending pass over the states, which needs neither trajectories nor Z. Let Q(s, a) = log π(a|s) − log
/// π_ref(a|s) plus V of the next state, or −βr of the object, and let V(s) = Σ_a π(a|s)·Q(s, a). The derivative by a
/// logit is then π(s)·π(a|s)·(Q(s, a) − V(s)).
///
/// # Errors
/// Returns an error if a slice has the wrong length, or if a legal action has NaN or +∞.
pub fn divergence_gradient(
    environment: &(impl Environment + ?Sized),
    log_pf: &[f64],
    beta: f64,
    out: &mut [f64],
) -> Result<(), Error> {
    check(environment, log_pf, out)?;
    let (states, actions) = (environment.states(), environment.actions());
    let legal = |state| (0..actions).filter_map(move |a| environment.step(state, a).map(|outcome| (a, outcome)));
    let mut reach = vec![0.0; states];
    reach.iter_mut().take(1).for_each(|start| *start = 1.0);
    for state in 0..states {
        for (action, outcome) in legal(state) {
            if let Outcome::State(next) = outcome {
                reach[next] += reach[state] * Real::exp(log_pf[state * actions + action]);
            }
        }
    }
    out.fill(0.0);
    let mut values = vec![0.0; states];
    for state in (0..states).rev() {
        let row = &mut out[state * actions..(state + 1) * actions];
        for (action, outcome) in legal(state) {
            let l = log_pf[state * actions + action];
            // 0·log 0 = 0: an action without probability adds nothing.
            if l == f64::NEG_INFINITY {
                continue;
            }
            let rest = match outcome {
                Outcome::State(next) => values[next],
                Outcome::Object(object) => -beta * environment.reward(object),
            };
            row[action] = l - environment.log_reference(state, action) + rest;
            values[state] += Real::exp(l) * row[action];
        }
        for (action, _) in legal(state) {
            row[action] = reach[state] * Real::exp(log_pf[state * actions + action]) * (row[action] - values[state]);
        }
    }
    Ok(())
}

fn check(environment: &(impl Environment + ?Sized), log_pf: &[f64], out: &[f64]) -> Result<(), Error> {
    let (states, actions) = (environment.states(), environment.actions());
    let wanted = states.saturating_mul(actions);
    check_len("log_pf", log_pf.len(), wanted)?;
    check_len("out", out.len(), wanted)?;
    let wrong = |&index: &usize| {
        let l = log_pf[index];
        (l.is_nan() || l == f64::INFINITY) && environment.step(index / actions, index % actions).is_some()
    };
    match (0..wanted).find(wrong) {
        Some(index) => Err(Error::NonFinite { argument: "log_pf", index, got: log_pf[index] }),
        None => Ok(()),
    }
}
