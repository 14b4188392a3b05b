//! Identities that trajectory balance must satisfy exactly on the tasks of the lab, both trees and graphs. Every
//! expectation is a sum over all trajectories, and every gradient comes from the library.

use flowrl_core::exact::{self, BinaryExact};
use flowrl_core::objective::{FlowRl, Importance, Length, LogZ, Objective, Reward, Sequence};
use flowrl_lab::{
    Bandit, BanditOptions, BanditPreset, BanditReference, Bits, Environment, Hypergrid, HypergridReward, Landscape,
    Outcome, Strings, StringsOptions, Target, balance_gradient, divergence_gradient, terminal,
};

use crate::environments::{Trajectory, log_softmax, log_softmax_backward, reference_of, trajectories};
use crate::numeric::{assert_close, finite_difference, numbers};

const BETA: f64 = 1.5;

/// A task with all its trajectories. On a graph that is not a tree it has a fixed random P_B.
struct Problem {
    name: &'static str,
    environment: Box<dyn Environment>,
    log_pb: Vec<f64>,
    trajectories: Vec<Trajectory>,
    /// L_ref of each trajectory, token by token.
    references: Vec<Vec<f64>>,
}

impl Problem {
    fn new(name: &'static str, environment: impl Environment + 'static) -> Self {
        let log_pb = log_softmax_backward(&environment, &numbers(8, environment.states() * environment.parents()));
        let trajectories = trajectories(&environment);
        let references = trajectories.iter().map(|t| reference_of(&environment, &log_pb, t)).collect();
        Self { name, environment: Box::new(environment), log_pb, trajectories, references }
    }

    fn all() -> Vec<Self> {
        let bandit = |preset| {
            let options = BanditOptions { preset, size: 9, reference: BanditReference::Random, seed: 2 };
            Bandit::preset(options).expect("valid")
        };
        let grid = |side, dim| Hypergrid::new(side, dim, HypergridReward::TorchGfn).expect("valid");
        vec![
            Self::new("bandit, random", bandit(BanditPreset::Random)),
            Self::new("bandit, plateau", bandit(BanditPreset::Plateau)),
            Self::new("bits", Bits::new(4, 2, &[3, 12]).expect("valid")),
            Self::tree(),
            Self::landscape(),
            Self::new("hypergrid 2D4", grid(4, 2)),
            Self::new("hypergrid 3D2", grid(2, 3)),
        ]
    }

    fn tree() -> Self {
        let options = StringsOptions { length: 3, symbols: 2, modes: 3, seed: 1 };
        Self::new("tree", Strings::new(options).expect("valid"))
    }

    /// A landscape of nine answers, such as a user might draw.
    fn landscape() -> Self {
        let rewards: Vec<f64> = (0..9).map(|i| f64::from(i * i % 7) / 7.0).collect();
        let reference: Vec<f64> = (0..9).map(|i| (f64::from(i + 1) / 45.0).ln()).collect();
        Self::new("landscape", Landscape::new(3, &rewards, &reference).expect("valid"))
    }

    fn parameters(&self) -> usize {
        self.environment.states() * self.environment.actions()
    }

    /// Returns log P_F of every trajectory, token by token.
    fn token_log_probs(&self, log_pf: &[f64]) -> Vec<Vec<f64>> {
        let actions = self.environment.actions();
        let of = |t: &Trajectory| t.steps.iter().map(|(s, a)| log_pf[s * actions + a]).collect();
        self.trajectories.iter().map(of).collect()
    }

    /// Computes KL(π ‖ π*) over trajectories, with π*(τ) = π_ref(τ)·exp(βr)/Z on a tree and π*(τ) = P_B(τ |
    /// x)·exp(βr(x))/Z on a graph.
    fn kl(&self, logits: &[f64], target: &Target) -> f64 {
        let log_probs = self.token_log_probs(&log_softmax(&*self.environment, logits));
        let sums = |tokens: &[Vec<f64>]| tokens.iter().map(|t| t.iter().sum()).collect::<Vec<f64>>();
        let star: Vec<f64> = (sums(&self.references).iter().zip(&self.trajectories))
            .map(|(l, t)| l + BETA * self.environment.reward(t.object) - target.log_z)
            .collect();
        exact::kl(&sums(&log_probs), &star).expect("finite")
    }

    /// Computes the expected loss and gradient on policy. Every trajectory occurs once, as if a uniform sampler had
    /// drawn it, so its importance weight is π(τ)·N. The gradient is with respect to the logits, then log Z.
    fn on_policy(&self, length: Length, logits: &[f64], log_z: f64) -> (f64, Vec<f64>) {
        let actions = self.environment.actions();
        let log_pf = log_softmax(&*self.environment, logits);
        let log_probs = self.token_log_probs(&log_pf);
        let uniform = |t: &Vec<f64>| vec![-(log_probs.len() as f64).ln() / t.len() as f64; t.len()];
        let old: Vec<_> = log_probs.iter().map(uniform).collect();
        let sequences: Vec<_> = (0..log_probs.len())
            .map(|i| Sequence {
                reward: self.environment.reward(self.trajectories[i].object),
                log_probs: &log_probs[i],
                ref_log_probs: Some(&self.references[i]),
                old_log_probs: Some(&old[i]),
                log_z: Some(log_z),
                ..Sequence::default()
            })
            .collect();
        let objective = Objective::FlowRl(
            FlowRl::default()
                .with_beta(BETA)
                .with_length(length)
                .with_reward(Reward::Raw)
                .with_importance(Importance::Sequence)
                .with_clip_low(None)
                .with_clip_high(None)
                .with_log_z(LogZ::Given),
        );
        let evaluation = objective.compute(&sequences).expect("valid input");
        let mut gradient = vec![0.0; logits.len() + 1];
        gradient[logits.len()] = evaluation.d_log_z.iter().sum();
        for (i, trajectory) in self.trajectories.iter().enumerate() {
            for (&(state, action), d) in trajectory.steps.iter().zip(evaluation.d_log_probs(i)) {
                gradient[state * actions + action] += d;
                for a in 0..actions {
                    gradient[state * actions + a] -= d * log_pf[state * actions + a].exp();
                }
            }
        }
        (evaluation.loss, gradient)
    }

    /// Returns log P_F of the flow that ends in `target` and runs backwards according to P_B. The flow F(s) is the sum
    /// over the outcomes of its actions, each with the share that P_B gives to s.
    fn flow(&self, target: &[f64]) -> Vec<f64> {
        let (env, actions) = (&*self.environment, self.environment.actions());
        let mut log_flow = vec![0.0; env.states()];
        let mut log_pf = vec![f64::NEG_INFINITY; self.parameters()];
        for state in (0..env.states()).rev() {
            let out = |action| match env.step(state, action) {
                None => f64::NEG_INFINITY,
                Some(Outcome::Object(object)) => target[object],
                Some(Outcome::State(next)) => {
                    let back = (0..env.parents()).find(|&k| env.parent(next, k) == Some((state, action)));
                    log_flow[next] + back.map_or(0.0, |k| self.log_pb[next * env.parents() + k])
                }
            };
            let edges: Vec<f64> = (0..actions).map(out).collect();
            log_flow[state] = exact::log_sum_exp(&edges);
            edges.iter().enumerate().for_each(|(a, edge)| log_pf[state * actions + a] = edge - log_flow[state]);
        }
        log_pf
    }

    fn terminal(&self, log_pf: &[f64]) -> Vec<f64> {
        let mut log_probs = vec![0.0; self.environment.objects()];
        terminal(&*self.environment, log_pf, &mut log_probs).expect("finite");
        log_probs
    }
}

#[test]
fn on_policy_the_gradient_is_twice_that_of_the_kl_divergence_over_trajectories() {
    for p in Problem::all() {
        println!("{}", p.name);
        let target = Target::plain(&p.environment, BETA).expect("finite");
        let logits = numbers(1, p.parameters());
        let kl = finite_difference(&logits, |logits| p.kl(logits, &target));
        let twice: Vec<f64> = kl.iter().map(|g| 2.0 * g).collect();
        assert!(twice.iter().any(|g| g.abs() > 0.05), "there is something to learn");
        for log_z in [-2.0, target.log_z, 4.0] {
            let (_, gradient) = p.on_policy(Length::Sum, &logits, log_z);
            assert_close(&gradient[..logits.len()], &twice, 1e-9);
        }
    }
}

/// Compares `balance_gradient` with the gradient of the objective, and `divergence_gradient` with finite differences of
/// the divergence.
#[test]
fn the_expected_gradients_of_tables_are_those_of_the_engine() {
    for p in Problem::all().iter().filter(|p| p.environment.parents() == 0) {
        println!("{}", p.name);
        let target = Target::plain(&p.environment, BETA).expect("finite");
        let logits = numbers(1, p.parameters());
        let log_pf = log_softmax(&*p.environment, &logits);
        let (mut balance, mut divergence) = (vec![0.0; logits.len()], vec![0.0; logits.len()]);
        divergence_gradient(&*p.environment, &log_pf, BETA, &mut divergence).expect("finite");
        assert_close(&divergence, &finite_difference(&logits, |logits| p.kl(logits, &target)), 1e-9);
        for log_z in [-2.0, target.log_z, 4.0] {
            balance_gradient(&*p.environment, &log_pf, BETA, log_z, &mut balance).expect("finite");
            let (_, engine) = p.on_policy(Length::Sum, &logits, log_z);
            assert_close(&balance, &engine[..logits.len()], 1e-12);
            let twice: Vec<f64> = divergence.iter().map(|d| 2.0 * d).collect();
            assert_close(&balance, &twice, 1e-12);
        }
    }
}

#[test]
fn expected_gradients_refuse_bad_tables_by_name() {
    let bandit = Bandit::new(&[1.0, 0.0], &[0.5_f64.ln(); 2]).expect("valid");
    let mut out = [0.0; 2];
    for (log_pf, name) in [(vec![0.0], "`log_pf` has 1"), (vec![0.0, f64::NAN], "`log_pf[1]` is NaN")] {
        let balance = balance_gradient(&bandit, &log_pf, 1.0, 0.0, &mut out).expect_err(name);
        let divergence = divergence_gradient(&bandit, &log_pf, 1.0, &mut out).expect_err(name);
        assert_eq!(balance.to_string(), divergence.to_string());
        assert!(balance.to_string().contains(name), "{balance}");
    }
    let certain = [0.0, f64::NEG_INFINITY];
    balance_gradient(&bandit, &certain, 1.0, 0.0, &mut out).expect("an answer without probability");
    assert_eq!(out, [0.0; 2]);
    divergence_gradient(&bandit, &certain, 1.0, &mut out).expect("an answer without probability");
    assert_eq!(out, [0.0; 2]);
}

/// The two are equal on a tree. On a graph the divergence over objects can be smaller, because an object does not record
/// its trajectory.
#[test]
fn the_divergence_over_objects_is_at_most_that_over_trajectories() {
    for p in Problem::all() {
        let target = Target::plain(&p.environment, BETA).expect("finite");
        let logits = numbers(1, p.parameters());
        let objects = p.terminal(&log_softmax(&*p.environment, &logits));
        let (objects, ways) = (target.measure(&objects).expect("finite").kl, p.kl(&logits, &target));
        if p.environment.parents() == 0 {
            assert_close(&[objects], &[ways], 1e-12);
        } else {
            assert!(objects < ways - 1e-3, "{}: {objects} {ways}", p.name);
        }
    }
}

#[test]
fn at_the_target_loss_and_gradient_vanish() {
    for p in Problem::all() {
        println!("{}", p.name);
        for (length, target) in [
            (Length::Sum, Target::plain(&p.environment, BETA)),
            (Length::Mean, Target::length_normalised(&p.environment, BETA)),
        ] {
            let target = target.expect("finite");
            let log_pf = p.flow(&target.log_probs);
            assert_close(&p.terminal(&log_pf), &target.log_probs, 1e-10);
            let (loss, gradient) = p.on_policy(length, &log_pf, target.log_z);
            assert!(loss < 1e-20, "{loss}");
            assert_close(&gradient, &vec![0.0; gradient.len()], 1e-10);
        }
    }
}

#[test]
fn equal_lengths_have_the_plain_target_of_t_times_beta() {
    let bits = Bits::new(6, 2, &[5, 40]).expect("valid");
    let normalised = Target::length_normalised(&bits, BETA).expect("finite");
    let plain = Target::plain(&bits, 3.0 * BETA).expect("finite");
    assert_close(&normalised.log_probs, &plain.log_probs, 1e-12);
    assert_close(&[3.0 * normalised.log_z], &[plain.log_z], 1e-12);
}

/// With rewards of 0 and 1, π*(· | C) = π_ref(· | C) for the set C of reward 1, and Z = 1 + (e^β − 1)·π_ref(C).
#[test]
fn on_the_plateau_the_target_is_the_reference() {
    let options =
        BanditOptions { preset: BanditPreset::Plateau, size: 64, reference: BanditReference::Random, seed: 4 };
    let bandit = Bandit::preset(options).expect("valid");
    let target = Target::plain(&bandit, 15.0).expect("finite");
    assert_eq!(target.modes, Vec::from_iter(24..40));
    assert!((0..64).all(|x| target.rewards[x] == if target.modes.contains(&x) { 1.0 } else { 0.0 }));
    let on_plateau = |log_prob: &dyn Fn(usize) -> f64| target.modes.iter().map(|&x| log_prob(x)).collect::<Vec<f64>>();
    let reference = on_plateau(&|x| bandit.log_reference(0, x));
    let exact = BinaryExact::new(&reference, &on_plateau(&|x| target.log_probs[x]), 15.0).expect("valid");
    assert_close(&[exact.log_z, exact.success, exact.kl_on_correct], &[target.log_z, exact.target_success, 0.0], 1e-12);
}

#[test]
fn on_the_tree_length_normalisation_changes_the_target_visibly() {
    for seed in 0..20 {
        let strings = Strings::new(StringsOptions { seed, ..StringsOptions::default() }).expect("valid");
        let plain = Target::plain(&strings, 5.0).expect("finite");
        let normalised = Target::length_normalised(&strings, 5.0).expect("finite");
        let of = |target: &Target| plain.measure(&target.log_probs).expect("finite");
        let (sum, mean) = (of(&plain), of(&normalised));
        assert!(mean.tv > 0.2, "seed {seed}: {mean:?}");
        assert!(mean.mode_mass > sum.mode_mass + 0.1, "seed {seed}: {sum:?} {mean:?}");
        // Among the modes, which all have reward 1, each additional token is worth a factor exp(β − c).
        let gain =
            |target: &Target, i: usize| target.log_probs[strings.modes()[i]] - plain.log_probs[strings.modes()[i]];
        let tokens = |i: usize| strings.symbols_of(strings.modes()[i]).len() as f64 + 1.0;
        assert_eq!([0, 1, 2].map(tokens), [2.0, 4.0, 6.0], "from 1 symbol to 5");
        let per_token = (gain(&normalised, 2) - gain(&normalised, 0)) / (tokens(2) - tokens(0));
        assert_close(&[per_token], &[5.0 - normalised.log_z], 1e-9);
    }
}

/// Descends along the exact gradient of the library and learns log Z as well. This converges to the plain target with
/// sums, and to the length-normalised one with means.
#[test]
fn descent_converges_to_the_target_of_its_length_normalisation() {
    let p = Problem::tree();
    let targets = [Target::plain(&p.environment, BETA), Target::length_normalised(&p.environment, BETA)];
    let [plain, normalised] = targets.map(|t| t.expect("finite"));
    for (length, rate, own, other) in
        [(Length::Sum, 1.0, &plain, &normalised), (Length::Mean, 3.0, &normalised, &plain)]
    {
        let mut parameters = vec![0.0; p.parameters() + 1];
        for _ in 0..12000 {
            let (logits, log_z) = parameters.split_at(p.parameters());
            let (_, gradient) = p.on_policy(length, logits, log_z[0]);
            parameters.iter_mut().zip(&gradient).for_each(|(x, g)| *x -= rate * g);
            // On policy, log Z contracts by 1 − 2·rate, for any learning rate of the policy.
            parameters[p.parameters()] += (rate - 0.3) * gradient[p.parameters()];
        }
        let (logits, log_z) = parameters.split_at(p.parameters());
        let learned = p.terminal(&log_softmax(&*p.environment, logits));
        let measures = own.measure(&learned).expect("finite");
        assert!(measures.tv < 1e-4 && measures.modes_found == 3, "{length:?}: {measures:?}");
        assert!((log_z[0] - own.log_z).abs() < 1e-4, "{length:?}: {} {}", log_z[0], own.log_z);
        assert!(other.measure(&learned).expect("finite").tv > 0.05, "and not the other");
    }
}
