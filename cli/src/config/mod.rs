//! The configuration of a run: defaults < file < flags. The resolved configuration is written into the run directory,
//! from which it replays the run.
//!
//! The defaults depend on the task ([`Config::of`]), and each task has its own keys.

mod keys;
mod sections;
mod settings;
mod task;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use flowrl_core::backend::Sampler;
use flowrl_core::objective::{Aggregate, LogZ, Objective, ObjectiveSpec, Preset};
use flowrl_core::optim::{AdamW, Schedule};
use flowrl_core::partition::PartitionOptions;
use flowrl_core::train::{PromptOrder, TrainOptions};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::data::Source;
use crate::device::{self, Device};
use crate::{input, verifiers};
use flowrl_verify::python;
pub use keys::markdown as markdown_tables;
pub(crate) use sections::dates_as_text;
pub use sections::{
    Arithmetic, EvalSection, LogZSection, ModelSection, OptimizerSection, PolicyKind, PolicySection, RunSection,
    SamplingSection, Sets, TaskSection, Tracker, TrainSection,
};
pub(crate) use settings::parse_variable;
pub use task::TaskKind;

/// All options of a run, by section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder, recomputation and chat template of the model.
    pub model: ModelSection,
    /// Lab: the policy network and its exploration.
    pub policy: PolicySection,
    /// Task with its prompts and rewards.
    pub task: TaskSection,
    /// Objective, as it was given.
    pub objective: ObjectiveSpec,
    /// Steps, batch sizes, seed and device of training.
    pub train: TrainSection,
    /// Length limit and sampling parameters of completions.
    pub sampling: SamplingSection,
    /// AdamW and learning-rate schedule of the policy.
    pub optimizer: OptimizerSection,
    /// Optimiser and network of log Z or V, if it is learned.
    pub log_z: LogZSection,
    /// Frequency and size of evaluations.
    pub eval: EvalSection,
    /// Checkpoints to keep, early stopping and trackers.
    pub run: RunSection,
    /// Whether completions may be run as programs. No file can say so, only the command line.
    #[serde(skip)]
    pub allows_code: bool,
}

impl Config {
    /// Reads a file, if any, and applies the `key=value` settings in order, all on top of the defaults of the task that
    /// they name. Relative paths in the file are relative to its folder. If the file is `-`, this function reads
    /// standard input, and paths are relative to the current folder.
    pub fn load(file: Option<&Path>, overrides: &[&str]) -> Result<Self> {
        let mut given = Table::new();
        if let Some(file) = file {
            let (text, name) = (input::text(file)?, input::name(file));
            let context = || format!("in {name}");
            given = text.parse().with_context(context)?;
            let place = |section: &str, key: &str| keys::place(&name, &text, section, key);
            keys::check(&given, settings::task(&given, overrides)?, place)?;
            // Deserialize the file on its own first, so that an error in a value shows its line.
            toml::from_str::<Self>(&text).with_context(context)?;
            let folder = std::path::absolute(file).with_context(|| format!("cannot resolve the path of {name}"))?;
            resolve_paths(&mut given, folder.parent().unwrap_or(Path::new("")))?;
        }
        let kind = settings::task(&given, overrides)?;
        // `objective=NAME` drops the options of the file's objective, so it is applied before the other settings.
        let (objectives, others): (Vec<_>, Vec<_>) = overrides
            .iter()
            .partition(|setting| setting.split('=').next().is_some_and(|key| key.trim() == "objective"));
        for setting in objectives.into_iter().chain(others) {
            settings::set(&mut given, setting, kind)?;
        }
        keys::check(&given, kind, |_, _| String::new())?;
        let own_model = given.get("model").is_some_and(|model| model.get("path").is_some());
        let mut table = Table::try_from(Self::of(kind, own_model))?;
        merge(&mut table, given);
        // Go through text: deserializing from a table would compile a second deserializer for every section.
        let text = table.to_string();
        toml::from_str(&text).map_err(|error| anyhow!("{}: {}", at(&text, error.span()), error.message()))
    }

    /// Returns the objective's options as given, filled in with the defaults that depend on the task.
    fn objective_spec(&self) -> ObjectiveSpec {
        let mut spec = self.objective.clone();
        let Some(lab) = self.task.kind.is_lab().then_some(&self.task) else { return spec };
        let preset = *spec.preset.get_or_insert(spec.kind.unwrap_or(Preset::ExactTb));
        match Objective::preset(preset) {
            Objective::FlowRl(base) => {
                // One prompt has one log Z.
                if base.log_z == LogZ::Network {
                    spec.log_z.get_or_insert(LogZ::Scalar);
                }
                // Plain trajectory balance has no β of its own.
                if base.beta == 1.0 {
                    spec.beta.get_or_insert(lab.kind.beta());
                }
            }
            // A graph has no reference policy that a KL could be measured to.
            _ if lab.kind.is_graph() => _ = spec.kl.get_or_insert(0.0),
            _ => {}
        }
        spec
    }

    /// Resolves the objective.
    pub fn objective(&self) -> Result<Objective> {
        let spec = self.objective_spec();
        let mut objective = spec.resolve()?;
        let unused = spec.unused()?;
        if !unused.is_empty() {
            bail!("objective `{}` does not use {}; remove it", spec.base()?, unused.join(", "));
        }
        if objective.needs_flows() && !self.task.kind.is_lab() {
            bail!("objective.balance needs the flow of every state, which a language model does not learn; remove it");
        }
        if self.task.kind.is_lab() && objective.log_z() == Some(LogZ::Frozen) {
            bail!(
                "objective.log_z = \"frozen\" takes the log Z of each prompt from a file of prompts, which the lab does not have; use \"scalar\""
            );
        }
        // Dr. GRPO divides by the maximum length of a completion.
        if let Objective::PolicyGradient(options) = &mut objective
            && spec.base()? == Preset::DrGrpo
            && spec.aggregate.is_none()
        {
            options.aggregate = Aggregate::Fixed(self.max_tokens());
        }
        Ok(objective)
    }

    /// Returns the name of the preset.
    pub fn objective_name(&self) -> &'static str {
        self.objective_spec().base().unwrap_or(Preset::Paper).name()
    }

    /// Returns the maximum number of tokens in a completion. In the lab, this is the number of actions in a trajectory,
    /// which is known once the task is open.
    pub(crate) fn max_tokens(&self) -> usize {
        /// Long enough for most answers with their reasoning. TRL defaults to 256, verl to 512 or more.
        const LONG: usize = 512;
        self.sampling.max_tokens.unwrap_or(LONG)
    }

    /// Adopts the choices that another configuration made for its machine and day (batch sizes that fit memory, the
    /// date of the chat template), if this configuration leaves them open.
    pub fn settle_as(&mut self, other: &Self) {
        if let (false, Some(date)) = (self.model.template.contains_key("date"), other.model.template.get("date")) {
            self.model.template.insert("date".into(), date.clone());
        }
        self.train.micro_batch = self.train.micro_batch.or(other.train.micro_batch);
        self.model.recompute = self.model.recompute.or(other.model.recompute);
        self.sampling.wave = self.sampling.wave.or(other.sampling.wave);
    }

    /// Returns the sets of prompts that evaluations measure: the one without a name, unless named ones take its place, and
    /// those.
    pub fn measured_sets(&self) -> Vec<Option<&str>> {
        let has_held_out = self.eval.sets.is_empty() || self.task.held_out.is_some();
        let named = self.eval.sets.keys().map(|name| Some(name.as_str()));
        has_held_out.then_some(None).into_iter().chain(named).collect()
    }

    /// Opens the device.
    pub fn device(&self) -> Result<Device> {
        device::open(self.train.device, self.train.precision, self.train.threads)
    }

    /// Builds the options of the training loop.
    pub fn train_options(&self) -> Result<TrainOptions> {
        let Self { train, optimizer, log_z, .. } = self;
        let updates = train.steps * (train.minibatches * train.epochs) as u64;
        // The lab has one prompt: the empty trajectory.
        let (prompts, samples) =
            if self.task.kind.is_lab() { (1, train.batch) } else { (train.prompts, train.samples) };
        if train.dynamic_sampling > 0 && train.rollouts.is_some() {
            bail!(
                "train.dynamic_sampling is {}, but must be 0 with train.rollouts: nothing more can be sampled; to leave out groups of equal \
                 rewards, set objective.mask_degenerate = true",
                train.dynamic_sampling
            );
        }
        if train.prompt_order == PromptOrder::PassRate && !self.objective()?.tells_pass_rates() {
            bail!(
                "train.prompt_order is \"pass-rate\", but this objective's log Z does not tell the pass rate of each prompt: set \
                 objective.log_z to \"table\" or \"frozen\", with reward \"raw\", length \"sum\" and beta above 0, as in exact-tb"
            );
        }
        if train.prompt_order != PromptOrder::Shuffled && train.rollouts.is_some() {
            bail!(
                "train.prompt_order is \"pass-rate\", but stored completions (train.rollouts) are learned in the order of their file"
            );
        }
        if train.overlong_penalty != 1.0 && train.overlong_buffer == 0 {
            bail!(
                "train.overlong_penalty is {}, but train.overlong_buffer is 0, so there is no penalty: set train.overlong_buffer to the \
                 tokens over which it should grow",
                train.overlong_penalty
            );
        }
        let options = TrainOptions {
            prompts,
            samples,
            max_tokens: self.max_tokens(),
            sampler: self.sampler(),
            minibatches: train.minibatches,
            epochs: train.epochs,
            micro_batch: train.micro_batch.unwrap_or(0),
            schedule: Schedule {
                peak: optimizer.learning_rate,
                warmup: optimizer.warmup,
                total: updates,
                decay: optimizer.decay,
            },
            optimizer: AdamW {
                beta1: optimizer.beta1,
                beta2: optimizer.beta2,
                eps: optimizer.eps,
                weight_decay: optimizer.weight_decay,
            },
            clip_norm: (optimizer.clip_norm > 0.0).then_some(optimizer.clip_norm),
            partition: PartitionOptions {
                layers: log_z.layers,
                layer_norm: log_z.layer_norm,
                dropout: log_z.dropout,
                zero_init: log_z.zero_init,
            },
            log_z_learning_rate: log_z.learning_rate,
            log_z_optimizer: AdamW { weight_decay: log_z.weight_decay, ..AdamW::default() },
            detach_trunk: log_z.detach_trunk,
            prompt_order: train.prompt_order,
            dynamic_sampling: train.dynamic_sampling,
            overlong_buffer: train.overlong_buffer,
            overlong_penalty: train.overlong_penalty,
            seed: train.seed,
        };
        options.validate().map_err(anyhow::Error::msg)?;
        Ok(options)
    }

    /// Returns the parameters with which tokens are sampled.
    pub const fn sampler(&self) -> Sampler {
        let SamplingSection { temperature, top_k, top_p, .. } = self.sampling;
        Sampler { temperature, top_k, top_p }
    }

    /// Formats the configuration as a file that replays this run. It holds the keys of the task, and the objective with
    /// all its options.
    pub fn to_toml(&self) -> Result<String> {
        let objective = self.objective()?;
        let mut spec = ObjectiveSpec::from(&objective);
        // Keep the preset's name, although every option is written out too.
        spec.preset = Some(self.objective_spec().base()?);
        let mut table = Table::try_from(Self { objective: spec, ..self.clone() })?;
        keys::retain(&mut table, self.task.kind);
        Ok(toml::to_string_pretty(&table)?)
    }

    /// Formats the same file as [`Config::to_toml`], with a comment that explains each key that is absent.
    pub fn to_annotated_toml(&self) -> Result<String> {
        let resolved = self.to_toml()?;
        let table: Table = resolved.parse()?;
        let mut text = String::new();
        for (section, known) in keys::of_task(self.task.kind) {
            let empty = Table::new();
            let given = table.get(section).and_then(Value::as_table).unwrap_or(&empty);
            let (tables, plain): (Table, Table) = given.clone().into_iter().partition(|(_, value)| value.is_table());
            let print =
                |keys: Table| toml::to_string_pretty(&Table::from_iter([(section.to_owned(), Value::Table(keys))]));
            text += print(plain)?.trim_end();
            text += "\n";
            for (key, meaning) in known.iter().filter(|(key, _)| !given.contains_key(*key)) {
                let other = if section == "objective" && *key != "kind" { "not used by this objective; " } else { "" };
                text += &format!("# {key} = …    # {other}{meaning}\n");
            }
            // Subtables follow the comments, because keys below a subtable's header would belong to it.
            if !tables.is_empty() {
                text += print(tables)?.trim_end();
                text += "\n";
            }
            text += "\n";
        }
        Ok(text)
    }
}

/// Returns `(dotted key, value)` for every value of a table.
pub(crate) fn flatten(prefix: &str, table: &Table) -> Vec<(String, String)> {
    let pairs = table.iter().flat_map(|(name, value)| match value {
        Value::Table(inner) => flatten(&format!("{prefix}{name}."), inner),
        value => vec![(format!("{prefix}{name}"), value.to_string())],
    });
    pairs.collect()
}

/// Returns whether a dotted key is among some names. A name that ends with a dot stands for its whole section.
pub(crate) fn is_among(key: &str, names: &[&str]) -> bool {
    names.iter().any(|name| key == *name || name.ends_with('.') && key.starts_with(name))
}

/// Makes the paths in a configuration file absolute.
fn resolve_paths(given: &mut Table, folder: &Path) -> Result<()> {
    let paths = [("model", "path"), ("task", "held_out"), ("train", "rollouts"), ("run", "python")];
    for (section, key) in paths {
        let value = given.get_mut(section).and_then(Value::as_table_mut).and_then(|section| section.get_mut(key));
        if let Some(Value::String(path)) = value {
            if key == "python" && !python::is_path(path) {
                continue;
            }
            let whole = folder.join(&*path).into_os_string().into_string();
            *path = whole.map_err(|path| anyhow!("{section}.{key}: the path {} is not Unicode", path.display()))?;
        }
    }
    let eval = given.get_mut("eval").and_then(Value::as_table_mut);
    let sets = eval.and_then(|eval| eval.get_mut("sets")).and_then(Value::as_table_mut);
    for (name, value) in sets.into_iter().flatten() {
        if let Value::String(path) = value {
            let whole = folder.join(&*path).into_os_string().into_string();
            *path = whole.map_err(|path| anyhow!("eval.sets.{name}: the path {} is not Unicode", path.display()))?;
        }
    }
    for name in names(given, "prompts") {
        let source: Source = name.parse().map_err(anyhow::Error::msg)?;
        *name = source.in_folder(folder).to_string();
    }
    for name in names(given, "verifier") {
        *name = verifiers::absolute(std::slice::from_ref(name), folder)?.remove(0);
    }
    Ok(())
}

/// Returns the texts of a key of `[task]` that is one text or a list of them.
fn names<'a>(given: &'a mut Table, key: &str) -> impl Iterator<Item = &'a mut String> {
    let value = given.get_mut("task").and_then(Value::as_table_mut).and_then(|task| task.get_mut(key));
    let values = value.into_iter().flat_map(|value| match value {
        Value::Array(names) => names.iter_mut().collect(),
        one => vec![one],
    });
    values.filter_map(|value| if let Value::String(name) = value { Some(name) } else { None })
}

/// Overrides the keys of `table` with those of `given`, section by section.
fn merge(table: &mut Table, given: Table) {
    for (name, value) in given {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(section)), Value::Table(keys)) => section.extend(keys),
            (_, value) => _ = table.insert(name, value),
        }
    }
}

/// Returns the setting at a position in a TOML text with its section, for example `train.steps = "many"`.
fn at(text: &str, span: Option<Range<usize>>) -> String {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    let (line_start, line_end) = (text[..start].rfind('\n').map_or(0, |end| end + 1), text[start..].find('\n'));
    let line = &text[line_start..line_end.map_or(text.len(), |end| start + end)];
    let section = text[..line_start].lines().rev().find_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    section.map_or_else(|| line.to_owned(), |section| format!("{section}.{line}"))
}
