//! Files of prompts and of rows to score.

use serde_json::json;

use super::model::Model;
use super::{file, prompts_refusal, score, score_output};
use crate::common::{fails, ok};

#[test]
fn files_of_rows_in_other_formats_are_named() {
    let parquet = [b"PAR1".as_slice(), &[21, 4, 21, 0, 255, 254], b"PAR1"].concat();
    for (name, content, wanted) in [
        ("rows.parquet", parquet.as_slice(), "rows.parquet: the Parquet file is damaged"),
        ("rows.gz", b"\x1f\x8b\x08\0\0\0\0\0", "rows.gz: damaged or cut off gzip data"),
        ("rows.xlsx", b"PK\x03\x04\x14\0", "rows.xlsx: this is a zip archive or an Excel file"),
        ("array.json", b"[{\"prompt\": \"q\"}]", "name the answer's key with --answer-key"),
        ("rows.txt", b"What is 2+2?\n", "rows.txt: unknown format, beginning with \"What is 2+2?\""),
        (
            "list.jsonl",
            b"{\"prompt\": \"q\", \"answer\": 4}\n[\"2+2?\", 4, \"id\"]\n",
            "list.jsonl:2: invalid type: sequence",
        ),
        (
            "gsm8k.jsonl",
            b"{\"query\": \"q\", \"target\": \"4\"}",
            "gsm8k.jsonl:1: `prompt` is missing; the row has `query`, `target`: name its key with --prompt-key",
        ),
        (
            "other.jsonl",
            b"{\"prompt\": \"q\", \"target\": \"12\"}",
            "the row has `prompt`, `target`: name the answer's key with --answer-key",
        ),
    ] {
        let error = prompts_refusal(name, content, &["--verifier", "number"]);
        assert!(error.contains(wanted) && error.lines().count() == 1, "{name}: {error}");
    }
}

#[test]
fn prompts_and_answers_may_be_called_otherwise() {
    let (folder, path) = file("verl.jsonl", "{\"question\": \"q\", \"reward_model\": {\"ground_truth\": \"12\"}}\n");
    let model = Model::of("qwen2-tied");
    let words = ["train", "--dry-run", "--model", model.name(), "--prompts", path.to_str().unwrap()];
    let keys = ["--prompt-key", "question", "--answer-key", "reward_model.ground_truth", "--verifier", "number"];
    let text = ok(&[&words[..], &keys].concat(), folder.path());
    assert!(text.contains("answer_key = \"reward_model.ground_truth\""), "{text}");
}

#[test]
fn scored_rows_may_have_a_byte_order_mark() {
    let model = Model::of("qwen2-tied");
    let (folder, path) = file("rows.jsonl", "\u{feff}{\"prompt\": \"3 5\", \"completion\": \"8\"}\r\n");
    let text = ok(&["score", model.name(), "--input", path.to_str().unwrap()], folder.path());
    assert_eq!(text.lines().count(), 1);
    let (folder, path) = file("rows.jsonl", "{\"prompt\": \"3 5\"}\n");
    let error = fails(&["score", model.name(), "--input", path.to_str().unwrap()], folder.path());
    assert!(error.contains("rows.jsonl:1: `completion` is missing"), "{error}");
    let ids = json!({"prompt": "3 5", "completion": "8", "completion_ids": [20, 21, 0]});
    assert_eq!(score(model.path(), &ids).0[..].last_chunk(), Some(&[20, 21, 0]));
    std::fs::write(&path, "\n").unwrap();
    assert!(
        fails(&["score", model.name(), "--input", path.to_str().unwrap()], folder.path()).contains("no row to score")
    );
}

#[test]
fn long_prompts_are_quoted_in_part_and_found_by_their_line() {
    let long = format!("{{\"prompt\": \"1\", \"answer\": 1}}\n{{\"prompt\": \"{}\"}}\n", "Q ".repeat(2000));
    let error = prompts_refusal("long.jsonl", &long, &["--verifier", "number"]);
    assert!(error.contains("long.jsonl:2: prompt \"Q Q Q") && error.len() < 400, "{error}");
}

#[test]
fn what_is_longer_than_the_context_is_named_with_its_line() {
    let model = Model::of("qwen2-tied");
    let context = model.read("config.json")["max_position_embeddings"].as_u64().unwrap() as usize;
    let long =
        format!("{{\"prompt\": \"1\", \"answer\": 1}}\n{{\"prompt\": \"{}\", \"answer\": 1}}\n", "1 ".repeat(context));
    let error = prompts_refusal("long.jsonl", &long, &["--verifier", "number"]);
    assert!(error.contains("long.jsonl:2: the prompt has") && error.contains(&context.to_string()), "{error}");
    let (folder, path) = file("p.jsonl", "{\"prompt\": \"1\", \"answer\": 1}\n");
    let words =
        ["train", "--dry-run", "--model", model.name(), "--prompts", path.to_str().unwrap(), "--verifier", "number"];
    // The default is 512 or the rest of the context, whichever is less.
    let text = ok(&words, folder.path());
    let tokens = score(model.path(), &json!({"prompt": "1", "completion": ""})).0.len();
    assert!(text.contains(&format!("max_tokens = {}\n", 512.min(context - tokens))), "{text}");
    let error = fails(&[&words[..], &["--max-tokens", &context.to_string()]].concat(), folder.path());
    assert!(error.contains("lower --max-tokens to"), "{error}");
    let error = fails(&["sample", "--model", model.name(), "--prompt", "1", "--max-tokens", "99999"], folder.path());
    assert!(error.contains("--max-tokens"), "{error}");
    let row = json!({"ids": vec![5; context + 1], "prompt_len": 1});
    let error = String::from_utf8(score_output(model.path(), &row).stderr).unwrap();
    assert!(error.contains("standard input:1: ") && error.contains("context"), "{error}");
}
