//! Identities that FlowRL must satisfy exactly, on a softmax policy with expectations that are finite sums.

use crate::enumerable::Tree;
use crate::numeric::{assert_close, finite_difference, numbers};
use flowrl_core::exact;
use flowrl_core::objective::{Aggregate, FlowRl, Importance, KlIn, Length, LogZ, Objective, Preset, Reward, Sequence};

/// Options with sums and raw rewards. β is small, so that the numbers stay moderate.
fn plain() -> FlowRl {
    FlowRl::default().with_beta(2.0).with_length(Length::Sum).with_reward(Reward::Raw)
}

struct Problem {
    tree: Tree,
    theta: Vec<f64>,
    reference: Vec<f64>,
    rewards: Vec<f64>,
}

impl Problem {
    fn new(tree: Tree) -> Self {
        let n = tree.parameters();
        let rewards = numbers(3, tree.strings.len());
        Self { theta: numbers(1, n), reference: numbers(2, n), rewards, tree }
    }

    fn on_policy(&self, options: FlowRl, log_z: f64) -> Vec<f64> {
        self.tree.on_policy(options, &self.theta, &self.reference, &self.rewards, log_z).1
    }

    /// Returns the expectation Σ π(y)·f(y).
    fn expectation(&self, theta: &[f64], f: impl Fn(usize) -> f64) -> f64 {
        self.tree.log_probs(theta).iter().enumerate().map(|(y, l)| l.exp() * f(y)).sum()
    }
}

#[test]
fn on_policy_the_gradient_is_twice_that_of_the_kl_divergence_for_any_log_z() {
    let p = Problem::new(Tree::ended());
    let reference = p.tree.log_probs(&p.reference);
    let mut target = vec![0.0; reference.len()];
    exact::target(&reference, &p.rewards, 2.0, &mut target).expect("valid input");
    let kl = finite_difference(&p.theta, |theta| exact::kl(&p.tree.log_probs(theta), &target).expect("valid input"));
    let twice: Vec<_> = kl.iter().map(|g| 2.0 * g).collect();
    for log_z in [-3.0, 0.0, 1.7] {
        assert_close(&p.on_policy(plain(), log_z), &twice, 1e-9);
    }
}

/// Returns ∇(−E[r] + ½·penalty), the expected gradient of REINFORCE on raw rewards with a KL term of coefficient ½.
fn penalised(p: &Problem, kl_in: KlIn) -> Vec<f64> {
    let (l, l_ref) = (p.tree.token_log_probs(&p.theta), p.tree.token_log_probs(&p.reference));
    let options =
        Preset::Reinforce.policy_gradient().unwrap().with_kl(0.5).with_kl_in(kl_in).with_aggregate(Aggregate::Fixed(1));
    let sequence = |y: usize| Sequence {
        reward: p.rewards[y],
        log_probs: &l[y],
        ref_log_probs: Some(&l_ref[y]),
        ..Sequence::default()
    };
    let sequences: Vec<_> = (0..l.len()).map(sequence).collect();
    let evaluation = Objective::PolicyGradient(options).compute(&sequences).expect("valid input");
    let probabilities: Vec<_> = p.tree.log_probs(&p.theta).iter().map(|l| l.exp()).collect();
    p.tree.gradient(&p.theta, |y, t| probabilities[y] * l.len() as f64 * evaluation.d_log_probs(y)[t])
}

#[test]
fn a_kl_term_in_the_reward_has_the_gradient_of_the_reverse_kl_and_one_in_the_loss_of_the_forward_kl() {
    let one_token = Tree { strings: (0..5).map(|a| vec![Some((0, a))]).collect(), arity: 5, prefixes: 1 };
    for (tree, kl_in) in [(Tree::ended(), KlIn::Reward), (Tree::equal_length(), KlIn::Reward), (one_token, KlIn::Loss)]
    {
        let p = Problem::new(tree);
        let reference = p.tree.log_probs(&p.reference);
        let wanted = finite_difference(&p.theta, |theta| {
            let policy = p.tree.log_probs(theta);
            let kl = match kl_in {
                KlIn::Reward => exact::kl(&policy, &reference),
                _ => exact::kl(&reference, &policy),
            };
            0.5 * kl.expect("valid input") - p.expectation(theta, |y| p.rewards[y])
        });
        assert_close(&penalised(&p, kl_in), &wanted, 1e-9);
    }
}

#[test]
fn with_a_kl_term_of_one_over_beta_in_the_reward_a_maximiser_has_the_target_of_flowrl() {
    let mut p = Problem::new(Tree::ended());
    let reference = p.tree.log_probs(&p.reference);
    let mut target = vec![0.0; reference.len()];
    exact::target(&reference, &p.rewards, 2.0, &mut target).expect("valid input");
    p.theta = p.tree.logits_of(&target);
    assert_close(&penalised(&p, KlIn::Reward), &vec![0.0; p.theta.len()], 1e-12);
    assert!(penalised(&p, KlIn::Loss).iter().any(|g| g.abs() > 1e-2), "k3 in the loss has another optimum");
}

#[test]
fn differentiating_through_the_sampler_adds_the_wrong_term() {
    let p = Problem::new(Tree::ended());
    let log_z = 0.3;
    let residual = |theta: &[f64], y: usize| {
        log_z + p.tree.log_probs(theta)[y] - p.tree.log_probs(&p.reference)[y] - 2.0 * p.rewards[y]
    };
    let through = finite_difference(&p.theta, |theta| p.expectation(theta, |y| residual(theta, y).powi(2)));
    let probabilities: Vec<_> = p.tree.log_probs(&p.theta).iter().map(|l| l.exp()).collect();
    let wrong = p.tree.gradient(&p.theta, |y, _| probabilities[y] * residual(&p.theta, y).powi(2));
    let ours = p.on_policy(plain(), log_z);
    let sum: Vec<_> = ours.iter().zip(&wrong).map(|(a, b)| a + b).collect();
    assert_close(&sum, &through, 1e-9);
    assert!(wrong.iter().any(|g| g.abs() > 0.1), "the term that must not be there is not small");
}

#[test]
fn equal_lengths_give_the_kl_to_the_target_with_t_times_beta() {
    let p = Problem::new(Tree::equal_length());
    let reference = p.tree.log_probs(&p.reference);
    let mut target = vec![0.0; reference.len()];
    exact::target(&reference, &p.rewards, 3.0 * 2.0, &mut target).expect("valid input");
    let kl = finite_difference(&p.theta, |theta| exact::kl(&p.tree.log_probs(theta), &target).expect("valid input"));
    let wanted: Vec<_> = kl.iter().map(|g| 2.0 / 9.0 * g).collect();
    assert_close(&p.on_policy(plain().with_length(Length::Mean), 0.4), &wanted, 1e-9);
}

#[test]
fn a_log_z_error_pulls_on_lengths() {
    let p = Problem::new(Tree::ended());
    let options = plain().with_length(Length::Mean);
    let (log_z, error) = (0.2, 0.5);
    let lengths = p.tree.lengths();
    let pull = finite_difference(&p.theta, |theta| p.expectation(theta, |y| 1.0 / lengths[y] as f64));
    let added: Vec<_> =
        p.on_policy(options, log_z + error).iter().zip(p.on_policy(options, log_z)).map(|(a, b)| a - b).collect();
    let wanted: Vec<_> = pull.iter().map(|g| 2.0 * error * g).collect();
    assert_close(&added, &wanted, 1e-9);
}

#[test]
fn the_length_bias_monitor_reports_it() {
    let p = Problem::new(Tree::ended());
    let at = |options, log_z| p.tree.on_policy(options, &p.theta, &p.reference, &p.rewards, log_z).0.diagnostics;
    let mean = plain().with_length(Length::Mean);
    let best = -at(mean, 0.0).get("log_z_error").expect("FlowRL has it");
    let off = at(mean, best + 0.5);
    let inverse = p.tree.lengths().iter().map(|&t| 1.0 / t as f64).sum::<f64>() / p.tree.strings.len() as f64;
    assert_close(&[off.get("log_z_error").expect("present")], &[0.5], 1e-12);
    assert_close(&[off.get("length_bias").expect("present")], &[2.0 * 0.5 * inverse], 1e-12);
    assert_eq!(at(plain(), 0.0).get("length_bias"), None, "sums have no length bias");
}

#[test]
fn the_gradient_is_zero_at_the_exact_targets() {
    let p = Problem::new(Tree::ended());
    let reference = p.tree.log_probs(&p.reference);
    let mut target = vec![0.0; reference.len()];
    let stationary = |options, target: &[f64], log_z| {
        let theta = p.tree.logits_of(target);
        let (evaluation, gradient) = p.tree.on_policy(options, &theta, &p.reference, &p.rewards, log_z);
        assert!(evaluation.loss < 1e-20, "the loss is 0 as well, not only stationary");
        assert_close(&gradient, &vec![0.0; gradient.len()], 1e-12);
    };
    let log_z = exact::target(&reference, &p.rewards, 2.0, &mut target).expect("valid input");
    stationary(plain(), &target, log_z);

    let c = exact::length_normalised_target(&reference, &p.rewards, &p.tree.lengths(), 2.0, &mut target);
    stationary(plain().with_length(Length::Mean), &target, c.expect("valid input"));
}

/// Creates one group of sequences with lengths 3, 1 and 4.
fn group(seed: u64) -> Vec<[Vec<f64>; 3]> {
    let tokens = |seed, n| numbers(seed, n).iter().map(|x| -1.0 + 0.5 * x).collect::<Vec<_>>();
    [3, 1, 4].iter().zip(seed..).map(|(&n, s)| [tokens(s, n), tokens(s + 10, n), tokens(s + 20, n)]).collect()
}

/// An estimator of log Z from all u and w.
type Estimator = fn(&[f64], &[f64]) -> f64;

/// Returns the largest difference between the reported gradient, in which log Z is a constant, and the gradient that
/// also differentiates through `log_z`. This moves l and l_old together, which keeps w constant.
fn detached_minus_attached(options: FlowRl, log_z: Option<Estimator>) -> f64 {
    let evaluate = |tokens: &[[Vec<f64>; 3]]| {
        let given = log_z.map(|log_z| {
            // If log Z is the constant 0, the residuals and weights are u and w.
            let zero = Objective::FlowRl(options.with_log_z(LogZ::Zero));
            let evaluation = zero.compute(&sequences(tokens, None)).expect("valid input");
            log_z(&evaluation.residuals, &evaluation.weights)
        });
        let options = if given.is_some() { options.with_log_z(LogZ::Given) } else { options };
        Objective::FlowRl(options).compute(&sequences(tokens, given)).expect("valid input")
    };
    let tokens = group(5);
    let detached = evaluate(&tokens);
    let difference = |i: usize| {
        let attached = finite_difference(&[0.0], |shift| {
            let mut moved = tokens.clone();
            moved[i][0][0] += shift[0];
            moved[i][2][0] += shift[0];
            evaluate(&moved).loss
        });
        (attached[0] - detached.d_log_probs(i)[0]).abs()
    };
    (0..tokens.len()).map(difference).fold(0.0, f64::max)
}

fn sequences(tokens: &[[Vec<f64>; 3]], log_z: Option<f64>) -> Vec<Sequence<'_, f64>> {
    let rewards = [1.0, 0.0, 0.3];
    tokens
        .iter()
        .zip(rewards)
        .map(|(t, reward)| {
            let [l, l_ref, l_old] = t;
            Sequence {
                reward,
                log_probs: l,
                ref_log_probs: Some(l_ref),
                old_log_probs: Some(l_old),
                log_z,
                ..Sequence::default()
            }
        })
        .collect()
}

#[test]
fn detaching_the_group_mean_changes_nothing_if_loss_and_mean_weigh_alike() {
    for importance in [Importance::None, Importance::Sequence] {
        let options =
            plain().with_importance(importance).with_clip_low(None).with_clip_high(None).with_log_z(LogZ::GroupMean);
        assert!(detached_minus_attached(options, None) < 1e-9);
    }
}

#[test]
fn detaching_changes_the_gradient_if_loss_and_mean_weigh_differently() {
    let weighted = plain().with_clip_low(None).with_clip_high(None);
    let unweighted_mean: Estimator = |u, _| -u.iter().sum::<f64>() / u.len() as f64;
    assert!(detached_minus_attached(weighted, Some(unweighted_mean)) > 1e-3);
    assert!(detached_minus_attached(weighted.with_log_z(LogZ::LeaveOneOut), None) > 1e-3);
}

#[test]
fn the_group_mean_is_the_weighted_mean_of_minus_u() {
    let options = plain().with_clip_low(None).with_clip_high(None);
    let tokens = group(5);
    let compute =
        |log_z| Objective::FlowRl(options.with_log_z(log_z)).compute(&sequences(&tokens, None)).expect("valid input");
    let (zero, mean, others) = (compute(LogZ::Zero), compute(LogZ::GroupMean), compute(LogZ::LeaveOneOut));
    let estimate = |skip: Option<usize>| {
        let members = (0..3).filter(|&j| Some(j) != skip);
        let sums = members.fold((0.0, 0.0), |(n, d), j| (n + zero.weights[j] * zero.residuals[j], d + zero.weights[j]));
        -sums.0 / sums.1
    };
    assert_close(&mean.log_z, &[estimate(None); 3], 1e-14);
    assert_close(&others.log_z, &[estimate(Some(0)), estimate(Some(1)), estimate(Some(2))], 1e-14);
    assert_eq!(mean.d_log_z, [0.0; 3], "a constant has no gradient");
}

#[test]
fn the_loss_at_the_start_is_known() {
    for correct in 1..8 {
        let log_probs = [-0.3, -1.0];
        let sequences: Vec<_> = (0..8)
            .map(|i| Sequence {
                reward: if i < correct { 1.0 } else { 0.0 },
                log_probs: &log_probs[..1 + i % 2],
                ref_log_probs: Some(&log_probs[..1 + i % 2]),
                ..Sequence::default()
            })
            .collect();
        let loss = |reward_eps| {
            let options = FlowRl::default().with_log_z(LogZ::Zero).with_reward_eps(reward_eps);
            Objective::FlowRl(options).compute(&sequences).expect("valid input").loss
        };
        assert_close(&[loss(0.0)], &[225.0 * 7.0 / 8.0], 1e-12);
        assert_close(&[loss(1e-6)], &[225.0 * 7.0 / 8.0], 1e-5);
    }
}

#[test]
fn equal_rewards_leave_log_z_and_the_log_ratio() {
    let (l, l_ref) = ([-0.5, -1.5, -0.25], [-0.25, -1.0, -1.5]);
    let sequence =
        Sequence { reward: 0.1, log_probs: &l, ref_log_probs: Some(&l_ref), log_z: Some(0.75), ..Sequence::default() };
    let evaluation = Objective::preset(Preset::Paper).compute(&[sequence; 3]).expect("valid input");
    assert_close(&evaluation.residuals, &[0.75 + 0.5 / 3.0; 3], 1e-15);
    assert_eq!(evaluation.advantages, [0.0; 3]);
}

#[test]
fn the_first_update_after_sampling_has_weight_one_bit_for_bit() {
    let l: Vec<f32> = numbers(9, 1001).iter().map(|x| *x as f32 - 1.0).collect();
    for importance in [Importance::Sequence, Importance::Geometric] {
        let sequence = Sequence {
            reward: 1.0,
            log_probs: &l,
            ref_log_probs: Some(&l),
            old_log_probs: Some(&l),
            log_z: Some(0.0),
            ..Sequence::default()
        };
        let objective = Objective::FlowRl(FlowRl::default().with_importance(importance));
        let evaluation = objective.compute(&[sequence; 2]).expect("valid input");
        assert_eq!(evaluation.weights, [1.0_f32; 2]);
        assert_eq!(evaluation.diagnostics.get("old_log_ratio_max"), Some(0.0));
        assert_eq!(evaluation.diagnostics.get("weight_ess"), Some(1.0));
    }
}
