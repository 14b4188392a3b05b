//! Hugging Face checkpoints: `config.json`, safetensors and the tokenizer's files.

mod convert;
mod folder;
mod names;
pub(crate) mod save;
mod shard;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::Value;

use crate::chat::{ChatTemplate, TemplateFiles, special_tokens};
use crate::config::{ModelConfig, add_new};
use crate::error::{Error, Result};
use crate::fs::read_optional;
use crate::tokenizer::Tokenizer;
use names::Index;
pub use save::{NamedTensor, save};
use shard::Shard;

/// Small files that are saved unchanged with the weights.
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
/// let mut embedding = vec![0.0; config.dims.vocab * config.dims.hidden];
/// checkpoint.read_f32("model.embed_tokens.weight", &[config.dims.vocab, config.dims.hidden], &mut embedding)?;
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    config: ModelConfig,
    shards: Vec<Shard>,
    index: Index,
    side_files: Vec<(String, Cow<'static, [u8]>)>,
    tokenizer: OnceLock<Arc<Tokenizer>>,
    remarks: Vec<String>,
}

impl Checkpoint {
    /// Opens the folder of a checkpoint: `config.json` with `model.safetensors`, or with all shards that
    /// `model.safetensors.index.json` names. End tokens are those of `config.json` and `generation_config.json`
    /// together.
    ///
    /// Tensors of a base model, which was saved without its head, may lack the prefix `model.` in their names.
    /// As in `transformers`, an `lm_head.weight` that differs from the embedding is used even if
    /// `tie_word_embeddings` is true. [`Self::remarks`] reports guesses and unused tensors.
    ///
    /// The files must not be changed in place while the checkpoint is open. Replacing them, as [`save`] does, is safe.
    ///
    /// # Errors
    /// Returns [`Error::File`] if the folder is something else, or for a damaged shard or index; [`Error::Io`] for a
    /// missing file; [`Error::File`] or [`Error::Config`] for a bad `config.json`; and [`Error::DuplicateTensor`], [`Error::MissingTensor`] or [`Error::Tensor`] if the names of
    /// the tensors do not fit the configuration or the index.
    pub fn open(path: &Path) -> Result<Self> {
        let config_path = path.join("config.json");
        let config = std::fs::read_to_string(&config_path)
            .map_err(|error| folder::refusal(path).unwrap_or_else(|| Error::io("read", &config_path)(error)))?;
        let config = ModelConfig::from_json(&config, &config_path)?;
        let mut side_files = Vec::new();
        for name in SIDE_FILES {
            if let Some(bytes) = read_optional(&path.join(name))? {
                side_files.push((name.to_owned(), Cow::Owned(bytes)));
            }
        }
        let (files, promised) = weight_files(path)?;
        if promised.is_empty() && files.iter().any(|file| !file.exists()) {
            return Err(folder::refusal(path).unwrap_or(Error::File {
                path: path.to_owned(),
                message: "there is no model.safetensors next to config.json; copy or download the weights".into(),
            }));
        }
        let shards = files.iter().map(|file| Shard::map(file)).collect::<Result<Vec<_>>>()?;
        let checkpoint = Self::assemble(path.to_owned(), config, shards, side_files)?;
        for (name, file) in &promised {
            let file = path.join(file);
            if !checkpoint.shards.iter().any(|shard| *shard.path() == file && shard.holds(name)) {
                return Err(Error::MissingTensor { path: file, name: name.clone(), hint: String::new() });
            }
        }
        Ok(checkpoint)
    }

    /// Opens a checkpoint in memory, for example one compiled into the program. Of the side files it has only
    /// `tokenizer.json`, and therefore no chat template.
    ///
    /// # Errors
    /// Returns the errors of [`Self::open`], except those of the file system.
    pub fn from_bytes(config_json: &str, safetensors: &'static [u8], tokenizer_json: &'static str) -> Result<Self> {
        let path = PathBuf::from("(built-in model)");
        let config = ModelConfig::from_json(config_json, &path.join("config.json"))?;
        let shard = Shard::from_static(&path.join("model.safetensors"), safetensors)?;
        let tokenizer = ("tokenizer.json".to_owned(), Cow::Borrowed(tokenizer_json.as_bytes()));
        Self::assemble(path, config, vec![shard], vec![tokenizer])
    }

    /// Creates a checkpoint without weights from a configuration and side files (those of the tokenizer), for
    /// saving a new model.
    pub fn new(config: ModelConfig, side_files: Vec<(String, Cow<'static, [u8]>)>) -> Self {
        Self {
            path: PathBuf::new(),
            config,
            shards: Vec::new(),
            index: BTreeMap::new(),
            side_files,
            tokenizer: OnceLock::new(),
            remarks: Vec::new(),
        }
    }

    fn assemble(
        path: PathBuf,
        mut config: ModelConfig,
        shards: Vec<Shard>,
        side_files: Vec<(String, Cow<'static, [u8]>)>,
    ) -> Result<Self> {
        let mut index = Index::new();
        for (i, shard) in shards.iter().enumerate() {
            for name in shard.names() {
                if let Some((first, _)) = index.insert(name.clone(), (i, name.clone())) {
                    let (first, second) = (shards[first].path().to_owned(), shard.path().to_owned());
                    return Err(Error::DuplicateTensor { name, first, second });
                }
            }
        }
        if let Some((name, bytes)) = side_files.iter().find(|(name, _)| name == "generation_config.json") {
            config.add_generation_config(&String::from_utf8_lossy(bytes), &path.join(name))?;
        }
        let index = names::unify(index, &path)?;
        let unused = names::unused(&index, &config, &path)?;
        let mut checkpoint = Self { path, shards, index, ..Self::new(config, side_files) };
        if let [first, rest @ ..] = &unused[..] {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            checkpoint
                .remarks
                .push(format!("unused, because no part of a language model reads it: tensor `{first}`{more}"));
        }
        checkpoint.untie()?;
        Ok(checkpoint)
    }

    /// Gives the model its own output matrix if the checkpoint has one that differs from the embedding.
    fn untie(&mut self) -> Result<()> {
        const HEAD: &str = "lm_head.weight";
        if !self.config.dims.tied || !self.contains(HEAD) {
            return Ok(());
        }
        let [embedding, head] =
            ["model.embed_tokens.weight", HEAD].map(|name| self.place(name).map(|(s, n)| s.bytes(n)));
        if embedding? != head? {
            self.config.untie();
            self.remarks.push(format!(
                "`tie_word_embeddings` is true, but `{HEAD}` differs from the embedding: as in transformers, it is used, \
                 trained and saved as a matrix of its own"
            ));
        }
        Ok(())
    }

    /// Returns a sentence for the user about each guess made, and each tensor left out, when the checkpoint was opened.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Returns the folder, or a name in parentheses for a checkpoint in memory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the configuration of this model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns the names of all tensors in this checkpoint, sorted.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.index.keys().map(String::as_str)
    }

    /// Returns whether this checkpoint has a tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// Reads a tensor of this checkpoint into `out` as f32, row-major. f16 and bf16 are converted exactly.
    ///
    /// # Errors
    /// Returns [`Error::MissingTensor`] with similar names, [`Error::Tensor`] if the tensor has another shape or
    /// type, or [`Error::Argument`] if the length of `out` is not the product of `shape`.
    pub fn read_f32(&self, name: &str, shape: &[usize], out: &mut [f32]) -> Result<()> {
        let (shard, name) = self.place(name)?;
        shard.read_f32(name, shape, out)
    }

    /// Returns the tokenizer of `tokenizer.json`, with the tokens that only `tokenizer_config.json` lists. The
    /// files are parsed once.
    ///
    /// # Errors
    /// Returns [`Error::Tokenizer`] if the file is missing or not a tokenizer, or [`Error::File`] if
    /// `tokenizer_config.json` is bad.
    pub fn tokenizer(&self) -> Result<Arc<Tokenizer>> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(Arc::clone(tokenizer));
        }
        let missing = || {
            let path = self.path.display();
            Error::Tokenizer(format!("{path} has no tokenizer.json; copy it from the model's original folder"))
        };
        let mut tokenizer = Tokenizer::from_bytes(self.side_file("tokenizer.json").ok_or_else(missing)?)?;
        tokenizer.add_listed(&self.side_json("tokenizer_config.json")?)?;
        Ok(Arc::clone(self.tokenizer.get_or_init(|| Arc::new(tokenizer))))
    }

    /// Returns the tokens that end a completion.
    ///
    /// The first of them closes a finished text. It is the tokenizer's `eos_token`, with which a chat template closes a
    /// turn, or without one the first of [`ModelConfig::eos_token_ids`]. The others of that list follow.
    ///
    /// # Errors
    /// Returns [`Error::File`] if `tokenizer_config.json` is bad, or the error of [`Self::tokenizer`].
    pub fn end_tokens(&self) -> Result<Vec<u32>> {
        let [config, map] = ["tokenizer_config.json", "special_tokens_map.json"].map(|name| self.side_json(name));
        let tokens = special_tokens(&config?, &map?, |_| None);
        let mut ids = Vec::new();
        if let Some(token) = tokens.get("eos_token").and_then(Value::as_str) {
            ids.extend(self.tokenizer()?.token_id(token));
        }
        add_new(&mut ids, self.config.eos_token_ids.iter().copied());
        Ok(ids)
    }

    /// Returns the rows of the embedding for which the tokenizer has no token, because embeddings are padded to
    /// round sizes. Without a tokenizer, the list is empty.
    ///
    /// # Errors
    /// Returns [`Error::Tokenizer`] if the file is not a tokenizer.
    pub fn unknown_tokens(&self) -> Result<Vec<u32>> {
        if self.side_file("tokenizer.json").is_none() {
            return Ok(Vec::new());
        }
        let tokenizer = self.tokenizer()?;
        Ok((0..self.config.dims.vocab as u32).filter(|&id| !tokenizer.knows(id)).collect())
    }

    /// Returns the chat template of `chat_template.jinja` or `tokenizer_config.json`, if there is one, with the
    /// special tokens of the model.
    ///
    /// # Errors
    /// Returns the error of [`ChatTemplate::from_files`].
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

    /// Returns names and bytes of the files that are saved with the weights, for [`save`].
    pub fn side_files(&self) -> &[(String, Cow<'static, [u8]>)] {
        &self.side_files
    }

    fn side_file(&self, name: &str) -> Option<&[u8]> {
        self.side_files.iter().find(|(other, _)| other == name).map(|(_, bytes)| bytes.as_ref())
    }

    /// Parses a file as JSON; returns null if there is none.
    fn side_json(&self, name: &str) -> Result<Value> {
        match self.side_file(name) {
            Some(bytes) => serde_json::from_slice(bytes).map_err(Error::json(&self.path.join(name))),
            None => Ok(Value::Null),
        }
    }

    /// Returns the shard that holds a tensor, and the tensor's name there.
    fn place(&self, name: &str) -> Result<(&Shard, &str)> {
        let missing = || Error::MissingTensor {
            path: self.path.clone(),
            name: name.to_owned(),
            hint: names::hint(name, self.tensor_names()),
        };
        self.index.get(name).map(|(shard, name)| (&self.shards[*shard], name.as_str())).ok_or_else(missing)
    }
}

/// Returns the files with weights, and the file in which the index promises each tensor.
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
