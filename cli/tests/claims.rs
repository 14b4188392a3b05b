//! Tests that the figures in `docs/what-flowrl-is.md` are the results of the commands in the same rows.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Returns the last record of a run with these flags.
fn last_record(flags: &str) -> Value {
    let directory = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowrl-cli"));
    command.arg("train").args(flags.split_whitespace()).args(["--out", "run"]).current_dir(directory.path());
    let output = command.output().expect("the program");
    assert!(output.status.success(), "{flags}: {}", String::from_utf8_lossy(&output.stderr));
    let metrics = std::fs::read_to_string(directory.path().join("run/metrics.jsonl")).expect("metrics");
    serde_json::from_str(metrics.lines().last().expect("a record")).expect("JSON")
}

fn assert_near(record: &Value, name: &str, wanted: &str, flags: &str) {
    let (got, wanted) = (record[name].as_f64().expect(name), wanted.parse::<f64>().expect("a number"));
    assert!((got - wanted).abs() < 0.01, "{flags}: {name} is {got}, the page says {wanted}");
}

/// Tests a claim of `docs/presets.md` about `kl_max`: because the bound has no gradient above it, a mode is lost that
/// GRPO's KL would bring back.
#[test]
fn a_bounded_k3_does_not_pull_back_what_is_lost() {
    let entropy = |flags: &str| {
        let flags = format!("--task bandit --set task.preset=four-peaks --set target_beta=2 --objective grpo {flags}");
        last_record(&flags)["entropy"].as_f64().expect("an entropy")
    };
    let (bounded, free) = (entropy("--set kl_max=10"), entropy(""));
    assert!(bounded < 1e-3 && free > 0.03, "{bounded} {free}");
}

#[test]
fn every_row_of_the_page_is_what_its_command_gives() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/what-flowrl-is.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let mut rows = 0;
    for row in page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [flags, figures @ ..] = &cells[..] else { panic!("{row}") };
        let flags = flags.trim_end_matches('`');
        rows += 1;
        match (flags.strip_prefix("--objective"), figures) {
            (Some(_), [tv, entropy, peaks]) => {
                let flags = format!("--task bandit --set task.preset=four-peaks --set target_beta=2 {flags}");
                let record = last_record(&flags);
                assert_near(&record, "tv", tv, &flags);
                assert_near(&record, "entropy", entropy, &flags);
                assert_near(&record, "modes_found", peaks, &flags);
            }
            (None, [tv, own, reward]) if flags != "objective.length" => {
                let full = format!("--task tree --set beta=2 --set objective.length={flags}");
                let flags = if flags.starts_with("--task") { flags } else { &full };
                let record = last_record(flags);
                assert_near(&record, "tv", tv, flags);
                assert_near(&record, "tv_fixed_point", own, flags);
                assert_near(&record, "expected_reward", reward, flags);
            }
            (None, [length]) => assert_near(&last_record(flags), "expected_length", length, flags),
            _ => rows -= 1,
        }
    }
    assert_eq!(rows, 19);
}
