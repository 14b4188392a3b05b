//! Tests of files as users have them: each gives the same numbers as `transformers`, or an error that says what to do.

#[path = "strangers/model.rs"]
mod model;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::common::{checkpoint, fails, ok, program, run};
use model::{Model, Stored};

/// Tokens in the vocabulary of every tiny model. The first two are the prompt.
const IDS: [u32; 15] = [5, 77, 130, 200, 33, 61, 18, 250, 9, 10, 11, 12, 13, 14, 15];

/// Scores a row, and returns its ids, its log-probabilities and the text on standard error.
fn score(model: &Path, row: &Value) -> (Vec<u32>, Vec<f64>, String) {
    let output = score_output(model, row);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ids = line["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    (ids, line["log_probs"].as_array().unwrap().iter().map(|l| l.as_f64().unwrap()).collect(), errors)
}

fn score_output(model: &Path, row: &Value) -> Output {
    let mut command = program(&["score", model.to_str().unwrap(), "--input", "-"], &std::env::temp_dir());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The write fails if the model is refused, because the program then reads no row.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), row.to_string().as_bytes());
    child.wait_with_output().unwrap()
}

/// Returns the error of `score` for a model that it must refuse.
fn refusal(model: &Path) -> String {
    let output = score_output(model, &json!({"ids": IDS, "prompt_len": 2}));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[track_caller]
fn assert_scores(model: &Path, want: &[f64]) -> String {
    let (ids, got, errors) = score(model, &json!({"ids": IDS, "prompt_len": 2}));
    assert_eq!((ids.as_slice(), got.len()), (&IDS[..], want.len()));
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-4, "{got}, transformers {want}");
    }
    errors
}

/// Creates a file in a temporary folder.
fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

/// Returns the error of `train --dry-run` for a file of prompts that it must refuse.
fn prompts_refusal(name: &str, content: impl AsRef<[u8]>, more: &[&str]) -> String {
    let (folder, path) = file(name, content);
    let model = Model::of("qwen2-tied");
    let words = ["train", "--dry-run", "--model", model.name(), "--prompts", path.to_str().unwrap()];
    fails(&[&words, more].concat(), folder.path())
}

// Configuration and weights.

#[test]
fn rope_scaling_beside_rope_parameters_wins() {
    let model = Model::of("qwen2-tied");
    model.config(|config| config["rope_scaling"] = json!({"type": "linear", "factor": 4.0}));
    assert_scores(model.path(), &model::LINEAR);
    let yarn = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64});
    model.config(|config| config["rope_scaling"] = yarn);
    let error = refusal(model.path());
    assert!(error.contains("`rope_scaling.type` is \"yarn\""), "{error}");
}

#[test]
fn a_head_that_differs_from_the_embedding_is_used() {
    let model = Model::of("qwen2-tied");
    model.tensors(|tensors| {
        let mut head = tensors["model.embed_tokens.weight"].clone();
        head.change(|i, x| x + 0.25 * (i as f32 * 0.7).sin());
        tensors.insert("lm_head.weight".into(), head);
    });
    let said = assert_scores(model.path(), &model::OTHER_HEAD);
    assert!(said.contains("warning: ") && said.contains("`lm_head.weight` differs"), "{said}");
    // A head equal to the embedding changes nothing.
    model.tensors(|tensors| _ = tensors.insert("lm_head.weight".into(), tensors["model.embed_tokens.weight"].clone()));
    assert_eq!(assert_scores(model.path(), &model::TIED), "");
    // A separate head stays separate after training.
    model.tensors(|tensors| tensors.get_mut("lm_head.weight").unwrap().change(|i, x| x + 0.1 * (i as f32).cos()));
    let (folder, path) = file("p.jsonl", "{\"prompt\": \"3 5\", \"answer\": 8}\n");
    let words = ["train", "--model", model.name(), "--prompts", path.to_str().unwrap(), "--verifier", "number"];
    let few = ["--steps", "1", "--max-tokens", "2", "--set", "eval.prompts=0", "--out", "run"];
    ok(&[&words[..], &few].concat(), folder.path());
    let trained = Model::open(&checkpoint(&folder.path().join("run"), 1));
    assert_eq!(trained.read("config.json")["tie_word_embeddings"], false);
    assert!(trained.stored().contains_key("lm_head.weight"));
}

#[test]
fn names_of_tensors_are_understood_or_told() {
    // A base model that was saved without its head has no prefix `model.`.
    let model = Model::of("qwen2-tied");
    model.rename(|name| name.strip_prefix("model.").unwrap_or(name).to_owned());
    assert_scores(model.path(), &model::TIED);

    let model = Model::of("qwen2-tied");
    model.rename(|name| format!("_orig_mod.{name}"));
    let error = refusal(model.path());
    assert!(error.contains("begin with `_orig_mod.`"), "{error}");

    let model = Model::of("llama3-rope-scaled");
    model.tensors(|tensors| _ = tensors.insert("model.layers.0.self_attn.q_proj.bias".into(), Stored::ones(&[64])));
    let error = refusal(model.path());
    assert!(
        error.contains("`model.layers.0.self_attn.q_proj.bias`") && error.contains("`attention_bias` is false"),
        "{error}"
    );

    let model = Model::of("qwen2-tied");
    model.tensors(|tensors| _ = tensors.insert("v_head.summary.weight".into(), Stored::ones(&[1, 8])));
    let said = assert_scores(model.path(), &model::TIED);
    assert!(said.contains("unused") && said.contains("`v_head.summary.weight`"), "{said}");
}

#[test]
fn weights_that_are_not_finite_are_named() {
    for bad in [f32::NAN, f32::INFINITY] {
        let model = Model::of("llama3-rope-scaled");
        let name = "model.layers.1.mlp.up_proj.weight";
        model.tensors(|tensors| tensors.get_mut(name).unwrap().change(|i, x| if i == 7 { bad } else { x }));
        let error = refusal(model.path());
        assert!(error.contains(&format!("`{name}` has {bad} at element 7")), "{error}");
    }
}

#[test]
fn a_folder_that_is_no_checkpoint_says_what_it_is() {
    let adapter = Model::of("qwen2-tied");
    adapter.remove("config.json");
    adapter.write("adapter_config.json", &json!({"peft_type": "LORA", "base_model_name_or_path": "some/base"}));
    let torch = Model::of("qwen2-tied");
    std::fs::rename(torch.path().join("model.safetensors"), torch.path().join("pytorch_model.bin")).unwrap();
    let gguf = Model::of("qwen2-tied");
    std::fs::rename(gguf.path().join("model.safetensors"), gguf.path().join("model-Q8_0.gguf")).unwrap();
    let bare = Model::of("qwen2-tied");
    bare.remove("config.json");
    let weightless = Model::of("qwen2-tied");
    weightless.remove("model.safetensors");
    let pointer = Model::of("qwen2-tied");
    std::fs::write(pointer.path().join("model.safetensors"), "version https://git-lfs.github.com/spec/v1\noid")
        .unwrap();
    let cache = tempdir().unwrap();
    std::fs::create_dir_all(cache.path().join("snapshots/0123abcd")).unwrap();
    let empty = tempdir().unwrap();
    for (path, wanted) in [
        (adapter.path(), "an adapter of some/base"),
        (torch.path(), "pytorch_model.bin, which only PyTorch reads"),
        (gguf.path(), "model-Q8_0.gguf is GGUF"),
        (bare.path(), "no config.json next to the weights"),
        (weightless.path(), "no model.safetensors next to config.json"),
        (pointer.path(), "git lfs pull"),
        (cache.path(), "snapshots/0123abcd"),
        (empty.path(), "there is no config.json"),
        (&torch.path().join("config.json"), "this is a file"),
        (Path::new("some/hub-id"), "hf download some/hub-id"),
        (Path::new("/nowhere/at/all"), "there is no such folder"),
    ] {
        let error = refusal(path);
        assert!(error.contains(wanted) && error.lines().count() == 1, "{wanted}: {error}");
    }
}

// End tokens and special tokens.

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

// Files of rows.

#[test]
fn files_of_rows_in_other_formats_are_named() {
    let parquet = [b"PAR1".as_slice(), &[21, 4, 21, 0, 255, 254], b"PAR1"].concat();
    for (name, content, wanted) in [
        ("rows.parquet", parquet.as_slice(), "rows.parquet:1: this is a Parquet file"),
        ("rows.gz", b"\x1f\x8b\x08\0\0\0\0\0", "rows.gz:1: this is compressed with gzip"),
        ("array.json", b"[{\"prompt\": \"q\", \"answer\": 4}]", "array.json:1: a row is an object"),
        ("rows.csv", b"prompt,answer\nq,4\n", "rows.csv:1: this looks like CSV"),
        (
            "list.jsonl",
            b"{\"prompt\": \"q\", \"answer\": 4}\n[\"2+2?\", 4, \"id\"]\n",
            "list.jsonl:2: invalid type: sequence",
        ),
        (
            "gsm8k.jsonl",
            b"{\"question\": \"q\", \"answer\": \"#### 4\"}",
            "gsm8k.jsonl:1: `prompt` is missing; the row has `question`, `answer`: name its key with --prompt-key",
        ),
        (
            "verl.jsonl",
            b"{\"prompt\": \"q\", \"reward_model\": {\"ground_truth\": \"12\"}}",
            "the row has `prompt`, `reward_model`: name the answer's key with --answer-key",
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
    assert!(error.contains("-:1: ") && error.contains("context"), "{error}");
}

// Runs.

#[test]
fn a_text_may_end_a_completion() {
    let model = Model::of("qwen2-tied");
    let words =
        ["sample", "--model", model.name(), "--prompt", "3 5 = 8", "--max-tokens", "48", "--samples", "60", "--json"];
    let rows = |more: &[&str]| -> Vec<Value> {
        let text = ok(&[&words[..], more].concat(), &std::env::temp_dir());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (free, stopped) = (rows(&[]), rows(&["--stop", "e", "--stop", "th"]));
    let mut ended = 0;
    for (free, stopped) in free.iter().zip(&stopped) {
        let [text, whole] = [stopped, free].map(|row| row["completion"].as_str().unwrap());
        assert!(!text.contains('e') && !text.contains("th"), "{text}");
        let cut = [whole.find('e'), whole.find("th")].into_iter().flatten().min();
        assert_eq!(text, &whole[..cut.unwrap_or(whole.len())]);
        if cut.is_some() {
            ended += 1;
            assert_eq!(stopped["ended"], true);
            let ids = |row: &Value| row["completion_ids"].as_array().unwrap().clone();
            assert!(ids(free).starts_with(&ids(stopped)));
        }
    }
    assert!(ended > 10, "{ended} of 60");
    // A special token has no text in the completion, but `--stop` may name it.
    let by_token = rows(&["--stop", "<|im_start|>"]);
    assert!(by_token.iter().any(|row| row["completion_ids"].as_array().unwrap().last() == Some(&json!(1))));
    for (free, stopped) in free.iter().zip(&by_token) {
        let [whole, ids] = [free, stopped].map(|row| row["completion_ids"].as_array().unwrap());
        let end = whole.iter().position(|id| *id == json!(1)).map_or(whole.len(), |at| at + 1);
        assert_eq!(ids[..], whole[..end]);
    }
}

#[test]
fn exact_measures_are_not_of_completions_that_a_text_ends() {
    let words = ["eval", "--set", "eval.prompts=2", "--set", "eval.samples=2"];
    let measured = |more: &[&str]| run(&[&words[..], more].concat(), &std::env::temp_dir());
    let (free, stopped) = (measured(&[]), measured(&["--stop", "7"]));
    assert!(String::from_utf8_lossy(&free.stdout).contains("eval_success_exact"));
    let [out, said] = [&stopped.stdout, &stopped.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(out.contains("eval_success") && !out.contains("exact"), "{out}");
    assert!(said.contains("exact measures of Countdown are left out"), "{said}");
}

#[test]
fn a_run_is_a_model_and_a_model_is_measured_on_the_whole_file() {
    let model = Model::of("qwen2-tied");
    let rows: String =
        (1..=12).map(|i| format!("{{\"prompt\": \"What is {i} + {i}?\", \"answer\": {}}}\n", 2 * i)).collect();
    let (folder, path) = file("p.jsonl", rows);
    let d = folder.path();
    let measured = |words: &[&str]| -> Value { serde_json::from_str(&ok(&[words, &["--json"]].concat(), d)).unwrap() };
    let task = ["--prompts", path.to_str().unwrap(), "--verifier", "number", "--max-tokens", "4"];
    let found = measured(&[&["eval", model.name()], &task[..]].concat());
    assert_eq!((&found["prompts"], &found["samples"]), (&json!(12), &json!(4)));
    assert!(found["standard_errors"]["eval_success"].is_number() && found["eval_pass_at_4"].is_number());
    let text = ok(&[&["eval", model.name()], &task[..]].concat(), d);
    assert!(text.starts_with("12 prompts, 4 completions of each\n") && text.contains(" ± "), "{text}");
    std::fs::write(d.join("c.toml"), "[eval]\nprompts = 3\n").unwrap();
    assert_eq!(measured(&[&["eval", model.name(), "--config", "c.toml"], &task[..]].concat())["prompts"], 3);
    // `eval` of a run uses its verifier and the prompts that it held out. A run's checkpoint can stand for a model
    // anywhere.
    let train = ["train", "--model", model.name(), "--steps", "1", "--out", "run", "--set", "eval.prompts=2"];
    ok(&[&train[..], &task].concat(), d);
    assert_eq!(measured(&["eval", "run"])["prompts"], 2);
    let reference = measured(&["eval", "run", "--reference", model.name()]);
    assert_eq!(reference["eval_success"], measured(&["eval", "run"])["eval_success"]);
    assert_eq!(measured(&["eval", "run/checkpoints/step-000001"])["prompts"], 2);
    assert_eq!(measured(&[&["eval", "run"], &task[..]].concat())["prompts"], 12);
    ok(&["sample", "--model", "run", "--prompt", "1", "--max-tokens", "2"], d);
    let (ids, log_probs, _) = score(&d.join("run"), &json!({"ids": IDS, "prompt_len": 2}));
    assert_eq!((ids.len(), log_probs.len()), (15, 13));
    let text = ok(&[&["train", "--dry-run", "--model", "run"], &task[..]].concat(), d);
    assert!(text.contains("run/checkpoints/step-000001"), "{text}");
    // The reference of a run is the model it started from, and this holds for the built-in model too.
    let small =
        ["--set", "train.prompts=2", "--set", "train.samples=4", "--set", "eval.prompts=2", "--set", "eval.samples=2"];
    let rate = ["--learning-rate", "1e-3", "--steps", "2", "--out", "built-in", "--set", "warmup=0"];
    ok(&[&["train"], &small[..], &rate].concat(), d);
    let found = measured(&["eval", "built-in"]);
    let records = crate::common::timeless(&d.join("built-in"));
    for name in ["eval_success_ref", "eval_success_exact", "eval_kl_on_correct"] {
        assert_eq!(found[name], records[2][name], "{name}");
    }
    assert_ne!(found["eval_success_ref"], found["eval_success_exact"]);
    let error = fails(&["eval", "--set", "eval.prompts=0"], d);
    assert!(error.contains("nothing to measure"), "{error}");
    let found = measured(&["eval", "--set", "eval.prompts=2", "--set", "eval.samples=2"]);
    assert!(found["eval_success_exact"].is_number());
}

#[test]
fn a_sweep_goes_on_with_what_was_chosen_for_the_memory_of_another_day() {
    let model = Model::of("qwen2-tied");
    let (folder, path) = file("p.jsonl", "{\"prompt\": \"1 + 1?\", \"answer\": 2}\n".repeat(2));
    let d = folder.path();
    let task = ["--model", model.name(), "--prompts", path.to_str().unwrap(), "--verifier", "number"];
    let small = ["--max-tokens", "2", "--steps", "1", "--samples", "2", "--set", "eval.prompts=0", "--out", "s"];
    let sweep = [&["sweep", "--set", "optimizer.learning_rate=1e-6,1e-5"][..], &task, &small].concat();
    let text = ok(&sweep, d);
    let config = d.join("s/learning_rate=1e-6-seed0/config.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let cut = written.replace("micro_batch = 0", "micro_batch = 1").replace("recompute = false", "recompute = true");
    assert_ne!(cut, written);
    std::fs::write(&config, &cut).unwrap();
    assert_eq!(ok(&sweep, d), text);
    assert_eq!(std::fs::read_to_string(&config).unwrap(), cut);
}

#[test]
fn another_objective_takes_its_own_options() {
    let folder = tempdir().unwrap();
    let d = folder.path();
    let first = ok(&["train", "--dry-run"], d);
    std::fs::write(d.join("c.toml"), &first).unwrap();
    for objective in ["exact-tb", "grpo"] {
        let output = run(&["train", "--dry-run", "--config", "c.toml", "--objective", objective], d);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains("replaces that of the configuration file"), "{said}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), ok(&["train", "--dry-run", "--objective", objective], d));
    }
    // The options are kept if the objective is the same, and options from the command line always apply.
    let text = ok(&["train", "--dry-run", "--config", "c.toml", "--objective", "paper", "--set", "beta=3"], d);
    assert!(text.contains("beta = 3.0"), "{text}");
    let text = ok(&["train", "--dry-run", "--config", "c.toml", "--set", "beta=3", "--objective", "exact-tb"], d);
    assert!(text.contains("beta = 3.0") && text.contains("preset = \"exact-tb\""), "{text}");
}

#[test]
fn what_teaches_nothing_is_told_once() {
    let model = Model::of("qwen2-tied");
    let rows: String =
        (1..=4).map(|i| format!("{{\"prompt\": \"What is {i} + {i}?\", \"answer\": 99999}}\n")).collect();
    let (folder, path) = file("p.jsonl", rows);
    let words = ["train", "--model", model.name(), "--prompts", path.to_str().unwrap(), "--objective", "grpo"];
    let few = ["--steps", "12", "--max-tokens", "3", "--samples", "2", "--set", "eval.prompts=0", "--set", "kl=0"];
    let output = run(&[&words[..], &few].concat(), folder.path());
    let said = String::from_utf8(output.stderr).unwrap();
    for wanted in
        ["judged by `exact`", "sampling ", "a step takes", "were cut off", "for 3 steps", "exactly 0", "in 10 steps"]
    {
        assert_eq!(said.matches(wanted).count(), 1, "{wanted}: {said}");
    }
    let output = run(&["train", "--dry-run", "--verifier", "number"], folder.path());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--verifier is ignored"), "{said}");
}
