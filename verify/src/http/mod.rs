//! Verifiers behind HTTP.

mod language_model;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flowrl_core::task::{JudgeError, Judgement};
use flowrl_lm::Interrupted;
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::{Attempt, Verifier};
pub use language_model::LanguageModel;
use serde_json::{Value, json};

use crate::measured::Measured;
use crate::options::Options;
use crate::workers::protocol::{self, Answer, MAX_LINE};

/// Most completions of a request.
const BATCH: usize = 64;

/// Waits before the second, third and fourth try of a request.
const WAITS: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(4)];

/// A client of one address, which tries again what may succeed later.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    pub(crate) url: String,
}

impl Client {
    fn new(url: &str, timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).build();
        Self { agent: config.into(), url: url.to_owned() }
    }

    /// Posts JSON and returns the JSON that comes back.
    ///
    /// # Errors
    /// Returns the reason, the rest of a sentence about the server.
    fn post(&self, body: &Value, options: &Options) -> Result<Value, Failure> {
        let bytes = body.to_string();
        let mut waits = WAITS.iter();
        loop {
            if options.is_interrupted() {
                return Err(Failure::Interrupted);
            }
            let (reason, may_try_again) = match self.post_once(&bytes) {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            match waits.next().filter(|_| may_try_again) {
                Some(wait) => pause(*wait, options)?,
                None => return Err(Failure::Refused(reason)),
            }
        }
    }

    /// Returns the answer, or the reason for none and whether another try may succeed.
    fn post_once(&self, bytes: &str) -> Result<Value, (String, bool)> {
        let sent = self.agent.post(&self.url).content_type("application/json").send(bytes);
        let mut response = sent.map_err(|error| (format!("did not answer: {error}"), true))?;
        let status = response.status();
        let limit = (BATCH * MAX_LINE) as u64;
        let text = response.body_mut().with_config().limit(limit).read_to_string();
        let text = text.map_err(|error| (format!("did not finish its answer: {error}"), true))?;
        if !status.is_success() {
            let may_try_again = matches!(status.as_u16(), 429 | 502 | 503 | 504);
            return Err((format!("answered {status}: {}", flowrl_lm::short(text.trim())), may_try_again));
        }
        serde_json::from_str(&text)
            .map_err(|_| (format!("answered {:?}, which is not JSON", flowrl_lm::short(text.trim())), false))
    }
}

/// The reason why a request has no answer.
#[derive(Debug)]
enum Failure {
    Interrupted,
    Refused(String),
}

fn pause(wait: Duration, options: &Options) -> Result<(), Failure> {
    let end = Instant::now() + wait;
    while Instant::now() < end {
        if options.is_interrupted() {
            return Err(Failure::Interrupted);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Runs `work` on every job with at most `threads` threads. Returns false if it was interrupted.
fn in_parallel<T: Sync>(jobs: &[T], threads: usize, work: impl Fn(&T) -> bool + Sync) -> bool {
    let next = AtomicUsize::new(0);
    let interrupted = Mutex::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !work(job) {
                        *interrupted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
                        return;
                    }
                }
            });
        }
    });
    !interrupted.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A server that judges batches: it receives `{"items": […]}`, with the items of the protocol of workers, and answers
/// with a list of their answers, alone or as `{"items": […]}`.
#[derive(Debug)]
pub struct Http {
    name: String,
    client: Client,
    options: Options,
    measured: Measured,
}

impl Http {
    /// Creates a verifier that asks the server at `url`.
    ///
    /// # Errors
    /// Returns an error if nothing listens at the address.
    pub fn new(name: impl Into<String>, url: &str, options: &Options) -> Result<Self, JudgeError> {
        let client = Client::new(url, options.timeout.saturating_mul(BATCH as u32));
        let http = Self { name: name.into(), client, options: options.clone(), measured: Measured::default() };
        // An empty batch finds a wrong address before anything is sampled.
        match http.client.post(&json!({"items": []}), options) {
            Ok(_) => Ok(http),
            Err(Failure::Interrupted) => Err(Box::new(Interrupted)),
            Err(Failure::Refused(reason)) => Err(format!("the verifier {url} {reason}").into()),
        }
    }

    /// Asks for the judgements of some items. Returns false if it was interrupted.
    fn ask(&self, ids: &[usize], items: &[Value], judgements: &Mutex<Vec<Option<Judgement>>>) -> bool {
        let begin = Instant::now();
        let body = json!({"items": ids.iter().map(|&id| &items[id]).collect::<Vec<_>>()});
        let mut answers: HashMap<usize, Judgement> = HashMap::new();
        match self.client.post(&body, &self.options) {
            Err(Failure::Interrupted) => return false,
            Err(Failure::Refused(reason)) => self.options.report(&self.name, &format!("the server {reason}")),
            Ok(value) => {
                let list = value.get("items").unwrap_or(&value);
                match list.as_array() {
                    None => {
                        let shown = flowrl_lm::short(&value.to_string());
                        self.options
                            .report(&self.name, &format!("the server answered {shown} instead of a list of items"));
                    }
                    Some(list) => {
                        for answer in list {
                            match Answer::of(answer) {
                                Ok(Answer { id, judgement }) => drop(answers.insert(id, judgement)),
                                Err((_, mistake)) => self.options.report(&self.name, &format!("the server {mistake}")),
                            }
                        }
                    }
                }
            }
        }
        let missing = ids.iter().filter(|id| !answers.contains_key(id)).count();
        if missing > 0 && !answers.is_empty() {
            self.options.report(&self.name, "the server left items without an answer");
        }
        let mut all = judgements.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for &id in ids {
            let judgement = answers.remove(&id).unwrap_or_else(|| {
                self.measured.failed();
                self.options.failed("error")
            });
            self.measured.took(begin.elapsed() / ids.len() as u32);
            all[id] = Some(judgement);
        }
        true
    }
}

impl Verifier for Http {
    fn name(&self) -> &str {
        &self.name
    }

    fn check(&self, _: &PromptRow) -> flowrl_lm::Result<()> {
        Ok(())
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        let mut judgements = self.judge_batch(&[attempt])?;
        judgements.pop().ok_or_else(|| "no judgement".into())
    }

    fn judge_batch(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        let items: Vec<Value> = attempts.iter().enumerate().map(|(id, attempt)| protocol::item(id, attempt)).collect();
        let ids: Vec<usize> = (0..items.len()).collect();
        let batches: Vec<&[usize]> = ids.chunks(BATCH).collect();
        let judgements = Mutex::new(vec![None; items.len()]);
        if !in_parallel(&batches, self.options.worker_count(), |ids| self.ask(ids, &items, &judgements)) {
            return Err(Box::new(Interrupted));
        }
        let judgements = judgements.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(judgements.into_iter().flatten().collect())
    }

    fn take_metrics(&self) -> Vec<(&'static str, f64)> {
        self.measured.take()
    }
}
