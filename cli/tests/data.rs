//! Files of prompts as people have them, from the command line.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::common::{copy_folder, fails, run};

/// A folder with a tiny model that has a chat template.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/hf/qwen2-tied"), &model);
    let template = "{% for m in messages %}{{ m.role[0] }}{{ m.content }} {% endfor %}";
    std::fs::write(model.join("chat_template.jinja"), template).unwrap();
    (folder, model)
}

/// Returns standard output and standard error of a dry run that must succeed.
fn dry_run(folder: &Path, words: &[&str]) -> (String, String) {
    let all = [&["train", "--dry-run", "--model", "model", "--verifier", "exact"], words].concat();
    let output = run(&all, folder);
    let [out, error] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{words:?}: {error}");
    (out, error)
}

fn refusal(folder: &Path, words: &[&str]) -> String {
    fails(&[&["train", "--dry-run", "--model", "model", "--verifier", "exact"], words].concat(), folder)
}

#[test]
fn a_csv_of_questions_trains_and_says_how_it_was_read() {
    let (folder, _) = folder();
    std::fs::write(folder.path().join("q.csv"), "question;answer\n1 + 1;2\n1 + 2;3\n").unwrap();
    let (out, error) = dry_run(folder.path(), &["--prompts", "q.csv"]);
    let note =
        "q.csv: rows of questions: the prompt is `question`, the answer `answer`; choose others with --prompt-key";
    assert!(error.contains(note), "{error}");
    assert!(out.contains("prompts: 1 to train on, 1 held out"), "{out}");
}

#[test]
fn several_files_have_weights() {
    let (folder, _) = folder();
    let rows = |first: usize, count: usize| -> String {
        (first..first + count).map(|i| format!("{}\n", json!({"prompt": format!("{i}"), "answer": i}))).collect()
    };
    std::fs::write(folder.path().join("a.jsonl"), rows(0, 20)).unwrap();
    std::fs::write(folder.path().join("b,c.jsonl"), rows(50, 10)).unwrap();
    let words = ["--prompts", "a.jsonl", "--prompts", "b,c.jsonl,weight=2"];
    let (out, error) = dry_run(folder.path(), &words);
    assert!(out.contains("prompts: 27 to train on, 3 held out"), "{out}");
    let file = |name: &str| folder.path().canonicalize().unwrap().join(name).display().to_string();
    let note = format!("an epoch visits the 9 prompts of {} 18 times: 50 % of it", file("b,c.jsonl"));
    assert!(error.contains(&note), "{error}");
    assert!(out.contains(&format!("{},weight=2\"", file("b,c.jsonl"))), "{out}");
    // The printed configuration replays the choice.
    std::fs::write(folder.path().join("c.toml"), &out).unwrap();
    let (again, _) = dry_run(folder.path(), &["--config", "c.toml"]);
    assert_eq!(again, out);
    for (words, wanted) in [
        (["--prompts", "a.jsonl,weight=0"], "weight is \"0\", but must be a number from 0.001 to 1000"),
        (["--prompts", ",weight=2"], "names no file"),
    ] {
        let error = refusal(folder.path(), &words);
        assert!(error.contains(wanted), "{error}");
    }
    let error = refusal(folder.path(), &["--prompts", "a.jsonl", "--prompts", "a.jsonl"]);
    assert!(error.contains("is named twice"), "{error}");
}

#[test]
fn a_system_message_comes_before_conversations() {
    let (folder, model) = folder();
    let talk = json!({"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]});
    let own = json!({"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "1"}], "answer": 1});
    std::fs::write(folder.path().join("talk.jsonl"), talk.to_string()).unwrap();
    std::fs::write(folder.path().join("own.jsonl"), own.to_string()).unwrap();
    std::fs::write(folder.path().join("text.csv"), "prompt,answer\n1,2\n").unwrap();
    std::fs::write(folder.path().join("system.txt"), "8 8\n").unwrap();
    let (out, _) = dry_run(folder.path(), &["--prompts", "talk.jsonl", "--system", "@system.txt"]);
    assert!(out.contains("system = \"8 8\""), "{out}");
    for (file, wanted) in [
        ("own.jsonl", "own.jsonl:1: the row has a system message already"),
        ("text.csv", "text.csv:2: --system is for conversations, but this prompt is plain text"),
    ] {
        let error = refusal(folder.path(), &["--prompts", file, "--system", "Be brief."]);
        assert!(error.contains(wanted), "{error}");
    }
    // The message reaches the model.
    let words =
        ["train", "--model", model.to_str().unwrap(), "--verifier", "exact", "--prompts", "talk.jsonl", "--steps", "1"];
    let more = [
        "--system",
        "8 8",
        "--max-tokens",
        "2",
        "--samples",
        "2",
        "--set",
        "train.prompts=1",
        "--set",
        "eval.samples=1",
        "--out",
        "run",
    ];
    let output = run(&[&words[..], &more].concat(), folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(folder.path().join("run/rollouts.jsonl")).unwrap();
    let row: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(row["prompt"], json!([{"role": "system", "content": "8 8"}, {"role": "user", "content": "1"}]));
}

#[test]
fn long_prompts_are_refused_dropped_or_truncated() {
    let (folder, _) = folder();
    let row = |text: &str| format!("{}\n", json!({"prompt": text, "answer": 1}));
    std::fs::write(folder.path().join("p.jsonl"), row("1") + &row("2") + &row(&"1 2 3 ".repeat(20)) + &row("4"))
        .unwrap();
    let words = ["--prompts", "p.jsonl", "--max-prompt-tokens", "20"];
    let error = refusal(folder.path(), &words);
    assert!(error.contains("p.jsonl:3: prompt \"1 2 3") && error.contains("more than the 20"), "{error}");
    let (out, error) = dry_run(folder.path(), &[&words[..], &["--long-prompts", "drop"]].concat());
    assert!(error.contains("1 of 3 prompts to train on have more than 20 tokens and are dropped"), "{error}");
    assert!(out.contains("prompts: 2 to train on, 1 held out"), "{out}");
    let (out, error) = dry_run(folder.path(), &[&words[..], &["--long-prompts", "truncate"]].concat());
    assert!(error.contains("are truncated: only their last 20 tokens are kept"), "{error}");
    assert!(out.contains("prompts: 3 to train on") && out.contains("max_prompt_tokens = 20"), "{out}");
    let all = ["--prompts", "p.jsonl", "--max-prompt-tokens", "0", "--long-prompts", "drop"];
    assert!(refusal(folder.path(), &all).contains("max_prompt_tokens"));
}

#[test]
fn rows_of_a_table_are_judged_and_trained_on() {
    let (folder, _) = folder();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tables/tests/data");
    let file = data.join("verl-zstd.parquet");
    let (out, error) = dry_run(
        folder.path(),
        &["--prompts", file.to_str().unwrap(), "--held-out", data.join("folder").to_str().unwrap()],
    );
    assert!(out.contains("prompts: 300 to train on, 5 held out"), "{out}");
    assert!(error.contains("rows of verl") && error.contains("rows of GSM8K"), "{error}");
    std::fs::write(folder.path().join("c.json"), r#"[{"completion": "4", "answer": "4"}, {"completion": 5}]"#).unwrap();
    let error = fails(&["judge", "--input", "c.json"], folder.path());
    assert!(error.contains("c.json:row 2: `completion` is 5"), "{error}");
    std::fs::write(folder.path().join("c.csv"), "completion,answer\n4,4\n5,4\n").unwrap();
    let output = run(&["judge", "--input", "c.csv"], folder.path());
    assert!(String::from_utf8_lossy(&output.stdout).contains("2 rows, 2 with a reward: mean 0.5"));
}
