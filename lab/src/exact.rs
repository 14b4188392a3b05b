//! Exact distributions over the objects of an [`Environment`]: the distribution of a policy, its target, and the
//! distance between them. An estimate from samples would have an error of about √(objects/samples), which hides
//! convergence.

use alloc::vec;
use alloc::vec::Vec;

use flowrl_core::Real;
use flowrl_core::exact::{self, Error};

use super::{Environment, Outcome};

/// Writes log p of every object into `out` (objects), for a policy with log-probability `log_pf[s·A + a]` of action a
/// in state s (states, A). The values at illegal actions do not matter.
///
/// This is one ascending pass. Actions lead to larger numbers, so the mass of a state is complete before it is passed
/// on. All sums are in log space, so they cannot underflow. Mass that a policy puts on illegal actions is lost.
///
/// # Errors
/// Returns an error if a slice has the wrong length, or if a legal action has NaN or +∞.
pub fn terminal<T: Real>(
    environment: &(impl Environment + ?Sized),
    log_pf: &[T],
    out: &mut [f64],
) -> Result<(), Error> {
    let (states, objects, actions) = (environment.states(), environment.objects(), environment.actions());
    exact::check_len("log_pf", log_pf.len(), states.saturating_mul(actions))?;
    exact::check_len("out", out.len(), objects)?;
    spread("log_pf", environment, |state, action| log_pf[state * actions + action].f64(), out)
}

/// Writes log π_ref of every object into `out` (objects), by the same pass as [`terminal`].
///
/// # Errors
/// Returns an error if `out` has the wrong length, or if the reference returns NaN or +∞.
pub fn reference(environment: &(impl Environment + ?Sized), out: &mut [f64]) -> Result<(), Error> {
    exact::check_len("out", out.len(), environment.objects())?;
    spread("log_reference", environment, |state, action| environment.log_reference(state, action), out)
}

/// Adds the mass of every state to the outcomes of its actions.
fn spread(
    argument: &'static str,
    environment: &(impl Environment + ?Sized),
    log_prob: impl Fn(usize, usize) -> f64,
    out: &mut [f64],
) -> Result<(), Error> {
    out.fill(f64::NEG_INFINITY);
    let mut reach = vec![f64::NEG_INFINITY; environment.states()];
    reach.iter_mut().take(1).for_each(|start| *start = 0.0);
    for state in 0..reach.len() {
        for action in 0..environment.actions() {
            let Some(outcome) = environment.step(state, action) else { continue };
            let log_prob = log_prob(state, action);
            if log_prob.is_nan() || log_prob == f64::INFINITY {
                let index = state * environment.actions() + action;
                return Err(Error::NonFinite { argument, index, got: log_prob });
            }
            let mass = reach[state] + log_prob;
            let sum = match outcome {
                Outcome::State(next) => &mut reach[next],
                Outcome::Object(object) => &mut out[object],
            };
            *sum = log_add(*sum, mass);
        }
    }
    Ok(())
}

/// Returns log(eᵃ + eᵇ).
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + Real::ln_1p(Real::exp(low - high)) }
}

/// Returns the number of actions that lead to each object, including the last one. If the trajectories of an object
/// differ in length, this is the longest; in the tasks of this module they do not differ.
pub fn lengths(environment: &(impl Environment + ?Sized)) -> Vec<usize> {
    let mut taken = vec![0; environment.states()];
    let mut lengths = vec![0; environment.objects()];
    for state in 0..taken.len() {
        let length: usize = taken[state] + 1;
        for action in 0..environment.actions() {
            let longest = match environment.step(state, action) {
                Some(Outcome::State(next)) => &mut taken[next],
                Some(Outcome::Object(object)) => &mut lengths[object],
                None => continue,
            };
            *longest = length.max(*longest);
        }
    }
    lengths
}

/// A function of (log π_ref, r, lengths, out) that writes log π* of every object into `out` and returns log Z.
type Solve<'a> = dyn Fn(&[f64], &[f64], &[usize], &mut [f64]) -> Result<f64, Error> + 'a;

/// The distribution over all objects that a policy should converge to. Compute it once per run, and call
/// [`measure`](Self::measure) in every step. Its constructors return an error if β, the power or a reward is not
/// finite.
///
/// ```
/// use flowrl_lab::{Environment, Hypergrid, HypergridReward, Target, terminal};
/// let grid = Hypergrid::new(8, 2, HypergridReward::TorchGfn)?;
/// let target = Target::plain(&grid, 1.0)?;
/// assert!((target.log_z - 3.109061).abs() < 1e-6);
///
/// let uniform: Vec<f64> = (0..grid.states()).flat_map(|s| (0..3).map(move |a| (s, a))).map(|(s, a)| grid.log_reference(s, a)).collect();
/// let mut log_probs = vec![0.0; grid.objects()];
/// terminal(&grid, &uniform, &mut log_probs)?;
/// let measures = target.measure(&log_probs)?;
/// assert!(measures.tv > 0.5 && measures.modes_found < measures.modes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// log π* of every object, (objects).
    pub log_probs: Vec<f64>,
    /// The limit of a learned log Z: log Z, or c if the target is length-normalised.
    pub log_z: f64,
    /// Reward r of every object, (objects).
    pub rewards: Vec<f64>,
    /// Number of actions that lead to each object, (objects).
    pub lengths: Vec<usize>,
    /// The modes, in ascending order.
    pub modes: Vec<usize>,
}

impl Target {
    /// A mode counts as found if it has at least this share of its probability under the target.
    pub const FOUND: f64 = 0.5;

    /// Computes π* = π_ref·exp(βr)/Z, the limit of training with sums (`length = "sum"`). On a graph that is not a
    /// tree, π_ref is 1 for every object and log Z = log Σ exp(βr).
    pub fn plain(environment: &(impl Environment + ?Sized), beta: f64) -> Result<Self, Error> {
        Self::of_power(environment, 1.0, beta)
    }

    /// Computes π_ref^α·exp(βr)/Z, the plain target with a power of the reference (`reference_power = α`).
    pub fn of_power(environment: &(impl Environment + ?Sized), power: f64, beta: f64) -> Result<Self, Error> {
        Self::new(environment, power, &|reference, rewards, _, out| exact::target(reference, rewards, beta, out))
    }

    /// Computes π = π_ref·exp(|x|(βr − c)), the limit of training with means (`length = "mean"`); see
    /// [`exact::length_normalised_target`]. On a graph that is not a tree, π_ref is again 1 for every object, and all
    /// trajectories of an object must have the same length.
    pub fn length_normalised(environment: &(impl Environment + ?Sized), beta: f64) -> Result<Self, Error> {
        Self::length_normalised_of_power(environment, 1.0, beta)
    }

    /// Computes π_ref^α·exp(|x|(βr − c)), the length-normalised target with a power of the reference.
    pub fn length_normalised_of_power(
        environment: &(impl Environment + ?Sized),
        power: f64,
        beta: f64,
    ) -> Result<Self, Error> {
        Self::new(environment, power, &|reference, rewards, lengths, out| {
            exact::length_normalised_target(reference, rewards, lengths, beta, out)
        })
    }

    fn new(environment: &(impl Environment + ?Sized), power: f64, solve: &Solve<'_>) -> Result<Self, Error> {
        let objects = environment.objects();
        let rewards: Vec<f64> = (0..objects).map(|x| environment.reward(x)).collect();
        let lengths = lengths(environment);
        let mut base = vec![0.0; objects];
        if environment.parents() == 0 {
            reference(environment, &mut base)?;
            // log π_ref stays −∞ for an object that the reference cannot produce, even if the power is 0.
            base.iter_mut().filter(|l| l.is_finite()).for_each(|l| *l *= power);
        }
        let mut log_probs = vec![0.0; objects];
        let log_z = solve(&base, &rewards, &lengths, &mut log_probs)?;
        let modes = (0..objects).filter(|&x| environment.is_mode(x)).collect();
        Ok(Self { log_probs, log_z, rewards, lengths, modes })
    }

    /// Computes the distance from this target of a policy with these log-probabilities of the objects, see
    /// [`terminal`].
    ///
    /// # Errors
    /// Returns an error if the slice has the wrong length or contains NaN or +∞.
    pub fn measure(&self, log_probs: &[f64]) -> Result<Measures, Error> {
        let target = &self.log_probs;
        let l1 = exact::l1(log_probs, target)?;
        let mean = |f: &dyn Fn(usize) -> f64| log_probs.iter().enumerate().map(|(x, l)| Real::exp(*l) * f(x)).sum();
        Ok(Measures {
            l1,
            tv: 0.5 * l1,
            kl: exact::kl(log_probs, target)?,
            reverse_kl: exact::kl(target, log_probs)?,
            jsd: exact::jensen_shannon(log_probs, target)?,
            entropy: exact::entropy(log_probs)?,
            expected_reward: mean(&|x| self.rewards[x]),
            expected_length: mean(&|x| self.lengths[x] as f64),
            mode_mass: self.modes.iter().map(|&x| Real::exp(log_probs[x])).sum(),
            modes_found: exact::modes_covered(log_probs, target, &self.modes, Self::FOUND)?,
            modes: self.modes.len(),
        })
    }
}

/// Distances of a policy π from its [`Target`] π*, and statistics of π. All are exact and in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measures {
    /// Σ |π − π*|, between 0 and 2.
    pub l1: f64,
    /// Total variation, half of `l1`.
    pub tv: f64,
    /// KL(π ‖ π*), which training on policy descends.
    pub kl: f64,
    /// KL(π* ‖ π), which is ∞ if π lacks an object of the target.
    pub reverse_kl: f64,
    /// Jensen–Shannon divergence, at most ln 2.
    pub jsd: f64,
    /// Entropy of π.
    pub entropy: f64,
    /// Expected reward E_π\[r\].
    pub expected_reward: f64,
    /// Expected number of actions in a trajectory under π.
    pub expected_length: f64,
    /// Probability π(modes) of all modes together.
    pub mode_mass: f64,
    /// Number of modes with at least [`Target::FOUND`] (half) of their probability under the target.
    pub modes_found: usize,
    /// Number of modes.
    pub modes: usize,
}

impl Measures {
    /// Returns each measure with the name under which it is recorded.
    pub fn named(&self) -> [(&'static str, f64); 11] {
        [
            ("l1", self.l1),
            ("tv", self.tv),
            ("kl", self.kl),
            ("reverse_kl", self.reverse_kl),
            ("jsd", self.jsd),
            ("entropy", self.entropy),
            ("expected_reward", self.expected_reward),
            ("expected_length", self.expected_length),
            ("mode_mass", self.mode_mass),
            ("modes_found", self.modes_found as f64),
            ("modes", self.modes as f64),
        ]
    }
}
