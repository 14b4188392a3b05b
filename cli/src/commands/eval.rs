//! `eval`: measure a model on held-out prompts.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use flowrl_core::objective::Objective;
use flowrl_core::policy::Policy;
use flowrl_core::train::TrainOptions;
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::evaluate::{Target, evaluate};
use flowrl_lm::{load_policy, load_weights};

use crate::args::ConfigArgs;
use crate::session::{self, Tasks};
use crate::{on_device, say};

/// Measure a model on held-out prompts: success, pass@k, distinct answers, and exact measures where answers can be enumerated.
#[derive(Clone, Debug, clap::Args)]
pub struct EvalArgs {
    /// The model: a folder, for example a checkpoint of a run; without it, --model
    #[arg(value_name = "DIR")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command. The reference is the configuration's model.
///
/// # Errors
/// A model or prompts that cannot be read.
pub fn run(args: &EvalArgs, json: bool) -> Result<()> {
    let config = args.config.load(None)?;
    ensure!(
        !config.task.kind.is_lab(),
        "`eval` measures language models; a run of task {} is measured exactly in every record of its metrics.jsonl",
        config.task.kind
    );
    let origin = session::open_model(config.model.path.as_deref())?;
    let tasks = Tasks::open(&config, &origin)?;
    let options = TrainOptions { samples: config.eval.samples, ..config.train_options()? };
    let beta = match config.objective()? {
        Objective::FlowRl(flow) => Some(flow.beta),
        Objective::Baseline(_) => None,
    };
    let metrics = on_device!(config.device()?, |device| {
        let mut policy = load_policy(device, &origin)?;
        if let Some(path) = &args.policy {
            policy.set_weights(load_weights(policy.backend(), &Checkpoint::open(path)?)?)?;
        }
        let (held_out, prompts) = (&tasks.held_out, config.eval.prompts);
        Ok(evaluate(&mut policy, held_out, prompts, &options, Target { beta }, true)?.metrics)
    })?;
    if json {
        let map: serde_json::Map<_, _> = metrics.into_iter().map(|(k, v)| (k, v.into())).collect();
        say!("{}", serde_json::Value::Object(map));
    } else {
        for (name, value) in metrics {
            say!("{name:24} {value:.4}");
        }
    }
    Ok(())
}
