//! Each bad input gives its own error, and the message says where.

use flowrl_core::objective::{
    Baseline, BaselineKind, Batch, Error, FlowRl, Gradients, Length, LogZ, Objective, Preset, Sequence, Totals,
    value_loss,
};

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
    };
    let mut totals = batch.totals();
    change(&mut batch, &mut totals);
    let (mut d_log_probs, mut d_log_z, mut log_z) = ([0.0; 3], [0.0; 2], [0.0; 2]);
    let (mut residuals, mut weights) = ([0.0; 2], [0.0; 2]);
    let mut out = Gradients {
        d_log_probs: &mut d_log_probs,
        d_log_flows: &mut [],
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
    let short = paper().advantages(&[1.0, 0.0], &[0, 0], None, &mut [0; 1], &mut [0.0; 2]);
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
    let rewards =
        paper().advantages(&[0.0, nan], &[0, 0], None, &mut [0; 2], &mut [0.0; 2]).expect_err("must be refused");
    assert!(at("rewards", None)(rewards));

    // Deep inside a long sequence, and without a reference to compare with.
    let mut log_probs = [-1.0; 100];
    log_probs[77] = nan;
    let sequence = Sequence { log_probs: &log_probs, ..Sequence::default() };
    let error = Objective::baseline(BaselineKind::Reinforce).compute(&[sequence]).expect_err("must be refused");
    assert!(matches!(error, Error::NonFinite { argument: "log_probs", sequence: 0, token: Some(77), .. }), "{error}");
    assert_says(Err(error), &["`log_probs`", "sequence 0", "token 77", "NaN"]);
}

#[test]
fn missing_inputs() {
    assert_says(evaluate(paper(), |b, _| b.ref_log_probs = None), &["`ref_log_probs` is missing"]);
    assert_says(evaluate(paper(), |b, _| b.log_z = None), &["`log_z` is missing", "group-mean"]);
    assert_says(
        evaluate(Objective::baseline(BaselineKind::Grpo), |b, _| b.ref_log_probs = None),
        &["`ref_log_probs`", "`kl`"],
    );
    let ppo = Objective::baseline(BaselineKind::Ppo);
    assert_says(ppo.advantages(&[1.0], &[0], None, &mut [0], &mut [0.0]), &["`values` is missing"]);
    // On policy, and an estimator that needs no input: nothing is missing.
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
    let token = Objective::Baseline(Baseline { clip_high: None, ..Baseline::new(BaselineKind::Dapo) });
    assert_says(evaluate(token, far), &["sequence 1", "`clip_high`"]);
    let sequence = Objective::Baseline(Baseline { clip_high: None, ..Baseline::new(BaselineKind::Gspo) });
    assert_says(evaluate(sequence, far), &["sequence 1", "`clip_high`"]);

    // e^100 is a double but not a single.
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
fn a_result_that_overflows() {
    let options = FlowRl { beta: 1e200, ..FlowRl::default() };
    assert_says(evaluate(Objective::FlowRl(options), |b, _| b.advantages = &[1e200, 0.0]), &["residual", "sequence 0"]);
}

#[test]
fn options_out_of_range() {
    let flowrl = |options| Objective::FlowRl(options).validate().map_err(|e| e.to_string());
    let refused = [
        (FlowRl { beta: f64::NAN, ..FlowRl::default() }, "beta"),
        (FlowRl { length: Length::Fixed(0), ..FlowRl::default() }, "length"),
        (FlowRl { reward_ddof: 2, ..FlowRl::default() }, "reward_ddof"),
        (FlowRl { reward_eps: -1.0, ..FlowRl::default() }, "reward_eps"),
        (FlowRl { clip_low: Some(-0.1), ..FlowRl::default() }, "clip_low"),
        (FlowRl { clip_high: Some(0.5), ..FlowRl::default() }, "clip_high"),
        (FlowRl { token_clip_high: 0.0, ..FlowRl::default() }, "token_clip_high"),
        (FlowRl { huber_delta: 0.0, ..FlowRl::default() }, "huber_delta"),
    ];
    for (options, name) in refused {
        let message = flowrl(options).expect_err(name);
        assert!(message.contains(&format!("`{name}`")), "{message}");
        assert!(evaluate(Objective::FlowRl(options), |_, _| ()).is_err(), "evaluate checks too");
    }
    let kl = Objective::Baseline(Baseline { kl: -1.0, ..Baseline::new(BaselineKind::Grpo) });
    assert_says(kl.validate(), &["`kl`", "-1"]);
}

#[test]
fn names() {
    for (name, description) in Objective::named() {
        assert!(!description.is_empty());
        let objective: Objective = name.parse().expect("a listed name parses");
        assert!(objective.validate().is_ok());
    }
    assert_eq!("flowrl".parse(), Ok(Objective::default()));
    assert_eq!("vargrad".parse::<Objective>().map(|o| o.log_z()), Ok(Some(LogZ::GroupMean)));
    let Err(Error::UnknownName { want, .. }) = "papper".parse::<Objective>() else { panic!("must be refused") };
    let listed: Vec<_> = std::iter::once("flowrl").chain(Objective::named().map(|(name, _)| name)).collect();
    assert_eq!(want, listed, "the error lists what parses");
}
