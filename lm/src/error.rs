//! What can go wrong with files, names and shapes, and what to do about it.

use std::path::PathBuf;

/// The result of everything in this crate that reads or checks something a user supplied.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the file, line, field or tensor, what was found, and what was wanted.
///
/// ```
/// use flowrl_lm::Error;
/// let error = Error::Line { path: "prompts.jsonl".into(), line: 3, message: "`prompt` is missing".into() };
/// assert_eq!(error.to_string(), "prompts.jsonl:3: `prompt` is missing");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {path}: {reason}", path = path.display())]
    Io {
        /// What was being done: `read`, `write`, `rename`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// A file that should be JSON is not, or has the wrong structure.
    #[error("{path}: not the expected JSON: {message}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's reason, with line and column.
        message: String,
    },
    /// A key of a model's `config.json` has a value that is missing or not supported.
    #[error("{path}: `{key}` is {got}, but this needs {wanted}", path = path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The key, with dots for nested ones: `rope_scaling.factor`.
        key: String,
        /// The value found, as JSON, or `missing`.
        got: String,
        /// What is supported.
        wanted: String,
    },
    /// A safetensors file is damaged.
    #[error("{path}: not a complete safetensors file ({message}); copy or download it again", path = path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the format check said.
        message: String,
    },
    /// A tensor that the model needs is not in the checkpoint.
    #[error("{path}: no tensor `{name}`{hint}", path = path.display())]
    MissingTensor {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// "; near it are …" with names that are there, or nothing.
        hint: String,
    },
    /// A tensor is in the checkpoint that would change the computation, but the configuration knows of no such part.
    #[error(
        "{path}: tensor `{name}`{} would be ignored, because {reason}; the numbers would not be the model's: correct \
         config.json, or delete the tensor",
        others(*more),
        path = path.display()
    )]
    UnwantedTensor {
        /// The checkpoint.
        path: PathBuf,
        /// The first such tensor.
        name: String,
        /// How many more there are.
        more: usize,
        /// What the configuration says.
        reason: String,
    },
    /// All names of tensors begin with something that is not the model's.
    #[error(
        "{path}: the names of the tensors begin with `{prefix}`, which a wrapper of the model put there; save the model itself \
         (torch.compile: `model._orig_mod`; PEFT: `merge_and_unload()`), or remove `{prefix}` from the names",
        path = path.display()
    )]
    Prefix {
        /// The checkpoint.
        path: PathBuf,
        /// What they begin with.
        prefix: String,
    },
    /// A weight is NaN or infinite.
    #[error(
        "{path}: tensor `{name}` has {got} at element {index}: the weights are damaged, and every number computed from them would \
         be; take an earlier checkpoint, or copy the file again",
        path = path.display()
    )]
    NotFinite {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// Where in it, row-major.
        index: usize,
        /// The value.
        got: f32,
    },
    /// A path that should be a checkpoint is something else.
    #[error("{path}: {message}", path = path.display())]
    NoCheckpoint {
        /// The path.
        path: PathBuf,
        /// What it is, and what to do.
        message: String,
    },
    /// Two shards hold a tensor of the same name.
    #[error("tensor `{name}` is in {first} and in {second}: delete the file that does not belong", first = first.display(), second = second.display())]
    DuplicateTensor {
        /// The tensor's name.
        name: String,
        /// The shard read first.
        first: PathBuf,
        /// The other shard.
        second: PathBuf,
    },
    /// A tensor has another shape than the model's configuration implies.
    #[error("{path}: tensor `{name}` has shape {got:?}, but the model needs {wanted:?}; do config.json and weights belong together?", path = path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape in the file.
        got: Vec<usize>,
        /// The shape asked for.
        wanted: Vec<usize>,
    },
    /// A tensor is stored as something other than f32, f16 or bf16.
    #[error("{path}: tensor `{name}` is stored as {got}; F32, F16 and BF16 can be read, so convert it to one of them", path = path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The type in the file.
        got: String,
    },
    /// The tokenizer could not be loaded, or could not encode or decode a text.
    #[error("tokenizer: {message}")]
    Tokenizer {
        /// The reason.
        message: String,
    },
    /// A chat template could not be parsed or rendered.
    #[error("chat template: {message}")]
    Template {
        /// The reason.
        message: String,
    },
    /// A line of a JSONL file is wrong.
    #[error("{path}:{line}: {message}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong and what to do.
        message: String,
    },
    /// A prompt cannot be used.
    #[error("{}prompt {:?}: {message}", at_line(*line), short(prompt))]
    Prompt {
        /// The line of its file, counted from 1; 0 where no file held it.
        line: usize,
        /// What was asked.
        prompt: String,
        /// What is wrong with its row and what to do.
        message: String,
    },
    /// An argument of a function is out of range.
    #[error("`{name}` is {got}, but must be {wanted}")]
    Argument {
        /// The argument.
        name: &'static str,
        /// Its value.
        got: String,
        /// The values allowed.
        wanted: String,
    },
}

/// "line 3: ", or nothing.
fn at_line(line: usize) -> String {
    if line == 0 { String::new() } else { format!("line {line}: ") }
}

/// The first 60 characters of a text.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// " (and 3 more)", or nothing.
fn others(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more)") }
}

impl Error {
    /// The same, with the name of the file where it has a line alone.
    #[must_use]
    pub fn in_file(self, path: &std::path::Path) -> Self {
        match self {
            Self::Prompt { line, prompt, message } if line > 0 => Self::Line {
                path: path.to_owned(),
                line,
                message: Self::Prompt { line: 0, prompt, message }.to_string(),
            },
            other => other,
        }
    }

    /// Wraps a system error on `path`.
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |reason| Self::Io { action, path, reason }
    }

    /// Wraps a JSON error in `path`.
    pub(crate) fn json(path: &std::path::Path) -> impl FnOnce(serde_json::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Json { path, message: error.to_string() }
    }

    /// An argument out of range.
    pub(crate) fn argument(name: &'static str, got: impl ToString, wanted: impl ToString) -> Self {
        Self::Argument { name, got: got.to_string(), wanted: wanted.to_string() }
    }
}
