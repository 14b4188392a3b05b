//! Verifiers behind HTTP.

mod language_model;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use flowrl_core::task::{JudgeError, Judgement};
use flowrl_lm::Interrupted;
use flowrl_lm::verify::{Attempt, Verifier};
pub use language_model::LanguageModel;
use serde_json::{Value, json};

use crate::measured::{Measured, only};
use crate::options::Options;
use crate::workers::protocol::{self, Answer, MAX_LINE};

/// Most completions of a request.
const BATCH: usize = 64;

/// How often a wait looks for an interrupt.
const POLL: Duration = Duration::from_millis(20);

/// Waits before the second, third and fourth try of a request.
const WAITS: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(4)];

/// A client of one address, which repeats requests that may succeed later.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        Self { agent: config.into(), url: url.to_owned() }
    }

    /// Posts JSON and returns the JSON that comes back within a time limit.
    ///
    /// # Errors
    /// Returns the reason, the rest of a sentence about the server.
    fn post(&self, body: &Value, limit: Duration, options: &Options) -> Result<Value, Failure> {
        let mut waits = WAITS.iter();
        loop {
            let failure = match self.post_once(body, limit, options) {
                Err(failure @ Failure::ForNow(_)) => failure,
                other => return other,
            };
            let Some(wait) = waits.next() else { return Err(failure) };
            let end = Instant::now() + *wait;
            while Instant::now() < end {
                if options.is_interrupted() {
                    return Err(Failure::Interrupted);
                }
                std::thread::sleep(POLL);
            }
        }
    }

    /// Posts once. The request runs in a thread of its own, which an interrupt leaves behind: a server may take minutes.
    fn post_once(&self, body: &Value, limit: Duration, options: &Options) -> Result<Value, Failure> {
        let (client, bytes) = (self.clone(), body.to_string());
        let (say, answer) = channel();
        std::thread::spawn(move || say.send(client.exchange(&bytes, limit)));
        loop {
            if options.is_interrupted() {
                return Err(Failure::Interrupted);
            }
            match answer.recv_timeout(POLL) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::Refused("could not be asked".into())),
            }
        }
    }

    fn exchange(&self, bytes: &str, limit: Duration) -> Result<Value, Failure> {
        let request = self.agent.post(&self.url).config().timeout_global(Some(limit)).build();
        let sent = request.content_type("application/json").send(bytes);
        let mut response = sent.map_err(|error| Failure::of("did not answer", &error))?;
        let status = response.status();
        let limit = (BATCH * MAX_LINE) as u64;
        let text = response.body_mut().with_config().limit(limit).read_to_string();
        let text = text.map_err(|error| Failure::of("did not finish its answer", &error))?;
        if !status.is_success() {
            let reason = format!("answered {status}: {}", flowrl_lm::short(text.trim()));
            let is_busy = matches!(status.as_u16(), 429 | 502 | 503 | 504);
            return Err(if is_busy { Failure::ForNow(reason) } else { Failure::Refused(reason) });
        }
        serde_json::from_str(&text)
            .map_err(|_| Failure::Refused(format!("answered {:?}, which is not JSON", flowrl_lm::short(text.trim()))))
    }
}

/// The reason why a request has no answer.
#[derive(Debug)]
enum Failure {
    Interrupted,
    /// The time was over. Another try could take as long.
    Timeout(String),
    /// Another try may succeed.
    ForNow(String),
    /// Another try would fail alike.
    Refused(String),
}

impl Failure {
    fn of(text: &str, error: &ureq::Error) -> Self {
        let reason = format!("{text}: {error}");
        if matches!(error, ureq::Error::Timeout(_)) { Self::Timeout(reason) } else { Self::ForNow(reason) }
    }

    /// Returns the reason, or [`None`] for an interrupt.
    fn reason(&self) -> Option<&str> {
        match self {
            Self::Interrupted => None,
            Self::Timeout(reason) | Self::ForNow(reason) | Self::Refused(reason) => Some(reason),
        }
    }

    /// Returns the verdict on a completion that was not judged because of this.
    const fn verdict(&self) -> &'static str {
        if let Self::Timeout(_) = self { "timeout" } else { "error" }
    }
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
                        *interrupted.lock().unwrap_or_else(PoisonError::into_inner) = true;
                        return;
                    }
                }
            });
        }
    });
    !interrupted.into_inner().unwrap_or_else(PoisonError::into_inner)
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
        let client = Client::new(url);
        let http = Self { name: name.into(), client, options: options.clone(), measured: Measured::default() };
        // An empty batch finds a wrong address before anything is sampled.
        match http.client.post(&json!({"items": []}), options.timeout, options) {
            Ok(_) => Ok(http),
            Err(failure) => Err(match failure.reason() {
                Some(reason) => format!("the verifier {url} {reason}").into(),
                None => Box::new(Interrupted),
            }),
        }
    }

    /// Asks for the judgements of some items. Returns false if it was interrupted.
    fn ask(&self, places: &[usize], items: &[Value], judgements: &Mutex<Vec<Option<Judgement>>>) -> bool {
        let begin = Instant::now();
        let body = json!({"items": places.iter().map(|&place| &items[place]).collect::<Vec<_>>()});
        let limit = self.options.timeout.saturating_mul(places.len() as u32);
        let (mut answers, verdict) = match self.client.post(&body, limit, &self.options) {
            Err(Failure::Interrupted) => return false,
            // One of them took too long: alone, the others do not wait for it.
            Err(Failure::Timeout(_)) if places.len() > 1 => {
                return places.chunks(1).all(|one| self.ask(one, items, judgements));
            }
            Err(failure) => {
                self.options.report(&self.name, &format!("the server {}", failure.reason().unwrap_or_default()));
                (HashMap::new(), failure.verdict())
            }
            Ok(value) => (self.answers(&value, places), "error"),
        };
        let mut all = judgements.lock().unwrap_or_else(PoisonError::into_inner);
        for &place in places {
            let judgement = answers.remove(&place).unwrap_or_else(|| {
                self.measured.failed();
                self.options.failed(verdict)
            });
            self.measured.took(begin.elapsed() / places.len() as u32);
            all[place] = Some(judgement);
        }
        true
    }

    /// Reads the answers of the server to some items.
    fn answers(&self, value: &Value, places: &[usize]) -> HashMap<usize, Judgement> {
        let mut answers = HashMap::new();
        let Some(list) = value.get("items").unwrap_or(value).as_array() else {
            let shown = flowrl_lm::short(&value.to_string());
            self.options.report(&self.name, &format!("the server answered {shown} instead of a list of items"));
            return answers;
        };
        for answer in list {
            match Answer::of(answer) {
                Err((_, mistake)) => self.options.report(&self.name, &format!("the server {mistake}")),
                Ok(Answer { id, .. }) if !places.contains(&id) || answers.contains_key(&id) => {
                    let message = format!("the server answered item {id} twice or without being asked");
                    self.options.report(&self.name, &message);
                }
                Ok(Answer { id, judgement }) => _ = answers.insert(id, judgement),
            }
        }
        if answers.len() < places.len() {
            self.options.report(&self.name, "the server left items without a usable answer");
        }
        answers
    }
}

impl Verifier for Http {
    fn name(&self) -> &str {
        &self.name
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        only(self.judge_batch(&[attempt])?)
    }

    fn judge_batch(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        let items: Vec<Value> = attempts.iter().enumerate().map(|(id, attempt)| protocol::item(id, attempt)).collect();
        let ids: Vec<usize> = (0..items.len()).collect();
        let batches: Vec<&[usize]> = ids.chunks(BATCH).collect();
        let judgements = Mutex::new(vec![None; items.len()]);
        if !in_parallel(&batches, self.options.worker_count(), |ids| self.ask(ids, &items, &judgements)) {
            return Err(Box::new(Interrupted));
        }
        let judgements = judgements.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(judgements.into_iter().flatten().collect())
    }

    fn take_metrics(&self) -> Vec<(&'static str, f64)> {
        self.measured.take()
    }
}
