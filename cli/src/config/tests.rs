//! Tests of settings, files and the resolved configuration.

use toml::Table;

use super::keys::did_you_mean;
use super::settings::section_of;
use super::*;

#[test]
fn settings_override_the_file_and_a_resolved_config_replays() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.toml");
    std::fs::write(&file, "[objective]\npreset = \"verl-recipe\"\n[train]\nsteps = 3\n").unwrap();
    let settings = ["steps=7", "objective.beta=2.5", "numbers=[3, 4]"];
    let config = Config::load(Some(&file), &settings).unwrap();
    assert_eq!((config.train.steps, config.objective.beta), (7, Some(2.5)));
    assert_eq!(config.task.numbers, [3, 4]);
    std::fs::write(&file, config.to_toml().unwrap()).unwrap();
    let again = Config::load(Some(&file), &[]).unwrap();
    assert_eq!(again.objective().unwrap(), config.objective().unwrap());
    assert_eq!(again.to_toml().unwrap(), config.to_toml().unwrap());
}

#[test]
fn a_dry_run_shows_every_key() {
    for &kind in TaskKind::ALL {
        let text = Config::of(kind, false).to_annotated_toml().unwrap();
        assert_eq!(text.parse::<Table>().unwrap(), Config::of(kind, false).to_toml().unwrap().parse().unwrap());
        for (section, keys) in keys::of_task(kind) {
            for (key, _) in keys {
                let shown = text.lines().any(|line| line.trim_start_matches("# ").split(" = ").next() == Some(key));
                assert!(shown, "{kind}: {section}.{key} in:\n{text}");
            }
        }
    }
}

#[test]
fn every_objective_survives_its_file() {
    for name in Preset::NAMES {
        let objective: Objective = name.parse().unwrap();
        let config = Config { objective: ObjectiveSpec::from(&objective), ..Config::default() };
        let again: Config = toml::from_str(&config.to_toml().unwrap()).unwrap();
        assert_eq!(again.objective().unwrap(), objective, "{name}");
    }
}

#[test]
fn mistakes_are_named() {
    let error = |settings: &[&str]| {
        let config = Config::load(None, settings).map_err(|e| format!("{e:#}"));
        match config {
            Ok(config) => format!("{:#}", config.objective().unwrap_err()),
            Err(error) => error,
        }
    };
    assert!(error(&["stepps=3"]).contains("unknown option `stepps` (did you mean `steps`?)"));
    assert!(error(&["prompts=3"]).contains("task.prompts or train.prompts or eval.prompts"));
    assert!(error(&["train.setps=3"]).contains("setps"));
    assert!(error(&["objective.kind=grpo", "beta=3"]).contains("does not use beta"));
    assert!(error(&["steps=many"]).contains("steps") || error(&["steps=many"]).contains("invalid type"));
    assert!(error(&["steps"]).contains("key=value"));
}

#[test]
fn a_value_of_the_wrong_type_is_shown_with_its_key() {
    let said = |setting: &str| format!("{:#}", Config::load(None, &[setting]).unwrap_err());
    assert_eq!(said("train.steps=many"), "train.steps = \"many\": invalid type: string \"many\", expected u64");
    assert_eq!(
        said("sampling.temperature=true"),
        "sampling.temperature = true: invalid type: boolean `true`, expected f64"
    );
}

#[test]
fn variables_of_the_chat_template_are_an_open_table() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.toml");
    std::fs::write(&file, "[model.template]\neffort = \"low\"\nenable_thinking = true\n").unwrap();
    let settings = ["model.template.enable_thinking=false", "model.template.date=2024-07-26"];
    let config = Config::load(Some(&file), &settings).unwrap();
    let template = &config.model.template;
    assert_eq!((template["effort"].as_str(), template["enable_thinking"].as_bool()), (Some("low"), Some(false)));
    assert_eq!(template["date"].as_str(), Some("2024-07-26"));
    std::fs::write(&file, config.to_toml().unwrap()).unwrap();
    assert_eq!(Config::load(Some(&file), &[]).unwrap().model, config.model);
    let lab = ["task.kind=bandit", settings[0]];
    assert!(
        Config::load(None, &lab).unwrap_err().to_string().contains("`model.template` belongs to countdown, prompts")
    );
}

#[test]
fn the_table_of_keys_is_complete() {
    for &kind in TaskKind::ALL {
        let config = Config { objective: ObjectiveSpec::from(&Objective::default()), ..Config::of(kind, false) };
        let table = Table::try_from(&config).unwrap();
        let mut kept = table.clone();
        keys::retain(&mut kept, kind);
        for (section, all) in &table {
            for key in all.as_table().unwrap().keys() {
                let tasks = keys::tasks(section, key);
                assert!(!tasks.is_empty(), "{section}.{key} is in no row");
                let there = kept.get(section).and_then(|keys| keys.get(key)).is_some();
                assert_eq!(there, tasks.contains(&kind), "{section}.{key} of {kind}");
                match section_of(key, kind) {
                    Ok(found) => assert!(&found == section || !there, "{key} of {kind}"),
                    Err(error) => assert!(!there || error.to_string().contains(&format!("{section}.{key}")), "{error}"),
                }
            }
        }
    }
}

#[test]
fn every_task_has_defaults_that_replay() {
    for &kind in TaskKind::ALL {
        let config = Config::load(None, &[&format!("task.kind={kind}")]).unwrap();
        assert_eq!(config, Config::of(kind, false));
        let again: Config = toml::from_str(&config.to_toml().unwrap()).unwrap();
        assert_eq!(again.to_toml().unwrap(), config.to_toml().unwrap());
        assert_eq!(again.objective().unwrap(), config.objective().unwrap());
        let options = config.train_options().unwrap();
        assert_eq!(options.prompts == 1, kind.is_lab());
    }
}

#[test]
fn the_lab_takes_the_beta_of_its_task_where_the_preset_has_none() {
    let beta = |settings: &[&str]| match Config::load(None, settings).unwrap().objective().unwrap() {
        Objective::FlowRl(flow) => (flow.beta, flow.log_z),
        other => unreachable!("{other:?}"),
    };
    assert_eq!(beta(&["task.kind=bandit"]), (10.0, LogZ::Scalar));
    assert_eq!(beta(&["task.kind=landscape"]), (6.0, LogZ::Scalar));
    assert_eq!(beta(&["task.kind=bandit", "objective=tba"]), (10.0, LogZ::GroupMean));
    assert_eq!(beta(&["task.kind=bandit", "objective=paper"]), (15.0, LogZ::Scalar));
    assert_eq!(beta(&["task.kind=bandit", "beta=3"]), (3.0, LogZ::Scalar));
    assert_eq!(beta(&["objective=exact-tb"]), (1.0, LogZ::Network));
}

#[test]
fn options_that_exclude_each_other_are_refused_by_their_keys() {
    for (settings, wanted) in [
        (&["train.dynamic_sampling=2", "train.rollouts=rows.jsonl"][..], "train.dynamic_sampling is 2, but must be 0"),
        (&["train.prompt_order=pass-rate"], "log Z does not tell the pass rate"),
        (
            &[
                "train.prompt_order=pass-rate",
                "objective.preset=exact-tb",
                "objective.log_z=table",
                "train.rollouts=rows.jsonl",
            ],
            "stored completions (train.rollouts)",
        ),
        (&["train.overlong_penalty=0.5"], "train.overlong_buffer is 0"),
        (&["train.overlong_buffer=17"], "overlong_buffer must be at most max_tokens"),
        (&["train.dynamic_sampling=1", "train.samples=1"], "samples must be at least 2"),
    ] {
        let error = Config::load(None, settings).unwrap().train_options().unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let good = ["train.dynamic_sampling=2", "train.overlong_buffer=8", "train.overlong_penalty=0.5"];
    let options = Config::load(None, &good).unwrap().train_options().unwrap();
    assert_eq!((options.dynamic_sampling, options.overlong(12), options.overlong(16)), (2, 0.25, 0.5));
}

#[test]
fn only_what_is_alike_is_suggested() {
    let names = ["beta", "samples", "steps", "grpo"];
    assert_eq!(did_you_mean("beat", names), " (did you mean `beta`?)");
    assert_eq!(did_you_mean("grop", names), " (did you mean `grpo`?)");
    assert_eq!(did_you_mean("step", names), " (did you mean `steps`?)");
    assert_eq!(did_you_mean("quantization", names), "");
}
