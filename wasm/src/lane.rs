//! Lanes: the policies of a race, each with its objective and its trainer.

use std::rc::Rc;

use flowrl_core::backend::CpuBackend;
use flowrl_core::exact::log_sum_exp;
use flowrl_core::named_enum;
use flowrl_core::objective::{Advantage, FlowRl, KlIn, Length, LogZ, Objective, PolicyGradient, Preset, Ratio, Reward};
use flowrl_core::optim::{Decay, Schedule};
use flowrl_core::random::{Purpose, Stream};
use flowrl_core::train::{LogZModel, Progress, Replay, Rollouts, TrainOptions, Trainer};
use flowrl_lab::{
    Environment, HeadOptions, LabPolicy, LabTask, Mlp, MlpOptions, Network, PolicyError, Table, Walk, terminal, walk,
};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::Error;

pub(crate) type Backend = CpuBackend<f32>;
pub(crate) type Shared = Rc<dyn Environment>;
pub(crate) type Policy = LabPolicy<f32, Shared, Box<dyn Network<f32>>>;

named_enum! {
    /// The objective of a lane.
    pub enum LaneKind ("kind of lane") {
        FlowRl = "flowrl": "trajectory balance with one learned number for log Z; converges to the target",
        VarGrad = "vargrad": "trajectory balance with the batch's own estimate of log Z",
        Normalised = "normalised": "trajectory balance with the residual divided by the length; converges to another target",
        Published = "published": "FlowRL as published: normalised, with rewards that are standardised within the batch",
        Grpo = "grpo": "group relative policy optimisation",
        Ppo = "ppo": "proximal policy optimisation with four epochs",
        Reinforce = "reinforce": "the plain policy gradient with a mean baseline",
        RewardKl = "reward-kl": "the plain policy gradient with a KL penalty of weight 1/β in the reward; its optimum is FlowRL's target",
    }
}

impl LaneKind {
    /// Returns the kind of this name, or an error if there is none.
    pub fn parse(name: &str) -> Result<Self, Error> {
        name.parse().map_err(|_| Error::name("kind", name, Self::NAMES))
    }

    /// Returns the objective for a value of β.
    pub fn objective(self, beta: f64) -> Objective {
        let exact = FlowRl::exact_tb().with_beta(beta).with_log_z(LogZ::Scalar);
        match self {
            Self::FlowRl => Objective::FlowRl(exact),
            Self::VarGrad => Objective::FlowRl(exact.with_log_z(LogZ::GroupMean)),
            Self::Normalised => Objective::FlowRl(exact.with_length(Length::Mean)),
            Self::Published => Objective::FlowRl(exact.with_length(Length::Mean).with_reward(Reward::Group)),
            Self::Grpo => Objective::preset(Preset::Grpo),
            Self::Ppo => Objective::preset(Preset::Ppo),
            Self::Reinforce => Objective::preset(Preset::Reinforce),
            Self::RewardKl => {
                let plain = PolicyGradient::default().with_advantage(Advantage::BatchCenter).with_ratio(Ratio::None);
                Objective::from(plain.with_kl(self.kl(beta)).with_kl_in(KlIn::Reward))
            }
        }
    }

    /// Returns the weight 1/β of the penalty in [`LaneKind::RewardKl`].
    pub(crate) const fn kl(self, beta: f64) -> f64 {
        1.0 / beta.max(LEAST_BETA)
    }

    /// Returns whether this kind converges to the length-normalised target.
    pub const fn is_normalised(self) -> bool {
        matches!(self, Self::Normalised | Self::Published)
    }

    /// Returns the number of passes over a batch.
    pub(crate) const fn epochs(self) -> usize {
        if matches!(self, Self::Ppo) { 4 } else { 1 }
    }
}

/// Smallest β for the penalty 1/β, which would otherwise be infinite at β = 0.
const LEAST_BETA: f64 = 1e-3;

/// Options of a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneOptions {
    /// Objective of the lane.
    pub kind: LaneKind,
    /// Share of actions drawn uniformly from the legal ones.
    pub exploration: f64,
    /// Share of a batch drawn from the best answers seen so far.
    pub replay: f64,
}

/// Options of a race, which all its lanes share. A new object has the defaults and no lane.
#[wasm_bindgen]
#[derive(Clone, Debug, PartialEq)]
pub struct RaceOptions {
    /// Seed of all random numbers, which are the same for every lane. Default 0.
    pub seed: u32,
    /// Number of answers in a step. Default 64.
    pub samples: usize,
    /// AdamW's learning rate for the policies. Default 0.02.
    #[wasm_bindgen(js_name = learningRate)]
    pub learning_rate: f64,
    /// AdamW's learning rate for log Z. Default 0.02.
    #[wasm_bindgen(js_name = logZLearningRate)]
    pub log_z_learning_rate: f64,
    /// Inverse temperature β of the target. Default 6.
    pub beta: f64,
    /// Initial number of steps between two records. It doubles whenever there are too many records. Default 10.
    #[wasm_bindgen(js_name = recordEvery)]
    pub record_every: u32,
    /// Width and depth of the policy networks, or `None` for tables.
    #[wasm_bindgen(skip)]
    pub network: Option<MlpOptions>,
    /// Options of each lane.
    #[wasm_bindgen(skip)]
    pub lanes: Vec<LaneOptions>,
}

impl Default for RaceOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            samples: 64,
            learning_rate: 0.02,
            log_z_learning_rate: 0.02,
            beta: 6.0,
            record_every: 10,
            network: None,
            lanes: Vec::new(),
        }
    }
}

/// Largest number of answers that a lane keeps for replay.
const REPLAY: usize = 256;

/// A policy, its trainer, and the answers of its last step.
pub(crate) struct Lane {
    pub(crate) options: LaneOptions,
    pub(crate) policy: Policy,
    pub(crate) trainer: Trainer<Backend>,
    pub(crate) task: LabTask<Shared>,
    replay: Replay<f32>,
    fresh: usize,
    /// Answers of the last step, (samples).
    pub(crate) samples: Vec<f32>,
    pub(crate) loss: f64,
}

/// The mutable state of a lane, as a checkpoint holds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaneState {
    pub(crate) progress: Progress,
    pub(crate) policy: Vec<Vec<f32>>,
    pub(crate) log_z: Vec<Vec<f32>>,
    /// Answers kept for replay. [`Race::save`](crate::Race::save) does not include them.
    pub(crate) replay: Option<Replay<f32>>,
}

impl Lane {
    pub(crate) fn new(environment: &Shared, race: &RaceOptions, options: LaneOptions) -> Result<Self, Error> {
        let (seed, kind) = (u64::from(race.seed), options.kind);
        let mut policy = policy(environment, race.network, seed)?;
        policy.set_exploration(options.exploration)?;
        let share = options.replay;
        if !(0.0..1.0).contains(&share) {
            return Err(Error::Option { option: "replay", got: share, wanted: "at least 0 and below 1" });
        }
        let again = (share * race.samples as f64) as usize;
        let schedule = Schedule { peak: race.learning_rate, warmup: 0, total: 1, decay: Decay::Constant };
        let train = TrainOptions {
            prompts: 1,
            samples: race.samples - again,
            max_tokens: environment.max_length(),
            epochs: kind.epochs(),
            schedule,
            clip_norm: None,
            log_z_learning_rate: race.log_z_learning_rate,
            seed,
            ..TrainOptions::default()
        };
        let mut objective = kind.objective(race.beta);
        if let (Objective::PolicyGradient(baseline), true) = (&mut objective, environment.parents() > 0) {
            // If objects can be reached in several ways, there is no reference policy, and so no KL to it.
            baseline.kl = 0.0;
        }
        let trainer = Trainer::new(&policy, objective, train)?;
        Ok(Self {
            options,
            policy,
            trainer,
            task: LabTask::new(environment.clone()),
            replay: Replay::new(REPLAY),
            fresh: race.samples - again,
            samples: vec![0.0; race.samples],
            loss: 0.0,
        })
    }

    /// Samples the answers of the next step, and adds replayed ones if the lane uses replay.
    pub(crate) fn collect(&mut self, race: &RaceOptions) -> Result<Rollouts<f32>, Error> {
        let mut rollouts = self.trainer.collect(&mut self.policy, &self.task)?;
        let again = race.samples - self.fresh;
        if again > 0 {
            self.replay.keep(&rollouts);
            let stream = Stream::new(u64::from(race.seed), Purpose::Replay);
            self.replay.extend(&mut rollouts, again, stream, self.trainer.progress().step as u32);
        }
        Ok(rollouts)
    }

    pub(crate) fn step(&mut self, race: &RaceOptions) -> Result<(), Error> {
        let rollouts = self.collect(race)?;
        for (i, sample) in self.samples.iter_mut().enumerate() {
            *sample = object_of(self.task.environment(), rollouts.completions.get(i)) as f32;
        }
        let metrics = self.trainer.learn(&mut self.policy, &rollouts)?;
        self.loss = metrics.iter().find(|(name, _)| *name == "loss").map_or(f64::NAN, |m| m.1);
        Ok(())
    }

    /// Computes the log-probability of every answer, (objects).
    pub(crate) fn log_probs(&mut self) -> Result<Vec<f64>, Error> {
        let table = self.policy.log_pf_table()?;
        let environment = &**self.task.environment();
        let mut log_probs = vec![0.0; environment.objects()];
        terminal(environment, &table, &mut log_probs)?;
        // In single precision the sum of the probabilities is about 1e-7 off 1, which could make a divergence negative.
        let total = log_sum_exp(&log_probs);
        log_probs.iter_mut().for_each(|l| *l -= total);
        Ok(log_probs)
    }

    /// Returns the learned log Z, or NaN if it is not a single number.
    pub(crate) fn log_z(&self) -> f64 {
        match self.trainer.log_z() {
            LogZModel::Scalar { state } => state[0],
            _ => f64::NAN,
        }
    }

    pub(crate) fn state(&self) -> Result<LaneState, Error> {
        let values = |named: Vec<(String, Vec<f32>)>| named.into_iter().map(|(_, values)| values).collect();
        Ok(LaneState {
            progress: self.trainer.progress(),
            policy: values(self.policy.state()?),
            log_z: values(self.trainer.log_z().state(&Backend::reference())?),
            replay: (!self.replay.is_empty()).then(|| self.replay.clone()),
        })
    }

    /// Restores a state.
    pub(crate) fn restore(&mut self, state: &LaneState) -> Result<(), Error> {
        let mut values = state.policy.iter();
        self.policy.restore(|_| values.next().cloned())?;
        let mut values = state.log_z.iter();
        let restored = self.trainer.log_z_mut().restore(&Backend::reference(), |_| values.next().cloned())?;
        restored.map_err(|_| Error::Saved)?;
        self.trainer.set_progress(state.progress);
        self.replay = state.replay.clone().unwrap_or_else(|| Replay::new(REPLAY));
        Ok(())
    }
}

/// Creates an untrained policy: a network of this shape, or a table if there is none.
pub(crate) fn policy(environment: &Shared, network: Option<MlpOptions>, seed: u64) -> Result<Policy, Error> {
    let make = |backend: &Backend, features, outputs, states| -> Result<Box<dyn Network<f32>>, PolicyError> {
        Ok(match network {
            Some(mlp) => Box::new(Mlp::new(backend, features, outputs, mlp, seed)?),
            None => Box::new(Table::new(backend, states, outputs)?),
        })
    };
    Ok(LabPolicy::with(Backend::reference(), environment.clone(), HeadOptions::default(), make)?)
}

/// Returns the object in which a trajectory ends.
pub(crate) fn object_of(environment: &Shared, actions: &[u32]) -> usize {
    match walk(&**environment, actions) {
        Walk::Finished(object) => object,
        // This cannot happen: a policy gives illegal actions no probability, and its trajectories end.
        Walk::Unfinished(_) | Walk::Illegal { .. } => 0,
    }
}
