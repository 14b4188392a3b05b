//! Hugging Face checkpoints: `config.json`, safetensors and the tokenizer's files.

mod convert;
mod near;
mod save;
mod shard;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::chat::{ChatTemplate, TemplateFiles};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::fs::read_optional;
use crate::tokenizer::Tokenizer;
pub use save::{NamedTensor, save};
use shard::Shard;

/// Small files that travel with the weights unchanged.
const SIDE_FILES: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
];

/// An open checkpoint: its configuration, and its weights mapped into memory but not yet read.
///
/// ```no_run
/// use flowrl_lm::checkpoint::Checkpoint;
/// let checkpoint = Checkpoint::open("Qwen2.5-0.5B-Instruct".as_ref())?;
/// let config = checkpoint.config();
/// let mut embedding = vec![0.0; config.vocab_size * config.hidden_size];
/// checkpoint.read_f32("model.embed_tokens.weight", &[config.vocab_size, config.hidden_size], &mut embedding)?;
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    config: ModelConfig,
    shards: Vec<Shard>,
    /// The shard of each tensor.
    index: BTreeMap<String, usize>,
    side_files: Vec<(String, Cow<'static, [u8]>)>,
}

impl Checkpoint {
    /// Opens the folder of a checkpoint: `config.json` with `model.safetensors`, or with all shards that
    /// `model.safetensors.index.json` names. End tokens are those of `config.json` and `generation_config.json` together.
    ///
    /// The files must not be changed in place while the checkpoint is open; replacing them, as [`save`] does, is fine.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a missing file, [`Error::Json`] and [`Error::Config`] for a bad `config.json` or index,
    /// [`Error::Safetensors`] for a damaged or truncated shard, [`Error::DuplicateTensor`], and [`Error::MissingTensor`]
    /// for a tensor that the index promises and its shard lacks.
    pub fn open(path: &Path) -> Result<Self> {
        let config_path = path.join("config.json");
        let config = read_text(&config_path)?;
        let config = ModelConfig::from_json(&config, &config_path)?;
        let mut side_files = Vec::new();
        for name in SIDE_FILES {
            if let Some(bytes) = read_optional(&path.join(name))? {
                side_files.push((name.to_owned(), Cow::Owned(bytes)));
            }
        }
        let (files, promised) = weight_files(path)?;
        let shards = files.iter().map(|file| Shard::map(file)).collect::<Result<Vec<_>>>()?;
        let checkpoint = Self::assemble(path.to_owned(), config, shards, side_files)?;
        for (name, file) in &promised {
            let file = path.join(file);
            if !checkpoint.shard(name).is_ok_and(|shard| *shard.path() == file) {
                return Err(Error::MissingTensor { path: file, name: name.clone(), near: Vec::new() });
            }
        }
        Ok(checkpoint)
    }

    /// A checkpoint that lies in memory, such as one compiled into the program. Of the other files only `tokenizer.json`
    /// goes with it, so there is no chat template.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn from_bytes(config_json: &str, safetensors: &'static [u8], tokenizer_json: &'static str) -> Result<Self> {
        let path = PathBuf::from("(built-in model)");
        let config = ModelConfig::from_json(config_json, &path.join("config.json"))?;
        let shard = Shard::from_static(&path.join("model.safetensors"), safetensors)?;
        let tokenizer = ("tokenizer.json".to_owned(), Cow::Borrowed(tokenizer_json.as_bytes()));
        Self::assemble(path, config, vec![shard], vec![tokenizer])
    }

    /// A configuration and side files (the tokenizer's) without weights, to save a new model with.
    #[must_use]
    pub fn new(config: ModelConfig, side_files: Vec<(String, Cow<'static, [u8]>)>) -> Self {
        Self { path: PathBuf::new(), config, shards: Vec::new(), index: BTreeMap::new(), side_files }
    }

    fn assemble(
        path: PathBuf,
        mut config: ModelConfig,
        shards: Vec<Shard>,
        side_files: Vec<(String, Cow<'static, [u8]>)>,
    ) -> Result<Self> {
        let mut index = BTreeMap::new();
        for (i, shard) in shards.iter().enumerate() {
            for name in shard.names() {
                if let Some(first) = index.insert(name.clone(), i) {
                    let (first, second) = (shards[first].path().to_owned(), shard.path().to_owned());
                    return Err(Error::DuplicateTensor { name, first, second });
                }
            }
        }
        if let Some((name, bytes)) = side_files.iter().find(|(name, _)| name == "generation_config.json") {
            config.add_generation_config(&String::from_utf8_lossy(bytes), &path.join(name))?;
        }
        Ok(Self { path, config, shards, index, side_files })
    }

    /// The folder, or a name in brackets for a checkpoint in memory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The architecture.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The names of all tensors, sorted.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// Reads a tensor into `out` as f32, row-major. f16 and bf16 convert exactly.
    ///
    /// # Errors
    ///
    /// [`Error::MissingTensor`] with names that look alike; [`Error::Shape`] when the tensor is not of `shape`;
    /// [`Error::Dtype`] when it is stored as something other than f32, f16 or bf16; [`Error::Argument`] when `out` has
    /// not the product of `shape` as its length.
    pub fn read_f32(&self, name: &str, shape: &[usize], out: &mut [f32]) -> Result<()> {
        self.shard(name)?.read_f32(name, shape, out)
    }

    /// The tokenizer of `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] when the file is missing or no tokenizer.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let missing = || Error::Tokenizer {
            message: format!("{} has no tokenizer.json; copy it from the model's original folder", self.path.display()),
        };
        Tokenizer::from_bytes(self.side_file("tokenizer.json").ok_or_else(missing)?)
    }

    /// The chat template of `chat_template.jinja` or `tokenizer_config.json`, if there is one, with the model's special tokens.
    ///
    /// # Errors
    ///
    /// As [`ChatTemplate::from_files`].
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>> {
        let text = |name| self.side_file(name).map(String::from_utf8_lossy);
        let [config, map, jinja] =
            ["tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"].map(text);
        let files = TemplateFiles {
            tokenizer_config: config.as_deref(),
            special_tokens_map: map.as_deref(),
            jinja: jinja.as_deref(),
        };
        ChatTemplate::from_files(files, |name| {
            let id = match (name, self.config.eos_token_ids.as_slice()) {
                ("bos_token", _) => self.config.bos_token_id?,
                ("eos_token", &[id]) => id,
                _ => return None,
            };
            self.tokenizer().ok()?.token(id)
        })
    }

    /// Name and bytes of the files that travel with the weights, for [`save`].
    #[must_use]
    pub fn side_files(&self) -> &[(String, Cow<'static, [u8]>)] {
        &self.side_files
    }

    fn side_file(&self, name: &str) -> Option<&[u8]> {
        self.side_files.iter().find(|(other, _)| other == name).map(|(_, bytes)| bytes.as_ref())
    }

    /// The shard that holds a tensor.
    fn shard(&self, name: &str) -> Result<&Shard> {
        let missing = || Error::MissingTensor {
            path: self.path.clone(),
            name: name.to_owned(),
            near: near::nearest(name, self.tensor_names()),
        };
        self.index.get(name).map(|&i| &self.shards[i]).ok_or_else(missing)
    }
}

/// The files with weights, and which tensor the index promises in which of them.
fn weight_files(path: &Path) -> Result<(Vec<PathBuf>, BTreeMap<String, String>)> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index_path = path.join("model.safetensors.index.json");
    let single = path.join("model.safetensors");
    let Some(bytes) = read_optional(&index_path)?.filter(|_| !single.exists()) else {
        return Ok((vec![single], BTreeMap::new()));
    };
    let index: Index = serde_json::from_slice(&bytes).map_err(Error::json(&index_path))?;
    let mut files: Vec<_> = index.weight_map.values().map(|file| path.join(file)).collect();
    files.sort_unstable();
    files.dedup();
    Ok((files, index.weight_map))
}

fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(Error::io("read", path))
}
