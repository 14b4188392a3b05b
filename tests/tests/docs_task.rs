//! The code of docs/adding-a-task.md, compiled and run, and a verifier of one's own in training.

use std::error::Error as _;
use std::sync::Mutex;

use flowrl_core::backend::CpuBackend;
use flowrl_core::objective::{Objective, Preset};
use flowrl_core::task::{Attempt, JudgeError, Judgement, Task};
use flowrl_core::train::{TrainError, TrainOptions, Trainer};
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::task::{Text, TextTask};
use flowrl_lm::verify::{self, Verifier};
use flowrl_lm::{Error, load_policy};

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

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        let wanted = self.prompts[attempt.prompt].iter().sum::<u32>() % 10;
        let verdict = match attempt.completion {
            _ if !attempt.ended => "unfinished",
            [digit, 10] if *digit == wanted => "correct",
            [_, 10] => "wrong",
            _ => "unparseable",
        };
        Ok(Judgement::new(if verdict == "correct" { 1.0 } else { 0.0 }, verdict))
    }
}

/// The completion has exactly as many words as `answer` says.
#[derive(Debug)]
struct Words;

impl Verifier for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn check(&self, row: &PromptRow) -> Result<(), Error> {
        let wrong = || Error::Argument { name: "answer", got: row.answer.to_string(), wanted: "a whole number".into() };
        row.answer.as_u64().map(drop).ok_or_else(wrong)
    }

    fn judge(&self, attempt: verify::Attempt<'_>) -> Result<Judgement, JudgeError> {
        let words = attempt.completion.split_whitespace().count() as u64;
        Ok(match attempt.row.answer.as_u64() {
            None => Judgement::new(0.0, "no-answer"),
            Some(_) if !attempt.ended => Judgement::new(0.0, "unfinished"),
            Some(wanted) if words == wanted => Judgement::new(1.0, "correct"),
            Some(wanted) => Judgement::new(0.0, format!("off-by-{}", words.abs_diff(wanted))),
        })
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
    let judge = |completion: &[u32], ended| task.judge(Attempt { prompt: 0, completion, ended }).unwrap();
    assert_eq!((task.prompts(), task.prompt(1)), (2, &[1, 2][..]));
    assert_eq!(judge(&[5, 10], true), Judgement::new(1.0, "correct"));
    assert_eq!(judge(&[4, 10], true), Judgement::new(0.0, "wrong"));
    assert_eq!([judge(&[5], false).verdict, judge(&[1, 5, 10], true).verdict], ["unfinished", "unparseable"]);
}

#[test]
fn the_verifier_judges_and_checks_rows() {
    let row = PromptRow { answer: 3.into(), ..PromptRow::text("Three words, please.") };
    assert_eq!(Words.name(), "words");
    assert!(Words.check(&row).is_ok());
    let verdict =
        |row, completion, ended| Words.judge(verify::Attempt { row, completion, ended, tokens: 1 }).unwrap().verdict;
    assert_eq!(verdict(&row, "one two three", true), "correct");
    assert_eq!(verdict(&row, "one two", true), "off-by-1");
    assert_eq!(verdict(&row, "one two three", false), "unfinished");
    let bad = PromptRow { answer: "three".into(), ..row.clone() };
    assert_eq!(verdict(&bad, "one two three", true), "no-answer");
    let error = Words.check(&bad).expect_err("text is refused").to_string();
    assert!(error.contains("answer") && error.contains("\"three\""), "{error}");
}

/// A verifier that stands for a server: it judges a batch in one call, names its own verdicts, and fails after the first call.
#[derive(Debug)]
struct Server {
    batches: Mutex<Vec<usize>>,
}

impl Verifier for &'static Server {
    fn name(&self) -> &str {
        "server"
    }

    fn check(&self, _: &PromptRow) -> Result<(), Error> {
        Ok(())
    }

    fn judge(&self, _: verify::Attempt<'_>) -> Result<Judgement, JudgeError> {
        unreachable!("batches are judged whole")
    }

    fn judge_batch(&self, attempts: &[verify::Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        let mut batches = self.batches.lock().unwrap();
        batches.push(attempts.len());
        if batches.len() > 1 {
            return Err("http://judge: connection refused".into());
        }
        let judge = |(i, attempt): (usize, &verify::Attempt<'_>)| {
            Judgement::new(i as f64, format!("{}-characters", attempt.completion.chars().count()))
        };
        Ok(attempts.iter().enumerate().map(judge).collect())
    }
}

#[test]
fn a_verifier_of_ones_own_trains_a_model_and_its_failure_ends_the_step() {
    let server: &'static Server = Box::leak(Box::new(Server { batches: Mutex::default() }));
    let folder = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/hf/qwen2-tied");
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let rows = vec![PromptRow::text("one"), PromptRow::text("two")];
    let task = TextTask::new(Text::of(&checkpoint).unwrap(), rows, Box::new(server)).unwrap();
    let mut policy = load_policy(CpuBackend::<f32>::new(1), &checkpoint).unwrap();
    let options = TrainOptions { prompts: 2, samples: 3, max_tokens: 4, ..TrainOptions::default() };
    let mut trainer = Trainer::new(&policy, Objective::preset(Preset::Grpo), options).unwrap();
    let (rollouts, _) = trainer.step(&mut policy, &task).unwrap();
    let rewards: Vec<_> = rollouts.judgements.iter().map(|judgement| judgement.reward).collect();
    assert_eq!(rewards, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(Some));
    assert!(rollouts.judgements.iter().all(|judgement| judgement.verdict.ends_with("-characters")), "{rewards:?}");

    let error = trainer.step(&mut policy, &task).unwrap_err();
    assert!(matches!(error, TrainError::Judge(_)), "{error:?}");
    assert_eq!(error.source().unwrap().to_string(), "http://judge: connection refused");
    assert_eq!(*server.batches.lock().unwrap(), [6, 6]);
}
