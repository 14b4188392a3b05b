//! The provenance of a run in `run.json`: a stretch for each time that the run was started or resumed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use flowrl_core::optim::Decay;
use flowrl_lm::chat::Date;
use flowrl_lm::fs::atomic_write;
use serde::{Deserialize, Serialize};

use super::{RunDir, sha256};
use crate::config::{Config, flatten, is_among};
use crate::{data, warn};

/// The keys that may differ between the stretches of a run.
const FREE: [&str; 5] = ["train.steps", "train.threads", "train.device", "run.", "eval."];

/// The contents of `run.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// Stretches of the run, the oldest first.
    pub stretches: Vec<Stretch>,
}

/// The part of a run from one start of the program to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stretch {
    /// Start time in UTC.
    pub started: String,
    /// Step after which the stretch began.
    pub step: u64,
    /// Version of the program.
    pub version: String,
    /// Commit from which the program was built, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Cargo features of the program.
    pub features: Vec<String>,
    /// Command line of the program.
    pub command: Vec<String>,
    /// Folder in which the program was started.
    pub directory: PathBuf,
    /// Name of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Operating system and architecture.
    pub system: String,
    /// Name of the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    /// Number of processors.
    pub processors: usize,
    /// Device that computes.
    pub device: String,
    /// On a GPU: its name, the driver and CUDA's libraries, with versions and files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cuda: BTreeMap<String, String>,
    /// SHA-256 of the files of the model and of the data, by path.
    pub files: BTreeMap<String, String>,
    /// Resolved configuration.
    pub config: String,
}

impl Stretch {
    /// Describes this program and the configuration at the present time.
    pub fn now(config: &Config, step: u64) -> Result<Self> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (day, second) = (Date::from_days((seconds / 86_400) as i64), seconds % 86_400);
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let processor = read("/proc/cpuinfo").and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        Ok(Self {
            started: format!("{day}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60),
            step,
            version: env!("CARGO_PKG_VERSION").into(),
            commit: option_env!("FLOWRL_COMMIT").map(str::to_owned),
            features: if cfg!(feature = "cuda") { vec!["cuda".into()] } else { Vec::new() },
            command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            directory: std::env::current_dir().unwrap_or_default(),
            host: read("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor,
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            device: config.train.device.to_string(),
            cuda: config.train.device.software(),
            files: hashes(config)?,
            config: config.to_toml()?,
        })
    }
}

impl Provenance {
    /// Reads `run.json`. The result is empty if there is no such file.
    pub fn read(directory: &RunDir) -> Result<Self> {
        let path = directory.provenance();
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display())),
            Err(_) => Ok(Self::default()),
        }
    }

    /// Adds a stretch, and warns of files that have changed since the last one.
    pub fn add(mut self, stretch: Stretch, directory: &RunDir) -> Result<()> {
        if let Some(last) = self.stretches.last() {
            for (path, sum) in &stretch.files {
                if last.files.get(path).is_some_and(|before| before != sum) {
                    warn!(
                        "{path} has changed since the run was last started or resumed: it will not continue bit for bit"
                    );
                }
            }
        }
        self.stretches.push(stretch);
        Ok(atomic_write(&directory.provenance(), &serde_json::to_vec_pretty(&self)?)?)
    }
}

/// Computes the checksums of the files that a configuration reads.
fn hashes(config: &Config) -> Result<BTreeMap<String, String>> {
    let mut files: Vec<PathBuf> = Vec::new();
    if let Some(folder) = &config.model.path {
        let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let ends = ["json", "safetensors", "jinja"];
        let is_read = |path: &Path| path.extension().is_some_and(|end| ends.iter().any(|known| end == *known));
        files.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file() && is_read(path)));
    }
    let prompts = config.task.prompts.iter().map(|source| &source.path);
    let others = config.task.held_out.iter().chain(&config.train.rollouts).chain(config.eval.sets.values());
    for path in prompts.chain(others) {
        files.extend(data::files(path)?);
    }
    files.into_iter().map(|path| Ok((path.to_string_lossy().into_owned(), sha256(&path)?))).collect()
}

/// Refuses to continue a run after a change of options that its result depends on, and warns if the number of steps
/// changed while the learning rate decays.
pub fn check_resume(directory: &RunDir, present: &Config) -> Result<()> {
    let stored = match Provenance::read(directory)?.stretches.pop() {
        Some(last) => last.config,
        // A directory with only a configuration, which a sweep prepares, is a run that has not begun.
        None if !directory.metrics().exists() => return Ok(()),
        None => std::fs::read_to_string(directory.config())?,
    };
    let flat = |text: &str| -> Result<BTreeMap<_, _>> { Ok(flatten("", &text.parse()?).into_iter().collect()) };
    // Reading the stored configuration with this version gives options that are newer than the run their defaults.
    let stored =
        toml::from_str::<Config>(&stored).map_err(anyhow::Error::from).and_then(|c| c.to_toml()).unwrap_or(stored);
    let (before, after) = (flat(&stored)?, flat(&present.to_toml()?)?);
    let show = |value: Option<&String>| value.map_or_else(|| "absent".to_owned(), String::clone);
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    // If the objective itself differs, its name is reported without its options.
    let preset = "objective.preset";
    let other_objective = before.get(preset) != after.get(preset);
    let is_told = |key: &str| !(other_objective && key.starts_with("objective.")) || key == preset;
    let changed: Vec<String> = keys
        .into_iter()
        .filter(|key| !is_among(key, &FREE) && is_told(key) && before.get(*key) != after.get(*key))
        .map(|key| format!("{key} from {} to {}", show(before.get(key)), show(after.get(key))))
        .collect();
    if !changed.is_empty() {
        bail!(
            "{} is another run: this would change {}; start a new run in another --out (train.steps, train.threads, train.device, [run] and \
             [eval] may change)",
            directory.root().display(),
            changed.join(", ")
        );
    }
    let steps = before.get("train.steps");
    if steps != after.get("train.steps") && present.optimizer.decay != Decay::Constant {
        let (before, after) = (show(steps), present.train.steps);
        warn!(
            "the learning rate decays over train.steps: up to here as for {before} steps, from here on as for {after}, so the result differs \
             from a run of {after} steps from the start; a run with optimizer.decay=constant would not have this problem"
        );
    }
    Ok(())
}
