//! The verifier `math`: rows that it refuses, its verdicts and its fallback.

use std::sync::{Arc, Mutex};

use flowrl_core::task::{JudgeError, Judgement};
use flowrl_lm::Result;
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::{Attempt, Verifier};
use flowrl_verify::math::Math;
use serde_json::{Value, json};

fn row(answer: impl Into<Value>) -> PromptRow {
    PromptRow { answer: answer.into(), ..PromptRow::text("q") }
}

/// Calls every completion `found`, and records it.
#[derive(Debug, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Verifier for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn check(&self, _: &PromptRow) -> Result<()> {
        Ok(())
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        self.0.lock().unwrap().push(attempt.completion.to_owned());
        Ok(Judgement::new(1.0, "found"))
    }
}

/// An answer that the crate does not understand.
const STRANGE: &str = "\\begin{cases} x & y \\end{cases} 1";

#[test]
fn rows_are_refused_unless_their_answer_is_understood() {
    for answer in
        [json!(5), json!(0.5), json!(true), json!("2\\sqrt{3}"), json!("So \\boxed{5}."), json!("#### 5"), json!("odd")]
    {
        Math::new().check(&row(answer)).unwrap();
    }
    for answer in [json!(null), json!(""), json!(" "), json!([1]), json!(STRANGE), json!(0.12345678901234567)] {
        let why = Math::new().check(&row(answer.clone())).unwrap_err().to_string();
        assert!(why.contains("`answer`") && why.contains("for example"), "{answer}: {why}");
    }
    let with = Math::with_fallback(Box::new(Recorder::default()));
    with.check(&row(STRANGE)).unwrap();
    assert!(with.check(&row("")).is_err());
}

#[test]
fn each_verdict_has_its_reward() {
    for (answer, completion, ended, verdict) in [
        (json!(5), "It is \\boxed{5}.", true, "correct"),
        (json!(5), "It is \\boxed{6}.", true, "wrong"),
        (json!(5), "It is 5 or 6.", true, "unparseable"),
        (json!(5), "Sorry.", true, "unparseable"),
        (json!(5), "\\boxed{}", true, "unparseable"),
        (json!(5), "\\boxed{\\begin{cases} 5 \\end{cases}}", true, "unknown"),
        (json!(5), "It is \\boxed{5}.", false, "unfinished"),
        (json!(null), "It is \\boxed{5}.", true, "no-answer"),
        (json!(" "), "It is \\boxed{5}.", true, "no-answer"),
    ] {
        let row = row(answer);
        let judgement = Math::new().judge(Attempt { row: &row, completion, ended, tokens: 9 }).unwrap();
        assert_eq!(judgement.verdict, verdict, "{completion}");
        assert_eq!(judgement.reward, Some(f64::from(u8::from(verdict == "correct"))), "{completion}");
    }
}

#[test]
fn only_what_is_unknown_goes_to_the_fallback() {
    let seen = Arc::default();
    let math = Math::with_fallback(Box::new(Recorder(Arc::clone(&seen))));
    let (five, strange) = (row(5), row(STRANGE));
    let attempt = |row, completion, ended| Attempt { row, completion, ended, tokens: 9 };
    let attempts = [
        attempt(&five, "\\boxed{5}", true),
        attempt(&strange, "\\boxed{1}", true),
        attempt(&five, "\\boxed{6}", true),
        attempt(&five, "\\boxed{\\begin{cases} 5 \\end{cases}}", true),
        attempt(&strange, "\\boxed{2}", false),
    ];
    let verdicts: Vec<_> =
        math.judge_batch(&attempts).unwrap().into_iter().map(|judgement| judgement.verdict).collect();
    assert_eq!(verdicts, ["correct", "found", "wrong", "found", "unfinished"]);
    assert_eq!(*seen.lock().unwrap(), ["\\boxed{1}", "\\boxed{\\begin{cases} 5 \\end{cases}}"]);
    let one_by_one: Vec<_> = attempts.iter().map(|attempt| math.judge(*attempt).unwrap().verdict).collect();
    assert_eq!(one_by_one, verdicts);
}
