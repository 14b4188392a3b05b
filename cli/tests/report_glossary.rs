//! `docs/metrics.md` lists the glossary; this test says when it does not. `UPDATE_DOCS=1` writes it anew.

use std::{collections::BTreeSet, fs, path::Path};

use flowrl_cli::metrics::{GLOSSARY, markdown_table};

const HEAD: &str = "# Metrics

Every training step appends one line to `metrics.jsonl`: a flat JSON object from these names to numbers. Evaluations on held-out
prompts, before the first step, every so often, and after the last, add the `eval_` names to the line of their step. A run in the lab
writes a line where it is evaluated, always with the exact measures. A value that
was not finite is `null`. A fraction lies between 0 and 1; the report shows it in percent.

Symbols are those of [the mathematics](mathematics.md): π policy, π_ref reference, δ residual, r̂ shaped reward, w importance
weight, C the set of correct answers, T or |y| the length of a completion, B the number of sequences in the batch.

";

#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let wanted = HEAD.to_owned() + &markdown_table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(found == wanted, "docs/metrics.md is out of date: run this test with UPDATE_DOCS=1");
}

#[test]
fn every_term_is_explained_once_and_in_one_sentence() {
    let names: BTreeSet<_> = GLOSSARY.iter().map(|(name, _, _)| name).collect();
    assert_eq!(names.len(), GLOSSARY.len());
    for (name, _, meaning) in GLOSSARY {
        assert!(meaning.ends_with('.') && !meaning.trim_end_matches('.').contains(". "), "{name}: {meaning}");
    }
    assert!(!names.contains(&"Z") && markdown_table().lines().count() == GLOSSARY.len() + 2);
}
