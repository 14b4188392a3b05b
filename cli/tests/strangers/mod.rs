//! Tests of files as users have them: each gives the same numbers as `transformers`, or an error that says what to do.

mod model;
mod rows;
mod runs;
mod tokens;
mod weights;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::common::{fails, program};
use model::Model;

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
fn assert_scores(model: &Path, wanted: &[f64]) -> String {
    let (ids, got, errors) = score(model, &json!({"ids": IDS, "prompt_len": 2}));
    assert_eq!((ids.as_slice(), got.len()), (&IDS[..], wanted.len()));
    for (got, wanted) in got.iter().zip(wanted) {
        assert!((got - wanted).abs() < 1e-4, "{got}, transformers {wanted}");
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
