//! Settings, files and the resolved configuration.

use toml::Table;

use super::settings::section_of;
use super::*;

#[test]
fn settings_override_the_file_and_a_resolved_config_replays() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.toml");
    std::fs::write(&file, "[objective]\npreset = \"verl-recipe\"\n[train]\nsteps = 3\n").unwrap();
    let settings = ["steps=7".to_owned(), "objective.beta=2.5".to_owned(), "numbers=[3, 4]".to_owned()];
    let config = Config::load(Some(&file), &settings).unwrap();
    assert_eq!((config.train.steps, config.objective.beta), (7, Some(2.5)));
    assert_eq!(config.task.numbers, [3, 4]);
    std::fs::write(&file, config.to_toml().unwrap()).unwrap();
    let again = Config::load(Some(&file), &[]).unwrap();
    assert_eq!(again.objective().unwrap(), config.objective().unwrap());
    assert_eq!(again.to_toml().unwrap(), config.to_toml().unwrap());
}

#[test]
fn every_objective_survives_its_file() {
    for (name, _) in Objective::named() {
        let objective: Objective = name.parse().unwrap();
        let config = Config { objective: ObjectiveSpec::from(&objective), ..Config::default() };
        let again: Config = toml::from_str(&config.to_toml().unwrap()).unwrap();
        assert_eq!(again.objective().unwrap(), objective, "{name}");
    }
}

#[test]
fn mistakes_are_named() {
    let error = |settings: &[&str]| {
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        let config = Config::load(None, &settings).map_err(|e| format!("{e:#}"));
        match config {
            Ok(config) => format!("{:#}", config.objective().unwrap_err()),
            Err(error) => error,
        }
    };
    assert!(error(&["setps=3"]).contains("no option is called `setps`"));
    assert!(error(&["prompts=3"]).contains("task.prompts or train.prompts or eval.prompts"));
    assert!(error(&["train.setps=3"]).contains("setps"));
    assert!(error(&["objective.kind=grpo", "beta=3"]).contains("does not use beta"));
    assert!(error(&["steps=many"]).contains("steps") || error(&["steps=many"]).contains("invalid type"));
    assert!(error(&["steps"]).contains("key=value"));
}

#[test]
fn the_table_of_sections_is_complete() {
    let config = Config { objective: ObjectiveSpec::from(&Objective::default()), ..Config::default() };
    let table: Table = config.to_toml().unwrap().parse().unwrap();
    for (section, keys) in &table {
        for key in keys.as_table().unwrap().keys() {
            match section_of(key, TaskKind::default()) {
                Ok(found) => assert_eq!(&found, section, "{key}"),
                Err(error) => assert!(error.to_string().contains(&format!("{section}.{key}")), "{error}"),
            }
        }
    }
}
