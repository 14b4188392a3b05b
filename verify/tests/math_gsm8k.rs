//! `gsm8k-strict` and `gsm8k-flexible` give the scores of verl 0.9.1, whose function scored `gsm8k.jsonl`.

use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::{Attempt, Verifier};
use flowrl_verify::math::{Gsm8kFlexible, Gsm8kStrict};
use serde_json::{Value, json};

fn row(answer: impl Into<Value>) -> PromptRow {
    PromptRow { answer: answer.into(), ..PromptRow::text("q") }
}

#[test]
fn scores_are_those_of_verl() {
    let mut paid = 0;
    for line in include_str!("gsm8k.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (row, completion) = (row(case["gold"].clone()), case["pred"].as_str().unwrap());
        let attempt = Attempt { row: &row, completion, ended: true, tokens: 9 };
        for (i, verifier) in [&Gsm8kStrict as &dyn Verifier, &Gsm8kFlexible].into_iter().enumerate() {
            let judgement = verifier.judge(attempt).unwrap();
            let wanted = &case[["strict", "flexible"][i]];
            assert_eq!(json!(u8::from(judgement.is_success())), *wanted, "{} {line}", verifier.name());
            assert_eq!(
                judgement.verdict == "unparseable",
                case["extracted"][i].is_null(),
                "{} {line}",
                verifier.name()
            );
            paid += usize::from(judgement.is_success());
        }
    }
    assert!(paid > 20, "{paid}");
}

#[test]
fn answers_are_numbers_or_solutions() {
    for verifier in [&Gsm8kStrict as &dyn Verifier, &Gsm8kFlexible] {
        for answer in [json!(72), json!("72"), json!("-3.5"), json!("9 * 8 = 72\n#### 72"), json!("#### 1,234")] {
            verifier.check(&row(answer)).unwrap();
        }
        for answer in [json!(null), json!(""), json!("1,234"), json!("72 apples"), json!("seven"), json!([72])] {
            assert!(verifier.check(&row(answer)).unwrap_err().to_string().contains("`answer`"));
        }
        let row = row("#### 1,234");
        let judge = |completion, ended| verifier.judge(Attempt { row: &row, completion, ended, tokens: 9 }).unwrap();
        assert_eq!(judge("#### 1234", true).verdict, "correct");
        assert_eq!(judge("#### 1234", false).verdict, "unfinished");
        assert_eq!(judge("#### 1234", false).reward, Some(0.0));
    }
}
