//! Tests of the commands as a user runs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::common::{
    assert_described, assert_same_run, checkpoint, fails, kill_and_resume, ok, program, run, timeless,
};
use serde_json::Value;

/// Flags of a run that is small enough for a test, but still has every part of a run.
const SMALL: [&str; 16] = [
    "--set",
    "train.prompts=4",
    "--set",
    "train.samples=4",
    "--set",
    "eval.prompts=6",
    "--set",
    "eval.samples=4",
    "--set",
    "max_number=9",
    "--set",
    "max_tokens=10",
    "--set",
    "every=3",
    "--set",
    "save_every=2",
];

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--out", out][..], &SMALL, more].concat()
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

#[test]
fn a_run_leaves_what_it_promises_and_replays() {
    let directory = tempfile::tempdir().unwrap();
    // Eight samples are the least that pass@8 needs.
    let text = ok(&train("a", &["--steps", "4", "--set", "eval.samples=8"]), directory.path());
    assert!(text.contains("on held-out prompts") && text.contains("report:"), "{text}");
    assert!(text.contains("\nof 6 prompts with 8 completions each, 48 in all; ± is the standard error"), "{text}");
    assert!(!text.contains("\nwarnings: "), "{text}");
    assert!(text.contains("\n4 steps in ") && text.contains(" tokens/s"), "{text}");
    assert!(!text.contains("first update"), "the first importance ratio is exactly 1: {text}");
    let run = directory.path().join("a");
    for file in ["config.toml", "metrics.jsonl", "rollouts.jsonl", "report.html"] {
        assert!(run.join(file).is_file(), "{file}");
    }
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    let names: Vec<&str> = page.split("<span class=name>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
    assert_eq!(
        names,
        ["Success, exact", "Pass@8", "Distinct correct answers", "Diversity lost"],
        "no estimate of what is known"
    );
    let records = timeless(&run);
    assert_eq!(records.len(), 5);
    assert!(records[4]["eval_kl_on_correct"].is_number() && records[4]["first_ratio_deviation"] == 0);
    // The resolved configuration determines the whole run.
    ok(&["train", "--config", "a/config.toml", "--out", "b"], directory.path());
    assert_same_run(&run, &directory.path().join("b"), 4);
    // The number of threads changes nothing.
    ok(&["train", "--config", "a/config.toml", "--out", "c", "--threads", "1"], directory.path());
    assert_same_run(&run, &directory.path().join("c"), 4);
}

/// Pins the first steps of a run without any flags. If these change, the results of every user change, so this needs a
/// reason and a line in the changelog.
#[test]
fn the_first_steps_of_the_default_run_are_stable() {
    let directory = tempfile::tempdir().unwrap();
    // These are the first steps of the default run, because the learning rate is still in its warm-up. The evaluation
    // is smaller.
    ok(&["train", "--steps", "3", "--set", "eval.samples=2", "--out", "a"], directory.path());
    assert_described(&directory.path().join("a"));
    let records = timeless(&directory.path().join("a"));
    let names = ["reward_mean", "loss", "entropy_mean", "grad_norm", "log_z_mean"];
    for (record, wanted) in records[1..].iter().zip(FIRST_STEPS) {
        assert_near(record, &names, &wanted);
    }
    let names = ["eval_success", "eval_success_exact", "eval_entropy", "eval_solutions"];
    assert_near(&records[0], &names, &[0.3515625, 0.4067602815, 0.3231720673, 5.6484375]);
}

/// Expected mean reward, loss, entropy, gradient norm and mean log Z of the steps 1, 2 and 3.
const FIRST_STEPS: [[f64; 5]; 3] = [
    [0.40625, 196.8741344, 0.3293701933, 33.41333713, 0.0],
    [0.3359375, 184.571235, 0.3594262135, 16.60519776, 0.002636106561],
    [0.5625, 159.9584918, 0.2706066256, 19.68277949, -0.001439987314],
];

fn assert_near(record: &Value, names: &[&str], wanted: &[f64]) {
    let found: Vec<f64> = names.iter().map(|name| record[name].as_f64().unwrap()).collect();
    let near = found.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1e-3));
    assert!(near, "step {}: {names:?} are {found:?}, pinned {wanted:?}", record["step"]);
}

#[test]
fn a_run_says_what_it_does_unless_told_to_be_quiet() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(&train("a", &["--steps", "4"]), directory.path());
    let summary = String::from_utf8(output.stdout).unwrap();
    assert!(summary.contains("of 6 prompts with 4 completions each, 24 in all; ± is"), "{summary}");
    let page = std::fs::read_to_string(directory.path().join("a/report.html")).unwrap();
    assert!(page.contains("6 held-out prompts with 4 completions each, before (step 0) and after (step 4)"));
    // The paper's objective differs from plain trajectory balance.
    assert!(
        page.contains("with length = &quot;mean&quot; and reward = &quot;group&quot; this objective settles elsewhere")
    );
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    let first = "generated prompts, 6 held out to measure on, 4 completions of each, on cpu";
    assert!(
        lines[0].starts_with("run a: ") && lines[0].contains(" M parameters, ") && lines[0].ends_with(first),
        "{said}"
    );
    for step in [0, 3, 4] {
        let start = format!("step {step}/4, on held-out prompts: success, exact ");
        assert!(lines.iter().any(|line| line.starts_with(&start)), "{said}");
    }
    let output = run(&train("b", &["--steps", "4", "--quiet"]), directory.path());
    assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty());
    // `--quiet` drops notes, but not warnings.
    let output =
        run(&train("c", &["--steps", "1", "--quiet", "--samples", "1", "--objective", "grpo"]), directory.path());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("warning: train.samples is 1"));
    let count = format!("\nwarnings: {}, on standard error\n", said.matches("warning: ").count());
    assert!(String::from_utf8(output.stdout).unwrap().contains(&count), "{count}{said}");
}

#[test]
fn a_script_finds_the_run_and_what_it_has_come_to() {
    let directory = tempfile::tempdir().unwrap();
    let text = ok(&[&["train", "--steps", "2", "--json"][..], &SMALL].concat(), directory.path());
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let run = &lines[0]["run"];
    assert!(directory.path().join(run.as_str().unwrap()).join("metrics.jsonl").is_file());
    let last = &lines[lines.len() - 1];
    assert_eq!((&last["run"], &last["step"], lines.len()), (run, &2.into(), 5));
    assert!(last["eval_success"].is_number() && directory.path().join(last["report"].as_str().unwrap()).is_file());
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    ok(&train("a", &["--steps", "1"]), d);
    for page in ["compare.html", "compare-2.html", "compare-3.html"] {
        ok(&["compare", "a"], d);
        assert!(d.join(page).is_file());
    }
    assert!(fails(&["compare", "a", "--out", "compare.html"], d).contains("is not overwritten"));
    ok(&["export", "a", "models/small"], d);
    let size = |path: &str| std::fs::metadata(d.join(path)).unwrap().len();
    let (half, full) = (size("models/small/model.safetensors"), size("a/checkpoints/step-000001/model.safetensors"));
    assert!(half < full * 6 / 10, "bf16 is half of f32: {half} of {full} bytes");
    let config = std::fs::read_to_string(d.join("models/small/config.json")).unwrap();
    assert!(config.contains("bfloat16") && !d.join("models/small/trainer.json").exists());
    // The export is a model; in f32 it samples the same completions as the run.
    ok(&["export", "a", "whole", "--dtype", "f32"], d);
    let sample = |model: &str| ok(&["sample", "--model", model, "--prompt", "3 5 7 = 22 : ", "--samples", "3"], d);
    assert_eq!(sample("whole"), sample("a"));
    assert!(!sample("models/small").is_empty());
    for words in [&["export", "a", "whole"][..], &["pretrain", "--out", "whole"]] {
        assert!(fails(words, d).contains("whole already exists"));
    }
}

#[test]
fn paths_in_a_configuration_are_of_its_folder() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    std::fs::create_dir(d.join("sub")).unwrap();
    std::fs::write(d.join("sub/p.jsonl"), "{\"prompt\": \"3 5 = 8 : \", \"answer\": \"3+5\"}\n".repeat(12)).unwrap();
    let config = "[task]\nkind = \"prompts\"\nprompts = \"p.jsonl\"\nverifier = \"exact\"\n";
    std::fs::write(d.join("sub/c.toml"), config).unwrap();
    let text = ok(&["train", "--config", "sub/c.toml", "--dry-run"], d);
    assert!(text.contains("sub/p.jsonl"), "{text}");
    // A path in a flag is relative to the working directory.
    let error = fails(&["train", "--config", "sub/c.toml", "--held-out", "p.jsonl", "--dry-run"], d);
    assert!(error.contains("p.jsonl") && !error.contains("sub"), "{error}");
}

#[test]
fn every_objective_trains() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["exact-tb", "paper", "vargrad", "tba", "verl-pr3924", "grpo", "ppo", "reinforce++", "gspo", "dr-grpo"]
    {
        ok(&train(name, &["--steps", "2", "--objective", name]), directory.path());
        assert_described(&directory.path().join(name));
        let records = timeless(&directory.path().join(name));
        assert!(records[2]["grad_norm"].as_f64().unwrap() >= 0.0, "{name}");
    }
    let text = ok(&["compare", "paper", "grpo", "--out", "c.html"], directory.path());
    assert!(text.contains("paper") && text.contains("grpo") && directory.path().join("c.html").is_file());
}

#[test]
fn a_run_killed_at_any_moment_continues_to_the_same_bits() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--steps", "10", "--objective", "paper"];
    ok(&train("whole", &arguments), directory.path());
    let delays = [60, 350, 90, 500, 230, 700, 130, 1100, 400];
    kill_and_resume(&[&["train"][..], &SMALL, &arguments].concat(), "killed", &delays, directory.path());
    assert_same_run(&directory.path().join("whole"), &directory.path().join("killed"), 10);
}

#[test]
fn a_reader_that_leaves_early_ends_no_program_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let small = &SMALL[..];
    let eval = [&["eval"][..], small].concat();
    let sample = ["sample", "--prompt", "3 5 7 = 22 : ", "--max-tokens", "4"];
    let run = train("r", &["--steps", "2", "--json"]);
    for arguments in [&eval[..], &sample, &run, &["completions", "bash"], &train("d", &["--dry-run"])] {
        let mut command = program(arguments, directory.path());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("panicked"), "{arguments:?}: {said}");
    }
    assert_eq!(timeless(&directory.path().join("r")).len(), 3, "the run was not cut short");
}

#[test]
fn stored_completions_are_learned_from() {
    let directory = tempfile::tempdir().unwrap();
    ok(&train("source", &["--steps", "2"]), directory.path());
    let stored = ["--steps", "2", "--rollouts", "source/rollouts.jsonl"];
    ok(&train("again", &stored), directory.path());
    // The first step learns from the completions that the source sampled at its first step.
    let (source, again) = (timeless(&directory.path().join("source")), timeless(&directory.path().join("again")));
    for name in ["reward_mean", "loss", "grad_norm", "length_mean"] {
        assert_eq!(source[1][name], again[1][name], "{name}");
    }
    // The completions may be text from any server, without tokens or log-probabilities.
    let rows = "{\"prompt\": \"3 5 7 = 22 : \", \"completion\": \"3*5+7\", \"reward\": 1}\n\
                {\"prompt\": \"3 5 7 = 22 : \", \"completion\": \"3+5+7\", \"reward\": 0}\n";
    std::fs::write(directory.path().join("rows.jsonl"), rows).unwrap();
    ok(&train("text", &["--steps", "1", "--rollouts", "rows.jsonl"]), directory.path());
    let records = timeless(&directory.path().join("text"));
    assert_eq!((&records[1]["success"], &records[1]["old_log_ratio_max"]), (&Value::from(0.5), &Value::from(0)));
}

#[test]
fn prompts_of_a_file_and_a_model_of_a_folder() {
    let directory = tempfile::tempdir().unwrap();
    let model = golden().join("hf/qwen3-qk-norm");
    let rows = (1..=12).map(|i| format!("{{\"prompt\": \"What is {i} + {i}?\", \"answer\": {}}}\n", 2 * i));
    std::fs::write(directory.path().join("p.jsonl"), rows.collect::<String>()).unwrap();
    let more = ["--steps", "2", "--model", model.to_str().unwrap(), "--prompts", "p.jsonl", "--verifier", "number"];
    ok(&train("run", &more), directory.path());
    let last = checkpoint(&directory.path().join("run"), 2);
    let last = last.to_str().unwrap();
    let evaluated = ok(&[&["eval", last, "--json"][..], &more[2..], &SMALL].concat(), directory.path());
    assert!(serde_json::from_str::<Value>(&evaluated).unwrap()["eval_success"].is_number());
    let sampled = ok(&["sample", "--model", last, "--prompt", "What is 1 + 1?", "--max-tokens", "4"], directory.path());
    assert!(sampled.starts_with("What is 1 + 1?"));
}

#[test]
fn a_frozen_log_z_is_that_of_the_row() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let frozen = ["--steps", "1", "--verifier", "exact", "--prompts", "p.jsonl", "--set", "log_z=frozen"];
    let rows = "{\"prompt\": \"1\", \"answer\": 1, \"log_z\": 0.25}\n".repeat(4);
    std::fs::write(d.join("p.jsonl"), &rows).unwrap();
    ok(&train("run", &frozen), d);
    assert_eq!(timeless(&d.join("run"))[1]["log_z_mean"], 0.25);
    std::fs::write(d.join("p.jsonl"), rows + "{\"prompt\": \"2\", \"answer\": 2}\n").unwrap();
    let error = fails(&train("other", &frozen), d);
    assert!(error.contains("p.jsonl:5: `log_z` is null"), "{error}");
    assert!(fails(&["train", "--set", "log_z=frozen"], d).contains("objective.log_z = \"frozen\""));
}

#[test]
fn scores_match_the_golden_numbers() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["qwen2-tied", "qwen3-qk-norm", "llama3-rope-scaled"] {
        let model = golden().join("hf").join(name);
        let expected: Value = serde_json::from_slice(&std::fs::read(model.join("expected.json")).unwrap()).unwrap();
        let sequences = expected["sequences"].as_array().unwrap();
        for by_text in [true, false] {
            let row = |s: &Value| match by_text {
                true => serde_json::json!({"prompt": s["prompt"], "completion": s["completion"]}),
                false => serde_json::json!({"ids": s["ids"], "prompt_len": s["prompt_len"]}),
            };
            let rows: String = sequences.iter().map(|s| format!("{}\n", row(s))).collect();
            std::fs::write(directory.path().join("rows.jsonl"), rows).unwrap();
            let text = ok(&["score", model.to_str().unwrap(), "--input", "rows.jsonl"], directory.path());
            for (line, wanted) in text.lines().zip(sequences) {
                let got: Value = serde_json::from_str(line).unwrap();
                assert_eq!(got["ids"], wanted["ids"]);
                for (key, name) in [("log_probs", "logp"), ("entropies", "entropy")] {
                    let (got, wanted) = (got[key].as_array().unwrap(), wanted[name].as_array().unwrap());
                    assert_eq!(got.len(), wanted.len());
                    for (got, wanted) in got.iter().zip(wanted) {
                        assert!((got.as_f64().unwrap() - wanted.as_f64().unwrap()).abs() < 1e-4);
                    }
                }
            }
            assert_eq!(text.lines().count(), sequences.len());
        }
    }
}

#[test]
fn loss_matches_a_golden_file() {
    let file = golden().join("objective/paper-0.json");
    let expected: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let text = ok(&["loss", file.to_str().unwrap()], &std::env::temp_dir());
    let got: Value = serde_json::from_str(&text).unwrap();
    let (got, wanted) = (got["loss"].as_f64().unwrap(), expected["expected"]["loss"].as_f64().unwrap());
    assert!((got / wanted - 1.0).abs() < 1e-9);
}

#[test]
fn a_dry_run_prints_a_configuration_that_replays() {
    let directory = tempfile::tempdir().unwrap();
    let first = ok(&["train", "--dry-run", "--objective", "grpo", "--steps", "7"], directory.path());
    assert!(first.contains("# memory plan for cpu in f32") && first.contains("steps = 7"));
    std::fs::write(directory.path().join("c.toml"), &first).unwrap();
    assert_eq!(ok(&["train", "--dry-run", "--config", "c.toml"], directory.path()), first);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is written");
}

#[test]
fn a_dry_run_plans_what_each_device_stores() {
    let directory = tempfile::tempdir().unwrap();
    let mib = |arguments: &[&str], what: &str| {
        let plan = ok(&[&["train", "--dry-run"], arguments].concat(), directory.path());
        let line = plan.lines().find(|line| line.ends_with(what)).unwrap_or_else(|| panic!("{what} in:\n{plan}"));
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap()
    };
    let weights = 791_168.0 / f64::from(1 << 20);
    let near = |got: f64, bytes: f64| assert!((got - weights * bytes).abs() < 0.051, "{got}, {bytes} bytes a weight");
    // This needs no GPU. The weights of the policy are stored in bf16 for products and in f32 for the optimiser, those
    // of the reference only in bf16, because it is never trained.
    near(mib(&["--device", "cuda"], "weights of the policy"), 6.0);
    near(mib(&["--device", "cuda"], "weights of the frozen reference"), 2.0);
    near(mib(&["--device", "cuda"], "gradients and AdamW's two moments"), 12.0);
    near(mib(&["--device", "cuda", "--precision", "f32"], "weights of the policy"), 4.0);
    near(mib(&[], "weights of the frozen reference"), 4.0);
}

#[test]
fn mistakes_are_named_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    std::fs::write(d.join("c.toml"), "[train]\nsteps = 3\nstepz = 4\n").unwrap();
    let error = fails(&["train", "--config", "c.toml"], d);
    assert!(error.contains("c.toml:3: ") && error.contains("stepz"), "{error}");
    let error = fails(&["train", "--set", "beta=nan"], d);
    assert!(error.contains("beta"), "{error}");
    let error = fails(&["train", "--objective", "gppo"], d);
    assert!(error.contains("gppo") && error.contains("grpo"), "{error}");
    let error = fails(&["train", "--objective", "grpo", "--set", "beta=3"], d);
    assert!(error.contains("does not use beta"), "{error}");
    let error = fails(&["train", "--model", "nowhere"], d);
    assert!(error.contains("nowhere"), "{error}");
    std::fs::write(d.join("p.jsonl"), "{\"prompt\": \"a\", \"answer\": 1}\n{\"prompt\": 3}\n").unwrap();
    let error = fails(&["train", "--prompts", "p.jsonl"], d);
    assert!(error.contains("p.jsonl:2"), "{error}");
    // An unusable prompt is quoted once, with the reason.
    for (row, wanted) in [
        ("{\"prompt\": \"1 2 = \"}", "p.jsonl:1: prompt \"1 2 = \": `answer` is null, but must be a number"),
        ("{\"prompt\": \"1 and 2\", \"answer\": 3}", "p.jsonl:1: prompt \"1 and 2\": tokenizer: cannot encode"),
        ("{\"prompt\": \"1 and 2\", \"answer\": 3}", "there is no token for 'a' 'n' 'd'"),
        ("{\"prompt\": [{\"role\": \"user\", \"content\": \"1\"}], \"answer\": 3}", "no chat template"),
    ] {
        std::fs::write(d.join("p.jsonl"), row).unwrap();
        let error = fails(&["train", "--prompts", "p.jsonl", "--verifier", "number"], d);
        assert!(error.contains(wanted), "{error}");
    }
    let error = fails(&["train", "--prompts", "nowhere.jsonl"], d);
    assert!(error.contains("nowhere.jsonl") && error.matches("os error").count() == 1, "{error}");
    let error = fails(&["train", "--set", "temperature=0"], d);
    assert!(error.contains("temperature"), "{error}");
    let error = fails(&["train", "--resume"], d);
    assert!(error.contains("--out"), "{error}");
    let error = fails(&["train", "--resume", "--out", "nothing"], d);
    assert!(error.contains("nothing"), "{error}");
    std::fs::write(d.join("b.json"), "{\"objective\": {}, \"sequences\": [{\"reward\": 1e999}]}").unwrap();
    let error = fails(&["loss", "b.json"], d);
    assert!(error.contains("b.json"), "{error}");
    ok(&train("run", &["--steps", "1"]), d);
    let before = std::fs::read(d.join("run/metrics.jsonl")).unwrap();
    let error = fails(&train("run", &["--steps", "1"]), d);
    assert!(error.contains("resume"), "{error}");
    assert_eq!(before, std::fs::read(d.join("run/metrics.jsonl")).unwrap());
}

#[test]
fn the_built_in_model_carries_the_tokenizer_that_pretrain_writes() {
    let written = flowrl_lm::tokenizer::char_level(flowrl_lm::countdown::ALPHABET, "<|endoftext|>").unwrap();
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("model/tokenizer.json");
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(&std::fs::read_to_string(built_in).unwrap()), read(&written));
}

#[test]
fn completion_scripts_and_help() {
    let d = std::env::temp_dir();
    for shell in ["bash", "zsh", "fish"] {
        assert!(ok(&["completions", shell], &d).contains("flowrl-cli"));
    }
    let help = ok(&["--help"], &d);
    for command in
        ["train", "eval", "sample", "score", "loss", "pretrain", "compare", "doctor", "completions", "export"]
    {
        assert!(help.contains(command), "{command}");
    }
}
