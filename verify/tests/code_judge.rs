//! The verifier `code`, from completions to verdicts. The programs run in the sandbox that this machine allows.

use std::path::PathBuf;
use std::sync::{OnceLock, PoisonError};
use std::time::Duration;

use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::{Attempt, Verifier};
use flowrl_verify::code::sandbox::{End, Job, Layers, Limits, Mode, Outcome, Sandbox};
use flowrl_verify::code::{Code, Graded, Options, RewardRule, Source};
use serde_json::{Value, json};

use crate::code_sandbox::{CROWD, launcher, permission};

/// Returns a sandbox, or says why there is none on this machine. This is tried once.
fn sandbox(limits: Limits) -> Option<Sandbox> {
    static CHOSEN: OnceLock<Option<(Layers, PathBuf)>> = OnceLock::new();
    let open = || {
        let sandbox = Sandbox::open(permission(), launcher(), None, Limits::default());
        sandbox
            .map(|sandbox| (sandbox.layers(), sandbox.python().to_owned()))
            .map_err(|e| eprintln!("skipped: {e}"))
            .ok()
    };
    let (layers, python) = CHOSEN.get_or_init(open).as_ref()?;
    Some(Sandbox::with_layers(permission(), launcher(), Some(python), limits, *layers).unwrap())
}

fn verifier(options: Options) -> Option<Code> {
    Some(Code::new(sandbox(Limits::default())?, options))
}

fn row(answer: &Value) -> PromptRow {
    PromptRow { answer: answer.clone(), ..PromptRow::text("Write it.") }
}

/// Judges a program between fences.
fn grade(code: &Code, answer: &Value, program: &str) -> Graded {
    let _together = CROWD.read().unwrap_or_else(PoisonError::into_inner);
    let completion = format!("Here it is:\n```python\n{program}\n```\n");
    let row = row(answer);
    code.check(&row).unwrap();
    code.grade(Attempt { row: &row, completion: &completion, ended: true, tokens: 9 }).unwrap()
}

fn sums() -> Value {
    json!({"inputs": ["1 2\n", "10 20\n"], "outputs": ["3\n", "30\n"]})
}

fn double() -> Value {
    json!({"fn_name": "double", "inputs": [[1], [[2]]], "outputs": [2, [[2, 2]]]})
}

#[test]
fn programs_get_the_verdict_of_their_first_failure() {
    let Some(code) = verifier(Options::default()) else { return };
    let asserts = json!({"test_list": ["assert f(1) == 2", "assert f(2) == 3, 'two'"]});
    let human = json!({"test": "def check(candidate):\n    assert candidate(1) == 2\n", "entry_point": "f"});
    for (answer, program, verdict, log) in [
        (sums(), "print(sum(map(int, input().split())))", "correct", "passed all tests: 2"),
        (sums(), "import sys\nprint(sum(int(x) for x in sys.stdin.read().split()))\nexit()", "correct", "2"),
        (sums(), "if __name__ == '__main__':\n    print(sum(map(int, input().split())))", "correct", "2"),
        (sums(), "print(3)", "wrong", "test 2 of 2: wrong: input \"10 20\"; expected \"30\", got \"3\""),
        (sums(), "print(1 / 0)", "error", "status 1: ZeroDivisionError: division by zero"),
        (sums(), "print(", "error", "SyntaxError"),
        (sums(), "input()\ninput()", "error", "EOFError"),
        (sums(), "print(3)\nexit(1)", "error", "status 1"),
        (sums(), "import os\nprint(3, flush=True)\nos.abort()", "error", "signal 6"),
        (double(), "def double(x):\n    print('hello')\n    return 2 * x", "correct", "2"),
        (double(), "class Solution:\n    def double(self, x: List[int]):\n        return x + x", "correct", "2"),
        (double(), "def double(x):\n    return 2", "wrong", "test 2 of 2: wrong: double([2]); expected [[2,2]], got 2"),
        (double(), "def double(x):\n    raise KeyError('k')", "error", "KeyError: 'k'"),
        (double(), "def other(x):\n    return 2", "error", "KeyError: 'double'"),
        (double(), "def double(x):\n    exit(0)", "error", "it ended before the test did"),
        (double(), "print('2')\ndef double(x):\n    import os\n    os._exit(0)", "error", "before the test did"),
        (double(), "def double(x):\n    return lambda: 2", "wrong", "<function"),
        (asserts.clone(), "def f(x):\n    return x + 1", "correct", "2"),
        (
            asserts.clone(),
            "def f(x):\n    return 2",
            "wrong",
            "test 2 of 2: wrong: assert f(2) == 3, 'two'; the assertion failed: two",
        ),
        (asserts.clone(), "def f(x):\n    return 5", "wrong", "the assertion failed: assert f(1) == 2"),
        (asserts.clone(), "exit(0)", "error", "before the test did"),
        (asserts.clone(), "def f(x):\n    import os\n    os._exit(0)", "error", "before the test did"),
        (asserts, "print('passed')\nraise AssertionError('mine')", "error", "AssertionError: mine"),
        (human.clone(), "def f(x):\n    return x + 1", "correct", "1"),
        (human, "def f(x):\n    return x", "wrong", "assert candidate(1) == 2"),
        (json!("from solution import f\ndef test_f():\n    assert f(1) == 2"), "f = lambda x: x + 1", "correct", "1"),
    ] {
        let graded = grade(&code, &answer, program);
        assert_eq!(graded.verdict, verdict, "{program}: {graded:?}");
        assert!(graded.log.contains(log), "{program}: {}", graded.log);
        assert_eq!(graded.reward, f64::from(u8::from(verdict == "correct")));
    }
}

#[test]
fn without_a_program_nothing_runs() {
    let Some(code) = verifier(Options::default()) else { return };
    let judge = |answer: Value, completion, ended| {
        let row = row(&answer);
        code.judge(Attempt { row: &row, completion, ended, tokens: 9 }).unwrap().verdict
    };
    assert_eq!(judge(sums(), "I do not know.", true), "unparseable");
    assert_eq!(judge(sums(), "```python\nprint(3)\n```", false), "unfinished");
    assert_eq!(judge(json!(3), "```python\nprint(3)\n```", true), "no-answer");
    let error = code.check(&row(&json!({"inputs": ["1"], "outputs": []}))).unwrap_err().to_string();
    assert!(error.starts_with("`answer` is {\"inputs\"") && error.contains("there are 1 and 0"), "{error}");
}

#[test]
fn a_fraction_of_the_tests_is_a_reward() {
    let mut options = Options::default();
    options.reward = RewardRule::Fraction;
    let Some(code) = verifier(options) else { return };
    let answer = json!({"inputs": ["1", "2", "3", "4"], "outputs": ["1", "0", "3", "4"]});
    let graded = grade(&code, &answer, "print(input())");
    assert_eq!((graded.reward, graded.verdict), (0.75, "wrong"));
    let verdicts: Vec<_> = graded.tests.iter().map(|test| test.verdict).collect();
    assert_eq!(verdicts, ["correct", "wrong", "correct", "correct"]);
}

#[test]
fn a_failure_or_the_total_time_ends_the_tests() {
    let Some(code) = verifier(Options::default()) else { return };
    let answer = json!({"inputs": ["1", "2", "3"], "outputs": ["1", "0", "3"]});
    let verdicts = |graded: &Graded| graded.tests.iter().map(|test| test.verdict).collect::<Vec<_>>();
    assert_eq!(verdicts(&grade(&code, &answer, "print(input())")), ["correct", "wrong", "not-run"]);
    let mut options = Options::default();
    options.total = Duration::ZERO;
    let Some(code) = verifier(options) else { return };
    let graded = grade(&code, &answer, "print(input())");
    assert_eq!((graded.verdict, verdicts(&graded)), ("timeout", vec!["not-run"; 3]));
}

#[test]
fn a_continuation_of_the_prompt_is_a_program() {
    let mut options = Options::default();
    options.source = Source::Continuation;
    let Some(code) = verifier(options) else { return };
    let answer = json!({"test": "def check(candidate):\n    assert candidate(1) == 2\n", "entry_point": "f"});
    let row = PromptRow { answer, ..PromptRow::text("def f(x):\n    \"\"\"Adds one.\"\"\"\n") };
    let judgement = code.judge(Attempt { row: &row, completion: "    return x + 1", ended: true, tokens: 9 }).unwrap();
    assert_eq!(judgement.verdict, "correct");
}

#[test]
fn a_batch_keeps_its_order() {
    let Some(code) = verifier(Options::default()) else { return };
    let rows: Vec<_> = (0..6).map(|i| row(&json!({"inputs": [""], "outputs": [format!("{}", i / 2)]}))).collect();
    let completions: Vec<_> = (0..6).map(|i| format!("```python\nprint({})\n```", i % 3)).collect();
    let attempts: Vec<_> = rows
        .iter()
        .zip(&completions)
        .map(|(row, completion)| Attempt { row, completion, ended: true, tokens: 9 })
        .collect();
    let verdicts: Vec<_> = code.judge_batch(&attempts).unwrap().into_iter().map(|judged| judged.verdict).collect();
    assert_eq!(verdicts, ["correct", "wrong", "wrong", "wrong", "wrong", "correct"]);
    assert!(code.judge_batch(&[]).unwrap().is_empty());
}

fn run(sandbox: &Sandbox, code: &str, stdin: &str) -> Outcome {
    let _together = CROWD.read().unwrap_or_else(PoisonError::into_inner);
    sandbox.run(&Job { mode: Mode::Script, code, stdin }).unwrap()
}

#[test]
fn limits_end_programs() {
    let mut limits = Limits::default();
    (limits.output, limits.memory) = (1 << 16, 512 << 20);
    let Some(roomy) = sandbox(limits.clone()) else { return };
    (limits.cpu, limits.wall) = (Duration::from_secs(1), Duration::from_millis(1200));
    let Some(sandbox) = sandbox(limits) else { return };
    let sleeping = run(&sandbox, "import time\ntime.sleep(60)", "");
    assert_eq!(sleeping.end, End::Timeout);
    let busy = run(&sandbox, "while True: pass", "");
    assert!(matches!(busy.end, End::Signal(24) | End::Timeout), "{:?}", busy.end);
    let flood = run(&roomy, "while True: print('x' * 1000)", "");
    assert_eq!(flood.end, End::Output);
    let hoard = run(&roomy, "x = bytes(1 << 30)", "");
    assert_eq!(hoard.end, End::Exited(1));
    assert!(String::from_utf8_lossy(&hoard.stderr).contains("MemoryError"));
    let errors = run(&roomy, "import sys\nfor _ in range(10000): sys.stderr.write('e' * 1000)\nsys.exit('last')", "");
    assert_eq!(errors.end, End::Exited(1));
    assert!(errors.stderr.len() <= 16 << 10 && errors.stderr.ends_with(b"last\n"), "{}", errors.stderr.len());
    // A pipe that outlives the program does not keep the sandbox waiting.
    let left = run(&roomy, "import os, time\nif os.fork() == 0:\n    time.sleep(60)\nprint('done')", "");
    assert_eq!((left.end, &left.stdout[..]), (End::Exited(0), &b"done\n"[..]));
}

#[test]
fn ordinary_programs_work() {
    let Some(sandbox) = sandbox(Limits::default()) else { return };
    let large = "x".repeat(3 << 20);
    for (code, stdin, wanted) in [
        ("import sys\nfor line in sys.stdin: print(line, end='')", "a\nb\n", "a\nb\n"),
        ("import sys\nsys.stdout.write(sys.stdin.read())", &*large, &*large),
        ("print('no input is read')", &large, "no input is read\n"),
        ("print(input())", "größer ✓\n", "größer ✓\n"),
        ("import sys\nsys.stdout.buffer.write(sys.stdin.buffer.readline())", "a\nb\n", "a\n"),
        ("open(0).read()\nprint('read')", "x", "read\n"),
        ("import threading\nt = threading.Thread(target=print, args=('thread',))\nt.start()\nt.join()", "", "thread\n"),
        (
            "import asyncio\nasync def f():\n    await asyncio.sleep(0.01)\n    print('async')\nasyncio.run(f())",
            "",
            "async\n",
        ),
        (
            "import subprocess\nprint(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout)",
            "",
            "child\n\n",
        ),
        ("with open('a', 'w') as f: f.write('x')\nprint(open('a').read())", "", "x\n"),
        (
            "from dataclasses import dataclass\nimport pickle\n@dataclass\nclass A:\n    x: int\nprint(pickle.loads(pickle.dumps(A(1))).x)",
            "",
            "1\n",
        ),
        (
            "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(20000))",
            "",
            "20000\n",
        ),
        (
            "import hashlib, random, decimal, datetime, json, re, zlib, ssl, ctypes, sqlite3\nprint(random.Random(1).random() < 1)",
            "",
            "True\n",
        ),
        ("print(list({'b', 'a', 'c'}) == list({'b', 'a', 'c'}), hash('a') != 0)", "", "True True\n"),
        ("import os, sys\nprint(os.listdir('.'), sys.argv, __name__)", "", "[] ['solution.py'] __main__\n"),
    ] {
        let outcome = run(&sandbox, code, stdin);
        let stderr = String::from_utf8_lossy(&outcome.stderr);
        assert_eq!(outcome.end, End::Exited(0), "{code}: {stderr}");
        assert!(outcome.stdout == wanted.as_bytes(), "{code}: {stderr}");
    }
}

#[test]
fn a_program_sees_nothing_of_this_process() {
    let Some(sandbox) = sandbox(Limits::default()) else { return };
    let outcome = run(
        &sandbox,
        "import os\nprint(sorted(os.environ))\nprint(os.listdir('/proc/self/fd') if os.path.exists('/proc/self') else '')",
        "",
    );
    let said = String::from_utf8_lossy(&outcome.stdout);
    for name in ["FLOWRL", "CARGO", "USER"] {
        assert!(!said.contains(name), "{said}");
    }
    let peek = format!("print(open('/proc/{}/environ').read())", std::process::id());
    assert_ne!(run(&sandbox, &peek, "").end, End::Exited(0));
}
