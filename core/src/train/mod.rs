//! The training loop: sample → judge → score → objective → backward → update → record.
//!
//! The command line, the browser and every program that links this crate run this loop. It keeps no random state: every
//! draw is a function of (seed, step, …), so a resumed run continues bit for bit.

mod dynamic;
mod learn;
mod order;
mod partition;
mod replay;
mod rollouts;

use alloc::vec::Vec;
use core::fmt;

pub use dynamic::Selection;
pub use order::{LEAST_WEIGHT, Part, PromptOrder};
pub use partition::LogZModel;
pub use replay::Replay;
pub use rollouts::Rollouts;

use crate::backend::{Backend, ObjectiveError, Sampler};
use crate::objective::{self, Objective};
use crate::optim::{AdamW, Schedule};
use crate::partition::PartitionOptions;
use crate::policy::{Policy, RealOf};
use crate::task::{JudgeError, Task};

/// The options of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainOptions {
    /// Number of prompts in a step.
    pub prompts: usize,
    /// Number of completions of each prompt, K.
    pub samples: usize,
    /// Largest number of tokens in a completion.
    pub max_tokens: usize,
    /// How tokens are drawn. The temperature is part of the policy: scoring divides logits by it too.
    pub sampler: Sampler,
    /// Number of optimiser steps in one pass over the completions of a step.
    pub minibatches: usize,
    /// Number of passes over the completions of a step.
    pub epochs: usize,
    /// Number of prompts in a forward and backward pass; 0 means all of a minibatch. This changes the memory that is
    /// needed, not the result.
    pub micro_batch: usize,
    /// Learning rate of the policy, as a function of the optimiser steps.
    pub schedule: Schedule,
    /// AdamW options for the policy.
    pub optimizer: AdamW,
    /// Largest norm of a gradient; if it is exceeded, the gradient is scaled down. `None` means no clipping.
    pub clip_norm: Option<f64>,
    /// Shape of the network for log Z or V.
    pub partition: PartitionOptions,
    /// Learning rate of log Z or V, which is constant.
    pub log_z_learning_rate: f64,
    /// AdamW options for log Z or V.
    pub log_z_optimizer: AdamW,
    /// Whether to stop the gradient of log Z at the hidden states.
    pub detach_trunk: bool,
    /// How the prompts of a step are chosen.
    pub prompt_order: PromptOrder,
    /// Number of batches of prompts that a step may sample after its first, until `prompts` groups have rewards that
    /// differ. The step learns only from those groups, even if it finds too few. 0 learns from every group of one
    /// batch.
    pub dynamic_sampling: usize,
    /// Number of tokens before `max_tokens` over which the soft overlong penalty grows, see [`TrainOptions::overlong`];
    /// 0 switches it off.
    pub overlong_buffer: usize,
    /// Largest value of the soft overlong penalty.
    pub overlong_penalty: f64,
    /// Seed of every random number.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            prompts: 16,
            samples: 8,
            max_tokens: 32,
            sampler: Sampler::default(),
            minibatches: 1,
            epochs: 1,
            micro_batch: 0,
            schedule: Schedule { peak: 1e-4, warmup: 0, total: 1, decay: crate::optim::Decay::Constant },
            optimizer: AdamW::default(),
            clip_norm: Some(1.0),
            partition: PartitionOptions::default(),
            log_z_learning_rate: 1e-3,
            log_z_optimizer: AdamW::default(),
            detach_trunk: false,
            prompt_order: PromptOrder::Shuffled,
            dynamic_sampling: 0,
            overlong_buffer: 0,
            overlong_penalty: 1.0,
            seed: 0,
        }
    }
}

impl TrainOptions {
    /// Checks that every option is in range.
    ///
    /// # Errors
    /// Returns a message that names the option and its range.
    pub fn validate(&self) -> Result<(), &'static str> {
        self.sampler.validate()?;
        self.partition.validate()?;
        let penalty = self.overlong_penalty;
        let rates = [self.schedule.peak, self.log_z_learning_rate];
        let rules = [
            (self.prompts > 0, "prompts must be at least 1"),
            (self.samples > 0, "samples must be at least 1"),
            (self.max_tokens > 0, "max_tokens must be at least 1"),
            (self.minibatches > 0, "minibatches must be at least 1"),
            (self.epochs > 0, "epochs must be at least 1"),
            (
                self.sampler.temperature != 0.0,
                "temperature must be above 0 for training: a greedy policy has nothing to learn from",
            ),
            (self.clip_norm.is_none_or(|norm| norm > 0.0), "clip_norm must be above 0; leave it out to clip nothing"),
            (rates.iter().all(|rate| rate.is_finite()), "learning rates must be finite numbers"),
            (self.minibatches <= self.prompts, "minibatches must be at most the number of prompts of a step"),
            (
                self.dynamic_sampling == 0 || self.samples > 1,
                "dynamic_sampling compares the completions of a prompt: samples must be at least 2",
            ),
            (self.overlong_buffer <= self.max_tokens, "overlong_buffer must be at most max_tokens"),
            (penalty.is_finite() && penalty >= 0.0, "overlong_penalty must be a finite number of at least 0"),
        ];
        rules.into_iter().find(|(kept, _)| !kept).map_or(Ok(()), |(_, message)| Err(message))
    }

    /// Returns the soft overlong penalty of a completion of `tokens` tokens: 0 up to `max_tokens` − `overlong_buffer`,
    /// then a part of `overlong_penalty` that grows with every token, and all of it from `max_tokens` on (DAPO, Yu and
    /// others, arXiv 2503.14476, equation 13).
    ///
    /// ```
    /// use flowrl_core::train::TrainOptions;
    /// let options = TrainOptions { max_tokens: 8, overlong_buffer: 4, ..TrainOptions::default() };
    /// assert_eq!([3, 4, 5, 7, 8, 9].map(|tokens| options.overlong(tokens)), [0.0, 0.0, 0.25, 0.75, 1.0, 1.0]);
    /// ```
    pub fn overlong(&self, tokens: usize) -> f64 {
        let beyond = (tokens + self.overlong_buffer).saturating_sub(self.max_tokens).min(self.overlong_buffer);
        if beyond == 0 { 0.0 } else { beyond as f64 / self.overlong_buffer as f64 * self.overlong_penalty }
    }
}

/// Errors of training.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrainError<E> {
    /// The policy or its device failed.
    Policy(E),
    /// The objective refused its input.
    Objective(objective::Error),
    /// An option is out of range.
    Options(&'static str),
    /// The task could not judge the completions of a step.
    Judge(JudgeError),
    /// The task returned another number of judgements than it was given completions.
    Judgements {
        /// Judgements.
        got: usize,
        /// Completions.
        wanted: usize,
    },
    /// The policy scored another number of tokens than it was given.
    Scores {
        /// Scores.
        got: usize,
        /// Tokens.
        wanted: usize,
    },
    /// A task returned a reward that is not finite.
    Reward {
        /// Number of the prompt in the task.
        prompt: usize,
        /// Value of the reward.
        got: f64,
    },
    /// The completions of a prompt are not contiguous.
    Order {
        /// Index of the completion that is out of order.
        completion: usize,
    },
    /// The fields of rollouts differ in length.
    Rollouts {
        /// Name of the field.
        argument: &'static str,
        /// Length of the field.
        got: usize,
        /// Length that the other fields require.
        wanted: usize,
    },
    /// The rollouts hold no completion.
    NoCompletions,
    /// The task has no prompts.
    NoPrompts,
}

impl<E: fmt::Display> fmt::Display for TrainError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(error) => error.fmt(f),
            Self::Objective(error) => error.fmt(f),
            Self::Options(message) => f.write_str(message),
            Self::Judge(_) => f.write_str("the completions could not be judged"),
            Self::Judgements { got, wanted } => {
                write!(f, "`Task::judge_batch` returned {got} judgements of {wanted} completions")
            }
            Self::Scores { got, wanted } => write!(f, "the policy returned {got} scores of {wanted} tokens"),
            Self::Reward { prompt, got } => {
                write!(f, "the reward of a completion of prompt {prompt} is {got}; it must be finite")
            }
            Self::Order { completion } => {
                write!(f, "completion {completion} is apart from the others of its prompt: sort completions by prompt")
            }
            Self::Rollouts { argument, got, wanted } => {
                write!(f, "`{argument}` of the rollouts has {got} elements, but the other fields ask for {wanted}")
            }
            Self::NoCompletions => f.write_str("the rollouts hold no completion: there is nothing to learn from"),
            Self::NoPrompts => f.write_str("the task has no prompts"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for TrainError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            // `Display` shows the inner error itself, so the source is the one behind it.
            Self::Policy(error) => error.source(),
            Self::Objective(error) => error.source(),
            Self::Judge(error) => Some(&**error),
            _ => None,
        }
    }
}

impl<E> From<objective::Error> for TrainError<E> {
    fn from(error: objective::Error) -> Self {
        Self::Objective(error)
    }
}

impl<E> TrainError<E> {
    fn of_objective<D: Into<E>>(error: ObjectiveError<D>) -> Self {
        match error {
            ObjectiveError::Input(error) => Self::Objective(error),
            ObjectiveError::Device(error) => Self::Policy(error.into()),
        }
    }
}

/// The result of [`Trainer::step`]: the judged completions and the measurements.
pub type StepResult<P> = Result<(Rollouts<RealOf<P>>, Metrics), TrainError<<P as Policy>::Error>>;

/// The measurements of a step by name, in the order of a record; [`metrics`](crate::metrics) describes them.
pub type Metrics = Vec<(&'static str, f64)>;

/// The state of training apart from the policy: the objective, log Z, and the progress.
#[derive(Debug)]
pub struct Trainer<B: Backend> {
    objective: Objective,
    options: TrainOptions,
    log_z: LogZModel<B>,
    progress: Progress,
    /// The parts that an epoch visits at different rates, and the function that lists the visits: a program that never
    /// sets parts does not contain it.
    parts: Option<(Vec<Part>, order::Visits)>,
}

/// The progress of training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Progress {
    /// Number of completed steps.
    pub step: u64,
    /// Number of completed optimiser steps.
    pub updates: u64,
    /// Number of optimiser steps that were skipped because their gradient was not finite.
    pub skipped: u64,
    /// Number of batches of prompts that dynamic sampling has drawn beyond one for each step.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
    pub extra_batches: u64,
}

#[cfg(feature = "serde")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Progress {
    /// Returns the number of batches of prompts sampled so far. This is also the number of the next batch.
    pub const fn batches(&self) -> u64 {
        self.step + self.extra_batches
    }
}

impl<B: Backend> Trainer<B> {
    /// Creates a trainer for `policy`, or for others of the same width on the same device.
    ///
    /// # Errors
    /// Returns an error if an option is out of range or the device has no memory left.
    pub fn new<P: Policy<Backend = B>>(
        policy: &P,
        objective: Objective,
        options: TrainOptions,
    ) -> Result<Self, TrainError<P::Error>> {
        options.validate().map_err(TrainError::Options)?;
        objective.validate()?;
        if options.prompt_order == PromptOrder::PassRate && !objective.tells_pass_rates() {
            return Err(TrainError::Options(
                "prompt_order \"pass-rate\" needs log_z \"table\" or \"frozen\", raw rewards, length \"sum\" and β above 0",
            ));
        }
        let log_z = LogZModel::new(policy.backend(), policy.width(), &objective, &options)
            .map_err(|e| TrainError::Policy(e.into()))?;
        Ok(Self { objective, options, log_z, progress: Progress::default(), parts: None })
    }

    /// Returns the objective of this trainer.
    pub const fn objective(&self) -> &Objective {
        &self.objective
    }

    /// Returns the options of this trainer.
    pub const fn options(&self) -> &TrainOptions {
        &self.options
    }

    /// Returns the learned log Z or V.
    pub const fn log_z(&self) -> &LogZModel<B> {
        &self.log_z
    }

    /// Returns mutable access to the learned log Z or V, to restore a checkpoint.
    pub const fn log_z_mut(&mut self) -> &mut LogZModel<B> {
        &mut self.log_z
    }

    /// Returns the progress of this trainer.
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// Sets the progress from which this trainer continues.
    pub const fn set_progress(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// Sets how often an epoch visits the prompts of each part of the task, with [`PromptOrder::Shuffled`]. Parts whose
    /// prompts are not as many as those of the task are ignored. Without parts, an epoch visits every prompt once.
    pub fn set_parts(&mut self, parts: Vec<Part>) {
        self.parts = Some((parts, order::visited));
    }

    /// Returns the prompts of the next step's first batch out of `count`, or none if `count` is 0. [`PromptOrder`] says
    /// how they are chosen. If `count` is smaller than a batch, some come twice.
    pub fn next_prompts(&self, count: usize) -> Vec<usize> {
        self.prompts_of(self.progress.batches(), count)
    }

    /// Runs one whole step: [`Trainer::collect`], then [`Trainer::learn`].
    pub fn step<P: Policy<Backend = B>>(&mut self, policy: &mut P, task: &(impl Task + ?Sized)) -> StepResult<P> {
        let rollouts = self.collect(policy, task)?;
        let metrics = self.learn(policy, &rollouts)?;
        Ok((rollouts, metrics))
    }
}
