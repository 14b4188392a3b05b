//! The configuration of a run: defaults < file < flags, resolved, written into the run directory, and replayable from there.
//!
//! The defaults are those of the task ([`Config::of`]), and every task has its own keys.

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
use flowrl_core::train::TrainOptions;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::device::{self, Device};
use crate::{input, python};
pub use sections::{
    Arithmetic, EvalSection, LogZSection, ModelSection, OptimizerSection, PolicyKind, PolicySection, RunSection,
    SamplingSection, TrainSection,
};
pub(crate) use settings::parse_variable;
pub use task::{TaskKind, TaskSection};

/// Everything that a run depends on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which model.
    pub model: ModelSection,
    /// Lab: which policy.
    pub policy: PolicySection,
    /// Which prompts and rewards.
    pub task: TaskSection,
    /// Which objective.
    pub objective: ObjectiveSpec,
    /// How to train.
    pub train: TrainSection,
    /// How to sample.
    pub sampling: SamplingSection,
    /// AdamW of the policy.
    pub optimizer: OptimizerSection,
    /// log Z or V, where it is learned.
    pub log_z: LogZSection,
    /// How to evaluate.
    pub eval: EvalSection,
    /// What is kept.
    pub run: RunSection,
}

impl Config {
    /// Reads a file (or nothing), then applies `key=value` settings in order, all on top of the defaults of the task that they
    /// name. Relative paths in the file are of its folder; `-` is standard input, with paths of the current folder.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a key of another task, a value of the wrong type: with file, line or key.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        let mut given = Table::new();
        if let Some(file) = file {
            let (text, name) = (input::text(file)?, input::name(file));
            let context = || format!("in {name}");
            given = text.parse().with_context(context)?;
            keys::check(&given, settings::task(&given, overrides)?).map_err(|wrong| wrong.in_file(&name, &text))?;
            // As a whole, so that an error of a value shows the line.
            toml::from_str::<Self>(&text).with_context(context)?;
            let folder = std::path::absolute(file).with_context(|| format!("no path of {name}"))?;
            resolve_paths(&mut given, folder.parent().unwrap_or(Path::new("")))?;
        }
        let kind = settings::task(&given, overrides)?;
        // An objective that is named replaces the file's, with its options; those given beside the name stay.
        let (objectives, others): (Vec<_>, Vec<_>) = overrides
            .iter()
            .partition(|setting| setting.split('=').next().is_some_and(|key| key.trim() == "objective"));
        for setting in objectives.into_iter().chain(others) {
            settings::set(&mut given, setting, kind)?;
        }
        keys::check(&given, kind)?;
        let own_model = given.get("model").is_some_and(|model| model.get("path").is_some());
        let mut table = Table::try_from(Self::of(kind, own_model))?;
        merge(&mut table, given);
        // As text again: a second kind of deserializer would be compiled for every section.
        let text = table.to_string();
        toml::from_str(&text).map_err(|error| anyhow!("{}: {}", at(&text, error.span()), error.message()))
    }

    /// The objective's options as they were given, with the defaults that depend on the task.
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

    /// The objective, with every option that it does not use refused.
    ///
    /// # Errors
    /// An option out of range, or one that this objective does not use.
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
                "objective.log_z = \"frozen\" takes the log Z of each prompt from a file of prompts, which the lab does not have; take \"scalar\""
            );
        }
        // The length that Dr. GRPO divides by is the longest completion there can be.
        if let Objective::PolicyGradient(options) = &mut objective
            && spec.base()? == Preset::DrGrpo
            && spec.aggregate.is_none()
        {
            options.aggregate = Aggregate::Fixed(self.max_tokens()?);
        }
        Ok(objective)
    }

    /// The preset by name.
    #[must_use]
    pub fn objective_name(&self) -> &'static str {
        self.objective_spec().base().unwrap_or(Preset::Paper).name()
    }

    /// Tokens of a completion at most: in the lab the actions of a trajectory.
    pub(crate) fn max_tokens(&self) -> Result<usize> {
        /// Most answers with their reasoning are shorter: TRL takes 256, verl 512 or more.
        const LONG: usize = 512;
        if self.task.kind.is_lab() {
            crate::lab::max_length(&self.task)
        } else {
            Ok(self.sampling.max_tokens.unwrap_or(LONG))
        }
    }

    /// Takes what another configuration chose by the machine and the day (what fits memory, the date of the chat template), where this
    /// one leaves it open.
    pub fn settle_as(&mut self, other: &Self) {
        if let (false, Some(date)) = (self.model.template.contains_key("date"), other.model.template.get("date")) {
            self.model.template.insert("date".into(), date.clone());
        }
        self.train.micro_batch = self.train.micro_batch.or(other.train.micro_batch);
        self.model.recompute = self.model.recompute.or(other.model.recompute);
        self.sampling.wave = self.sampling.wave.or(other.sampling.wave);
    }

    /// Opens the device.
    ///
    /// # Errors
    /// A device that is not there.
    pub fn device(&self) -> Result<Device> {
        device::open(self.train.device, self.train.precision, self.train.threads)
    }

    /// What the training loop needs.
    ///
    /// # Errors
    /// An option out of range.
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
            max_tokens: self.max_tokens()?,
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
            dynamic_sampling: train.dynamic_sampling,
            overlong_buffer: train.overlong_buffer,
            overlong_penalty: train.overlong_penalty,
            seed: train.seed,
        };
        options.validate().map_err(anyhow::Error::msg)?;
        Ok(options)
    }

    /// How a token is drawn.
    #[must_use]
    pub const fn sampler(&self) -> Sampler {
        let SamplingSection { temperature, top_k, top_p, .. } = self.sampling;
        Sampler { temperature, top_k, top_p }
    }

    /// As a file that replays this run: the keys of its task, the objective with all its options.
    ///
    /// # Errors
    /// As for [`Config::objective`].
    pub fn to_toml(&self) -> Result<String> {
        let objective = self.objective()?;
        let mut spec = ObjectiveSpec::from(&objective);
        // The name stays, although every option stands beside it.
        spec.preset = Some(self.objective_spec().base()?);
        let mut table = Table::try_from(Self { objective: spec, ..self.clone() })?;
        keys::retain(&mut table, self.task.kind);
        Ok(toml::to_string_pretty(&table)?)
    }

    /// The same with every key that is absent as a comment, and what it means.
    ///
    /// # Errors
    /// As for [`Config::objective`].
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
                let other = if section == "objective" { "of other objectives, " } else { "" };
                text += &format!("# {key} = …    # {other}{meaning}\n");
            }
            // After the comments: what is below the head of a table of its own belongs to that.
            if !tables.is_empty() {
                text += print(tables)?.trim_end();
                text += "\n";
            }
            text += "\n";
        }
        Ok(text)
    }
}

/// Every key of a configuration as Markdown tables, those of `docs/configuration.md`.
#[must_use]
pub fn markdown_tables() -> String {
    keys::markdown()
}

/// Makes the paths of a file's keys absolute.
fn resolve_paths(given: &mut Table, folder: &Path) -> Result<()> {
    let paths =
        [("model", "path"), ("task", "prompts"), ("task", "held_out"), ("train", "rollouts"), ("run", "python")];
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
    Ok(())
}

/// Puts the keys of `given` over those of `table`, section by section.
fn merge(table: &mut Table, given: Table) {
    for (name, value) in given {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(section)), Value::Table(keys)) => section.extend(keys),
            (_, value) => _ = table.insert(name, value),
        }
    }
}

/// Returns the setting at a place of a TOML text with its section, such as `train.steps = "many"`.
fn at(text: &str, span: Option<Range<usize>>) -> String {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    let (line_start, line_end) = (text[..start].rfind('\n').map_or(0, |end| end + 1), text[start..].find('\n'));
    let line = &text[line_start..line_end.map_or(text.len(), |end| start + end)];
    let section = text[..line_start].lines().rev().find_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    section.map_or_else(|| line.to_owned(), |section| format!("{section}.{line}"))
}
