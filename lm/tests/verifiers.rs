//! Tests of the verifier `number` on a hundred rows of answers, on the examples of its documentation, and of the
//! answers that it accepts.

use std::borrow::Cow;

use flowrl_core::task::Judgement;
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::{Attempt, Number, Verifier};
use serde::Deserialize;
use serde_json::{Value, json};

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

pub(crate) fn row(answer: impl Into<Value>) -> PromptRow {
    PromptRow { answer: answer.into(), ..PromptRow::text("q") }
}

pub(crate) fn judge(row: &PromptRow, completion: &str, ended: bool) -> Judgement {
    Number.judge(Attempt { row, completion, ended, tokens: 1 }).unwrap()
}

/// Returns the verdict on a finished completion, for an answer that the verifier accepts.
pub(crate) fn verdict(answer: impl Into<Value>, completion: &str) -> Cow<'static, str> {
    let row = row(answer);
    Number.check(&row).unwrap();
    judge(&row, completion, true).verdict
}

#[test]
fn number_pays_for_no_wrong_answer_and_misses_few_right_ones() {
    let cases = include_str!("data/number-cases.jsonl").lines().map(|line| serde_json::from_str::<Case>(line).unwrap());
    let (mut refused, mut plain, mut missed) = (Vec::new(), 0, Vec::new());
    for case in cases.filter(|case| !case.disputed) {
        let row = row(case.gold.as_str());
        if Number.check(&row).is_err() {
            assert_eq!(judge(&row, &case.pred, case.ended).verdict, "no-answer", "{case:?}");
            refused.push(case.gold);
            continue;
        }
        let paid = judge(&row, &case.pred, case.ended).reward.expect("a reward");
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
    let (_, section) = page.split_once("\n## `number`\n").expect("a section on `number`");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | `"));
    let rows: Vec<_> = rows.filter_map(|(answer, rest)| Some((answer, rest.rsplit_once("` | ")?))).collect();
    assert!(rows.len() > 20, "{rows:?}");
    for (answer, (completion, wanted)) in rows {
        assert_eq!(verdict(answer, completion), wanted, "{answer} {completion}");
    }
}

#[test]
fn answers_are_one_number() {
    for (answer, same) in [
        (json!(18), "18"),
        (json!(-18.5), "-18.5"),
        (json!(18.0), "18"),
        (json!(1.5e-7), "0.00000015"),
        (json!(i64::MIN), "-9223372036854775808"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!("100000000000000000001"), "100000000000000000001"),
        (json!("3.14159265358979323846264338327950288"), "3.14159265358979323846264338327950288"),
        (json!("She sells 16 - 7 = 9.\n#### 18"), "18"),
        (json!("#### -$1,234.50"), "-1234.5"),
        (json!("$18.00"), "18"),
        (json!("-$18"), "-18"),
        (json!("$-18"), "-18"),
        (json!("\\$18"), "18"),
        (json!("18 €"), "18"),
        (json!(" 1,234\n"), "1234"),
        (json!("1{,}234"), "1234"),
        (json!("14\\,916"), "14916"),
        (json!("50\\%"), "50"),
        (json!("50 %"), "50"),
        (json!("+7"), "7"),
        (json!("−7"), "-7"),
        (json!(".5"), "0.5"),
        (json!("3/4"), "0.75"),
        (json!("-3 / 4"), "-0.75"),
        (json!("\\frac{3}{4}"), "0.75"),
        (json!("-\\dfrac{3}{4}"), "-0.75"),
    ] {
        assert_eq!(verdict(answer.clone(), same), "correct", "{answer} {same}");
        assert_eq!(verdict(answer.clone(), &format!("{same}1")), "wrong", "{answer}");
    }
}

#[test]
fn other_answers_are_refused() {
    for answer in [
        "",
        " ",
        "one",
        "True",
        "2\\sqrt{3}",
        "x > 5",
        "x = 5",
        "(1, 2)",
        "1, 2",
        "1 2",
        "12:30",
        "3:4",
        "10^{5}",
        "10^5",
        "2^3",
        "2\\pi",
        "1/2/3",
        "1/0",
        "\\frac{1}{0}",
        "\\frac{x}{2}",
        "\\frac{1}{2}\\pi",
        "1 1/2",
        "2 × 10^3",
        "12_8",
        "\\{1,2,3\\}",
        "5!",
        "5 apples",
        "5.",
        "1,2",
        "12,34",
        "1.2.3",
        "±5",
        "--5",
        "$5$",
        "5%%",
        "$5%",
        "#### ",
        "#### 5 or 6",
        "#### 5\nthat is all",
        "5 - 3",
        "5-3",
        "\\boxed{5}",
        "٥",
        "²",
        "½",
        "|5|",
        "5\\text{ cm}",
        "1000000000000000000000000000000000000000000",
        "0x10",
        "1e",
        "inf",
        "NaN",
    ] {
        let row = row(json!(answer));
        let message = Number.check(&row).unwrap_err().to_string();
        assert!(message.starts_with(&format!("`answer` is {}, but must be a number: ", json!(answer))), "{message}");
        assert!(message.contains("`3/4`") && message.contains("`#### N`"), "{message}");
        assert_eq!(judge(&row, answer, true).verdict, "no-answer", "{answer}");
    }
    for answer in [Value::Null, json!(true), json!([5]), json!({"value": 5})] {
        assert!(Number.check(&row(answer)).unwrap_err().to_string().contains("must be a number: "));
    }
}

#[test]
fn numbers_that_may_have_lost_digits_are_refused() {
    for text in
        ["100000000000000000001", "18446744073709551616", "1e20", "0.1234567890123456789", "-9007199254740993.0"]
    {
        let row = row(serde_json::from_str::<Value>(text).unwrap());
        let message = Number.check(&row).unwrap_err().to_string();
        assert!(message.contains("must be a string") && message.contains("digits"), "{message}");
        assert_eq!(judge(&row, text, true).verdict, "no-answer");
    }
}

#[test]
fn messages_show_the_beginning_of_the_answer() {
    let message = Number.check(&row(json!("é".repeat(1000)))).unwrap_err().to_string();
    assert!(message.starts_with(&format!("`answer` is \"{}…, but", "é".repeat(59))), "{message}");
}
