//! Judges a table of gold answers and predictions, JSON lines of `gold`, `pred`, `expected` and `config`, and prints how
//! many rows come out as expected. `cargo xtask math-verify` runs this on the tables of Math-Verify.

use flowrl_verify::math::{Verdict, judge};
use serde_json::Value;

/// Counts of one part of the table.
#[derive(Default)]
struct Counts {
    rows: usize,
    right: usize,
    unknown: usize,
    missed: usize,
    false_positives: usize,
}

fn main() {
    let path = std::env::args().nth(1).expect("usage: judge_table FILE.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    let (mut plain, mut apart) = (Counts::default(), Counts::default());
    for (number, line) in text.lines().enumerate() {
        let row: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{path}:{}: {error}", number + 1));
        let field =
            |name: &str| row[name].as_str().unwrap_or_else(|| panic!("{path}:{}: no text `{name}`", number + 1));
        let own = row["config"].as_object().is_some_and(|config| !config.is_empty());
        let counts = if own { &mut apart } else { &mut plain };
        let (gold, prediction, expected) = (field("gold"), field("pred"), row["expected"] == 1);
        let verdict = judge(gold, prediction);
        counts.rows += 1;
        if expected == (verdict == Verdict::Correct) && (expected || verdict != Verdict::Unknown) {
            counts.right += 1;
            continue;
        }
        counts.unknown += usize::from(verdict == Verdict::Unknown);
        counts.missed += usize::from(expected && verdict != Verdict::Unknown);
        counts.false_positives += usize::from(!expected && verdict == Verdict::Correct);
        println!("{} for {expected}: {} | {}", verdict.word(), short(gold), short(prediction));
    }
    print("rows", &plain);
    print("rows with a configuration of their own, apart", &apart);
}

fn print(name: &str, counts: &Counts) {
    let Counts { rows, right, unknown, missed, false_positives } = counts;
    println!("{rows} {name}: {right} right, {unknown} unknown, {missed} missed, {false_positives} false positives");
}

/// Returns the end of a long text.
fn short(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(160);
    format!("{:?}", text.chars().skip(skipped).collect::<String>())
}
