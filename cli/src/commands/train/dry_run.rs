//! `--dry-run`: prints the configuration of a run and the memory that the run would take.

use anyhow::Result;
use flowrl_core::task::Task;
use flowrl_lab::{Environment, Lab};

use crate::config::Config;
use crate::device::{self, Limits};
use crate::lab;
use crate::memory::{self, Plan};
use crate::say;
use crate::session::Session;

/// Prints the resolved configuration, which replays the run, and the memory plan as comments.
pub(super) fn print(mut config: Config) -> Result<()> {
    if let Some(lab) = super::check(&mut config)? {
        return print_lab(&config, lab);
    }
    let session = Session::open(&mut config)?;
    memory::fit(&mut config, &session)?;
    let Session { origin, tasks, .. } = &session;
    say!("{}", config.to_annotated_toml()?.trim_end());
    say!("\n# model: {} parameters", origin.config().parameter_count());
    let held_out = tasks.held_out.iter().map(|set| match &set.name {
        None => format!(", {} held out", set.task.prompts()),
        Some(name) => format!(", {} of {name} to measure on", set.task.prompts()),
    });
    say!("# prompts: {} to train on{}", tasks.train.prompts(), held_out.collect::<String>());
    let (device, precision) = (config.train.device, config.train.precision);
    let limits = match device::limits(device, precision) {
        Ok(limits) => limits,
        Err(error) => {
            say!(
                "# {device} cannot be used here; the plan assumes the smallest logits and cache that it would hold: {error:#}"
            );
            Limits::default()
        }
    };
    say!("# memory plan for {device} in {}, in MiB:", if precision.is_bf16(device) { "bf16 and f32" } else { "f32" });
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let plan = Plan::of(&config, &session, limits)?;
    for (what, bytes) in &plan.rows {
        say!("# {:10.1}  {what}", mib(*bytes));
    }
    say!("# {:10.1}  in all, at most", mib(plan.total()));
    let host = memory::host_memory(device);
    if let Some(total) = limits.memory.or(host.map(|memory| memory.total)) {
        let whose = if limits.memory.is_some() { "the device has free" } else { "this machine has" };
        say!("# {:10.1}  {whose}", mib(total));
    }
    memory::check(&plan, limits.memory.or(host.map(|memory| memory.free)));
    Ok(())
}

/// Prints the configuration of a lab task, with the sizes of the task and log Z of its target as comments.
fn print_lab(config: &Config, lab: Lab) -> Result<()> {
    let subject = lab::open(config, lab.clone())?;
    let objective = config.objective()?;
    let beta = lab::beta(config, &objective);
    let target = lab::truth::target(&lab, &objective, beta)?;
    say!("{}", config.to_annotated_toml()?.trim_end());
    say!("\n# policy: {} parameters", subject.parameters());
    say!("# task: {} states, {} objects, {} modes", lab.states(), lab.objects(), target.modes.len());
    say!("# target at beta {beta}: log Z {:.6}", target.log_z);
    Ok(())
}
