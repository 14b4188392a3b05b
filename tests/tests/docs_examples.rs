//! The examples of the documentation give the numbers that the pages state, and everything that the pages refer to
//! exists.

use std::fs;
use std::path::{Path, PathBuf};

use flowrl_core::exact;
use flowrl_core::objective::file::BatchFile;
use flowrl_core::objective::{ObjectiveSpec, Preset};
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Returns the fenced blocks of a language, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Iterates over the trimmed cells of every row of every table.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect())
}

#[test]
fn toml_examples_resolve_and_use_every_key() {
    let examples = blocks(&page("docs/presets.md"), "toml");
    assert_eq!(examples.len(), 2);
    for example in examples {
        let mut file: toml::Table = toml::from_str(&example).expect("valid TOML");
        let objective = file.remove("objective").expect("a table [objective]");
        let spec: ObjectiveSpec = objective.try_into().expect("known keys");
        assert_eq!(spec.unused().expect("values in range"), [""; 0], "{example}");
    }
}

#[test]
fn the_batch_example_gives_the_output_beside_it() {
    let examples = blocks(&page("docs/presets.md"), "json");
    let [batch, output] = examples.as_slice() else { panic!("a batch and its output, got {}", examples.len()) };
    let batch: BatchFile = serde_json::from_str(batch).expect("a batch file");
    let got = serde_json::to_value(batch.evaluate::<f64>().expect("a valid batch")).expect("JSON");
    let want: Value = serde_json::from_str(output).expect("JSON");
    close("", &got, &want);
}

/// Checks that every number of `want` is in `got`, to six digits.
fn close(at: &str, got: &Value, want: &Value) {
    match want {
        Value::Object(want) => want.iter().for_each(|(key, want)| close(&format!("{at}/{key}"), &got[key], want)),
        Value::Array(want) => {
            assert_eq!(got.as_array().map(Vec::len), Some(want.len()), "{at}");
            want.iter().enumerate().for_each(|(i, want)| close(&format!("{at}/{i}"), &got[i], want));
        }
        want => {
            let (got, want) = (got.as_f64().expect(at), want.as_f64().expect(at));
            assert!((got - want).abs() < 1e-6, "{at}: the page says {want}, the library {got}");
        }
    }
}

#[test]
fn every_objective_has_a_row() {
    let (presets, mathematics) = (page("docs/presets.md"), page("docs/mathematics.md"));
    let named = |text: &str, name: &str| rows(text).any(|row| row[0] == format!("`{name}`"));
    for preset in Preset::ALL {
        assert!(named(&presets, preset.name()), "docs/presets.md has no row for `{preset}`");
        let is_gradient = preset.policy_gradient().is_some();
        assert!(!is_gradient || named(&mathematics, preset.name()), "docs/mathematics.md has no row for `{preset}`");
    }
}

#[test]
fn the_two_targets_of_the_mathematics_page() {
    let text = page("docs/mathematics.md");
    let table: Vec<Vec<f64>> = rows(&text)
        .filter(|row| row.len() == 6 && row[1..].iter().all(|cell| cell.parse::<f64>().is_ok()))
        .map(|row| row[1..].iter().map(|cell| cell.parse().expect("a number")).collect())
        .collect();
    assert_eq!(table.len(), 3, "three answers: tokens, reward, reference, plain, length-normalised");
    let column = |i: usize| -> Vec<f64> { table.iter().map(|row| row[i]).collect() };
    let lengths: Vec<usize> = column(0).iter().map(|&n| n as usize).collect();
    let reference: Vec<f64> = column(2).iter().map(|p| p.ln()).collect();
    let (mut plain, mut normalised) = ([0.0; 3], [0.0; 3]);
    exact::target(&reference, &column(1), 1.0, &mut plain).expect("valid input");
    exact::length_normalised_target(&reference, &column(1), &lengths, 1.0, &mut normalised).expect("valid input");
    for (got, want) in [(plain, column(3)), (normalised, column(4))] {
        got.iter().zip(want).for_each(|(l, want)| assert!((l.exp() - want).abs() < 1e-6, "{} {want}", l.exp()));
    }
}

/// Checks `[text](path)`, with links relative to their page, and `` `folder/file.rs` ``, with paths relative to the
/// root of the repository. The READMEs of crates, which crates.io shows too, link to the repository on GitHub.
#[test]
fn every_link_and_path_exists() {
    let docs = fs::read_dir(repository().join("docs")).expect("the folder docs");
    let names = docs.map(|entry| format!("docs/{}", entry.expect("readable").file_name().to_string_lossy()));
    let pages = names.filter(|name| name.ends_with(".md"));
    let crates = ["cli", "core", "cuda", "lab", "lm", "tables", "verify"].map(|name| format!("{name}/README.md"));
    let others = ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"].map(str::to_owned);
    for name in pages.chain(others).chain(crates) {
        let text = page(&name);
        let folder = repository().join(&name).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let (folder, target) = match target.strip_prefix("https://github.com/flowrl/flowrl/blob/main/") {
                Some(path) => (repository(), path),
                None => (folder.clone(), target),
            };
            let local = !target.is_empty() && !target.contains("://");
            assert!(!local || folder.join(target).exists(), "{name}: no page {link}");
        }
        let prose: String = text.split("```").step_by(2).collect();
        for code in prose.split('`').skip(1).step_by(2) {
            let file = [".rs", ".md", ".toml", "/"].iter().any(|end| code.ends_with(end));
            let path = code.contains('/') && file && !code.contains(char::is_whitespace);
            assert!(!path || repository().join(code).exists(), "{name}: no file {code}");
        }
    }
}
