//! Verifiers of one's own, as a user names them.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::{fails, ok, run};

const REWARD: &str = "import sys\n\
print('loading', file=sys.stderr)\n\
def short(completion, **columns):\n    return 1.0 / (1 + len(completion))\n\
def right(prompts, completions, answer, **columns):\n\
\x20   return [None if c == '?' else float(str(a) in c) for a, c in zip(answer, completions)]\n";

/// Returns whether there is a Python here, and says so if there is none.
fn has_python() -> bool {
    let found =
        std::process::Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: there is no python3 here");
    }
    found
}

fn records(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

#[test]
fn judge_keeps_the_order_and_says_how_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [
        json!({"prompt": "2+2?", "completion": "It is 4", "answer": 4, "finish_reason": "stop", "id": "a"}),
        json!({"prompt": "2+3?", "completion": "It is 5", "answer": 5, "finish_reason": {"type": "length"}}),
        json!({"completion": "7", "answer": "8"}),
    ];
    std::fs::write(folder.path().join("rows.jsonl"), lines(&rows)).unwrap();
    let text = ok(&["judge", "--input", "rows.jsonl", "--verifier", "number"], folder.path());
    assert!(text.starts_with("1      1        correct"), "{text}");
    assert!(text.contains("3 rows, 3 with a reward: mean 0.3333, above 0 in 33.3 %"), "{text}");
    let output = run(&["judge", "--input", "rows.jsonl", "--verifier", "number", "--json"], folder.path());
    let judged: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let wanted = [("a", 1.0, "correct"), ("", 0.0, "unfinished"), ("", 0.0, "wrong")];
    for ((row, (id, reward, verdict)), given) in judged.iter().zip(wanted).zip(&rows) {
        assert_eq!((row["reward"].as_f64(), row["verdict"].as_str()), (Some(reward), Some(verdict)));
        assert_eq!((row["id"].as_str().unwrap_or(""), &row["completion"]), (id, &given["completion"]));
    }
    assert!(String::from_utf8(output.stderr).unwrap().contains("unfinished             1"));
}

#[test]
fn judge_shows_what_a_function_prints() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows.jsonl"), lines(&[json!({"completion": "abc"})])).unwrap();
    std::fs::write(folder.path().join("f.py"), "def f(completion):\n    print('seen', completion)\n    return 1\n")
        .unwrap();
    let output = run(&["judge", "--input", "rows.jsonl", "--verifier", "f.py"], folder.path());
    assert!(String::from_utf8(output.stderr).unwrap().contains("seen abc"));
}

#[test]
fn judge_names_what_is_wrong_with_a_row() {
    let folder = tempfile::tempdir().unwrap();
    for (row, wanted) in [
        (json!({"prompt": "q", "answer": 1}), "rows.jsonl:2: `completion` is missing; the row has `prompt`, `answer`"),
        (json!({"completion": 3, "answer": 1}), "rows.jsonl:2: `completion` is 3"),
        (json!({"completion": "3", "answer": "x"}), "rows.jsonl:2: `answer`"),
        (json!({"completion": "3", "answer": 1, "finish_reason": "tired"}), "`finish_reason` is \"tired\""),
    ] {
        std::fs::write(folder.path().join("rows.jsonl"), format!("{}\n{row}", json!({"completion": "3", "answer": 3})))
            .unwrap();
        let error = fails(&["judge", "--input", "rows.jsonl", "--verifier", "number"], folder.path());
        assert!(error.contains(wanted), "{error}");
    }
    let error = fails(&["judge", "--input", "rows.jsonl", "--verifier", "maths"], folder.path());
    assert!(error.contains("unknown verifier \"maths\": expected one of code, countdown"), "{error}");
}

/// Writes prompts that the built-in model can read, and the file of functions.
fn prepare(folder: &Path) {
    let prompts: Vec<Value> = (1..=12)
        .map(|i| json!({"prompt": format!("{i} {i} {i} = {} : ", 3 * i), "answer": i.to_string(), "level": i}))
        .collect();
    std::fs::write(folder.join("prompts.jsonl"), lines(&prompts)).unwrap();
    std::fs::write(folder.join("reward.py"), REWARD).unwrap();
}

const SMALL: [&str; 8] = ["--set", "train.prompts=2", "--samples", "3", "--max-tokens", "6", "--set", "eval.prompts=0"];

#[test]
fn a_run_learns_from_two_python_functions() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let flags = [
        "train",
        "--out",
        "run",
        "--steps",
        "2",
        "--prompts",
        "prompts.jsonl",
        "--verifier",
        "reward.py:short,weight=0.25",
    ];
    ok(&[&flags[..], &["--verifier", "reward.py:right"], &SMALL].concat(), folder.path());
    let run = folder.path().join("run");
    for record in records(&run).iter().filter(|record| record["step"].as_u64() > Some(0)) {
        let number = |name: &str| record[name].as_f64().unwrap_or_else(|| panic!("no {name} in {record}"));
        assert!((number("reward_mean") - 0.25 * number("reward_short") - number("reward_right")).abs() < 1e-6);
        assert!(number("judge_p50_s") <= number("judge_max_s") && number("judge_failures") == 0.0);
    }
    let rollouts = std::fs::read_to_string(run.join("rollouts.jsonl")).unwrap();
    let row: Value = serde_json::from_str(rollouts.lines().next().unwrap()).unwrap();
    assert!(row["parts"]["short"].is_number() && row["parts"]["right"].is_number(), "{row}");
    assert!(std::fs::read_to_string(run.join("verifier.log")).unwrap().contains("loading"));
    // The run names the file by its whole path, so it replays from elsewhere.
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains(&format!("{}/reward.py:short,weight=0.25", folder.path().display())), "{config}");
}

#[test]
fn stored_completions_without_a_reward_are_judged() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    // The second row takes its answer from the prompts; the third was judged before.
    let rows = [
        json!({"prompt": "1 1 1 = 3 : ", "completion": "1", "answer": "1"}),
        json!({"prompt": "2 2 2 = 6 : ", "completion": "2"}),
        json!({"prompt": "3 3 3 = 9 : ", "completion": "4", "reward": 0.5}),
    ];
    std::fs::write(folder.path().join("rollouts.jsonl"), lines(&rows)).unwrap();
    let flags =
        ["train", "--steps", "1", "--prompts", "prompts.jsonl", "--verifier", "exact", "--rollouts", "rollouts.jsonl"];
    ok(&[&flags[..], &SMALL, &["--set", "train.prompts=3", "--out", "run"]].concat(), folder.path());
    let record = &records(&folder.path().join("run"))[1];
    let mean = (1.0 + 1.0 + 0.5) / 3.0;
    assert!((record["reward_mean"].as_f64().unwrap() - mean).abs() < 1e-6, "{record}");
    let unknown = json!({"prompt": "9 1 1 = 9 : ", "completion": "9"});
    std::fs::write(folder.path().join("rollouts.jsonl"), lines(&[unknown])).unwrap();
    let error = fails(&[&flags[..], &["--out", "other"]].concat(), folder.path());
    assert!(error.contains("rollouts.jsonl:1: the row has no reward"), "{error}");
}

#[test]
fn a_verifier_that_cannot_start_is_refused_before_a_run_exists() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    for (verifier, wanted) in [
        ("cmd:/no/such/program", "cannot run /no/such/program"),
        ("missing.py", "there is no file"),
        ("number,weight=x", "weight is \"x\", but must be a finite number"),
    ] {
        let error =
            fails(&["train", "--out", "run", "--prompts", "prompts.jsonl", "--verifier", verifier], folder.path());
        assert!(error.contains(wanted), "{verifier}: {error}");
        assert!(!folder.path().join("run").exists());
    }
}
