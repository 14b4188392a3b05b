//! The code of docs/adding-a-task.md, compiled and run.

use flowrl_core::task::{Judgement, Task};
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::Verifier;
use flowrl_lm::{Error, Result};

/// "a b": answer the last digit of a + b. Tokens 0 to 9 are digits, 10 ends.
struct LastDigit {
    prompts: Vec<[u32; 2]>,
}

impl Task for LastDigit {
    fn prompts(&self) -> usize {
        self.prompts.len()
    }

    fn prompt(&self, index: usize) -> &[u32] {
        &self.prompts[index]
    }

    fn judge(&self, index: usize, completion: &[u32], ended: bool) -> Judgement {
        let want = self.prompts[index].iter().sum::<u32>() % 10;
        let verdict = match completion {
            _ if !ended => "unfinished",
            [digit, 10] if *digit == want => "correct",
            [_, 10] => "wrong",
            _ => "unparseable",
        };
        Judgement { reward: if verdict == "correct" { 1.0 } else { 0.0 }, verdict }
    }
}

/// The completion has exactly as many words as `answer` says.
#[derive(Debug)]
struct Words;

impl Verifier for Words {
    fn name(&self) -> &'static str {
        "words"
    }

    fn check(&self, row: &PromptRow) -> Result<()> {
        let wrong = || Error::Argument { name: "answer", got: row.answer.to_string(), wanted: "a whole number".into() };
        row.answer.as_u64().map(drop).ok_or_else(wrong)
    }

    fn judge(&self, row: &PromptRow, completion: &str, ended: bool) -> Judgement {
        let words = completion.split_whitespace().count() as u64;
        let verdict = match row.answer.as_u64() {
            None => "no-answer",
            Some(_) if !ended => "unfinished",
            Some(want) if words == want => "correct",
            Some(_) => "wrong",
        };
        Judgement { reward: if verdict == "correct" { 1.0 } else { 0.0 }, verdict }
    }
}

#[test]
fn the_page_shows_this_code() {
    let page = include_str!("../../docs/adding-a-task.md");
    let blocks: Vec<&str> = page.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        assert!(include_str!("docs_task.rs").contains(block), "docs/adding-a-task.md shows other code:\n{block}");
    }
}

#[test]
fn the_task_judges() {
    let task = LastDigit { prompts: vec![[7, 8], [1, 2]] };
    let verdict = |completion: &[u32], ended| task.judge(task.prompts() - 2, completion, ended).verdict;
    assert_eq!(task.prompt(1), [1, 2]);
    assert_eq!(task.judge(0, &[5, 10], true), Judgement { reward: 1.0, verdict: "correct" });
    assert_eq!(task.judge(0, &[4, 10], true), Judgement { reward: 0.0, verdict: "wrong" });
    assert_eq!([verdict(&[5], false), verdict(&[1, 5, 10], true)], ["unfinished", "unparseable"]);
}

#[test]
fn the_verifier_judges_and_checks_rows() {
    let row = PromptRow { answer: 3.into(), ..PromptRow::text("Three words, please.") };
    assert_eq!(Words.name(), "words");
    assert!(Words.check(&row).is_ok());
    assert_eq!(Words.judge(&row, "one two three", true).verdict, "correct");
    assert_eq!(Words.judge(&row, "one two", true).verdict, "wrong");
    assert_eq!(Words.judge(&row, "one two three", false).verdict, "unfinished");
    let bad = PromptRow { answer: "three".into(), ..row };
    assert_eq!(Words.judge(&bad, "one two three", true).verdict, "no-answer");
    let error = Words.check(&bad).expect_err("text is refused").to_string();
    assert!(error.contains("answer") && error.contains("\"three\""), "{error}");
}
