//! Tests of the lab as a user runs it.

use std::path::Path;

mod landscape;

use crate::common::{
    TEXT, assert_described, assert_same_run, checkpoint, fails, kill_and_resume, ok, program, timeless,
};
use serde_json::Value;

const TASKS: [&str; 5] = ["bandit", "landscape", "hypergrid", "bits", "tree"];

/// Returns the flags of a task that is small enough for a test.
fn small(task: &str) -> Vec<&str> {
    let options: &[&str] = match task {
        "bandit" => &["--set", "size=16"],
        "landscape" => &["--set", "side=8"],
        "hypergrid" => &["--set", "side=5", "--set", "width=32"],
        "bits" => &["--set", "bits=6"],
        _ => &["--set", "task.length=3"],
    };
    [&["train", "--task", task, "--set", "batch=16"], options].concat()
}

fn number(record: &Value, name: &str) -> f64 {
    record[name].as_f64().unwrap_or_else(|| panic!("no {name} in {record}"))
}

fn records(run: &Path) -> Vec<Value> {
    timeless(run)
}

#[test]
fn every_task_leaves_what_it_promises_and_replays() {
    let directory = tempfile::tempdir().unwrap();
    for task in TASKS {
        let text = ok(&[&small(task)[..], &["--steps", "25", "--out", task]].concat(), directory.path());
        assert!(text.contains("Total variation") && text.contains("400 trajectories"), "{text}");
        let run = directory.path().join(task);
        assert_described(&run);
        let records = records(&run);
        let steps: Vec<u64> = records.iter().map(|record| record["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, [0, 10, 20, 25]);
        for record in &records {
            for name in
                ["l1", "tv", "kl", "reverse_kl", "jsd", "log_z_error", "entropy", "expected_reward", "modes_found"]
            {
                assert!(record[name].is_number(), "{task}: {name} in {record}");
            }
            assert!((number(record, "l1") - 2.0 * number(record, "tv")).abs() < 1e-12);
        }
        assert_eq!(number(&records[3], "trajectories"), 400.0);
        // The rollouts are the sampled objects with their actions.
        let rollouts = std::fs::read_to_string(run.join("rollouts.jsonl")).unwrap();
        assert_eq!(rollouts.lines().count(), 3 * 16);
        let row: Value = serde_json::from_str(rollouts.lines().next().unwrap()).unwrap();
        assert!(row["completion"].is_string() && row["completion_ids"].is_array() && row["step"] == 10, "{row}");
        let html = std::fs::read_to_string(run.join("report.html")).unwrap();
        for part in ["<h2>Learned distribution</h2>", "<h2>Distance to the target</h2>", "Total variation fell from"] {
            assert!(html.contains(part), "{task}: {part}");
        }
        assert!(!html.contains("<script") && !html.contains("http:") && !html.contains("NaN"));
        // The resolved configuration determines the whole run, and the number of threads changes nothing.
        let config = format!("{task}/config.toml");
        for (out, threads) in [("again", "1"), ("threads", "2")] {
            let out = format!("{task}-{out}");
            ok(&["train", "--config", &config, "--threads", threads, "--out", &out], directory.path());
            assert_same_run(&run, &directory.path().join(out), 25);
        }
    }
}

/// Tests that the default runs converge, and pins their first metrics. If these change, the results of every user
/// change, so this needs a reason and a line in the changelog.
#[test]
fn the_defaults_converge_and_their_values_are_stable() {
    let directory = tempfile::tempdir().unwrap();
    for (task, pinned) in PINNED {
        ok(&["train", "--task", task, "--out", task], directory.path());
        let records = records(&directory.path().join(task));
        for (record, wanted) in records.iter().zip(pinned) {
            let names = ["tv", "kl", "log_z_error", "expected_reward"];
            let found = names.map(|name| number(record, name));
            let near = found.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1e-3));
            assert!(near, "{task}, step {}: {names:?} are {found:?}, pinned {wanted:?}", record["step"]);
        }
        let last = records.last().unwrap();
        assert!(number(last, "tv") < 0.003 && number(last, "log_z_error").abs() < 0.01, "{task}: {last}");
        assert_eq!(last["modes_found"], last["modes"], "{task}");
    }
}

/// Expected `tv`, `kl`, `log_z_error` and `expected_reward` at steps 0, 10 and 20.
const PINNED: [(&str, [[f64; 4]; 3]); 5] = [
    (
        "bandit",
        [
            [0.8356736013, 5.280710863, -7.286013553, 0.2005302596],
            [0.648990863, 2.833145344, -6.274716923, 0.478568364],
            [0.3837613386, 0.9740768059, -5.202820728, 0.7367309916],
        ],
    ),
    (
        "landscape",
        [
            [0.6746916351, 1.432437224, -2.78641405, 0.2256628044],
            [0.6332151029, 1.228601513, -1.818714403, 0.262504087],
            [0.5794650018, 1.023567824, -1.065149926, 0.3043390708],
        ],
    ),
    (
        "hypergrid",
        [
            [0.7097740411, 1.575567179, -3.109060959, -1.010380235],
            [0.5710639062, 0.931173619, -2.116860703, -1.379445336],
            [0.5434625391, 0.8618430659, -1.290727452, -1.344604743],
        ],
    ),
    (
        "bits",
        [
            [0.4773868456, 0.7533820114, 3.462438261, -4.215820216],
            [0.4638017808, 0.7534250153, 2.46948347, -4.133355444],
            [0.4413868048, 0.6779093226, 1.531786596, -3.978512463],
        ],
    ),
    (
        "tree",
        [
            [0.6926809367, 1.932029953, -2.948124518, 0.3380371047],
            [0.6398310199, 1.546643457, -2.016958644, 0.4005131633],
            [0.5792350566, 1.203571122, -1.265243878, 0.4633230168],
        ],
    ),
];

#[test]
fn a_run_killed_at_any_moment_continues_to_the_same_bits() {
    let directory = tempfile::tempdir().unwrap();
    for task in ["hypergrid", "tree", "landscape"] {
        // The run is long enough to be killed, and its checkpoints fall between two records.
        let more = ["--steps", "1500", "--set", "save_every=33", "--set", "every=50"];
        let arguments = [&small(task)[..], &more].concat();
        let whole = format!("{task}-whole");
        ok(&[&arguments[..], &["--out", &whole]].concat(), directory.path());
        let killed = format!("{task}-killed");
        kill_and_resume(&arguments, &killed, &[30, 170, 60, 240, 110, 320], directory.path());
        assert_same_run(&directory.path().join(whole), &directory.path().join(killed), 1500);
    }
}

#[cfg(unix)]
#[test]
fn a_signal_saves_and_exits_143() {
    let directory = tempfile::tempdir().unwrap();
    let mut command =
        program(&[&small("hypergrid")[..], &["--steps", "1000000", "--out", "i"]].concat(), directory.path());
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let metrics = directory.path().join("i/metrics.jsonl");
    while std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 3 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let run = directory.path().join("i");
    let recorded = records(&run).last().unwrap()["step"].as_u64().unwrap();
    let saved = (recorded..recorded + 10).any(|step| checkpoint(&run, step).is_dir());
    assert!(saved && run.join("report.html").is_file(), "the last step is saved");
}

#[test]
fn baselines_collapse_and_compare_shows_it() {
    let directory = tempfile::tempdir().unwrap();
    for objective in ["exact-tb", "tba", "grpo", "reinforce++", "ppo", "dr-grpo"] {
        ok(&["train", "--task", "hypergrid", "--objective", objective, "--out", objective], directory.path());
    }
    let runs = ["exact-tb", "tba", "grpo", "reinforce++"];
    let text = ok(&[&["compare"][..], &runs, &["--json", "--out", "c.html"]].concat(), directory.path());
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["notes"], Value::Array(vec![]), "all are measured against one target");
    let after = |i: usize, name: &str| found["groups"][i]["metrics"][name]["after"]["mean"].as_f64().unwrap();
    for (i, name) in runs.iter().enumerate() {
        if i < 2 {
            assert!(after(i, "tv") < 0.01 && after(i, "modes_found") == 4.0, "{name}");
        } else {
            assert!(after(i, "tv") > 0.8 && after(i, "entropy") < 0.1 && after(i, "modes_found") <= 1.0, "{name}");
        }
    }
    let html = std::fs::read_to_string(directory.path().join("c.html")).unwrap();
    assert!(html.contains("<h3>Total variation</h3>"));
}

#[test]
fn balance_over_parts_and_both_backward_policies_converge() {
    let directory = tempfile::tempdir().unwrap();
    for (name, setting) in [
        ("sub", "objective.balance={sub-trajectory=0.9}"),
        ("detailed", "balance=detailed"),
        ("uniform", "backward=uniform"),
        ("tabular", "policy.kind=tabular"),
        ("explore", "exploration=0.1"),
    ] {
        let rate = if name == "tabular" { "optimizer.learning_rate=0.05" } else { "optimizer.learning_rate=0.001" };
        let arguments = ["train", "--task", "hypergrid", "--set", setting, "--set", rate, "--out", name, "--json"];
        let text = ok(&arguments, directory.path());
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert!(number(&last, "tv") < 0.01, "{name}: {last}");
    }
}

#[test]
fn length_normalisation_has_the_fixed_point_that_is_computed() {
    let directory = tempfile::tempdir().unwrap();
    let settings = ["--set", "objective.length=mean", "--set", "beta=2"];
    let text = ok(&[&["train", "--task", "tree", "--out", "t", "--json"][..], &settings].concat(), directory.path());
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(number(&last, "tv_fixed_point") < 0.01 && number(&last, "tv") > 0.05, "{last}");
    assert!(number(&last, "log_z_error").abs() < 0.01, "log Z converges to c: {last}");
}

#[test]
fn a_sweep_follows_the_exact_curve_and_skips_what_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let arguments =
        ["sweep", "--task", "bandit", "--set", "beta=1,4,0.5", "--set", "size=16", "--seeds", "2", "--out", "s"];
    let text = ok(&arguments, d);
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.starts_with("| beta | seeds | Total variation |") && text.contains("| 0.5 | 2 |"), "{text}");
    let before = std::fs::metadata(d.join("s/beta=4-seed1/metrics.jsonl")).unwrap().modified().unwrap();
    std::fs::remove_dir_all(d.join("s/beta=1-seed0")).unwrap();
    let found: Value = serde_json::from_str(&ok(&[&arguments[..], &["--json"]].concat(), d)).unwrap();
    assert_eq!(before, std::fs::metadata(d.join("s/beta=4-seed1/metrics.jsonl")).unwrap().modified().unwrap());
    assert_eq!(found["runs"].as_array().unwrap().len(), 6);
    for run in found["runs"].as_array().unwrap() {
        assert!(number(&run["metrics"], "tv") < 0.003, "{run}");
        let target = found["target"]
            .as_array()
            .unwrap()
            .iter()
            .find(|target| target["value"] == run["settings"]["beta"])
            .unwrap();
        assert_eq!(target["target_entropy"], run["metrics"]["target_entropy"]);
    }
    assert!(found["target"].as_array().unwrap().len() > 20, "the curve between the points");
    let html = std::fs::read_to_string(d.join("s/sweep.html")).unwrap();
    assert!(html.contains("Sweep over beta") && html.contains("<h3>Expected reward</h3>") && !html.contains("NaN"));
    // A sweep does not mistake another run in the same directory for its own.
    let error = fails(&[&arguments[..], &["--steps", "7"]].concat(), d);
    assert!(error.contains("holds another run"), "{error}");
}

#[test]
fn a_sweep_takes_any_number_and_names_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let text = ok(
        &[&["sweep", "--set", "optimizer.learning_rate=1e-4,1e-3", "--steps", "2", "--out", "s"][..], &TEXT].concat(),
        d,
    );
    assert!(text.contains("Success, exact"), "{text}");
    for (settings, wanted) in [
        (&["--set", "beta=3"][..], "nothing to sweep over"),
        (&["--set", "beta=1,2", "--set", "beta=1,2"], "given several values twice"),
        (&["--set", "beta=1,2", "--set", "objective.beta=1,3"], "are the same run"),
        (&["--objective", "exact-tb,gppo"], "gppo"),
        (&["--objective", "exact-tb,grpo", "--set", "beta=1,2"], "does not use beta"),
        (&["--set", "beta=1,1"], "twice"),
        (&["--set", "betta=1,2"], "betta"),
    ] {
        let error = fails(&[&["sweep", "--task", "bandit", "--out", "e"][..], settings].concat(), d);
        assert!(error.contains(wanted), "{settings:?}: {error}");
    }
    assert!(!d.join("e").exists(), "nothing is written for a mistake");
}

#[test]
fn keys_of_another_task_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let error = |arguments: &[&str]| fails(&[&["train"][..], arguments, &["--out", "x"]].concat(), d);
    for (arguments, wanted) in [
        (&["--task", "bits", "--set", "side=8"][..], &["task.side", "belongs to hypergrid", "task is bits"][..]),
        (&["--task", "hypergrid", "--set", "numbers=[3]"], &["task.numbers", "countdown"]),
        (&["--set", "side=8"], &["task.side", "belongs to hypergrid", "task is countdown"]),
        (&["--task", "tree", "--model", "m"], &["model.path", "countdown, prompts"]),
        (&["--task", "tree", "--rollouts", "r.jsonl"], &["train.rollouts", "countdown, prompts"]),
        (&["--task", "hypergrid", "--set", "task.sides=8"], &["task.sides", "kind, side, dim, reward"]),
        (&["--task", "hypergrid", "--set", "side=1"], &["side", "at least 2"]),
        (&["--task", "hypergrid", "--set", "side=x"], &["task.side", "usize"]),
        (&["--task", "hypergrid", "--set", "task.preset=ring"], &["task.preset", "belongs to bandit, landscape"]),
        (&["--task", "hypergrid", "--objective", "grpo", "--set", "kl=0.1"], &["kl", "no reference policy"]),
        (&["--task", "bits", "--set", "bits=30"], &["bits"]),
        (&["--task", "bits", "--set", "exploration=2"], &["exploration"]),
        (&["--task", "maze"], &["maze", "hypergrid"]),
        (&["--set", "task.kind=maze"], &["maze", "hypergrid"]),
    ] {
        let error = error(arguments);
        assert!(wanted.iter().all(|word| error.contains(word)), "{arguments:?}: {error}");
    }
    std::fs::write(d.join("c.toml"), "[train]\nsteps = 3\n\n[task]\nkind = \"bits\"\nbits = 8\nside = 8\n").unwrap();
    let said = error(&["--config", "c.toml"]);
    assert!(said.contains("c.toml:7: `task.side` belongs to hypergrid"), "{said}");
    assert!(!d.join("x").exists(), "nothing is written for a mistake");
}

#[test]
fn a_dry_run_shows_the_defaults_of_the_task_and_replays() {
    let directory = tempfile::tempdir().unwrap();
    for task in TASKS {
        let first = ok(&["train", "--task", task, "--dry-run", "--steps", "7"], directory.path());
        assert!(first.contains("preset = \"exact-tb\"") && first.contains("log_z = \"scalar\""), "{first}");
        assert!(!first.contains("max_number") && !first.contains("[model]") && first.contains("[policy]"), "{first}");
        std::fs::write(directory.path().join("c.toml"), &first).unwrap();
        assert_eq!(ok(&["train", "--dry-run", "--config", "c.toml"], directory.path()), first);
    }
}
