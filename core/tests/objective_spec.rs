//! Options of objectives in files.
#![cfg(feature = "serde")]

use flowrl_core::objective::file::BatchFile;
use flowrl_core::objective::{
    Aggregate, Balance, Bound, Error, FlowRl, Length, LogZ, Objective, ObjectiveSpec, Preset, Shape,
};

fn parse(json: &str) -> ObjectiveSpec {
    serde_json::from_str(json).expect("valid JSON")
}

fn flowrl(json: &str) -> FlowRl {
    match parse(json).resolve().expect("valid options") {
        Objective::FlowRl(options) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_set_is_the_paper() {
    assert_eq!(flowrl("{}"), FlowRl::default());
    assert_eq!(flowrl(r#"{"kind": "flowrl", "preset": "tba"}"#), Preset::Tba.flowrl().unwrap());
}

#[test]
fn balance_has_a_name_or_a_lambda() {
    let sums = r#""preset": "exact-tb", "log_z": "given""#;
    for (text, wanted) in [
        (r#""trajectory""#, Balance::Trajectory),
        (r#"{"sub-trajectory": 0.9}"#, Balance::SubTrajectory(0.9)),
        (r#""detailed""#, Balance::Detailed),
    ] {
        let options = flowrl(&format!(r#"{{{sums}, "balance": {text}}}"#));
        assert_eq!(options.balance, wanted);
        let written = serde_json::to_string(&ObjectiveSpec::from(&Objective::FlowRl(options))).expect("plain data");
        assert_eq!(flowrl(&written), options);
    }
    assert!(matches!(parse(r#"{"balance": "detailed"}"#).resolve(), Err(Error::Conflict { option: "length", .. })));

    // e = (0.5 + 0.25 − 0.1, 0.1 − 0.25 − 1), and the loss is the mean of their squares.
    let batch = format!(
        r#"{{"objective": {{{sums}, "balance": "detailed"}}, "sequences": [{{"group": 0, "reward": 1, "log_z": 0.5,
            "logp": [-1, -0.5], "ref_logp": [-1.25, -0.25], "log_flow": [9, 0.1]}}]}}"#
    );
    let result = serde_json::from_str::<BatchFile>(&batch).expect("a batch").evaluate::<f64>().expect("good input");
    assert!((result.loss - (0.65 * 0.65 + 1.15 * 1.15) / 2.0).abs() < 1e-12);
    let flows = &result.sequences[0].d_log_flow;
    assert!(flows[0] == 0.0 && (flows[1] - (-0.65 - 1.15)).abs() < 1e-12, "{flows:?}");
}

#[test]
fn values_are_spelled_as_documented() {
    let options =
        flowrl(r#"{"beta": 3, "length": {"fixed": 32}, "log_z": "leave-one-out", "shape": "huber", "huber_delta": 2}"#);
    let wanted = FlowRl::default()
        .with_beta(3.0)
        .with_length(Length::Fixed(32))
        .with_log_z(LogZ::LeaveOneOut)
        .with_shape(Shape::Huber)
        .with_huber_delta(2.0);
    assert_eq!(options, wanted);
    let spec = parse(r#"{"kind": "reinforce++", "aggregate": {"fixed": 64}, "kl": 0.1}"#);
    let wanted = Preset::ReinforcePlusPlus.policy_gradient().unwrap().with_aggregate(Aggregate::Fixed(64)).with_kl(0.1);
    assert_eq!(spec.resolve(), Ok(Objective::PolicyGradient(wanted)));
}

#[test]
fn an_absent_bound_is_not_an_absent_key() {
    assert_eq!(flowrl(r#"{"clip_low": null}"#).clip_low, Bound::Absent);
    assert_eq!(flowrl(r#"{"clip_low": "none"}"#).clip_low, Bound::Absent);
    assert_eq!(flowrl(r#"{"clip_high": 2}"#).clip_high, Bound::At(2.0));
    assert_eq!(flowrl("{}").clip_low, Bound::At(0.8));
    assert!(serde_json::from_str::<ObjectiveSpec>(r#"{"clip_low": "off"}"#).is_err());
}

#[test]
fn mistakes_are_refused() {
    let unknown = serde_json::from_str::<ObjectiveSpec>(r#"{"betta": 3}"#).expect_err("unknown key").to_string();
    assert!(unknown.contains("betta") && unknown.contains("beta"), "{unknown}");
    let value = serde_json::from_str::<ObjectiveSpec>(r#"{"log_z": "mean"}"#).expect_err("unknown value").to_string();
    assert!(value.contains("group-mean"), "{value}");
    let both = parse(r#"{"kind": "grpo", "preset": "paper"}"#).resolve();
    assert_eq!(both, Err(Error::TwoPresets { preset: "paper", kind: "grpo" }));
    assert!(matches!(parse(r#"{"huber_delta": -1}"#).resolve(), Err(Error::Option { option: "huber_delta", .. })));
}

#[test]
fn unused_keys_are_listed() {
    let unused = |json| parse(json).unused().expect("valid options");
    assert_eq!(unused(r#"{"beta": 3, "huber_delta": 2, "kl": 0.1}"#), ["huber_delta", "kl"]);
    assert_eq!(unused(r#"{"shape": "huber", "huber_delta": 2}"#), [""; 0]);
    assert_eq!(unused(r#"{"kind": "dapo", "beta": 3, "log_z": "zero"}"#), ["beta", "log_z"]);
    assert_eq!(unused(r#"{"preset": "tba", "clip_low": 0.5, "reward_eps": 0}"#), ["reward_eps", "clip_low"]);
    assert_eq!(unused(r#"{"kind": "reinforce", "clip_high": 2}"#), ["clip_high"]);
}

#[test]
fn a_resolved_objective_replays() {
    for objective in Preset::ALL.iter().map(|&preset| Objective::preset(preset)) {
        let spec = ObjectiveSpec::from(&objective);
        let json = serde_json::to_string(&spec).expect("serialises");
        assert!(!json.contains("null"), "TOML has no null: {json}");
        assert_eq!(parse(&json), spec);
        assert_eq!(spec.resolve(), Ok(objective), "{json}");
        assert_eq!(spec.unused().expect("valid"), [""; 0]);
    }
    let spec = ObjectiveSpec::from(&Objective::preset(Preset::VerlRecipe));
    assert_eq!(
        (spec.preset, spec.clip_low, spec.clip_high),
        (Some(Preset::VerlRecipe), Some(Bound::Absent), Some(Bound::At(10.0)))
    );
    let mine = Objective::from(FlowRl::default().with_beta(7.0));
    assert_eq!(ObjectiveSpec::from(&mine).resolve(), Ok(mine));
}

#[test]
fn a_kind_is_another_name_of_a_preset() {
    for &preset in Preset::ALL {
        let named = |key| parse(&format!(r#"{{"{key}": "{preset}"}}"#)).resolve();
        assert_eq!(named("kind"), Ok(Objective::preset(preset)));
        assert_eq!(named("preset"), named("kind"));
        let beside = parse(&format!(r#"{{"kind": "flowrl", "preset": "{preset}"}}"#)).resolve();
        assert_eq!(beside.is_ok(), preset.flowrl().is_some(), "{preset}");
    }
}

#[test]
fn a_batch_file_gives_entropies() {
    let batch = |entropy: &str| {
        let json = format!(
            r#"{{"objective": {{"preset": "dapo", "entropy": 0.5}}, "sequences": [
                {{"group": 0, "reward": 1, "logp": [-1, -2]{entropy}}}, {{"group": 0, "reward": 1, "logp": [-1], "entropy": [2]}}]}}"#
        );
        serde_json::from_str::<BatchFile>(&json).expect("valid").evaluate::<f64>()
    };
    // The rewards are equal, so the loss is the bonus alone.
    let json = serde_json::to_value(batch(r#", "entropy": [0.25, 0.75]"#).expect("valid")).expect("serialises");
    assert_eq!(json["loss"], -0.5);
    assert_eq!(json["sequences"][0]["d_logp"], serde_json::json!([0.0, 0.0]));
    assert_eq!(json["sequences"][0]["d_entropy"], serde_json::json!([-0.5 / 3.0, -0.5 / 3.0]));
    let error = batch("").expect_err("only one has it").to_string();
    assert!(error.contains("`entropies` is missing for sequence 0"), "{error}");
}

#[test]
fn a_batch_file_reports_metrics_by_name() {
    let file: BatchFile = serde_json::from_str(
        r#"{"objective": {"kind": "flowrl", "log_z": "given", "kl": 1}, "expected": 0,
            "sequences": [{"group": 0, "reward": 1, "log_z": 0.5, "logp": [-1], "ref_logp": [-1], "old_logp": [-1]}]}"#,
    )
    .expect("valid");
    let json = serde_json::to_value(file.evaluate::<f64>().expect("valid")).expect("serialises");
    assert_eq!(json["loss"], 14.5 * 14.5);
    assert_eq!(json["sequences"][0]["d_logp"][0], -29.0);
    assert_eq!(json["metrics"]["log_z_mean"], 0.5);
    assert_eq!(json["metrics"].get("token_mask_fraction"), None);
    let unknown = serde_json::from_str::<BatchFile>(
        r#"{"objective": {}, "sequences": [{"group": 0, "reward": 1, "logp": [], "ref": []}]}"#,
    );
    assert!(unknown.expect_err("unknown key").to_string().contains("ref_logp"));
}
