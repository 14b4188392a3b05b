//! Input that training refuses, and unusual input that it accepts.

use flowrl_core::backend::CpuBackend;
use flowrl_core::objective::{FlowRl, LogZ, Objective, Preset};
use flowrl_core::policy::Completions;
use flowrl_core::task::{Attempt, JudgeError, Judgement, Task};
use flowrl_core::train::{Rollouts, Selection, TrainError, TrainOptions, Trainer};

use super::one::One;
use super::tabular::{Cpu, Rewards, Tabular};
use super::{count, options, trainer};

fn rollouts() -> (Tabular, Trainer<Cpu>, Rollouts<f64>) {
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, count));
    let trainer = trainer(&policy, Objective::preset(Preset::Paper), options(2, 2, 0.05, 5));
    let rollouts = trainer.collect(&mut policy, &task).expect("completions");
    (policy, trainer, rollouts)
}

#[test]
fn what_cannot_be_trained_on_is_refused() {
    let bad = Rewards::new(2, |prompt, _, _| if prompt == 1 { f64::NAN } else { 0.0 });
    let (mut policy, mut trainer, _) = rollouts();
    let error = trainer.step(&mut policy, &bad).expect_err("NaN");
    assert!(matches!(error, TrainError::Reward { prompt: 1, got } if got.is_nan()));
    assert_eq!(error.to_string(), "the reward of a completion of prompt 1 is NaN; it must be finite");
    let none = trainer.step(&mut policy, &Rewards::new(0, count)).expect_err("no prompts");
    assert!(matches!(none, TrainError::NoPrompts));

    type Spoil = fn(&mut Rollouts<f64>);
    let cases: [(Spoil, &str); 11] = [
        (|r| r.completions.prompt_of.swap(1, 2), "completion 2 is apart"),
        (|r| r.judgements.truncate(3), "`judgements` of the rollouts has 3 elements, but the other fields ask for 4"),
        (|r| r.completions.log_probs.truncate(1), "`completions.log_probs`"),
        (|r| r.completions.tokens.truncate(1), "`completions.tokens`"),
        (|r| r.completions.offsets.truncate(1), "`completions.offsets`"),
        (|r| r.completions.ended.truncate(1), "`completions.ended`"),
        (|r| r.prompts.truncate(1), "`prompt_numbers`"),
        (|r| (r.prompts.truncate(1), r.prompt_numbers.truncate(1)).0, "`prompts`"),
        (|r| r.judgements[0].reward = Some(f64::INFINITY), "reward"),
        (|r| r.rollout_log_probs = Some(vec![0.0]), "`rollout_log_probs`"),
        (|r| r.selection = Some(Selection { batches: 1, prompts: vec![2] }), "`prompts` of the rollouts has 2"),
    ];
    for (spoil, message) in cases {
        let (mut policy, mut trainer, mut rollouts) = rollouts();
        spoil(&mut rollouts);
        let error = trainer.learn(&mut policy, &rollouts).expect_err(message).to_string();
        assert!(error.contains(message), "{error}, wanted {message}");
        assert_eq!(trainer.progress().step, 0);
    }
    let (mut policy, mut trainer, mut rollouts) = rollouts();
    rollouts.completions = Completions { offsets: vec![0], ..Default::default() };
    rollouts.judgements.clear();
    assert!(matches!(trainer.learn(&mut policy, &rollouts), Err(TrainError::NoCompletions)));
}

/// Returns no judgement of a batch.
struct Mute(Rewards);

impl Task for Mute {
    fn prompts(&self) -> usize {
        self.0.prompts()
    }

    fn prompt(&self, index: usize) -> &[u32] {
        self.0.prompt(index)
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        self.0.judge(attempt)
    }

    fn judge_batch(&self, _: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        Ok(Vec::new())
    }
}

#[test]
fn judgements_and_scores_must_be_as_many_as_asked_for() {
    let (mut policy, mut trainer, _) = rollouts();
    let error = trainer.step(&mut policy, &Mute(Rewards::new(2, count))).expect_err("no judgements");
    assert_eq!(error.to_string(), "`Task::judge_batch` returned 0 judgements of 4 completions");

    let mut one = One(CpuBackend::reference());
    let mut trainer =
        Trainer::new(&one, Objective::preset(Preset::VarGrad), options(1, 1, 0.05, 5)).expect("good options");
    let completions = Completions {
        prompt_of: vec![0],
        offsets: vec![0, 2],
        tokens: vec![0, 0],
        log_probs: vec![-0.3; 2],
        ended: vec![true],
        ..Completions::default()
    };
    let rollouts = Rollouts {
        prompt_numbers: vec![0],
        prompts: vec![vec![0]],
        completions,
        judgements: vec![Judgement::new(1.0, "")],
        ..Rollouts::default()
    };
    let error = trainer.learn(&mut one, &rollouts).expect_err("one score of two tokens");
    assert_eq!(error.to_string(), "the policy returned 1 scores of 2 tokens");
}

#[test]
fn a_part_that_is_refused_leaves_no_gradient_of_those_before_it() {
    for log_z in [LogZ::Network, LogZ::Scalar] {
        let learned = |spoilt: bool| {
            let (mut policy, _, mut rollouts) = rollouts();
            let options = TrainOptions { micro_batch: 1, ..options(2, 2, 0.05, 5) };
            let mut trainer = trainer(&policy, Objective::FlowRl(FlowRl::default().with_log_z(log_z)), options);
            if spoilt {
                let last = rollouts.completions.log_probs.len() - 1;
                let good = core::mem::replace(&mut rollouts.completions.log_probs[last], f64::NAN);
                trainer.learn(&mut policy, &rollouts).expect_err("NaN");
                rollouts.completions.log_probs[last] = good;
            }
            let metrics = trainer.learn(&mut policy, &rollouts).expect("a step");
            (policy.weights().to_vec(), metrics)
        };
        assert_eq!(learned(false), learned(true));
    }
}

#[test]
fn a_prompt_without_completions_is_harmless() {
    for objective in [Objective::preset(Preset::Paper), Objective::preset(Preset::Ppo)] {
        let (mut policy, _, mut rollouts) = rollouts();
        rollouts.prompts.insert(0, vec![1]);
        rollouts.prompt_numbers.insert(0, 1);
        rollouts.completions.prompt_of.iter_mut().for_each(|p| *p += 1);
        for micro_batch in [0, 1] {
            let options = TrainOptions { prompts: 3, minibatches: 3, micro_batch, ..options(3, 2, 0.05, 5) };
            let metrics = trainer(&policy, objective, options).learn(&mut policy, &rollouts).expect("a step");
            assert!(metrics.iter().all(|(_, value)| value.is_finite()));
        }
    }
}

#[test]
fn options_out_of_range_are_refused() {
    type Change = fn(&mut TrainOptions);
    let cases: [(Change, &str); 12] = [
        (|o| o.prompts = 0, "prompts"),
        (|o| o.samples = 0, "samples"),
        (|o| o.max_tokens = 0, "max_tokens"),
        (|o| o.epochs = 0, "epochs"),
        (|o| o.minibatches = 0, "minibatches"),
        (|o| o.minibatches = 17, "minibatches"),
        (|o| o.sampler.temperature = 0.0, "temperature"),
        (|o| o.clip_norm = Some(-1.0), "clip_norm"),
        (|o| o.log_z_learning_rate = f64::NAN, "learning rates"),
        (|o| (o.dynamic_sampling, o.samples) = (1, 1), "dynamic_sampling"),
        (|o| o.overlong_buffer = 33, "overlong_buffer"),
        (|o| o.overlong_penalty = f64::INFINITY, "overlong_penalty"),
    ];
    for (change, message) in cases {
        let mut options = TrainOptions::default();
        options.validate().expect("the defaults are good");
        change(&mut options);
        assert!(options.validate().is_err_and(|e| e.contains(message)), "{message}");
    }
}
