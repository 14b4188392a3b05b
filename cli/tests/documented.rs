//! Tests that the program accepts every command in the README and the docs. Each is run with fewer steps, a smaller
//! evaluation and smaller sizes.

use std::path::Path;

use crate::common::{copy_folder, ok, run};

/// Commands that cannot run here: their first words, the command that runs instead, and the reason.
const INSTEAD: [(&str, &str, &str); 10] = [
    ("watch", "watch --help", "serves until it is ended: cli/tests/watch.rs asks it"),
    ("train --device cuda", "train --device cuda --dry-run", "needs a GPU"),
    ("train --task countdown --device cuda", "train --task countdown --device cuda --dry-run", "needs a GPU"),
    ("train --dry-run --device cuda", "train --dry-run --device cuda", "needs a GPU, but for a dry run"),
    ("train --device emulated", "train --device emulated --dry-run", "slow: cli/tests/device.rs runs on it"),
    (
        "train --model DIR --prompts FILE.jsonl --verifier code",
        "train --help",
        "needs rows with tests: verify/tests/code_judge.rs has some",
    ),
    ("doctor", "doctor --help", "its status depends on the machine: cli/tests/doctor.rs runs it"),
    ("pretrain", "pretrain --help", "takes an hour"),
    ("loss BATCH.json", "loss batch.json", "the file is one of the golden ones"),
    ("completions", "completions bash", ""),
];

/// Placeholders in the pages, each with its replacement.
const PLACES: [(&str, &str); 15] = [
    ("runs/grpo-$seed", "runs/grpo-1"),
    ("train.jsonl", "rows.jsonl"),
    ("test.jsonl", "rows.jsonl"),
    ("smollm2", "model"),
    ("runs/*", "runs/made"),
    ("$seed", "1"),
    ("FILE.jsonl", "rows.jsonl"),
    ("sums.jsonl", "rows.jsonl"),
    ("SMOLLM2", "model"),
    ("FILE", "run.toml"),
    ("DIR", "model"),
    ("RUN", "runs/made"),
    ("BATCH.json", "batch.json"),
    ("cli/model", "made"),
    ("OUT", "out"),
];

/// Returns the commands of a page: the text after the program's name in a code block or between backticks.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        let mut rest = line;
        while let Some(at) = rest.find("flowrl-cli ") {
            let (before, after) = (&rest[..at], &rest[at + "flowrl-cli ".len()..]);
            let inline = before.matches('`').count() % 2 == 1;
            let end = if inline { after.find('`') } else { after.find("  ").or_else(|| after.find(" #")) };
            let command = &after[..end.unwrap_or(after.len())];
            let named = before.trim_end().ends_with("-p") && !before.contains("cargo run");
            if (in_block || inline) && !named {
                found.push(command.trim_start_matches("-- ").replace('…', "").trim().to_owned());
            }
            rest = &after[end.unwrap_or(after.len())..];
        }
    }
    found
}

/// Returns the words of a command with small sizes and with the placeholders replaced by files of the test's folder.
fn cut(command: &str) -> Vec<String> {
    let place = |word: &str| PLACES.iter().find(|(name, _)| *name == word).map_or(word, |(_, place)| place).to_owned();
    let mut words: Vec<String> = command.split_whitespace().map(place).collect();
    // These flags are dropped because the test sets its own sizes.
    for flag in ["--steps", "--samples", "--max-tokens"] {
        if let Some(at) = words.iter().position(|word| word == flag) {
            words.drain(at..(at + 2).min(words.len()));
        }
    }
    // The values of `length` are in a table of the page, not in the command.
    words.iter_mut().filter(|word| word.ends_with("length=")).for_each(|word| word.push_str("sum"));
    let small: &[&str] = match words.first().map(String::as_str) {
        Some("train" | "sweep") => &["--steps", "1"],
        Some("eval") => &["--set", "eval.prompts=1", "--set", "eval.samples=1"],
        _ => &[],
    };
    words.extend(small.iter().map(|word| (*word).to_owned()));
    let lab = ["bandit", "landscape", "hypergrid", "bits", "tree"];
    if words.first().is_some_and(|word| word == "train") && !words.iter().any(|word| lab.contains(&word.as_str())) {
        let sizes = ["train.prompts=1", "train.samples=2", "eval.prompts=1", "eval.samples=1", "max_tokens=4"];
        words.extend(sizes.iter().flat_map(|size| ["--set".to_owned(), (*size).to_owned()]));
    }
    words
}

#[test]
fn every_command_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().unwrap();
    let d = folder.path();
    copy_folder(&root.join("tests/golden/hf/qwen2-tied"), &d.join("model"));
    std::fs::copy(root.join("tests/golden/objective/paper-0.json"), d.join("batch.json")).unwrap();
    let rows = "{\"prompt\": \"What is 1 + 1?\", \"answer\": 2}\n{\"prompt\": \"What is 2 + 2?\", \"answer\": 4}\n";
    std::fs::write(d.join("rows.jsonl"), rows).unwrap();
    std::fs::write(d.join("FILE.jsonl"), rows).unwrap();
    std::fs::write(d.join("hard.csv"), "question,answer\nWhat is 9 + 9?,18\n").unwrap();
    // Its first bytes tell the format of a file, so an Arrow stream without conversations serves as the table.
    std::fs::copy(root.join("tables/tests/data/folder/data-00000-of-00002.arrow"), d.join("FILE.parquet")).unwrap();
    std::fs::write(d.join("run.toml"), "[train]\nsteps = 1\n").unwrap();
    std::fs::write(d.join("completions.jsonl"), "{\"prompt\": \"1 + 1?\", \"completion\": \"2\", \"answer\": 2}\n")
        .unwrap();
    let verifiers = std::fs::read_to_string(root.join("docs/verifiers.md")).unwrap();
    let (_, function) = verifiers.split_once("```python\n").unwrap();
    std::fs::write(d.join("reward.py"), function.split_once("```").unwrap().0).unwrap();
    // The configuration file of a recipe.
    let recipe = std::fs::read_to_string(root.join("docs/recipes/smollm2.md")).unwrap();
    let (_, rest) = recipe.split_once("```toml\n").unwrap();
    let (config, _) = rest.split_once("```").unwrap();
    let config = config
        .replace("\"smollm2\"", "\"model\"")
        .replace("train.jsonl", "rows.jsonl")
        .replace("test.jsonl", "rows.jsonl");
    std::fs::write(d.join("sums.toml"), config).unwrap();
    let made = [cut("train --out RUN"), vec!["--set".into(), "eval.every=0".into()]].concat();
    ok(&made.iter().map(String::as_str).collect::<Vec<_>>(), d);
    let files = |folder: &str| std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = files("docs").chain(files("docs/recipes")).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.extend([root.join("README.md"), root.join("cli/README.md")]);
    pages.sort();
    let mut done: Vec<String> = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for command in commands(&text) {
            if done.contains(&command) {
                continue;
            }
            let instead = INSTEAD.iter().find(|(first, ..)| command.starts_with(first));
            if let Some((_, instead, why)) = instead {
                println!("flowrl-cli {command}: {instead} instead; {why}");
            }
            let words = match instead {
                Some((_, instead, _)) => instead.split_whitespace().map(str::to_owned).collect(),
                None => cut(&command),
            };
            let output = run(&words.iter().map(String::as_str).collect::<Vec<_>>(), d);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{}: flowrl-cli {command}, as {words:?}: {said}", page.display());
            done.push(command);
        }
    }
    assert!(done.len() > 12, "{done:?}");
}
