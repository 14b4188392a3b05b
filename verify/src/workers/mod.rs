//! Verifiers in any language: worker processes that judge completions.

mod process;
pub(crate) mod protocol;

use std::collections::VecDeque;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flowrl_core::task::{JudgeError, Judgement};
use flowrl_lm::Interrupted;
use flowrl_lm::verify::{Attempt, Verifier};
use process::{Process, Silence};
use protocol::{Answer, MAX_LINE};
use serde_json::{Value, json};

use crate::measured::{Measured, only};
use crate::options::Options;

/// A verifier whose completions are judged by worker processes, which may be slow, hang or crash.
///
/// A worker that takes too long is killed with all processes of its group and started again; a completion that ran out
/// of time, or that crashed two workers, has no reward and the verdict `timeout` or `error`.
pub struct Workers {
    name: String,
    /// Makes the command of a worker.
    command: Box<dyn Fn() -> Command + Send + Sync>,
    options: Options,
    slots: Vec<Mutex<Slot>>,
    measured: Measured,
    /// The id of the next item. Ids never repeat, so a late second answer is not taken for one to a later item.
    next_id: AtomicUsize,
}

/// The place of one worker.
#[derive(Debug, Default)]
struct Slot {
    process: Option<Process>,
    /// Number of starts that failed since the last one that did not.
    failed_starts: u32,
    has_started: bool,
}

/// Number of starts of a worker that may fail one after another before a batch goes on without it.
const MOST_FAILED_STARTS: u32 = 3;

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("name", &self.name).field("workers", &self.slots.len()).finish_non_exhaustive()
    }
}

/// Completions that go to a worker together.
#[derive(Debug)]
struct Job {
    items: Vec<usize>,
    /// Number of workers that crashed on this item alone.
    crashes: u8,
}

/// The jobs of a batch and the judgements so far.
#[derive(Debug)]
struct Board {
    waiting: VecDeque<Job>,
    judgements: Vec<Option<Judgement>>,
    /// Number of completions without a judgement.
    open: usize,
    is_interrupted: bool,
}

impl Workers {
    /// Starts one worker, to find mistakes at once; the others start when they are needed.
    ///
    /// # Errors
    /// Returns the reason why the worker cannot be used.
    pub fn new(
        name: impl Into<String>,
        command: impl Fn() -> Command + Send + Sync + 'static,
        options: &Options,
    ) -> Result<Self, JudgeError> {
        let name = name.into();
        let slots = (0..options.worker_count()).map(|_| Mutex::default()).collect();
        let workers = Self {
            name,
            command: Box::new(command),
            options: options.clone(),
            slots,
            measured: Measured::default(),
            next_id: AtomicUsize::new(0),
        };
        let mut slot = lock(&workers.slots[0]);
        match workers.start(&mut slot) {
            Ok(()) => {}
            Err(Silence::Interrupted) => return Err(Box::new(Interrupted)),
            Err(silence) => {
                let reason = match silence {
                    Silence::Broken(reason) => reason,
                    _ => "did not start in time".to_owned(),
                };
                let last = options.log.last_line().map_or(String::new(), |line| format!("; it wrote: {line}"));
                return Err(format!("the verifier {} {reason}{last}", workers.name).into());
            }
        }
        drop(slot);
        Ok(workers)
    }

    fn start(&self, slot: &mut Slot) -> Result<(), Silence> {
        let Options { start_timeout, log, .. } = &self.options;
        match Process::start((self.command)(), *start_timeout, log, &|| self.options.is_interrupted()) {
            Ok(process) => {
                self.measured.restarted(slot.has_started);
                *slot = Slot { process: Some(process), failed_starts: 0, has_started: true };
                Ok(())
            }
            Err(silence) => {
                slot.failed_starts += 1;
                Err(silence)
            }
        }
    }

    /// Splits a batch into jobs: whole groups of at most `max_batch` items, which fit a line.
    fn jobs(&self, attempts: &[Attempt<'_>], sizes: &[usize], max_batch: usize) -> VecDeque<Job> {
        let mut jobs = VecDeque::new();
        let mut items = Vec::new();
        let mut bytes = 0;
        let mut start = 0;
        let is_same = |a: &Attempt<'_>, b: &Attempt<'_>| std::ptr::eq(a.row, b.row) || a.row == b.row;
        for group in attempts.chunk_by(is_same) {
            let of_group = start..start + group.len();
            let group_bytes: usize = sizes[of_group.clone()].iter().sum();
            start = of_group.end;
            if items.len() + group.len() > max_batch || bytes + group_bytes > MAX_LINE / 2 {
                if !items.is_empty() {
                    jobs.push_back(Job { items: std::mem::take(&mut items), crashes: 0 });
                }
                bytes = 0;
            }
            for item in of_group {
                // Only a group that is too large by itself is split.
                if !items.is_empty() && (items.len() == max_batch || bytes + sizes[item] > MAX_LINE / 2) {
                    jobs.push_back(Job { items: std::mem::take(&mut items), crashes: 0 });
                    bytes = 0;
                }
                items.push(item);
                bytes += sizes[item];
            }
        }
        if !items.is_empty() {
            jobs.push_back(Job { items, crashes: 0 });
        }
        jobs
    }

    /// Works on the jobs of the board until all completions are judged.
    fn work(&self, slot: &Mutex<Slot>, items: &[Value], board: &Mutex<Board>, changed: &Condvar) {
        let mut slot = lock(slot);
        slot.failed_starts = 0;
        loop {
            let mut state = lock(board);
            let job = loop {
                if state.open == 0 || state.is_interrupted {
                    return;
                }
                if let Some(job) = state.waiting.pop_front() {
                    break job;
                }
                // Another worker may give its job back.
                state =
                    changed.wait_timeout(state, Duration::from_millis(50)).unwrap_or_else(PoisonError::into_inner).0;
            };
            drop(state);
            let outcome = self.judge_job(&mut slot, &job, items, board);
            let mut state = lock(board);
            match outcome {
                Ok(()) => {}
                Err(Silence::Interrupted) => state.is_interrupted = true,
                Err(silence) => self.give_back(&slot, job, &silence, &mut state),
            }
            drop(state);
            changed.notify_all();
        }
    }

    /// Puts the unanswered items of a job back on the board, or gives up on it.
    fn give_back(&self, slot: &Slot, job: Job, silence: &Silence, state: &mut Board) {
        let is_single = job.items.len() == 1;
        // A worker that cannot be started says nothing about the item.
        let cannot_start = slot.process.is_none() && slot.failed_starts > 0;
        for item in job.items {
            if state.judgements[item].is_some() {
                continue;
            }
            let verdict = match silence {
                Silence::Timeout if is_single => Some("timeout"),
                _ if cannot_start => (slot.failed_starts >= MOST_FAILED_STARTS).then_some("error"),
                Silence::Broken(_) if is_single && job.crashes > 0 => Some("error"),
                _ => None,
            };
            match verdict {
                Some(verdict) => {
                    state.judgements[item] = Some(self.options.failed(verdict));
                    state.open -= 1;
                    self.measured.failed();
                    let reason = match silence {
                        Silence::Broken(reason) => format!("a worker {reason}"),
                        _ => format!("a completion took longer than {} s", self.options.timeout.as_secs_f64()),
                    };
                    self.options.report(&self.name, &reason);
                }
                None => {
                    let crashed = is_single && !cannot_start && matches!(silence, Silence::Broken(_));
                    state.waiting.push_back(Job { items: vec![item], crashes: job.crashes + u8::from(crashed) });
                }
            }
        }
    }

    /// Sends a job to the worker of a slot and collects the answers.
    fn judge_job(&self, slot: &mut Slot, job: &Job, items: &[Value], board: &Mutex<Board>) -> Result<(), Silence> {
        if slot.process.is_none() {
            if slot.failed_starts >= MOST_FAILED_STARTS {
                return Err(Silence::Broken("cannot be started again".into()));
            }
            self.start(slot)?;
        }
        let Some(process) = &mut slot.process else { return Err(Silence::Broken("was not started".into())) };
        let result = self.exchange(process, job, items, board);
        if result.is_err() {
            slot.process = None;
        }
        result
    }

    fn exchange(&self, process: &mut Process, job: &Job, items: &[Value], board: &Mutex<Board>) -> Result<(), Silence> {
        let request = if process.hello.max_batch > 1 {
            json!({"items": job.items.iter().map(|&item| &items[item]).collect::<Vec<_>>()})
        } else {
            items[job.items[0]].clone()
        };
        process.send(format!("{request}\n").into_bytes())?;
        let begin = Instant::now();
        let deadline = begin + self.options.timeout * job.items.len() as u32;
        let mut left = job.items.clone();
        while !left.is_empty() {
            let line = process.line(deadline, &|| self.options.is_interrupted())?;
            let (id, judgement) = match Answer::parse(&line) {
                Ok(Answer { id, judgement }) => {
                    if let (Some(remark), None) = (&judgement.log, judgement.reward) {
                        self.options.report(&self.name, remark);
                    }
                    (id, Ok(judgement))
                }
                Err((Some(id), mistake)) => (id, Err(mistake)),
                Err((None, mistake)) => return Err(Silence::Broken(mistake)),
            };
            let Some(place) = left.iter().position(|&item| items[item]["id"] == id) else {
                // Of an item that was answered already, or was never asked: the worker mixes up its items.
                self.options.report(&self.name, &format!("a worker answered item {id} twice or without being asked"));
                continue;
            };
            let item = left.swap_remove(place);
            let judgement = judgement.unwrap_or_else(|mistake| {
                self.options.report(&self.name, &format!("a worker {mistake}"));
                self.measured.failed();
                self.options.failed("error")
            });
            self.measured.took(begin.elapsed() / job.items.len() as u32);
            let mut state = lock(board);
            state.judgements[item] = Some(judgement);
            state.open -= 1;
        }
        Ok(())
    }

    /// Returns the most items of a request, as the first worker says.
    fn max_batch(&self) -> usize {
        self.slots
            .iter()
            .find_map(|slot| lock(slot).process.as_ref().map(|process| process.hello.max_batch))
            .unwrap_or(1)
    }
}

impl Verifier for Workers {
    fn name(&self) -> &str {
        &self.name
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        only(self.judge_batch(&[attempt])?)
    }

    fn judge_batch(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        let first = self.next_id.fetch_add(attempts.len(), Ordering::Relaxed);
        let items: Vec<Value> = (first..).zip(attempts).map(|(id, attempt)| protocol::item(id, attempt)).collect();
        let sizes: Vec<usize> = items.iter().map(|item| item.to_string().len()).collect();
        let mut waiting = self.jobs(attempts, &sizes, self.max_batch());
        let mut judgements: Vec<Option<Judgement>> = vec![None; items.len()];
        let mut open = items.len();
        waiting.retain(|job| {
            let is_too_long = job.items.len() == 1 && sizes[job.items[0]] >= MAX_LINE;
            if is_too_long {
                self.options
                    .report(&self.name, "a completion with its prompt and columns is longer than the 1 MiB of a line");
                self.measured.failed();
                judgements[job.items[0]] = Some(self.options.failed("error"));
                open -= 1;
            }
            !is_too_long
        });
        let jobs = waiting.len();
        let board = Mutex::new(Board { waiting, judgements, open, is_interrupted: false });
        let changed = Condvar::new();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.slots.len().min(jobs) {
                scope.spawn(|| {
                    let slot = &self.slots[next.fetch_add(1, Ordering::Relaxed)];
                    self.work(slot, &items, &board, &changed);
                });
            }
        });
        let Board { judgements, is_interrupted, .. } = board.into_inner().unwrap_or_else(PoisonError::into_inner);
        if is_interrupted {
            return Err(Box::new(Interrupted));
        }
        judgements.into_iter().map(|judgement| judgement.ok_or_else(|| "a worker thread failed".into())).collect()
    }

    fn take_metrics(&self) -> Vec<(&'static str, f64)> {
        self.measured.take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
