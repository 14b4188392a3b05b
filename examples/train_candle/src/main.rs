//! A candle model trained by FlowRL's `Trainer`: `cargo xtask examples train_candle`
//!
//! The prompt is a digit, and a completion is correct if its digits add up to it: "7", "16" and "70" all answer 7. Every
//! completion can be listed, so the policy is compared with its target π_ref·exp(βr)/Z.

mod policy;

use flowrl_core::backend::CpuBackend;
use flowrl_core::exact::{target, total_variation};
use flowrl_core::objective::{FlowRl, Objective};
use flowrl_core::optim::{Decay, Schedule};
use flowrl_core::policy::{Model, Policy, Sequences};
use flowrl_core::task::{Attempt, JudgeError, Judgement, Task};
use flowrl_core::train::{TrainOptions, Trainer};
use policy::{END, Failure, Network};

const BETA: f64 = 3.0;

struct Sums;

impl Task for Sums {
    fn prompts(&self) -> usize {
        10
    }

    fn prompt(&self, index: usize) -> &[u32] {
        &[[0], [1], [2], [3], [4], [5], [6], [7], [8], [9]][index]
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        Ok(match attempt.completion.split_last() {
            Some((&END, digits)) if digits.iter().sum::<u32>() == attempt.prompt as u32 => {
                Judgement::new(1.0, "correct")
            }
            _ => Judgement::new(0.0, "wrong"),
        })
    }
}

/// Total variation between the policy and π_ref·exp(βr)/Z, averaged over the prompts.
fn distance(policy: &mut Network) -> Result<f64, Box<dyn std::error::Error>> {
    let two = (0..10).flat_map(|a| (0..10).map(move |b| vec![a, b]));
    let completions: Vec<Vec<u32>> = [vec![END]]
        .into_iter()
        .chain((0..10).map(|a| vec![a, END]))
        .chain(two.flat_map(|ab| (0..=END).map(move |c| [&ab[..], &[c]].concat())))
        .collect();
    let mut sum = 0.0;
    for p in 0..Sums.prompts() {
        let completions: Vec<&[u32]> = completions.iter().map(Vec::as_slice).collect();
        let sequences =
            Sequences { prompts: &[Sums.prompt(p)], completions: &completions, prompt_of: &vec![0; completions.len()] };
        let mut totals = |model| {
            let scores = policy.score(&sequences, model, 1.0)?;
            let mut rest = scores.log_probs.iter().map(|&l| f64::from(l));
            Ok::<Vec<f64>, Failure>(completions.iter().map(|y| rest.by_ref().take(y.len()).sum()).collect())
        };
        let (reference, current) = (totals(Model::Reference)?, totals(Model::Policy)?);
        let judge = |y: &&[u32]| Sums.judge(Attempt { prompt: p, completion: y, ended: true }).map(|j| j.reward);
        let rewards = completions.iter().map(judge).collect::<Result<Vec<f64>, _>>().expect("sums are always judged");
        let mut wanted = vec![0.0; rewards.len()];
        target(&reference, &rewards, BETA, &mut wanted)?;
        sum += total_variation(&current, &wanted)?;
    }
    Ok(sum / Sums.prompts() as f64)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut policy = Network::new(CpuBackend::reference())?;
    let steps = 2000;
    let schedule = Schedule { peak: 1e-2, warmup: 10, total: steps, decay: Decay::Cosine };
    let options = TrainOptions {
        prompts: 10,
        samples: 32,
        max_tokens: 3,
        schedule,
        log_z_learning_rate: 1e-2,
        ..TrainOptions::default()
    };
    let mut trainer = Trainer::new(&policy, Objective::FlowRl(FlowRl::exact_tb().with_beta(BETA)), options)?;
    println!("before          TV {:.4}", distance(&mut policy)?);
    for step in 1..=steps {
        let (_, metrics) = trainer.step(&mut policy, &Sums)?;
        if step % 400 == 0 {
            let value = |name| metrics.iter().find(|(n, _)| *n == name).map_or(f64::NAN, |(_, value)| *value);
            println!("step {step:5}  success {:.3}  TV {:.4}", value("success"), distance(&mut policy)?);
        }
    }
    match distance(&mut policy)? {
        tv if tv < 0.1 => Ok(()),
        tv => Err(format!("the policy is {tv:.4} from its target").into()),
    }
}
