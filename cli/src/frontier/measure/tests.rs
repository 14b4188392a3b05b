//! Tests of missing runs, of results that are refused, and of the files of runs that end.

use super::*;

fn options(value: f64) -> String {
    objective_of(&METHODS[0].config(value, 0, STEPS).unwrap()).unwrap()
}

/// Returns options to measure a method with everything in a folder, one run after the other and without a limit.
fn of_ppo(program: PathBuf, folder: &Path) -> Options {
    Options {
        program,
        results: folder.join("results.jsonl"),
        folder: folder.join("runs"),
        at_once: 1,
        limit: None,
        methods: vec!["ppo".into()],
        most: None,
    }
}

#[test]
fn a_run_stands_until_an_option_of_it_changes() {
    let (mut frontier, all) = (Frontier::default(), choosing(&Frontier::default()).len());
    let run = |value: f64, options: String| Measured {
        method: METHODS[0].name.into(),
        value,
        seed: 0,
        steps: STEPS,
        options,
        version: String::new(),
        cpu_s: 0.0,
        at: Vec::new(),
    };
    let left = |frontier: &Frontier| missing(frontier, choosing(frontier)).unwrap().len();
    assert_eq!(left(&frontier), all);
    frontier.insert(run(8.0, options(8.0)));
    assert_eq!(left(&frontier), all - 1);
    // First an option that did not exist when the run was made, then one that has another value now.
    frontier.insert(run(8.0, options(8.0).replace(" shape=squared", "")));
    assert_eq!(left(&frontier), all - 1);
    frontier.insert(run(8.0, options(8.0).replace("length=sum", "length=mean")));
    assert_eq!((left(&frontier), frontier.runs.len()), (all, 1));
}

#[test]
fn results_of_other_settings_are_refused() {
    let (folder, now) = (tempfile::tempdir().unwrap(), common_of(&METHODS[0].config(1.0, 0, STEPS).unwrap()).unwrap());
    assert!(now.contains("train.prompts=16") && now.contains("optimizer.learning_rate=0.0001"), "{now}");
    assert!(!now.contains("seed=0 train") && !now.contains("steps="), "{now}");
    let results = folder.path().join("results.jsonl");
    let one = r#"{"method":"grpo","value":0,"seed":0,"steps":200,"options":"kl=0.0","version":"","cpu_s":1,"at":[]}"#;
    let head = |settings: &str| format!("{{\"settings\":\"{settings}\"}}\n{one}\n");
    let options = Options { limit: Some(Duration::ZERO), ..of_ppo("no-such-program".into(), folder.path()) };
    let answer = |settings: &str| {
        std::fs::write(&results, head(settings)).unwrap();
        measure(&options).map_err(|error| error.to_string())
    };
    let left = CHOOSING.len() + REPORTED.len() + 1;
    assert_eq!(answer(&now), Ok(left));
    let why = answer(&now.replace("train.prompts=16", "train.prompts=8")).unwrap_err();
    assert!(why.contains("train.prompts=8") && why.contains("remove the file"), "{why}");
    let unlimited = Options { limit: None, ..options.clone() };
    std::fs::write(&results, head(&now)).unwrap();
    assert!(measure(&unlimited).unwrap_err().to_string().contains("no-such-program"));
    let unknown = Options { methods: vec!["pppo".into()], ..options };
    assert!(measure(&unknown).unwrap_err().to_string().contains("ppo"));
}

#[cfg(unix)]
#[test]
fn a_run_that_ends_is_kept_and_its_folder_is_not() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let (program, results, runs) =
        (folder.path().join("program"), folder.path().join("results.jsonl"), folder.path().join("runs"));
    let record = r#"{"step":$step,"eval_success_exact":0.4123456789,"eval_kl_on_correct":0.05,"eval_pass_at_8":0.9,"eval_distinct_correct":3,"cpu_s":12.34}"#;
    let record = record.replace('"', "\\\"");
    // The program is called as `train --out DIRECTORY …`.
    let script = format!("#!/bin/sh\nfor step in $(seq 0 25 200); do echo \"{record}\"; done >\"$3/metrics.jsonl\"\n");
    // `cp` writes the program. If this process did, a process that another test starts meanwhile could inherit the open
    // file, and the program could not be executed (ETXTBSY).
    std::fs::write(folder.path().join("script"), script).unwrap();
    assert!(
        std::process::Command::new("cp").arg(folder.path().join("script")).arg(&program).status().unwrap().success()
    );
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let options = Options { most: Some(1), ..of_ppo(program, folder.path()) };
    let all = CHOOSING.len() + REPORTED.len() + 1;
    // A run that was begun with another configuration must not be resumed.
    let stale = runs.join("ppo,0-seed0-200");
    std::fs::create_dir_all(&stale).unwrap();
    std::fs::write(stale.join("config.toml"), "[train]\nsteps = 1\n").unwrap();
    for left in [all - 1, all - 2] {
        assert_eq!(measure(&options).unwrap(), left);
    }
    let frontier = Frontier::parse(&std::fs::read_to_string(&results).unwrap()).unwrap();
    let steps: Vec<u64> = frontier.runs[1].at.iter().map(|point| point.step).collect();
    assert_eq!((frontier.runs[1].seed, &steps[..]), (1, &[0, 25, 50, 100, 200][..]));
    assert_eq!((frontier.runs[0].at[1].success, frontier.runs[0].cpu_s), (0.412_346, 12.3));
    assert_eq!(std::fs::read_dir(&runs).unwrap().count(), 0, "the folders of runs that were read");
}
