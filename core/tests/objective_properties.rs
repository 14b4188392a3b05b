//! Properties of any batch: shapes, order, division into parts, and extreme values.

use flowrl_core::objective::{
    Batch, Diagnostics, Evaluation, FlowRl, Gradients, Importance, LogZ, Mask, Objective, Outcomes, Preset, Sequence,
    TokenMask, Totals,
};
use proptest::prelude::*;

/// An owned sequence with every input.
#[derive(Clone, Debug)]
struct Owned {
    group: usize,
    reward: f64,
    log_z: f64,
    value: f64,
    tokens: Vec<(f64, f64, f64)>,
    columns: [Vec<f64>; 3],
}

impl Owned {
    fn view(&self) -> Sequence<'_, f64> {
        let [l, l_ref, l_old] = &self.columns;
        Sequence {
            group: self.group,
            reward: self.reward,
            log_probs: l,
            ref_log_probs: Some(l_ref),
            old_log_probs: Some(l_old),
            log_flows: None,
            log_z: Some(self.log_z),
            value: Some(self.value),
            ..Sequence::default()
        }
    }
}

fn sequence() -> impl Strategy<Value = Owned> {
    let log_prob = || -6.0..0.0_f64;
    let tokens = prop::collection::vec((log_prob(), log_prob(), log_prob()), 0..20);
    (0..4_usize, prop_oneof![Just(0.0), Just(1.0), -2.0..2.0_f64], -2.0..2.0_f64, -1.0..1.0_f64, tokens).prop_map(
        |(group, reward, log_z, value, tokens)| {
            let column = |get: fn(&(f64, f64, f64)) -> f64| tokens.iter().map(get).collect();
            let columns = [column(|t| t.0), column(|t| t.1), column(|t| t.2)];
            Owned { group, reward, log_z, value, tokens, columns }
        },
    )
}

/// Draws the options of any preset of FlowRL.
fn flowrl() -> impl Strategy<Value = FlowRl> {
    prop::sample::select(Preset::ALL.iter().filter_map(|preset| preset.flowrl()).collect::<Vec<_>>())
}

fn objective() -> impl Strategy<Value = Objective> {
    let flowrl = (flowrl(), prop::sample::select(LogZ::ALL), prop::sample::select(TokenMask::ALL)).prop_map(
        |(options, log_z, token_mask)| Objective::from(options.with_log_z(log_z).with_token_mask(token_mask)),
    );
    let gradients: Vec<_> = Preset::ALL.iter().filter_map(|preset| preset.policy_gradient()).collect();
    let flowrl = flowrl.prop_filter("options that exclude each other", |objective| objective.validate().is_ok());
    prop_oneof![3 => flowrl, 1 => prop::sample::select(gradients).prop_map(Objective::from)]
}

/// Draws FlowRL with bounded weights, because an unbounded weight magnifies the rounding of its inputs.
fn bounded() -> impl Strategy<Value = FlowRl> {
    let masks = prop::sample::select(TokenMask::ALL);
    let options = (flowrl(), prop::sample::select(LogZ::ALL), masks).prop_map(|(options, log_z, token_mask)| {
        let high = options.clip_high.get().or(Some(10.0));
        options.with_log_z(log_z).with_token_mask(token_mask).with_clip_high(high)
    });
    options.prop_filter("options that exclude each other", |options| Objective::from(*options).validate().is_ok())
}

fn batch() -> impl Strategy<Value = Vec<Owned>> {
    prop::collection::vec(sequence(), 1..12)
}

fn compute(objective: &Objective, batch: &[Owned]) -> Evaluation<f64> {
    let views: Vec<_> = batch.iter().map(Owned::view).collect();
    objective.compute(&views).expect("valid input")
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

proptest! {
    #[test]
    fn every_output_has_the_shape_of_its_input_and_is_finite(objective in objective(), batch in batch()) {
        let evaluation = compute(&objective, &batch);
        prop_assert!(evaluation.loss.is_finite());
        for (i, sequence) in batch.iter().enumerate() {
            prop_assert_eq!(evaluation.d_log_probs(i).len(), sequence.tokens.len());
            prop_assert!(evaluation.d_log_probs(i).iter().all(|d| d.is_finite()));
        }
        for column in [&evaluation.advantages, &evaluation.residuals, &evaluation.weights, &evaluation.log_z, &evaluation.d_log_z] {
            prop_assert_eq!(column.len(), batch.len());
            prop_assert!(column.iter().all(|x| x.is_finite()));
        }
        for (name, value) in evaluation.diagnostics.metrics() {
            prop_assert!(value.is_finite(), "{} is {}", name, value);
        }
    }

    #[test]
    fn reordering_sequences_reorders_the_outputs(objective in objective(), batch in batch(), seed in any::<u64>()) {
        let mut order: Vec<usize> = (0..batch.len()).collect();
        order.sort_by_key(|&i| (seed ^ (i as u64)).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let moved: Vec<_> = order.iter().map(|&i| batch[i].clone()).collect();
        let (before, after) = (compute(&objective, &batch), compute(&objective, &moved));
        prop_assert!(close(before.loss, after.loss));
        // An unbounded weight can multiply a residual near 0, and magnifies its rounding as much.
        let largest = before.weights.iter().copied().fold(1.0, f64::max);
        let close = |a: f64, b: f64| close(a / largest, b / largest);
        for (new, &old) in order.iter().enumerate() {
            prop_assert!(close(before.residuals[old], after.residuals[new]));
            prop_assert!(close(before.advantages[old], after.advantages[new]));
            prop_assert!(close(before.d_log_z[old], after.d_log_z[new]));
            for (a, b) in before.d_log_probs(old).iter().zip(after.d_log_probs(new)) {
                prop_assert!(close(*a, *b));
            }
        }
    }

    #[test]
    fn single_precision_agrees_with_double(options in bounded(), mut batch in batch()) {
        // Skip batches with a ratio so close to a bound of the mask that rounding could flip the comparison.
        let near = |t: &(f64, f64, f64), bound: f64| (t.0 - t.2 - bound.ln()).abs() < 1e-4;
        let flips = |t| near(t, options.token_clip_low) || near(t, options.token_clip_high);
        prop_assume!(!batch.iter().flat_map(|s| &s.tokens).any(flips));
        // These rewards are exact in both types, so that equal rewards are equal in both.
        batch.iter_mut().for_each(|s| s.reward = (s.reward * 64.0).round() / 64.0);
        let narrow: Vec<[Vec<f32>; 3]> =
            batch.iter().map(|s| s.columns.each_ref().map(|c| c.iter().map(|&x| x as f32).collect())).collect();
        let views: Vec<_> = batch.iter().zip(&narrow).map(|(s, [l, l_ref, l_old])| Sequence {
            group: s.group,
            reward: s.reward as f32,
            log_probs: &l[..],
            ref_log_probs: Some(&l_ref[..]),
            old_log_probs: Some(&l_old[..]),
            log_flows: None,
            log_z: Some(s.log_z as f32),
            value: None,
            ..Sequence::default()
        }).collect();
        let objective = Objective::FlowRl(options);
        let (single, double) = (objective.compute(&views).expect("valid input"), compute(&objective, &batch));
        for i in 0..batch.len() {
            let (a, b) = (f64::from(single.residuals[i]), double.residuals[i]);
            prop_assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "residual {}: {} against {}", i, a, b);
        }
    }

    #[test]
    fn parts_add_up_to_the_whole(objective in objective(), mut batch in batch(), size in 1..5_usize) {
        batch.sort_by_key(|s| s.group);
        let whole = compute(&objective, &batch);
        let packed = Packed::new(&objective, &batch);
        // Cut only between groups.
        let mut cuts: Vec<usize> = (1..batch.len()).filter(|&i| batch[i].group != batch[i - 1].group).step_by(size).collect();
        cuts.insert(0, 0);
        cuts.push(batch.len());
        let mut merged = Diagnostics::default();
        let mut d_log_probs = Vec::new();
        for cut in cuts.windows(2) {
            let part = packed.batch().part(cut[0]..cut[1]).expect("a range inside");
            let (diagnostics, d) = evaluate(&objective, &part, packed.batch().totals());
            merged.merge(&diagnostics);
            d_log_probs.extend(d);
        }
        let wanted: Vec<f64> = (0..batch.len()).flat_map(|i| whole.d_log_probs(i).to_vec()).collect();
        prop_assert_eq!(d_log_probs, wanted, "gradients of parts are those of the whole, bit for bit");
        prop_assert!(close(merged.loss, whole.loss));
        let names = |d: &Diagnostics| d.metrics().map(|(name, _)| name).collect::<Vec<_>>();
        prop_assert_eq!(names(&merged), names(&whole.diagnostics));
        for ((name, a), (_, b)) in merged.metrics().zip(whole.diagnostics.metrics()) {
            prop_assert!(close(a, b), "{}: {} against {}", name, a, b);
        }
    }

    #[test]
    fn an_extreme_log_weight_is_finite_where_a_bound_is_set(
        log_weight in prop_oneof![Just(1e4), Just(-1e4), -1e4..1e4_f64],
        importance in prop::sample::select(&[Importance::Sequence, Importance::Geometric][..]),
        log_z in prop::sample::select(LogZ::ALL).prop_filter("has no weights", |log_z| *log_z != LogZ::Pairwise),
        clip_low in prop::option::of(Just(0.8)),
    ) {
        let options = FlowRl::default().with_importance(importance).with_log_z(log_z).with_clip_low(clip_low).with_clip_high(Some(1.2));
        let (old, other) = ([-1.0 - log_weight], [-1.0]);
        let sequence = |reward, old| Sequence {
            reward, log_probs: &[-1.0], ref_log_probs: Some(&[-2.0]), old_log_probs: Some(old), log_z: Some(0.5), ..Sequence::default()
        };
        let evaluation = Objective::FlowRl(options).compute(&[sequence(1.0, &old), sequence(0.0, &other)]).expect("bounded");
        let wanted = log_weight.clamp(clip_low.map_or(f64::NEG_INFINITY, f64::ln), 1.2_f64.ln()).exp();
        prop_assert!(close(evaluation.weights[0], wanted));
        prop_assert!(evaluation.diagnostics.metrics().all(|(_, value)| value.is_finite()));
        prop_assert!(evaluation.log_z.iter().all(|z| z.is_finite()));
    }

    #[test]
    fn dropped_tokens_do_not_matter(batch in batch(), noise in -3.0..0.0_f64) {
        let options = FlowRl::default().with_token_mask(TokenMask::Cispo).with_log_z(LogZ::Given);
        let objective = Objective::FlowRl(options);
        let before = compute(&objective, &batch);
        // If the mask made a gradient zero, the reference log-probability of that token must not matter.
        let mut changed = batch.clone();
        for (i, sequence) in changed.iter_mut().enumerate() {
            for (t, d) in before.d_log_probs(i).iter().enumerate() {
                if *d == 0.0 && before.residuals[i] != 0.0 {
                    sequence.columns[1][t] = noise;
                }
            }
        }
        let after = compute(&objective, &changed);
        prop_assert_eq!(before.residuals, after.residuals);
        prop_assert_eq!(before.weights, after.weights);
    }
}

/// A batch in packed form.
struct Packed {
    offsets: Vec<usize>,
    groups: Vec<usize>,
    advantages: Vec<f64>,
    log_z: Vec<f64>,
    columns: [Vec<f64>; 3],
    masks: Vec<Mask>,
}

impl Packed {
    fn new(objective: &Objective, batch: &[Owned]) -> Self {
        let mut offsets = vec![0];
        for sequence in batch {
            offsets.push(offsets[offsets.len() - 1] + sequence.tokens.len());
        }
        let groups: Vec<_> = batch.iter().map(|s| s.group).collect();
        let rewards: Vec<_> = batch.iter().map(|s| s.reward).collect();
        let values: Vec<_> = batch.iter().map(|s| s.value).collect();
        let mut advantages = vec![0.0; batch.len()];
        let mut order = vec![0; batch.len()];
        let columns: [Vec<_>; 3] = [0, 1, 2].map(|c| batch.iter().flat_map(|s| s.columns[c].clone()).collect());
        let outcomes = Outcomes {
            rewards: &rewards,
            groups: &groups,
            values: Some(&values),
            truncated: None,
            offsets: Some(&offsets),
            ref_log_probs: Some(&columns[1]),
            old_log_probs: Some(&columns[2]),
        };
        let mut masks = vec![Mask::Out; batch.len()];
        objective.advantages(&outcomes, &mut order, &mut advantages, &mut masks).expect("valid input");
        Self { offsets, groups, advantages, log_z: batch.iter().map(|s| s.log_z).collect(), columns, masks }
    }

    fn batch(&self) -> Batch<'_, f64> {
        Batch {
            offsets: &self.offsets,
            groups: &self.groups,
            advantages: &self.advantages,
            log_probs: &self.columns[0],
            ref_log_probs: Some(&self.columns[1]),
            old_log_probs: Some(&self.columns[2]),
            log_flows: None,
            log_z: Some(&self.log_z),
            masks: Some(&self.masks),
            ..Batch::default()
        }
    }
}

fn evaluate(objective: &Objective, batch: &Batch<'_, f64>, totals: Totals) -> (Diagnostics, Vec<f64>) {
    let (b, n) = (batch.groups.len(), batch.log_probs.len());
    // The previous content of the buffers must not matter.
    let (mut d_log_probs, mut d_log_z, mut log_z) = (vec![f64::NAN; n], vec![f64::NAN; b], vec![f64::NAN; b]);
    let (mut residuals, mut weights, mut order) = (vec![f64::NAN; b], vec![f64::NAN; b], vec![usize::MAX; b]);
    let mut out = Gradients {
        d_log_probs: &mut d_log_probs,
        d_log_flows: &mut [],
        d_entropies: &mut [],
        d_log_z: &mut d_log_z,
        log_z: &mut log_z,
        residuals: &mut residuals,
        weights: &mut weights,
    };
    let diagnostics = objective.evaluate(batch, totals, &mut order, &mut out).expect("valid input");
    (diagnostics, d_log_probs)
}

#[test]
fn a_fully_masked_sequence_acts_as_an_empty_one() {
    let objective = Objective::preset(Preset::VerlPr3924);
    let sequence = |reward, log_probs, old| Sequence {
        reward,
        log_probs,
        ref_log_probs: Some(log_probs),
        old_log_probs: Some(old),
        log_flows: None,
        log_z: Some(0.25),
        ..Sequence::default()
    };
    // The first has a reward above the mean and every ratio above 1.28, and the second a reward below the mean and
    // every ratio below 0.8.
    let masked = [sequence(1.0, &[-1.0, -1.0], &[-2.0, -2.0]), sequence(0.0, &[-2.0], &[-1.0])];
    let empty = [sequence(1.0, &[], &[]), sequence(0.0, &[], &[])];
    let (masked, empty) = (objective.compute(&masked).expect("valid"), objective.compute(&empty).expect("valid"));
    assert_eq!(masked.residuals, empty.residuals);
    assert_eq!(masked.weights, empty.weights);
    assert_eq!(masked.d_log_z, empty.d_log_z);
    assert_eq!(masked.d_log_probs(0), [0.0, 0.0]);
    assert_eq!(masked.diagnostics.get("token_mask_fraction"), Some(1.0));
    assert_eq!(masked.diagnostics.get("inverse_length_mean"), None);
}

#[test]
fn a_group_of_one_keeps_its_raw_reward() {
    for objective in [Objective::preset(Preset::Paper), Objective::preset(Preset::Grpo)] {
        let mut out = [0.0; 3];
        let outcomes = Outcomes { rewards: &[0.7, 3.0, 3.0], groups: &[4, 1, 1], ..Outcomes::default() };
        objective.advantages(&outcomes, &mut [0; 3], &mut out, &mut [Mask::In; 3]).expect("valid input");
        assert_eq!(out, [0.7, 0.0, 0.0]);
    }
}

#[test]
fn long_sequences_keep_their_precision_in_single() {
    // The differences are about 1e-3 with a mean of 1e-5, over lengths close to the width of the accumulators and far
    // above it.
    for tokens in [1, 7, 8, 9, 100_003] {
        let noise = |t: usize| ((t * 7919) % 1000) as f32 / 1e6;
        let l: Vec<f32> = (0..tokens).map(|t| -1.0 - noise(t)).collect();
        let l_ref: Vec<f32> = (0..tokens).map(|t| -1.0 - noise(t + 1) + 1e-5).collect();
        let wanted: f64 = l.iter().zip(&l_ref).map(|(a, b)| f64::from(*a) - f64::from(*b)).sum();
        let options = FlowRl::exact_tb().with_log_z(LogZ::Zero);
        let sequence = Sequence { log_probs: &l, ref_log_probs: Some(&l_ref), ..Sequence::default() };
        let evaluation = Objective::FlowRl(options).compute(&[sequence]).expect("valid input");
        let got = f64::from(evaluation.residuals[0]);
        assert!((got - wanted).abs() <= 1e-6 * wanted.abs(), "{tokens} tokens: {got} against {wanted}");
    }
}
