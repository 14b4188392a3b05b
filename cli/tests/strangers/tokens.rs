//! End tokens and special tokens.

use std::path::Path;

use serde_json::{Value, json};

use super::model::Model;
use super::{file, score};
use crate::common::{checkpoint, fails, ok, run};

/// Returns a model with two end tokens as in Qwen2.5-Instruct: one ends a turn, and another with a lower id ends a
/// document.
fn two_end_tokens() -> Model {
    let model = Model::of("qwen2-tied");
    model.config(|config| config["eos_token_id"] = 2.into());
    model.edit("generation_config.json", |config| config["eos_token_id"] = json!([2, 0]));
    model.edit("tokenizer_config.json", |config| config["eos_token"] = "<|im_end|>".into());
    model
}

#[test]
fn a_text_ends_with_the_token_that_closes_a_turn() {
    let model = two_end_tokens();
    let rows = "{\"prompt\": \"2+2?\", \"completion\": \"4\", \"reward\": 1}\n\
                {\"prompt\": \"2+2?\", \"completion\": \"5\", \"reward\": 0}\n";
    let (folder, rows) = file("rollouts.jsonl", rows);
    let prompts = folder.path().join("p.jsonl");
    std::fs::write(&prompts, "{\"prompt\": \"2+2?\", \"answer\": \"4\"}\n").unwrap();
    let words = ["train", "--model", model.name(), "--prompts", prompts.to_str().unwrap(), "--verifier", "exact"];
    let stored = ["--rollouts", rows.to_str().unwrap(), "--steps", "8", "--out", "run", "--learning-rate", "1e-3"];
    ok(&[&words[..], &stored, &["--set", "eval.prompts=0"]].concat(), folder.path());
    let trained = checkpoint(&folder.path().join("run"), 8);
    let end = |model: &Path, token: &str| {
        let (ids, log_probs, _) = score(model, &json!({"prompt": "2+2?", "completion": format!("4{token}")}));
        assert_eq!(ids.last(), Some(&if token == "<|im_end|>" { 2 } else { 0 }));
        *log_probs.last().unwrap()
    };
    let gain = |token| end(&trained, token) - end(model.path(), token);
    assert!(gain("<|im_end|>") > gain("<|endoftext|>") + 0.1, "{} {}", gain("<|im_end|>"), gain("<|endoftext|>"));
}

#[test]
fn a_completion_that_was_cut_off_gets_no_end_token() {
    let model = two_end_tokens();
    let metrics = |fields: [&str; 2]| {
        let rows: String = fields
            .iter()
            .zip([1, 0])
            .map(|(fields, reward)| format!("{{\"prompt\": \"2+2?\", \"reward\": {reward}, {fields}}}\n"))
            .collect();
        let (folder, rows) = file("rollouts.jsonl", rows);
        let prompts = folder.path().join("p.jsonl");
        std::fs::write(&prompts, "{\"prompt\": \"2+2?\", \"answer\": \"4\"}\n").unwrap();
        let words = ["train", "--model", model.name(), "--prompts", prompts.to_str().unwrap(), "--verifier", "exact"];
        let stored = ["--rollouts", rows.to_str().unwrap(), "--steps", "1", "--out", "run", "--set", "eval.prompts=0"];
        ok(&[&words[..], &stored].concat(), folder.path());
        let record = crate::common::timeless(&folder.path().join("run")).pop().unwrap();
        [&record["length_mean"], &record["truncated_fraction"]].map(|value| value.as_f64().unwrap())
    };
    let (ids, _, _) = score(model.path(), &json!({"prompt": "2+2?", "completion": "45"}));
    let tokens = (ids.len() - score(model.path(), &json!({"prompt": "2+2?", "completion": ""})).0.len()) as f64;
    let text = |reason: &str| format!("\"completion\": \"45\"{reason}");
    let both = |row: &str| [row.to_owned(), row.to_owned()];
    for (rows, want) in [
        (both(&text("")), [tokens + 1.0, 0.0]),
        (both(&text(", \"finish_reason\": \"stop\"")), [tokens + 1.0, 0.0]),
        (both(&text(", \"finish_reason\": \"length\"")), [tokens, 1.0]),
        (both(&text(", \"finish_reason\": \"stop\", \"stop_reason\": \"6\"")), [tokens, 0.0]),
        (both("\"completion_ids\": [20, 21, 2]"), [3.0, 0.0]),
        (both("\"completion_ids\": [20, 21]"), [2.0, 1.0]),
        (both("\"completion_ids\": [20, 21], \"finish_reason\": \"stop\""), [2.0, 0.0]),
        (both("\"completion_ids\": [20, 21, 2], \"finish_reason\": \"length\""), [3.0, 1.0]),
    ] {
        assert_eq!(metrics([&rows[0], &rows[1]]), want, "{rows:?}");
    }
}

/// Tests that rows of different prompts are different groups, even if a concatenation of files gave them the same
/// number.
#[test]
fn a_group_holds_completions_of_one_prompt() {
    let model = two_end_tokens();
    let rows = "{\"prompt\": \"2+2?\", \"completion\": \"4\", \"reward\": 1, \"group\": 0}\n\n\
                {\"prompt\": \"3+3?\", \"completion\": \"4\", \"reward\": 0, \"group\": 0}\n";
    let (folder, rows) = file("rollouts.jsonl", rows);
    let words = ["train", "--model", model.name(), "--rollouts", rows.to_str().unwrap(), "--steps", "1"];
    ok(&[&words[..], &["--max-tokens", "8", "--out", "run"]].concat(), folder.path());
    let record = crate::common::timeless(&folder.path().join("run")).pop().unwrap();
    assert_eq!(record["degenerate_groups"], 1);
    std::fs::write(
        &rows,
        format!("\n{{\"prompt\": \"{}\", \"completion\": \"4\", \"reward\": 1}}\n", "1 ".repeat(400)),
    )
    .unwrap();
    let error = fails(&[&words[..], &["--max-tokens", "8", "--out", "other"]].concat(), folder.path());
    assert!(error.contains("rollouts.jsonl:2: the prompt has"), "{error}");
}

#[test]
fn the_end_token_of_the_tokenizer_is_taken_where_the_model_names_none() {
    let model = Model::of("qwen2-tied");
    model.config(|config| config["eos_token_id"] = Value::Null);
    model.remove("generation_config.json");
    let (folder, path) = file("p.jsonl", "{\"prompt\": \"2+2?\", \"answer\": \"4\"}\n");
    let words =
        ["train", "--dry-run", "--model", model.name(), "--prompts", path.to_str().unwrap(), "--verifier", "number"];
    ok(&words, folder.path());
    model.edit("tokenizer_config.json", |config| _ = config.as_object_mut().unwrap().remove("eos_token"));
    let error = fails(&words, folder.path());
    assert!(error.contains("nothing ends a completion") && error.contains("--stop"), "{error}");
    ok(&[&words[..], &["--stop", "\n"]].concat(), folder.path());
}

#[test]
fn ids_that_the_tokenizer_lacks_are_not_drawn() {
    // The model has 307 rows, but its tokenizer only 300 tokens.
    let model = Model::of("qwen3-qk-norm");
    let words = ["sample", "--model", model.name(), "--prompt", "3 5 = 8", "--max-tokens", "16", "--samples", "40"];
    let text = ok(&[&words[..], &["--json"]].concat(), &std::env::temp_dir());
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 40);
    for row in &rows {
        assert!(row["completion_ids"].as_array().unwrap().iter().all(|id| id.as_u64().unwrap() < 300), "{row}");
        assert!(!row["completion"].as_str().unwrap().is_empty(), "{row}");
        // Scoring gives the log-probabilities of sampling bit for bit, so the excluded ids still count in the softmax.
        let (prompt, _, _) = score(model.path(), &json!({"prompt": "3 5 = 8", "completion": ""}));
        let ids: Vec<u32> = prompt
            .iter()
            .copied()
            .chain(row["completion_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32))
            .collect();
        let (_, scored, _) = score(model.path(), &json!({"ids": ids, "prompt_len": prompt.len()}));
        let drawn: Vec<f64> = row["log_probs"].as_array().unwrap().iter().map(|l| l.as_f64().unwrap()).collect();
        assert_eq!(scored, drawn);
        if row == &rows[2] {
            break;
        }
    }
    // Such an id in a stored completion is trained on, but left out of its text.
    let (folder, rows) = file(
        "rollouts.jsonl",
        "{\"prompt\": \"3 5\", \"completion_ids\": [270, 305, 9, 0], \"reward\": 1}\n\
         {\"prompt\": \"3 5\", \"completion_ids\": [270, 9, 0], \"reward\": 0}\n",
    );
    let prompts = folder.path().join("p.jsonl");
    std::fs::write(&prompts, "{\"prompt\": \"3 5\", \"answer\": 8}\n").unwrap();
    let words = ["train", "--model", model.name(), "--prompts", prompts.to_str().unwrap(), "--verifier", "number"];
    let stored = ["--rollouts", rows.to_str().unwrap(), "--steps", "1", "--max-tokens", "4", "--out", "run"];
    ok(&[&words[..], &stored].concat(), folder.path());
    // Without prompts, the user's model is not evaluated on the built-in problems.
    let alone = ["train", "--model", model.name(), "--steps", "1", "--max-tokens", "4", "--out", "alone"];
    let output = run(&[&alone[..], &stored[..2]].concat(), folder.path());
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no prompts are held out"));
    assert_eq!(crate::common::timeless(&folder.path().join("alone"))[0].get("eval_success"), None);
    let sampled = ["--steps", "1", "--max-tokens", "4", "--out", "sampled", "--set", "eval.prompts=0"];
    ok(&[&words[..], &sampled].concat(), folder.path());
    let record = crate::common::timeless(&folder.path().join("sampled")).pop().unwrap();
    assert_eq!(record["first_ratio_deviation"], 0);
    assert!((0.001..0.2).contains(&record["excluded_mass"].as_f64().unwrap()), "{record}");
}

#[test]
fn a_plain_prompt_gets_the_begin_token_once_and_no_end_token() {
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let sequence = json!({"Sequence": {"id": "A", "type_id": 0}});
    let model = Model::of("llama3-rope-scaled");
    let begin = |id: u32, token: &str| json!({"id": token, "ids": [id], "tokens": [token]});
    let processor = json!({
        "type": "TemplateProcessing",
        "single": [special("<|im_start|>"), sequence, special("<|im_end|>")],
        "pair": [sequence, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|im_start|>": begin(1, "<|im_start|>"), "<|im_end|>": begin(2, "<|im_end|>")},
    });
    let plain = score(model.path(), &json!({"prompt": "3 5", "completion": "8"})).0;
    model.edit("tokenizer.json", |tokenizer| tokenizer["post_processor"] = processor);
    for prompt in ["3 5", "<|im_start|>3 5"] {
        let (ids, _, _) = score(model.path(), &json!({"prompt": prompt, "completion": "8"}));
        assert_eq!(ids, [&[1], &plain[..]].concat(), "{prompt}");
    }
}
