//! The verifier `math` on a hundred rows of answers, and on the examples of its documentation.

use flowrl_verify::math::{Verdict, judge};
use serde::Deserialize;
use serde_json::Value;

/// A gold answer, a completion, and whether the completion is right (1).
#[derive(Debug, Deserialize)]
struct Case {
    gold: String,
    pred: String,
    expected: u8,
    ended: bool,
    /// Whether the correct verdict is a matter of convention.
    #[serde(default)]
    disputed: bool,
}

#[test]
fn no_wrong_answer_is_paid_and_at_most_two_rows_are_misjudged() {
    let text = include_str!("../../lm/tests/data/number-cases.jsonl");
    let cases = text.lines().map(|line| serde_json::from_str::<Case>(line).unwrap());
    let (mut rows, mut wrong, mut paid) = (0, Vec::new(), Vec::new());
    for case in cases.filter(|case| !case.disputed) {
        // A completion that was cut off is never judged.
        let correct = case.ended && judge(&case.gold, &case.pred) == Verdict::Correct;
        rows += 1;
        if correct && case.expected == 0 {
            paid.push(case);
        } else if correct != (case.expected == 1) {
            wrong.push(case);
        }
    }
    println!("{rows} rows, misjudged: {wrong:#?}");
    assert_eq!(rows, 68);
    assert!(paid.is_empty(), "paid for a wrong answer: {paid:#?}");
    assert!(wrong.len() <= 2, "{wrong:#?}");
}

/// Two hundred rows that were written once the verifier was finished. At first it judged 194 of them as expected, paid for
/// none that is wrong, and counted two as `unknown`; then two faults were mended that these rows had shown.
#[test]
fn rows_made_afterwards_are_judged_no_worse_than_before() {
    let (mut rows, mut right, mut paid, mut other) = (0, 0, Vec::new(), Vec::new());
    for line in include_str!("own_200.jsonl").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let (expected, verdict) = (row["expected"] == 1, judge(&text("gold"), &text("pred")));
        rows += 1;
        if expected == (verdict == Verdict::Correct) && verdict != Verdict::Unknown {
            right += 1;
        } else if verdict == Verdict::Correct {
            paid.push(row);
        } else {
            other.push((verdict, row));
        }
    }
    println!("{right} of {rows}: {other:#?}");
    assert_eq!(rows, 200);
    assert!(paid.is_empty(), "paid for a wrong answer: {paid:#?}");
    assert!(right >= 197, "{right}: {other:#?}");
}

#[test]
fn the_documented_examples_get_the_documented_verdicts() {
    let page = include_str!("../../docs/verifiers.md");
    let (_, section) = page.split_once("\n## `math`\n").expect("a section on `math`");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | `"));
    let rows: Vec<_> = rows.filter_map(|(answer, rest)| Some((answer, rest.rsplit_once("` | ")?))).collect();
    assert!(rows.len() > 30, "{rows:?}");
    for (answer, (completion, wanted)) in rows {
        assert_eq!(judge(answer, completion).word(), wanted, "{answer} {completion}");
    }
}
