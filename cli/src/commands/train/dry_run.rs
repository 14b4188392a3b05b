//! `--dry-run`: what would be done, and what memory it takes.

use anyhow::Result;
use flowrl_core::backend::Role;
use flowrl_core::lab::{Environment, Target};
use flowrl_core::objective::Objective;
use flowrl_core::train::TrainOptions;
use flowrl_lm::model::{Dimensions, Keep, Planned, memory_plan};

use crate::config::Config;
use crate::device::{self, Limits, Precision};
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
    let (device, precision) = (config.train.device, config.train.precision);
    let limits = match device::limits(device, precision) {
        Ok(limits) => limits,
        Err(error) => {
            say!(
                "# {device} cannot be used here; the plan is for the least logits and cache that it would hold: {error:#}"
            );
            Limits::default()
        }
    };
    let narrow = if precision.is_bf16(device) { 2 } else { 4 };
    say!("# memory plan for {device} in {}, in MiB:", if narrow == 2 { "bf16 and f32" } else { "f32" });
    let mut total = 0.0;
    for (what, role, elements) in plan(config, &objective, &options, (&Dimensions::from(model), limits), &tasks) {
        let bytes = match role {
            Role::State => 4,
            // With their gradient.
            Role::Logits if precision == Precision::Bf16F32Logits => 4 + narrow,
            // With the copy that the optimiser keeps.
            Role::Weight if narrow < 4 => narrow + 4,
            _ => narrow,
        };
        let mib = mib(elements * bytes);
        total += mib;
        say!("# {mib:10.1}  {what}");
    }
    say!("# {total:10.1}  in all, at most");
    if let Some(memory) = limits.memory {
        say!("# {:10.1}  the device has", mib(memory));
    }
    Ok(())
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
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

/// Elements by purpose, and how they are stored.
fn plan(
    config: &Config,
    objective: &Objective,
    options: &TrainOptions,
    (dims, limits): (&Dimensions, Limits),
    tasks: &Tasks,
) -> Vec<(String, Role, usize)> {
    use flowrl_core::task::Task;
    let weights: usize = flowrl_lm::model::Weights::sizes(dims).iter().sum();
    let mut plan = vec![("weights of the policy".to_owned(), Role::Weight, weights)];
    plan.push(("weights of the frozen reference".to_owned(), Role::Activation, weights));
    plan.push(("gradients and AdamW's two moments".to_owned(), Role::State, 3 * weights));
    if objective.log_z().is_some_and(|z| z == flowrl_core::objective::LogZ::Network) || objective.needs_value() {
        let layer = dims.hidden * dims.hidden + dims.hidden;
        let network = options.partition.layers.saturating_sub(1) * layer + dims.hidden + 1;
        plan.push(("network for log Z or V, with its optimiser".to_owned(), Role::State, 4 * network));
    }
    let sampled = tasks.train.prompts().min(64);
    let prompt = (0..sampled).map(|i| tasks.train.prompt(i).len()).max().unwrap_or(1);
    let together = match options.micro_batch {
        0 => options.prompts.div_ceil(options.minibatches),
        n => n.min(options.prompts),
    };
    let rows = together * (prompt + options.samples * options.max_tokens);
    let keep = if config.model.recompute { Keep::Inputs } else { Keep::Everything };
    let predictions = together * options.samples * options.max_tokens;
    for Planned { what, role, elements } in memory_plan(dims, rows, predictions, limits.logits, keep) {
        plan.push((format!("activations: {what}"), role, elements));
    }
    let rows = options.prompts * (prompt + options.samples * options.max_tokens);
    let cache = rows * dims.layers * 2 * dims.heads.kv_width();
    plan.push(("cache of keys and values while sampling".to_owned(), Role::Activation, cache.min(limits.cache)));
    plan
}
