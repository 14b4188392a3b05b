//! Runs code against tests, in a sandbox.

mod cases;
mod compare;
mod extract;
pub mod sandbox;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flowrl_core::task::{JudgeError, Judgement};
use flowrl_lm::Error;
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::{Attempt, Verifier};

use cases::Case;
use sandbox::{End, Job, Mode, Outcome, Sandbox, SandboxError};

/// Where the program of a completion is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// In the last block of Python between fences.
    #[default]
    Block,
    /// It is the prompt and the completion together, as a model without instruction tuning continues HumanEval.
    Continuation,
}

/// The reward of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RewardRule {
    /// 1 if it passes all tests, otherwise 0. The first failure ends the tests.
    #[default]
    All,
    /// The fraction of the tests that it passes.
    Fraction,
}

/// Options of [`Code`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Where the program of a completion is.
    pub source: Source,
    /// The reward of a program.
    pub reward: RewardRule,
    /// Time for all tests of a completion. A test that would begin later fails.
    pub total: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { source: Source::default(), reward: RewardRule::default(), total: Duration::from_secs(120) }
    }
}

/// Outcome of one test.
#[derive(Clone, Debug, PartialEq)]
pub struct TestResult {
    /// `correct`, `wrong`, `error`, `timeout` or `not-run`.
    pub verdict: &'static str,
    /// Seconds that the program ran.
    pub seconds: f64,
    /// Why it is not correct.
    pub message: String,
}

/// A judgement with its reasons.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Graded {
    /// The reward, from 0 to 1.
    pub reward: f64,
    /// `correct`, or the verdict of the first test that failed; `unfinished`, `unparseable` or `no-answer` if none was run.
    pub verdict: &'static str,
    /// One entry per test of the row.
    pub tests: Vec<TestResult>,
    /// A sentence about the first test that failed.
    pub log: String,
}

impl Graded {
    fn without_tests(verdict: &'static str, log: &str) -> Self {
        Self { reward: 0.0, verdict, tests: Vec::new(), log: log.into() }
    }
}

/// The verifier `code`: a completion is correct if its program passes the tests of the row.
#[derive(Debug)]
pub struct Code {
    sandbox: Sandbox,
    options: Options,
}

impl Code {
    /// Creates the verifier. The sandbox shows that the user allows it: [`Sandbox::open`].
    pub fn new(sandbox: Sandbox, options: Options) -> Self {
        Self { sandbox, options }
    }

    /// Returns the sandbox in which programs run.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Runs the tests of one completion.
    ///
    /// # Errors
    /// Returns an error if the sandbox fails, never because of the program.
    pub fn grade(&self, attempt: Attempt<'_>) -> Result<Graded, SandboxError> {
        let Ok(cases) = cases::read(&attempt.row.answer) else {
            return Ok(Graded::without_tests("no-answer", "the row has no tests that the verifier knows"));
        };
        if !attempt.ended {
            return Ok(Graded::without_tests("unfinished", "the completion was cut off"));
        }
        let program = match self.options.source {
            Source::Block => extract::program(attempt.completion),
            Source::Continuation => Some(format!("{}{}\n", attempt.row.prompt.question(), attempt.completion)),
        };
        let Some(program) = program else {
            return Ok(Graded::without_tests("unparseable", "the completion has no block of code between ``` fences"));
        };
        let began = Instant::now();
        let mut tests = Vec::with_capacity(cases.len());
        let mut failed = false;
        for case in &cases {
            let skip = match self.options.reward {
                RewardRule::All if failed => Some("a test before it failed"),
                _ if began.elapsed() > self.options.total => Some("the tests before it took too long"),
                _ => None,
            };
            let result = match skip {
                Some(message) => TestResult { verdict: "not-run", seconds: 0.0, message: message.into() },
                None => self.test(case, &program)?,
            };
            failed |= result.verdict != "correct";
            tests.push(result);
        }
        Ok(self.sum_up(&cases, tests))
    }

    fn sum_up(&self, cases: &[Case], tests: Vec<TestResult>) -> Graded {
        let count = tests.len();
        let passed = tests.iter().filter(|test| test.verdict == "correct").count();
        let reward = match self.options.reward {
            RewardRule::All => f64::from(u8::from(passed == count)),
            RewardRule::Fraction => passed as f64 / count as f64,
        };
        let Some(first) = tests.iter().position(|test| test.verdict != "correct") else {
            return Graded { reward, verdict: "correct", tests, log: format!("passed all tests: {count}") };
        };
        let verdict = if tests[first].verdict == "not-run" { "timeout" } else { tests[first].verdict };
        let (at, test) = (first + 1, &tests[first]);
        let log = format!("test {at} of {count}: {}: {}; {}", test.verdict, asked(&cases[first]), test.message);
        Graded { reward, verdict, tests, log }
    }

    /// Runs one test.
    fn test(&self, case: &Case, code: &str) -> Result<TestResult, SandboxError> {
        let (mode, stdin) = match case {
            Case::Print { input, .. } => (Mode::Script, &**input),
            Case::Call { name, arguments, .. } => (Mode::Call { name, arguments }, ""),
            Case::Check { code } => (Mode::Check(code), ""),
        };
        let outcome = self.sandbox.run(&Job { mode, code, stdin })?;
        let (verdict, message) = self.verdict(case, &outcome);
        Ok(TestResult { verdict, seconds: outcome.wall.as_secs_f64(), message })
    }

    fn verdict(&self, case: &Case, outcome: &Outcome) -> (&'static str, String) {
        let limits = self.sandbox.limits();
        let error = |why: &str| ("error", format!("{why}{}", last_error(&outcome.stderr)));
        match outcome.end {
            End::Timeout => ("timeout", format!("it ran longer than {:?}", limits.wall)),
            // The kernel's own limit, whose second signal comes a second after the first.
            End::Signal(signal) if signal == 24 || signal == 9 && outcome.wall >= limits.cpu => {
                ("timeout", format!("it used more than {:?} of processor time", limits.cpu))
            }
            End::Output => ("wrong", format!("it printed more than {} bytes", limits.output)),
            End::Disk => ("error", format!("it wrote more than {} bytes into files", limits.disk)),
            End::Signal(signal) => error(&format!("signal {signal} ended it")),
            End::Exited(code) => match (case, &outcome.answer) {
                (Case::Print { .. }, _) if code != 0 => error(&format!("it ended with status {code}")),
                (Case::Print { output, .. }, _) => {
                    let got = String::from_utf8_lossy(&outcome.stdout);
                    match compare::text_matches(&got, output) {
                        true => ("correct", String::new()),
                        false => ("wrong", format!("expected {}, got {}", quoted(output), quoted(&got))),
                    }
                }
                (Case::Call { wanted, .. }, Some(answer)) => {
                    let got = serde_json::from_str(answer).ok();
                    match got.is_some_and(|got| wanted.iter().any(|wanted| compare::json_matches(&got, wanted))) {
                        true => ("correct", String::new()),
                        false => {
                            ("wrong", format!("expected {}, got {}", short(&wanted[0].to_string()), short(answer)))
                        }
                    }
                }
                (Case::Check { .. }, Some(answer)) => match answer.strip_prefix("assertion ") {
                    Some(message) => ("wrong", format!("the assertion failed: {}", short(message))),
                    None => ("correct", String::new()),
                },
                (_, None) if code == 0 => error("it ended before the test did"),
                (_, None) => error(&format!("it ended with status {code}")),
            },
        }
    }
}

impl Verifier for Code {
    fn name(&self) -> &str {
        "code"
    }

    fn check(&self, row: &PromptRow) -> flowrl_lm::Result<()> {
        let refused = |wanted| Error::Argument { name: "answer", got: short(&row.answer.to_string()), wanted };
        cases::read(&row.answer).map(drop).map_err(refused)
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        let Graded { reward, verdict, log, .. } = self.grade(attempt)?;
        let mut judgement = Judgement::new(reward, verdict);
        judgement.log = Some(log.into());
        Ok(judgement)
    }

    fn judge_batch(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done = Mutex::new(Vec::with_capacity(attempts.len()));
        std::thread::scope(|scope| {
            for _ in 0..self.sandbox.threads().min(attempts.len()) {
                scope.spawn(|| {
                    while !failed.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(attempt) = attempts.get(index) else { break };
                        let judged = self.judge(*attempt);
                        failed.fetch_or(judged.is_err(), Ordering::Relaxed);
                        done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, judged));
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, judged)| judged).collect()
    }
}

/// Describes a test.
fn asked(case: &Case) -> String {
    match case {
        Case::Print { input, .. } => format!("input {}", quoted(input)),
        Case::Call { name, arguments, .. } => {
            format!("{name}({})", short(arguments.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or("")))
        }
        Case::Check { code } => short(code.trim().lines().last().unwrap_or("")),
    }
}

/// Returns the last line of a program's errors, which names the exception.
fn last_error(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    line.map_or(String::new(), |line| format!(": {}", short(line.trim())))
}

fn quoted(text: &str) -> String {
    format!("{:?}", short(text.trim_end()))
}

/// Returns the first 120 characters of a text.
fn short(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
