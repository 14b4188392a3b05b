//! Estimates the memory that a run of a language model takes, and cuts the run to fit the memory available.

use anyhow::{Result, bail};
use flowrl_core::backend::Role;
use flowrl_core::objective::LogZ;
use flowrl_lm::model::{Keep, Planned, Weights, memory_plan};

use crate::config::Config;
use crate::device::{self, DeviceName, Limits, Precision};
use crate::session::Session;
use crate::warn;

/// The peak memory of a run, by purpose.
#[derive(Debug)]
pub struct Plan {
    /// Purpose and size in bytes of each row.
    pub rows: Vec<(String, usize)>,
}

impl Plan {
    /// Returns the sum of all rows in bytes.
    pub fn total(&self) -> usize {
        self.rows.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Plans the memory of a configuration.
    pub fn of(config: &Config, session: &Session, limits: Limits) -> Result<Self> {
        let (objective, options) = (config.objective()?, config.train_options()?);
        let dims = &session.origin.config().dims;
        let Session { tasks, stored, .. } = session;
        let narrow = if config.train.precision.is_bf16(config.train.device) { 2 } else { 4 };
        let mut plan = Vec::new();
        let mut add = |what: &str, role: Role, elements: usize| {
            let bytes = match role {
                Role::State => 4,
                // The logits in f32, plus their gradient in bf16.
                Role::Logits if config.train.precision == Precision::Bf16F32Logits => 4 + narrow,
                // The weights in bf16, plus the copy in f32 that the optimiser keeps.
                Role::Weight if narrow < 4 => narrow + 4,
                _ => narrow,
            };
            plan.push((what.to_owned(), elements * bytes));
        };
        let weights = Weights::elements(dims);
        add("weights of the policy", Role::Weight, weights);
        add("weights of the frozen reference", Role::Activation, weights);
        add("gradients and AdamW's two moments", Role::State, 3 * weights);
        if !matches!(config.train.device, DeviceName::Cuda(_)) {
            add("copies of the two moments while a checkpoint is written", Role::State, 2 * weights);
        }
        if objective.log_z() == Some(LogZ::Network) || objective.needs_value() {
            let layer = dims.hidden * dims.hidden + dims.hidden;
            let network = options.partition.layers.saturating_sub(1) * layer + dims.hidden + 1;
            add("network for log Z or V, with its optimiser", Role::State, 4 * network);
        }
        let longest = tasks.longest_prompt();
        let (prompt, completions) = match stored {
            None => (longest, options.samples * options.max_tokens),
            Some(stored) => (stored.longest_prompt(), stored.largest_group()),
        };
        let together = match options.micro_batch {
            0 => options.prompts.div_ceil(options.minibatches),
            n => n.min(options.prompts),
        };
        let rows = together * (prompt + completions);
        let keep = if config.model.recompute == Some(true) { Keep::Inputs } else { Keep::Everything };
        let predictions = together * completions;
        for Planned { what, role, elements } in memory_plan(dims, rows, predictions, limits.logits, keep) {
            add(&format!("activations: {what}"), role, elements);
        }
        let sampled = |prompts: usize, samples: usize| {
            let completions = match config.sampling.wave {
                None | Some(0) => prompts * samples,
                Some(wave) => wave.min(prompts * samples),
            };
            completions.div_ceil(samples.max(1)) * longest + completions * options.max_tokens
        };
        let in_step = if stored.is_some() { 0 } else { sampled(options.prompts, options.samples) };
        let prompts = tasks.held_out.iter().map(|set| set.measured(config.eval.prompts)).max().unwrap_or(0);
        let rows = in_step.max(sampled(prompts, config.eval.samples));
        let cache = rows * dims.layers * 2 * dims.heads.kv_width();
        add("cache of keys and values while sampling", Role::Activation, cache.min(limits.cache));
        Ok(Self { rows: plan })
    }
}

/// Chooses the options that the configuration leaves open, so that the run fits memory: the prompts of a micro-batch,
/// recomputation, and the completions sampled at once. None of these changes the result.
pub fn fit(config: &mut Config, session: &Session) -> Result<()> {
    let is_open =
        config.train.micro_batch.is_none() || config.model.recompute.is_none() || config.sampling.wave.is_none();
    if !is_open {
        let free = host_memory(config.train.device).map(|memory| memory.free);
        if free.is_some() {
            check(&Plan::of(config, session, Limits::default())?, free);
        }
        return Ok(());
    }
    // If the device cannot be opened, the caller that opens it reports this.
    let limits = device::limits(config.train.device, config.train.precision).unwrap_or_default();
    let free = limits.memory.or_else(|| host_memory(config.train.device).map(|memory| memory.free));
    // The reserve covers memory outside the plan: gaps between buffers, library workspaces, compiled kernels.
    let available = free.map(|free| free - free / 32);
    fit_into(config, session, limits, available)
}

/// Does the work of [`fit`] for a device with these limits and `available` bytes; [`None`] means no limit.
fn fit_into(config: &mut Config, session: &Session, limits: Limits, available: Option<usize>) -> Result<()> {
    let halves = |most: usize| std::iter::successors(Some(most.max(1)), |n| (*n > 1).then_some(n / 2));
    let together = config.train.prompts.div_ceil(config.train.minibatches.max(1));
    let micro: Vec<usize> = config.train.micro_batch.map_or_else(|| halves(together).collect(), |given| vec![given]);
    let is_free = config.train.micro_batch.is_none();
    let recompute: Vec<bool> = config.model.recompute.map_or_else(|| vec![false, true], |given| vec![given]);
    let completions = config.train.prompts * config.train.samples;
    let wave: Vec<usize> = match config.sampling.wave {
        Some(given) => vec![given],
        None => std::iter::once(0).chain(halves(completions).skip(1)).collect(),
    };
    let mut least = usize::MAX;
    for &wave in &wave {
        for &recompute in &recompute {
            for &micro in &micro {
                config.sampling.wave = Some(wave);
                config.model.recompute = Some(recompute);
                config.train.micro_batch = Some(if is_free && micro == together { 0 } else { micro });
                let total = Plan::of(config, session, limits)?.total();
                least = least.min(total);
                if available.is_none_or(|available| total <= available) {
                    return Ok(());
                }
            }
        }
    }
    let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
    let (least, available) = (gib(least), gib(available.unwrap_or(0)));
    bail!(
        "the run takes at least {least:.1} GiB, but {} has {available:.1} GiB free: lower sampling.max_tokens or train.samples, or \
         choose a smaller model; `--dry-run` with train.micro_batch, model.recompute and sampling.wave set prints the memory plan",
        config.train.device
    )
}

/// Warns if a plan exceeds the memory that is available.
pub fn check(plan: &Plan, available: Option<usize>) {
    if let Some(available) = available.filter(|available| plan.total() > *available) {
        let mib = |bytes: usize| bytes >> 20;
        warn!("the run may take {} MiB, but only {} MiB are free", mib(plan.total()), mib(available));
    }
}

/// Memory of this machine, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct HostMemory {
    /// The most that a process may have.
    pub total: usize,
    /// The most that a process can still obtain.
    pub free: usize,
}

/// Returns the memory of this machine, if the system reports it and `device` computes in it.
pub fn host_memory(device: DeviceName) -> Option<HostMemory> {
    if matches!(device, DeviceName::Cuda(_)) {
        return None;
    }
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? * 1024)
    };
    let (total, free) = (bytes("MemTotal")?, bytes("MemAvailable")?);
    // The limit of a container may be lower than the machine's memory.
    let group = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    // The page cache counts as used, but the system reclaims it.
    let statistics = std::fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    let cached = statistics.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse::<usize>().ok());
    let group = group.map(|(most, taken)| (most, taken.saturating_sub(cached.unwrap_or(0))));
    Some(group.map_or(HostMemory { total, free }, |(most, taken)| HostMemory {
        total: total.min(most),
        free: free.min(most.saturating_sub(taken)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smaller micro-batches come first, then recomputation, then smaller waves. Options that are given stay, and the
    /// error names the keys to lower.
    #[test]
    fn a_run_is_cut_to_fit_memory() {
        let fit = |micro_batch: Option<usize>, available: Option<usize>| {
            let mut config = Config::default();
            config.sampling.max_tokens = Some(16);
            config.train.micro_batch = micro_batch;
            let session = Session::open(&mut config).unwrap();
            let fitted = fit_into(&mut config, &session, Limits::default(), available);
            let total = Plan::of(&config, &session, Limits::default()).unwrap().total();
            let chosen = (config.train.micro_batch, config.model.recompute, config.sampling.wave);
            fitted.map(|()| (chosen, total)).map_err(|error| error.to_string())
        };
        let (all, most) = fit(None, None).unwrap();
        assert_eq!(all, (Some(0), Some(false), Some(0)));
        let (cut, total) = fit(None, Some(most - 1)).unwrap();
        assert_eq!(cut, (Some(8), Some(false), Some(0)));
        assert!(total < most);
        assert_eq!(fit(Some(8), None).unwrap().0.0, Some(8));
        let (mut available, mut last) = (most, all);
        while let Ok((chosen, total)) = fit(None, Some(available)) {
            assert!(total <= available);
            (available, last) = (total - 1, chosen);
        }
        assert_eq!(last, (Some(1), Some(true), Some(1)));
        let error = fit(None, Some(available)).unwrap_err();
        assert!(error.contains("lower sampling.max_tokens or train.samples"), "{error}");
    }

    #[test]
    fn this_machine_tells_its_memory() {
        if cfg!(target_os = "linux") {
            assert!(
                host_memory(DeviceName::Cpu).is_some_and(|memory| memory.free > 1 << 20 && memory.free <= memory.total)
            );
        }
        assert!(host_memory(DeviceName::Cuda(0)).is_none());
    }
}
