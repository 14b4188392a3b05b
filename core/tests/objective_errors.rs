//! Each bad input gives its own error, and the message says where the input is wrong.

use flowrl_core::objective::{
    Balance, Batch, Error, Evaluation, FlowRl, Gradients, Length, LogZ, Mask, Objective, Outcomes, PolicyGradient,
    Preset, Sequence, Shape, TokenMask, Totals, value_loss,
};

/// Computes the advantages of two answers to one prompt.
fn advantages_of(objective: &Objective, rewards: &[f64; 2], order: &mut [usize]) -> Result<(), Error> {
    let outcomes = Outcomes { rewards, groups: &[0, 0], ..Outcomes::default() };
    objective.advantages(&outcomes, order, &mut [0.0; 2], &mut [Mask::In; 2])
}

/// Evaluates two sequences of lengths 2 and 1 after `change`.
fn evaluate(objective: Objective, change: impl FnOnce(&mut Batch<'_, f64>, &mut Totals)) -> Result<(), Error> {
    let mut batch = Batch {
        offsets: &[0, 2, 3],
        groups: &[0, 0],
        advantages: &[1.0, -1.0],
        log_probs: &[-1.0, -2.0, -3.0],
        ref_log_probs: Some(&[-1.5, -1.0, -2.0]),
        old_log_probs: Some(&[-1.0, -2.5, -3.0]),
        log_flows: None,
        log_z: Some(&[0.1, 0.1]),
        ..Batch::default()
    };
    let mut totals = batch.totals();
    change(&mut batch, &mut totals);
    let (mut d_log_probs, mut d_log_z, mut log_z) = ([0.0; 3], [0.0; 2], [0.0; 2]);
    let (mut residuals, mut weights) = ([0.0; 2], [0.0; 2]);
    let mut out = Gradients {
        d_log_probs: &mut d_log_probs,
        d_log_flows: &mut [],
        d_entropies: &mut [],
        d_log_z: &mut d_log_z,
        log_z: &mut log_z,
        residuals: &mut residuals,
        weights: &mut weights,
    };
    objective.evaluate(&batch, totals, &mut [0; 2], &mut out).map(|_| ())
}

fn paper() -> Objective {
    Objective::preset(Preset::Paper)
}

#[track_caller]
fn assert_says(result: Result<(), Error>, parts: &[&str]) {
    let message = result.expect_err("must be refused").to_string();
    for part in parts {
        assert!(message.contains(part), "`{message}` does not say `{part}`");
    }
}

#[test]
fn the_untouched_batch_is_fine() {
    assert_eq!(evaluate(paper(), |_, _| ()), Ok(()));
}

#[test]
fn lengths() {
    assert_says(evaluate(paper(), |b, _| b.offsets = &[0, 2]), &["`offsets`", "2 elements", "3 offsets"]);
    assert_says(evaluate(paper(), |b, _| b.advantages = &[1.0]), &["`advantages`", "1 elements", "2 sequences"]);
    assert_says(evaluate(paper(), |b, _| b.log_probs = &[-1.0; 4]), &["`log_probs`", "4 elements", "3 tokens"]);
    assert_says(
        evaluate(paper(), |b, _| b.ref_log_probs = Some(&[-1.0])),
        &["`ref_log_probs`", "1 elements", "3 tokens"],
    );
    assert_says(evaluate(paper(), |b, _| b.old_log_probs = Some(&[])), &["`old_log_probs`", "0 elements", "3 tokens"]);
    assert_says(evaluate(paper(), |b, _| b.log_z = Some(&[0.0])), &["`log_z`", "1 elements", "2 sequences"]);
    let short = advantages_of(&paper(), &[1.0, 0.0], &mut [0; 1]);
    assert_says(short, &["`order`", "1 elements", "2 sequences"]);
    let uneven = Sequence { log_probs: &[-1.0, -1.0], ref_log_probs: Some(&[-1.0]), ..Sequence::default() };
    assert_says(paper().compute(&[uneven]).map(|_| ()), &["`ref_log_probs`", "1 elements", "2 tokens"]);
    assert_says(value_loss(&[1.0], &[0.5, 0.5], 2, &mut [0.0; 2]).map(|_| ()), &["`values`"]);
}

#[test]
fn offsets_that_do_not_ascend() {
    let result = evaluate(paper(), |b, _| b.offsets = &[0, 3, 2]);
    assert_eq!(result, Err(Error::Offsets { index: 2, got: 2, previous: 3 }));
}

#[test]
fn totals_smaller_than_the_part() {
    assert_says(evaluate(paper(), |_, t| t.sequences = 1), &["totals.sequences", "1", "2"]);
    assert_says(evaluate(paper(), |_, t| t.tokens = 0), &["totals.tokens", "0", "3"]);
}

#[test]
fn a_part_outside_the_batch() {
    let batch = Batch {
        offsets: &[0, 1],
        groups: &[0],
        advantages: &[0.0],
        log_probs: &[-1.0],
        ref_log_probs: None,
        old_log_probs: None,
        log_flows: None,
        log_z: None,
        ..Batch::default()
    };
    assert!(batch.part(0..1).is_ok());
    assert!(matches!(batch.part(0..2), Err(Error::Length { argument: "sequences", .. })));
    assert!(batch.part(1..1).is_ok_and(|part| part.totals() == Totals { sequences: 0, tokens: 0 }));
}

#[test]
fn values_that_are_not_finite_are_located() {
    let nan = f64::NAN;
    let at = |argument, token| move |error: Error| matches!(error, Error::NonFinite { argument: a, sequence: 1, token: t, .. } if a == argument && t == token);
    let refused =
        |change: fn(&mut Batch<'_, f64>, &mut Totals)| evaluate(paper(), change).expect_err("must be refused");
    assert!(at("log_probs", Some(0))(refused(|b, _| b.log_probs = &[-1.0, -1.0, f64::NAN])));
    assert!(at("ref_log_probs", Some(0))(refused(|b, _| b.ref_log_probs = Some(&[-1.0, -1.0, f64::NEG_INFINITY]))));
    assert!(at("old_log_probs", Some(0))(refused(|b, _| b.old_log_probs = Some(&[-1.0, -1.0, f64::INFINITY]))));
    assert!(at("advantages", None)(refused(|b, _| b.advantages = &[0.0, f64::NAN])));
    assert!(at("log_z", None)(refused(|b, _| b.log_z = Some(&[0.0, f64::NAN]))));
    let rewards = advantages_of(&paper(), &[0.0, nan], &mut [0; 2]).expect_err("must be refused");
    assert!(at("rewards", None)(rewards));

    let bonus = Preset::Dapo.policy_gradient().unwrap().with_entropy(0.1);
    let sequence =
        |h| Sequence { log_probs: &[-1.0, -1.0], entropies: Some(h), truncated: false, ..Sequence::default() };
    let sequences = [sequence(&[0.0, 0.5]), sequence(&[0.0, f64::NAN])];
    let error = Objective::from(bonus).compute(&sequences).expect_err("must be refused");
    assert!(at("entropies", Some(1))(error));

    // This NaN is deep inside a long sequence that has no reference.
    let mut log_probs = [-1.0; 100];
    log_probs[77] = nan;
    let sequence = Sequence { log_probs: &log_probs, ..Sequence::default() };
    let error = Objective::preset(Preset::Reinforce).compute(&[sequence]).expect_err("must be refused");
    assert!(matches!(error, Error::NonFinite { argument: "log_probs", sequence: 0, token: Some(77), .. }), "{error}");
    assert_says(Err(error), &["`log_probs`", "sequence 0", "token 77", "NaN"]);
}

#[test]
fn missing_inputs() {
    assert_says(evaluate(paper(), |b, _| b.ref_log_probs = None), &["`ref_log_probs` is missing"]);
    assert_says(evaluate(paper(), |b, _| b.log_z = None), &["`log_z` is missing", "group-mean"]);
    assert_says(evaluate(Objective::preset(Preset::Grpo), |b, _| b.ref_log_probs = None), &["`ref_log_probs`", "`kl`"]);
    let ppo = Objective::preset(Preset::Ppo);
    assert_says(advantages_of(&ppo, &[1.0, 0.0], &mut [0; 2]), &["`values` is missing"]);
    let bonus = Preset::Dapo.policy_gradient().expect("one").with_entropy(0.1);
    assert_says(evaluate(bonus.into(), |_, _| ()), &["`entropies` is missing", "`entropy`", "forward pass"]);
    let given = |b: &mut Batch<'_, f64>, _: &mut Totals| b.entropies = Some(&[0.1; 3]);
    assert_says(evaluate(bonus.into(), given), &["`d_entropies`", "0 elements", "3 tokens"]);
    assert_eq!(evaluate(bonus.with_entropy(0.0).into(), |_, _| ()), Ok(()));
    // Nothing is missing on policy, or for an estimator that needs no input.
    assert_eq!(evaluate(paper(), |b, _| b.old_log_probs = None), Ok(()));
    assert_eq!(evaluate(Objective::preset(Preset::VarGrad), |b, _| b.log_z = None), Ok(()));

    let complete =
        Sequence { log_probs: &[-1.0], ref_log_probs: Some(&[-1.0]), log_z: Some(0.0), ..Sequence::default() };
    let mixed = [Sequence { old_log_probs: Some(&[-1.0]), ..complete }, complete];
    assert_says(paper().compute(&mixed).map(|_| ()), &["`old_log_probs` is missing for sequence 1"]);
}

#[test]
fn an_unbounded_weight_that_overflows_names_the_sequence_and_the_cure() {
    let far = |b: &mut Batch<'_, f64>, _: &mut Totals| b.old_log_probs = Some(&[-1.0, -2.0, -1e4]);
    assert_says(evaluate(Objective::preset(Preset::Official), far), &["sequence 1", "9997", "`clip_high`"]);
    assert_eq!(evaluate(paper(), far), Ok(()));

    // e^100 fits in double precision but not in single precision.
    let single = Sequence {
        log_probs: &[-1.0_f32],
        ref_log_probs: Some(&[-1.0]),
        old_log_probs: Some(&[-101.0]),
        log_flows: None,
        log_z: Some(0.0),
        ..Sequence::default()
    };
    let error = Objective::preset(Preset::Official).compute(&[single]).expect_err("must be refused");
    assert!(matches!(error, Error::WeightOverflow { sequence: 0, .. }), "{error}");
}

#[test]
fn a_token_beyond_the_greatest_ratio_has_no_gradient_and_is_counted() {
    // If the reward is below the mean, the loss itself has no upper bound on the ratio.
    let of = |far: f32| {
        let old = [-1.0 - far, -1.0];
        let bad = Sequence { log_probs: &[-1.0_f32, -1.0], old_log_probs: Some(&old), ..Sequence::default() };
        let good = Sequence { reward: 1.0, log_probs: &[-1.0], old_log_probs: Some(&[-1.0]), ..Sequence::default() };
        ["reinforce++", "dapo"].map(|name| name.parse::<Objective>().unwrap().compute(&[bad, good]).expect("finite"))
    };
    for (far, near) in of(98.0).iter().zip(of(19.9)) {
        assert_eq!(far.d_log_probs(0)[0], 0.0);
        assert!(far.d_log_probs(0)[1] > 0.0 && near.d_log_probs(0)[0] > 1e7);
        let get = |name, of: &Evaluation<f32>| of.diagnostics.get(name).unwrap();
        assert_eq!((get("outlier_tokens", far), get("outlier_tokens", &near)), (1.0 / 3.0, 0.0));
        assert!(get("token_gradient_share", &near) > 0.999 && get("token_gradient_share", far) < 0.8);
    }
}

#[test]
fn a_result_that_overflows() {
    let options = FlowRl::default().with_beta(1e200);
    assert_says(evaluate(Objective::FlowRl(options), |b, _| b.advantages = &[1e200, 0.0]), &["residual", "sequence 0"]);
}

#[test]
fn options_out_of_range() {
    let flowrl = |options| Objective::FlowRl(options).validate().map_err(|e| e.to_string());
    let refused = [
        (FlowRl::default().with_beta(f64::NAN), "beta"),
        (FlowRl::default().with_length(Length::Fixed(0)), "length"),
        (FlowRl::default().with_reward_ddof(2), "reward_ddof"),
        (FlowRl::default().with_reward_eps(-1.0), "reward_eps"),
        (FlowRl::default().with_clip_low(Some(-0.1)), "clip_low"),
        (FlowRl::default().with_clip_high(Some(0.5)), "clip_high"),
        (FlowRl::default().with_token_clip_high(0.0), "token_clip_high"),
        (FlowRl::default().with_huber_delta(0.0), "huber_delta"),
    ];
    for (options, name) in refused {
        let message = flowrl(options).expect_err(name);
        assert!(message.contains(&format!("`{name}`")), "{message}");
        assert!(evaluate(Objective::FlowRl(options), |_, _| ()).is_err(), "evaluate checks too");
    }
    let grpo = Preset::Grpo.policy_gradient().unwrap();
    assert_says(Objective::from(grpo.with_kl(-1.0)).validate(), &["`kl`", "-1"]);
    assert_says(Objective::from(grpo.with_entropy(-1.0)).validate(), &["`entropy`", "-1"]);
}

#[test]
fn names() {
    for preset in Preset::ALL {
        assert!(!preset.description().is_empty());
        assert_eq!(preset.name().parse(), Ok(Objective::preset(*preset)));
        assert!(Objective::preset(*preset).validate().is_ok());
    }
    assert_eq!("flowrl".parse(), Ok(Objective::default()));
    assert_eq!("vargrad".parse::<Objective>().map(|o| o.log_z()), Ok(Some(LogZ::GroupMean)));
    let Err(Error::UnknownName { wanted, .. }) = "papper".parse::<Objective>() else { panic!("must be refused") };
    assert_eq!(wanted, Preset::NAMES, "the error lists what parses");
}

#[test]
fn options_that_exclude_each_other() {
    let flows = FlowRl::exact_tb().with_balance(Balance::Detailed);
    let pairs = FlowRl::exact_tb().with_log_z(LogZ::Pairwise);
    let masked = FlowRl::default().with_token_mask(TokenMask::Cispo);
    for (options, option, with) in [
        (flows.with_length(Length::Mean), "length", "balance"),
        (flows.with_token_mask(TokenMask::Cispo), "token_mask", "balance"),
        (flows.with_shape(Shape::Huber), "shape", "balance"),
        (flows.with_reference_power(2.0), "reference_power", "balance"),
        (flows.with_residual_clip_low(Some(0.2)), "residual_clip_low", "balance"),
        (flows.with_log_z(LogZ::Pairwise), "log_z", "balance"),
        (FlowRl::default().with_log_z(LogZ::Pairwise), "importance", "log_z"),
        (pairs.with_residual_clip_high(Some(0.2)), "residual_clip_high", "log_z"),
        (masked.with_residual_clip_low(Some(0.2)), "token_mask", "residual_clip_low"),
    ] {
        match Objective::from(options).validate() {
            Err(Error::Conflict { option: got, with: beside, .. }) => assert_eq!((got, beside), (option, with)),
            other => panic!("{option} with {with}: {other:?}"),
        }
    }
    assert!([flows, pairs, masked].iter().all(|options| Objective::from(*options).validate().is_ok()));
}

#[test]
fn options_of_policy_gradients_out_of_range() {
    let good = PolicyGradient::default();
    for (options, option) in [
        (good.with_dual_clip(Some(1.0)), "dual_clip"),
        (good.with_kl_max(Some(0.0)), "kl_max"),
        (good.with_mask_off_policy(Some(-1.0)), "mask_off_policy"),
        (good.with_rollout_max(f64::INFINITY), "rollout_max"),
        (good.with_rollout_min(3.0), "rollout_min"),
        (good.with_entropy(-1.0), "entropy"),
    ] {
        match Objective::from(options).validate() {
            Err(Error::Option { option: got, .. }) => assert_eq!(got, option),
            other => panic!("{option}: {other:?}"),
        }
    }
    assert!(Objective::from(good).validate().is_ok());
}
