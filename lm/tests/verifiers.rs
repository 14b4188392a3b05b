//! Tests of the verifier `number` on a hundred rows of answers, and on the examples of its documentation.

use flowrl_core::task::Judgement;
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::{Attempt, Number, Verifier};
use serde::Deserialize;

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

fn row(answer: &str) -> PromptRow {
    PromptRow { answer: answer.into(), ..PromptRow::text("q") }
}

fn judge(row: &PromptRow, completion: &str, ended: bool) -> Judgement {
    Number.judge(Attempt { row, completion, ended }).unwrap()
}

#[test]
fn number_pays_for_no_wrong_answer_and_misses_few_right_ones() {
    let cases = include_str!("data/number-cases.jsonl").lines().map(|line| serde_json::from_str::<Case>(line).unwrap());
    let (mut refused, mut plain, mut missed) = (Vec::new(), 0, Vec::new());
    for case in cases.filter(|case| !case.disputed) {
        let row = row(&case.gold);
        if Number.check(&row).is_err() {
            assert_eq!(judge(&row, &case.pred, case.ended).verdict, "no-answer", "{case:?}");
            refused.push(case.gold);
            continue;
        }
        let paid = judge(&row, &case.pred, case.ended).reward;
        assert!(case.expected == 1 || paid == 0.0, "pays for a wrong answer: {case:?}");
        plain += usize::from(case.gold.parse::<f64>().is_ok());
        if case.expected == 1 && paid == 0.0 {
            missed.push((case.gold, case.pred));
        }
    }
    println!("missed: {missed:#?}");
    refused.dedup();
    assert_eq!(refused, ["2\\sqrt{3}", "x > 5", "(1, 2)", "\\{1,2,3\\}", "12_8", "2\\sqrt{3}", "True", "12:30"]);
    assert_eq!(plain, 52);
    // The verifier does not compute powers.
    let powers = [("1024", "1024 = 2^{10}"), ("9", "3²")];
    assert_eq!(missed, powers.map(|(gold, pred)| (gold.to_owned(), pred.to_owned())));
}

#[test]
fn the_documented_examples_get_the_documented_verdicts() {
    let page = include_str!("../../docs/verifiers.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | `"));
    let rows: Vec<_> = rows.filter_map(|(answer, rest)| Some((answer, rest.rsplit_once("` | ")?))).collect();
    assert!(rows.len() > 20, "{rows:?}");
    for (answer, (completion, verdict)) in rows {
        Number.check(&row(answer)).unwrap();
        let got = judge(&row(answer), completion, true).verdict;
        assert_eq!(got, verdict, "{answer} {completion}");
    }
}
