//! `--dry-run`: what would be done, and what memory it takes.

use anyhow::Result;
use flowrl_core::lab::{Environment, Target};
use flowrl_core::objective::Objective;
use flowrl_core::train::TrainOptions;
use flowrl_lm::model::{Dimensions, Keep, memory_plan};

use crate::config::Config;
use crate::lab::{self, Lab};
use crate::say;
use crate::session::{self, Tasks};

/// Prints the resolved configuration (which replays) and, as comments, the memory plan.
pub(super) fn print(config: &Config) -> Result<()> {
    let objective = config.objective()?;
    if config.task.kind.is_lab() {
        return lab(config);
    }
    let options = config.train_options()?;
    let origin = session::open_model(config.model.path.as_deref())?;
    let tasks = Tasks::open(config, &origin)?;
    say!("{}", config.to_toml()?.trim_end());
    let model = origin.config();
    say!("\n# model: {} parameters", model.parameter_count());
    say!("# prompts: {} to train on, {} held out", count(&tasks.train), count(&tasks.held_out));
    say!("# memory plan, in MiB of f32 numbers:");
    let mut total = 0.0;
    for (what, elements) in plan(config, &objective, &options, &Dimensions::from(model), &tasks) {
        let mib = elements as f64 * 4.0 / f64::from(1 << 20);
        total += mib;
        say!("# {mib:10.1}  {what}");
    }
    say!("# {total:10.1}  in all, at most");
    Ok(())
}

/// The same for a task of the lab, with what is known of its target.
fn lab(config: &Config) -> Result<()> {
    let subject = lab::open(config)?;
    let lab = Lab::open(&config.task)?;
    let beta = lab::beta(config, &config.objective()?);
    let target = Target::plain(&lab, beta)?;
    say!("{}", config.to_toml()?.trim_end());
    say!("\n# policy: {} parameters", subject.parameters());
    say!("# task: {} states, {} objects, {} modes", lab.states(), lab.objects(), target.modes.len());
    say!("# target at beta {beta}: log Z {:.6}", target.log_z);
    Ok(())
}

fn count(task: &flowrl_lm::task::TextTask) -> usize {
    flowrl_core::task::Task::prompts(task)
}

/// Elements by purpose.
fn plan(
    config: &Config,
    objective: &Objective,
    options: &TrainOptions,
    dims: &Dimensions,
    tasks: &Tasks,
) -> Vec<(String, usize)> {
    use flowrl_core::task::Task;
    let weights: usize = flowrl_lm::model::Weights::sizes(dims).iter().sum();
    let mut plan = vec![("weights of the policy".to_owned(), weights)];
    plan.push(("weights of the frozen reference".to_owned(), weights));
    plan.push(("gradients and AdamW's two moments".to_owned(), 3 * weights));
    if objective.log_z().is_some_and(|z| z == flowrl_core::objective::LogZ::Network) || objective.needs_value() {
        let layer = dims.hidden * dims.hidden + dims.hidden;
        let network = options.partition.layers.saturating_sub(1) * layer + dims.hidden + 1;
        plan.push(("network for log Z or V, with its optimiser".to_owned(), 4 * network));
    }
    let sampled = tasks.train.prompts().min(64);
    let prompt = (0..sampled).map(|i| tasks.train.prompt(i).len()).max().unwrap_or(1);
    let together = match options.micro_batch {
        0 => options.prompts.div_ceil(options.minibatches),
        n => n.min(options.prompts),
    };
    let rows = together * (prompt + options.samples * options.max_tokens);
    let keep = if config.model.recompute { Keep::Inputs } else { Keep::Everything };
    for (what, elements) in memory_plan(dims, rows, together * options.samples * options.max_tokens, keep) {
        plan.push((format!("activations: {what}"), elements));
    }
    let rows = options.prompts * (prompt + options.samples * options.max_tokens);
    plan.push(("cache of keys and values while sampling".to_owned(), rows * dims.layers * 2 * dims.heads.kv_width()));
    plan
}
