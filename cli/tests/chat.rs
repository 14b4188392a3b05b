//! Tests of chat templates in the commands of the program.

use std::fs;
use std::path::Path;

use crate::common::{copy_folder, fails, ok, run};
use serde_json::Value;

const USER: &str = r#"{"prompt": [{"role": "user", "content": "How many pens?"}], "answer": 12}"#;
const DATED: &str = "{{ strftime_now('%Y') }}{% for m in messages %}[{{ m.content }}]{% endfor %}{% if enable_thinking is false %}<think></think>{% endif %}{{ tools|tojson if tools }}";

/// Creates a folder with a model `m` that has this template, and with these lines as `p.jsonl`.
fn folder(template: &str, lines: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/hf/qwen2-tied");
    copy_folder(&golden, &folder.path().join("m"));
    fs::write(folder.path().join("m/chat_template.jinja"), template).unwrap();
    fs::write(folder.path().join("p.jsonl"), lines).unwrap();
    folder
}

/// Returns the prompt as the model gets it, and the messages on standard error.
fn prompt(folder: &Path, more: &[&str]) -> (String, String) {
    let arguments = [&["sample", "--model", "m", "--prompts", "p.jsonl", "--max-tokens", "0"], more].concat();
    let output = run(&arguments, folder);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn sample_takes_variables_and_tells_of_the_date() {
    let folder = folder(DATED, USER);
    let (text, told) = prompt(folder.path(), &["--template", "date=2031-01-02", "--template", "enable_thinking=false"]);
    assert_eq!((text.as_str(), told.as_str()), ("2031[How many pens?]<think></think>\n", ""));
    let (_, told) = prompt(folder.path(), &[]);
    assert!(told.starts_with("note: the chat template may print the date, which is 20"), "{told}");
    let (_, told) = prompt(folder.path(), &["--template", "date=soon"]);
    assert!(told.contains("--template: `date` is \"soon\""), "{told}");
}

#[test]
fn an_unknown_begin_token_is_told_once() {
    let folder = folder("{{ bos_token }}{{ messages[0].content }}", &format!("{USER}\n{USER}\n"));
    let (text, told) = prompt(folder.path(), &[]);
    assert_eq!(text, "How many pens?\nHow many pens?\n");
    assert!(told.matches("warning: ").count() == 1 && told.contains("uses `bos_token`"), "{told}");
    let (text, told) = prompt(folder.path(), &["--template", "bos_token=<s>"]);
    assert_eq!((text.as_str(), told.as_str()), ("<s>How many pens?\n<s>How many pens?\n", ""));
}

#[test]
fn what_the_template_does_not_use_is_told_once() {
    let folder = folder("{{ messages[0].content }}", &format!("{USER}\n{USER}\n"));
    let (text, told) = prompt(folder.path(), &["--template", "enable_thinking=false"]);
    assert_eq!(text, "How many pens?\nHow many pens?\n");
    assert_eq!(told, "warning: the chat template does not use `enable_thinking`, so it changes no prompt\n");
}

#[test]
fn score_needs_no_template_for_ids_and_gives_rows_to_it() {
    let folder = folder("{% frobnicate %}", USER);
    let score = |lines: &str, more: &[&'static str]| {
        fs::write(folder.path().join("s.jsonl"), lines).unwrap();
        [&["score", "m", "--input", "s.jsonl"], more].concat()
    };
    ok(&score(r#"{"ids": [5, 77, 130], "prompt_len": 2}"#, &[]), folder.path());
    let chat =
        r#"{"prompt": [{"role": "user", "content": "3 5"}], "completion": "8", "chat_template_kwargs": {"x": "!"}}"#;
    let error = fails(&score(chat, &[]), folder.path());
    assert!(error.contains("s.jsonl:1") && error.contains("frobnicate"), "{error}");
    fs::write(folder.path().join("m/chat_template.jinja"), "{{ messages[0].content }}{{ x }}{{ y }}").unwrap();
    let given: Value = serde_json::from_str(&ok(&score(chat, &["--template", "y=?"]), folder.path())).unwrap();
    let plain = r#"{"prompt": "3 5!?", "completion": "8"}"#;
    let plain: Value = serde_json::from_str(&ok(&score(plain, &[]), folder.path())).unwrap();
    assert_eq!(given["ids"], plain["ids"]);
}

#[test]
fn a_run_keeps_its_variables_its_date_and_the_tools_of_its_rows() {
    let tools = r#""tools": [{"type": "function", "z": 1, "a": 2}]"#;
    let folder = folder(DATED, &USER.replace("\"answer\"", &format!("{tools}, \"answer\"")));
    let train = ["train", "--model", "m", "--prompts", "p.jsonl", "--verifier", "number", "--steps", "1"];
    let small = ["train.prompts=1", "train.samples=2", "max_tokens=2", "eval.samples=2"];
    let small: Vec<&str> = small.iter().flat_map(|setting| ["--set", setting]).collect();
    let thinking = ["--set", "model.template.enable_thinking=false"];
    ok(&[&train[..], &small, &thinking, &["--out", "a"]].concat(), folder.path());
    let config: toml::Table = fs::read_to_string(folder.path().join("a/config.toml")).unwrap().parse().unwrap();
    let template = config["model"]["template"].as_table().unwrap();
    assert_eq!(template["enable_thinking"], toml::Value::Boolean(false));
    let date = template["date"].as_str().unwrap();
    assert!(date.len() == 10 && date.starts_with("20"), "{date}");
    let rows = fs::read_to_string(folder.path().join("a/rollouts.jsonl")).unwrap();
    assert!(rows.lines().all(|row| row.contains(&tools.replace(": ", ":").replace(", ", ","))), "{rows}");
    // A run from the resolved configuration, or from the run's own rollouts, has the same prompts.
    ok(&["train", "--config", "a/config.toml", "--out", "b"], folder.path());
    assert!(rows == fs::read_to_string(folder.path().join("b/rollouts.jsonl")).unwrap());
    ok(&["train", "--config", "a/config.toml", "--rollouts", "a/rollouts.jsonl", "--out", "c"], folder.path());
    let fixed = ["--set", "model.template.date=2031-01-02"];
    let text = ok(&[&train[..], &fixed, &["--dry-run"]].concat(), folder.path());
    assert!(text.contains("[model.template]\ndate = "), "{text}");
    let error = fails(&[&train[..], &["--set", "model.template.messages=1", "--dry-run"]].concat(), folder.path());
    assert!(error.contains("[model.template]") && error.contains("`messages`"), "{error}");
}

#[test]
fn rows_that_cannot_be_rendered_are_named() {
    let prefill = |content: &str| {
        format!(
            r#"{{"prompt": [{{"role": "user", "content": "2+2?"}}, {{"role": "assistant", "content": "{content}"}}]}}"#
        )
    };
    let folder = folder("{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}", &prefill("The sum is "));
    assert_eq!(prompt(folder.path(), &[]).0, "<user>2+2?</><assistant>The sum is \n");
    fs::write(folder.path().join("p.jsonl"), prefill("")).unwrap();
    let (_, error) = prompt(folder.path(), &[]);
    assert!(error.contains("holds no text to continue"), "{error}");
    fs::write(folder.path().join("p.jsonl"), USER.replace("\"How many pens?\"", r#"[{"type": "image_url"}]"#)).unwrap();
    let (_, error) = prompt(folder.path(), &[]);
    assert!(error.contains("p.jsonl:1: `prompt[0]`: `content[0]` is of type `image_url`"), "{error}");
}
