//! Finds the zeros of the exact expected gradients of FlowRL's relatives, on a policy with few enough strings to
//! enumerate.
//!
//! There are two ways to an exact expectation. Usually every string occurs once, with its gradient weighted by π(y). If
//! the objective compares sequences with each other, a group holds each string in proportion to π.

use crate::enumerable::Tree;
use crate::numeric::{assert_close, numbers};
use flowrl_core::exact;
use flowrl_core::objective::{
    Evaluation, FlowRl, Importance, Length, LogZ, Objective, Preset, Reward, Sequence, Shape,
};

const BETA: f64 = 2.0;

struct Problem {
    tree: Tree,
    /// Token log-probabilities of the reference.
    reference: Vec<Vec<f64>>,
    rewards: Vec<f64>,
}

fn sums(tokens: &[Vec<f64>]) -> Vec<f64> {
    tokens.iter().map(|l| l.iter().sum()).collect()
}

fn raw(length: Length) -> FlowRl {
    FlowRl::exact_tb().with_beta(BETA).with_length(length).with_log_z(LogZ::Given)
}

fn bounded(length: Length) -> FlowRl {
    raw(length).with_residual_clip_low(Some(0.2)).with_residual_clip_high(Some(0.28))
}

/// Returns the root of a decreasing function.
fn root(f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (-50.0, 50.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if f(middle) > 0.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

impl Problem {
    fn new() -> Self {
        let tree = Tree::ended();
        let reference = tree.token_log_probs(&numbers(2, tree.parameters()));
        let rewards = numbers(3, tree.strings.len()).iter().map(|r| 0.5 + 0.5 * r).collect();
        Self { tree, reference, rewards }
    }

    fn log_reference(&self) -> Vec<f64> {
        sums(&self.reference)
    }

    fn length(&self, y: usize) -> f64 {
        self.tree.strings[y].len() as f64
    }

    fn plain(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.rewards.len()];
        exact::target(&self.log_reference(), &self.rewards, BETA, &mut out).expect("finite");
        out
    }

    /// Returns the length-normalised target of a power of the reference, and c.
    fn normalised(&self, power: f64, rewards: &[f64], beta: f64) -> (Vec<f64>, f64) {
        let reference: Vec<f64> = self.log_reference().iter().map(|l| power * l).collect();
        let mut out = vec![0.0; rewards.len()];
        let lengths = self.tree.lengths();
        let c = exact::length_normalised_target(&reference, rewards, &lengths, beta, &mut out).expect("finite");
        (out, c)
    }

    /// Returns π_ref·exp(T(βr − log Z) + kT²) and the k that normalises it.
    fn bent(&self, log_z: f64) -> (Vec<f64>, f64) {
        let at = |k: f64| -> Vec<f64> {
            let tilt = |y: usize| self.length(y) * (BETA * self.rewards[y] - log_z) + k * self.length(y).powi(2);
            self.log_reference().iter().enumerate().map(|(y, l)| l + tilt(y)).collect()
        };
        let k = root(|k| -exact::log_sum_exp(&at(k)));
        (at(k), k)
    }

    fn expectation(&self, theta: &[f64], f: impl Fn(usize) -> f64) -> f64 {
        self.tree.log_probs(theta).iter().enumerate().map(|(y, l)| l.exp() * f(y)).sum()
    }

    /// Returns u of every string with this length normalisation.
    fn residuals(&self, theta: &[f64], length: Length, beta: f64) -> Vec<f64> {
        let (policy, reference) = (self.tree.log_probs(theta), self.log_reference());
        let u =
            |y: usize| (policy[y] - reference[y]) / length.divisor(self.tree.strings[y].len()) - beta * self.rewards[y];
        (0..policy.len()).map(u).collect()
    }

    /// Returns the best constant log Z, −E\[u\].
    fn best_log_z(&self, theta: &[f64], length: Length, beta: f64) -> f64 {
        let u = self.residuals(theta, length, beta);
        -self.expectation(theta, |y| u[y])
    }

    /// Computes the expected gradient on policy with a constant log Z, with respect to the logits and to log Z.
    fn gradient(&self, options: FlowRl, rewards: &[f64], theta: &[f64], log_z: f64) -> (Vec<f64>, f64) {
        let tokens = self.tree.token_log_probs(theta);
        let evaluation = self.compute(options, rewards, &tokens, log_z, 0..tokens.len());
        let weight = |y: usize| tokens[y].iter().sum::<f64>().exp() * tokens.len() as f64;
        let gradient = self.tree.gradient(theta, |y, t| weight(y) * evaluation.d_log_probs(y)[t]);
        (gradient, (0..tokens.len()).map(|y| weight(y) * evaluation.d_log_z[y]).sum())
    }

    /// Evaluates the strings `batch` as one group.
    fn compute(
        &self,
        options: FlowRl,
        rewards: &[f64],
        tokens: &[Vec<f64>],
        log_z: f64,
        batch: impl IntoIterator<Item = usize>,
    ) -> Evaluation<f64> {
        let sequence = |y: usize| Sequence {
            reward: rewards[y],
            log_probs: &tokens[y],
            ref_log_probs: Some(&self.reference[y]),
            log_z: Some(log_z),
            ..Sequence::default()
        };
        let sequences: Vec<_> = batch.into_iter().map(sequence).collect();
        Objective::from(options).compute(&sequences).expect("valid input")
    }

    /// Descends along the expected gradient. Each component is divided by the probability that its token is written;
    /// this does not move the zeros.
    fn descend(&self, options: FlowRl, steps: usize, log_z: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let mut theta = self.tree.logits_of(&self.log_reference());
        for _ in 0..steps {
            let mass = self.tree.logits_of(&self.tree.log_probs(&theta));
            let (gradient, _) = self.gradient(options, &self.rewards, &theta, log_z(&theta));
            for ((theta, d), mass) in theta.iter_mut().zip(gradient).zip(mass) {
                *theta -= if mass > -700.0 { 0.3 * d / mass.exp() } else { 0.0 };
            }
        }
        theta
    }

    #[track_caller]
    fn assert_zero(&self, options: FlowRl, rewards: &[f64], policy: &[f64], log_z: f64) {
        let (gradient, _) = self.gradient(options, rewards, &self.tree.logits_of(policy), log_z);
        assert_close(&gradient, &vec![0.0; gradient.len()], 1e-12);
    }
}

/// A group that holds each string in proportion to the policy's probabilities.
struct Population {
    problem: Problem,
    counts: [usize; 7],
    theta: Vec<f64>,
}

impl Population {
    /// Creates a group with a reference chosen so that the policy is the target.
    fn new(rewards: Vec<f64>, length: Length) -> Self {
        let counts = [4, 2, 1, 2, 3, 1, 3];
        let mut problem = Problem::new();
        let policy: Vec<f64> = counts.iter().map(|&n| (n as f64 / 16.0).ln()).collect();
        let theta = problem.tree.logits_of(&policy);
        for (y, tokens) in problem.tree.token_log_probs(&theta).into_iter().enumerate() {
            let n = tokens.len() as f64;
            let move_by = BETA * rewards[y] * length.divisor(tokens.len());
            problem.reference[y] = tokens.iter().map(|l| l - move_by / n).collect();
        }
        Self { problem: Problem { rewards, ..problem }, counts, theta }
    }

    fn compute(&self, options: FlowRl) -> (Evaluation<f64>, Vec<f64>) {
        let members: Vec<usize> = (0..7).flat_map(|y| vec![y; self.counts[y]]).collect();
        let tokens = self.problem.tree.token_log_probs(&self.theta);
        let evaluation = self.problem.compute(options, &self.problem.rewards, &tokens, 0.0, members.iter().copied());
        let of = |y: usize| members.iter().position(|&member| member == y).expect("each string is there");
        let gradient =
            self.problem.tree.gradient(&self.theta, |y, t| self.counts[y] as f64 * evaluation.d_log_probs(of(y))[t]);
        (evaluation, gradient)
    }
}

#[test]
fn a_constant_log_z_moves_nothing_with_sums_and_bends_lengths_with_means() {
    let p = Problem::new();
    let (right, c) = p.normalised(1.0, &p.rewards, BETA);
    for error in [0.0, 0.5, -2.0] {
        let (bent, k) = p.bent(c + error);
        p.assert_zero(raw(Length::Mean).with_log_z(LogZ::Frozen), &p.rewards, &bent, c + error);
        p.assert_zero(raw(Length::Sum).with_log_z(LogZ::Frozen), &p.rewards, &p.plain(), error);
        let moved = exact::total_variation(&bent, &right).expect("same strings");
        assert_eq!((k.abs() > 0.05, moved > 0.05), (error != 0.0, error != 0.0), "k {k}, moved by {moved}");
    }
}

#[test]
fn a_bounded_residual_has_the_gradient_of_huber_and_keeps_the_target() {
    let p = Problem::new();
    let theta = numbers(1, p.tree.parameters());
    let clip = raw(Length::Mean).with_residual_clip_low(Some(0.3)).with_residual_clip_high(Some(0.3));
    let huber = raw(Length::Mean).with_shape(Shape::Huber).with_huber_delta(0.3);
    let of = |options| p.gradient(options, &p.rewards, &theta, 0.2);
    assert_eq!(of(clip), of(huber));
    assert_ne!(of(clip).0, of(raw(Length::Mean)).0, "the bound holds");

    for (length, wanted) in [(Length::Sum, p.plain()), (Length::Mean, p.normalised(1.0, &p.rewards, BETA).0)] {
        let theta = p.descend(bounded(length), 1500, |theta| p.best_log_z(theta, length, BETA));
        let tv = exact::total_variation(&p.tree.log_probs(&theta), &wanted).expect("same strings");
        assert!(tv < 1e-9, "{length:?}: total variation {tv}");
    }
}

/// GFlowRL's equations as published use the sum in log Z, but the mean in the residual.
#[test]
fn a_log_z_of_sums_beside_residuals_of_means_leaves_the_shorter_of_two_right_answers() {
    let beta = 8.0;
    // One right answer has two tokens, the other three.
    let p = Problem { rewards: vec![0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0], ..Problem::new() };
    let share = |divisor: Length| {
        let options = bounded(Length::Mean).with_beta(beta);
        let theta = p.descend(options, 1500, |theta| p.best_log_z(theta, divisor, beta));
        let policy = p.tree.log_probs(&theta);
        [policy[1].exp(), policy[6].exp()]
    };
    let ([short, long], [mixed_short, mixed_long]) = (share(Length::Mean), share(Length::Sum));
    assert!(short > 0.01 && long > 0.1 && short + long > 0.99, "{short} {long}");
    assert!(mixed_short > 0.99 && mixed_long < 1e-6, "{mixed_short} {mixed_long}");
}

#[test]
fn groups_keep_the_target_of_gflowrl_and_of_pairs() {
    let rewards: Vec<f64> = numbers(3, 7).iter().map(|r| (2.0 + 2.0 * r).round() / 4.0).collect();
    for length in [Length::Sum, Length::Mean] {
        let population = Population::new(rewards.clone(), length);
        let [gflowrl, sum] = [Preset::Gflowrl, Preset::GflowrlSum].map(|preset| preset.flowrl().expect("of FlowRL"));
        let pairs = raw(length).with_log_z(LogZ::Pairwise);
        let options = [
            if length == Length::Sum { sum } else { gflowrl }.with_beta(BETA),
            pairs,
            pairs.with_shape(Shape::Huber).with_huber_delta(0.1).with_pair_gap(0.5),
        ];
        for options in options {
            let (_, gradient) = population.compute(options);
            assert_close(&gradient, &vec![0.0; gradient.len()], 1e-12);
            let (_, elsewhere) = population.compute(options.with_beta(1.0));
            assert!(elsewhere.iter().any(|g| g.abs() > 1e-3), "another β has another target");
        }
    }
}

#[test]
fn pairs_are_leave_one_out_by_another_name() {
    let mut population = Population::new(numbers(3, 7), Length::Sum);
    population.problem.rewards = numbers(9, 7);
    for length in [Length::Sum, Length::Mean] {
        let of = |log_z| population.compute(raw(length).with_log_z(log_z)).1;
        assert_close(&of(LogZ::Pairwise), &of(LogZ::LeaveOneOut), 1e-12);
    }
}

#[test]
fn a_gap_beyond_half_the_range_leaves_answers_without_a_pair() {
    let rewards = vec![0.0, 1.0, 0.5, 0.4, 0.6, 1.0, 0.0];
    let gap = |share: f64| raw(Length::Sum).with_log_z(LogZ::Pairwise).with_pair_gap(share * BETA);
    let mut population = Population::new(rewards, Length::Sum);
    // Change the reference of an answer with a middle reward. If all pairs count, the gradient shows this; if only
    // pairs with a gap above half of the range count, it does not.
    population.problem.reference[2][0] += 1.0;
    for (share, sees) in [(0.0, true), (0.45, true), (0.7, false)] {
        let largest = population.compute(gap(share)).1.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
        assert_eq!(largest > 1e-3, sees, "a gap of {share} of the range: {largest}");
    }
}

#[test]
fn powerflow_sharpens_the_reference_and_its_lengths_follow_c() {
    let p = Problem::new();
    let penalty: Vec<f64> = p.rewards.iter().map(|r| if *r > 0.5 { -0.5 } else { 0.0 }).collect();
    for power in [4.0, 2.0, 0.5] {
        let options = Preset::PowerFlow.flowrl().expect("of FlowRL").with_beta(power).with_reference_power(power);
        let options = options.with_log_z(LogZ::Given).with_importance(Importance::None);
        for rewards in [&penalty, &vec![0.0; penalty.len()]] {
            let (target, c) = p.normalised(power, rewards, power);
            p.assert_zero(options, rewards, &target, c);
            let (_, d_log_z) = p.gradient(options, rewards, &p.tree.logits_of(&target), c);
            assert!(d_log_z.abs() < 1e-12, "log Z is c");
        }
        // Without a reward and with α above 1, a plain power favours short strings and means favour long ones. With α
        // below 1 it is the other way round.
        let powered: Vec<f64> = p.log_reference().iter().map(|l| power * l).collect();
        let total = exact::log_sum_exp(&powered);
        let length = |log_probs: &[f64]| log_probs.iter().enumerate().map(|(y, l)| l.exp() * p.length(y)).sum::<f64>();
        let [base, plain] = [p.log_reference(), powered.iter().map(|l| l - total).collect()].map(|l| length(&l));
        let aware = length(&p.normalised(power, &vec![0.0; penalty.len()], power).0);
        assert_eq!((plain < base, base < aware), (power > 1.0, power > 1.0), "{plain} {base} {aware}");
    }
}

/// If every token ends the string with probability q₀ and tokens are independent, then c = log Σ q^α, and the fixed
/// point is the base policy at temperature 1/α.
#[test]
fn for_independent_tokens_powerflow_is_sampling_at_a_temperature() {
    let (stop, letter, power) = (0.3_f64.ln(), 0.7_f64.ln(), 4.0);
    let lengths: Vec<usize> = (1..2000).collect();
    let base: Vec<f64> = lengths.iter().map(|&n| power * (stop + (n - 1) as f64 * letter)).collect();
    let mut target = vec![0.0; lengths.len()];
    let rewards = vec![0.0; lengths.len()];
    let c = exact::length_normalised_target(&base, &rewards, &lengths, power, &mut target).expect("finite");
    let total = exact::log_sum_exp(&[power * stop, power * letter]);
    assert!((c - total).abs() < 1e-9, "{c} {total}");
    let cold: Vec<f64> =
        lengths.iter().map(|&n| power * stop - total + (n - 1) as f64 * (power * letter - total)).collect();
    assert_close(&target, &cold, 1e-6);
}

#[test]
fn log_z_and_the_divergence_give_the_pass_rate() {
    let mut population = Population::new(vec![0.0; 7], Length::Sum);
    population.problem.reference = Problem::new().reference;
    population.problem.rewards = vec![1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0];
    let (evaluation, _) = population.compute(raw(Length::Sum).with_log_z(LogZ::GroupMean).with_reward(Reward::Raw));
    let kl = evaluation.diagnostics.get("kl_ref").expect("a reference");
    let pass_rate = (4.0 + 1.0 + 1.0) / 16.0;
    assert!(((evaluation.log_z[0] + kl) / BETA - pass_rate).abs() < 1e-12);
    assert!(kl > 0.05);
}
