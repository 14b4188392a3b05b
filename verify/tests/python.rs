//! Functions of Python files, as TRL, verl and people write them.

use std::path::Path;

use flowrl_core::task::{JudgeError, Judgement};
use flowrl_lm::prompts::{PromptRow, RowKeys, parse_prompts};
use flowrl_lm::verify::Verifier;
use flowrl_verify::{Options, open};
use tempfile::TempDir;

use crate::workers::{judge, options};

/// Opens `function` of a file with this content.
fn function(content: &str, function: &str, options: &Options) -> Result<(Box<dyn Verifier>, TempDir), JudgeError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reward.py");
    std::fs::write(&path, content).unwrap();
    let colon = if function.is_empty() { "" } else { ":" };
    let spec = format!("{}{colon}{function}", path.display()).parse().unwrap();
    Ok((open(&[spec], options)?, folder))
}

/// Returns whether there is a Python here, and says so if there is none.
fn has_python() -> bool {
    let found =
        std::process::Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: there is no python3 here");
    }
    found
}

fn rows(text: &str, answer: &str) -> Vec<PromptRow> {
    let keys = RowKeys { answer: answer.into(), ..RowKeys::default() };
    parse_prompts(text.as_bytes(), Path::new("rows.jsonl"), &keys).unwrap()
}

fn short(judgements: &[Judgement]) -> Vec<(Option<f64>, &str)> {
    judgements.iter().map(|judgement| (judgement.reward, &*judgement.verdict)).collect()
}

const QUESTIONS: &str = r#"{"prompt": "2+2?", "answer": "4", "level": 1}
{"prompt": "3+3?", "answer": "6", "level": 2}"#;

#[test]
fn functions_of_every_kind_are_taken_unchanged() {
    if !has_python() {
        return;
    }
    let (mut options, warnings) = options(2);
    options.timeout = std::time::Duration::from_secs(60);
    let plain = "print('loading')\ndef reward(prompt, completion, answer):\n    print('judging')\n    return float(completion == answer)\n";
    let columns =
        "def by_level(completion, level, **columns):\n    return level if completion == columns['answer'] else 0\n";
    let trl = "def accuracy(prompts, completions, answer, **kwargs):\n\
               \x20   assert len(prompts) == len(completions) == len(answer) == len(kwargs['level'])\n\
               \x20   return [None if c == 'skip' else float(c == a) for c, a in zip(completions, answer)]\n";
    let asynchronous =
        "async def accuracy(completions, **kwargs):\n    return [1.0 if c == '4' else 0.0 for c in completions]\n";
    let verl = "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n\
                \x20   return {'score': 1.0 if solution_str == ground_truth else 0.0, 'acc': solution_str == ground_truth}\n";
    let texts = ["4", "7", "4", "skip"];
    for (content, name, wanted) in [
        (plain, "", [Some(1.0), Some(0.0), Some(1.0), Some(0.0)]),
        (columns, "by_level", [Some(1.0), Some(0.0), Some(1.0), Some(0.0)]),
        (trl, "", [Some(1.0), Some(0.0), Some(1.0), None]),
        (asynchronous, "accuracy", [Some(1.0), Some(0.0), Some(1.0), Some(0.0)]),
        (verl, "", [Some(1.0), Some(0.0), Some(1.0), Some(0.0)]),
    ] {
        let (verifier, _folder) = function(content, name, &options).unwrap();
        let rows = rows(QUESTIONS, "answer");
        let judgements = judge(&*verifier, &rows, &texts).unwrap();
        let rewards: Vec<_> = judgements.iter().map(|judgement| judgement.reward).collect();
        assert_eq!(rewards, wanted, "{content}");
    }
    let (verifier, _folder) = function(verl, "", &options).unwrap();
    let judgements = judge(&*verifier, &rows(QUESTIONS, "answer"), &["4"]).unwrap();
    assert_eq!(judgements[0].parts, [("acc".into(), 1.0)]);
    assert_eq!(*warnings.lock().unwrap(), [] as [String; 0]);
}

#[test]
fn trl_gets_conversations_and_columns_by_their_names() {
    if !has_python() {
        return;
    }
    let content = "def check(prompts, completions, solution, **kwargs):\n\
                   \x20   return [float(p[-1]['content'] == 'q' and c[0]['role'] == 'assistant' and c[0]['content'] == s)\n\
                   \x20           for p, c, s in zip(prompts, completions, solution)]\n";
    let (verifier, _folder) = function(content, "", &options(1).0).unwrap();
    let rows = rows(r#"{"prompt": [{"role": "user", "content": "q"}], "solution": "s"}"#, "solution");
    assert_eq!(short(&judge(&*verifier, &rows, &["s", "t"]).unwrap()), [(Some(1.0), "correct"), (Some(0.0), "wrong")]);
}

#[test]
fn verl_gets_its_own_columns() {
    if !has_python() {
        return;
    }
    let content = "def compute_score(data_source, solution_str, ground_truth, extra_info):\n\
                   \x20   return float((data_source, solution_str, ground_truth, extra_info['index']) == ('gsm8k', 'c', '7', 3))\n";
    let (verifier, _folder) = function(content, "", &options(1).0).unwrap();
    let row = r#"{"prompt": "q", "data_source": "gsm8k", "reward_model": {"ground_truth": "7", "style": "rule"}, "extra_info": {"index": 3}}"#;
    assert_eq!(
        short(&judge(&*verifier, &rows(row, "reward_model.ground_truth"), &["c"]).unwrap()),
        [(Some(1.0), "correct")]
    );
}

#[test]
fn an_exception_leaves_its_completion_out_and_is_told_once() {
    if !has_python() {
        return;
    }
    let (options, warnings) = options(1);
    let content =
        "def reward(completion):\n    if completion == 'bad':\n        raise ValueError('no digits')\n    return 1\n";
    let (verifier, _folder) = function(content, "", &options).unwrap();
    let judgements = judge(&*verifier, &rows(QUESTIONS, "answer"), &["a", "bad", "bad", "b"]).unwrap();
    assert_eq!(short(&judgements), [(Some(1.0), "correct"), (None, "error"), (None, "error"), (Some(1.0), "correct")]);
    let warnings = warnings.lock().unwrap();
    assert_eq!(*warnings, ["verifier reward: ValueError: no digits (reward.py:3)"]);
    assert!(options.log.last_line().unwrap().contains("no digits"));
}

#[test]
fn results_that_are_no_rewards_are_named() {
    if !has_python() {
        return;
    }
    for (body, wanted) in [
        ("def reward(completion):\n    return 'good'\n", "returned 'good', but a reward must be a number or None"),
        ("def reward(completion):\n    return float('nan')\n", "the reward is nan, but must be finite"),
        ("def reward(completion):\n    return {'points': 1}\n", "a dictionary needs `reward` or `score`"),
        ("def reward(completions, **k):\n    return [1.0]\n", "returned 1 rewards for 2 completions"),
        ("def reward(completions, **k):\n    return 1.0\n", "returned 1.0 for 2 completions"),
        ("def reward(completion, points):\n    return points\n", "no column `points` for the function; the row has"),
    ] {
        let (options, warnings) = options(1);
        let (verifier, _folder) = function(body, "", &options).unwrap();
        let judgements = judge(&*verifier, &rows(QUESTIONS, "answer"), &["a", "b"]).unwrap();
        assert_eq!(short(&judgements), [(None, "error"); 2], "{body}");
        let warnings = warnings.lock().unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains(wanted), "{body}: {warnings:?}");
    }
}

#[test]
fn files_that_cannot_be_used_are_refused_at_once() {
    if !has_python() {
        return;
    }
    let refused = |content: &str, name: &str| function(content, name, &options(1).0).unwrap_err().to_string();
    for (content, name, wanted) in [
        ("import no_such_module\n", "", "ModuleNotFoundError: No module named 'no_such_module' (reward.py:1)"),
        ("def f(:\n", "", "SyntaxError"),
        ("x = 1\n", "", "no function that could be meant"),
        (
            "def f(completion): pass\ndef g(completion): pass\n",
            "",
            "several functions that could be meant: f, g; name one, as in reward.py:FUNCTION",
        ),
        ("def f(completion): pass\n", "g", "has no function `g`; it has f"),
        ("def f(text, gold): pass\n", "f", "`f(text, gold)` has parameters of no known kind"),
    ] {
        let message = refused(content, name);
        assert!(message.contains(wanted), "{content}: {message}");
    }
    let missing = open(&["/no/such/reward.py".parse().unwrap()], &Options::default()).unwrap_err().to_string();
    assert!(missing.contains("there is no file /no/such/reward.py"), "{missing}");
}
