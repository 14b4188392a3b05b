//! Errors in files, names and shapes, with the remedy for each.

use std::path::PathBuf;

use flowrl_core::backend::{Backend, BackendError};

/// The result of functions in this crate that read or check something a user supplied.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error that names the file, line, field or tensor, the value found, and the value wanted.
///
/// ```
/// use flowrl_lm::Error;
/// let error = Error::Line { path: "prompts.jsonl".into(), line: 3, message: "`prompt` is missing".into() };
/// assert_eq!(error.to_string(), "prompts.jsonl:3: `prompt` is missing");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation.
    #[error("cannot {action} {path}: {reason}", path = path.display())]
    Io {
        /// The operation that failed: `read`, `write`, `rename`, …
        action: &'static str,
        /// Path of the file or folder.
        path: PathBuf,
        /// The reason that the system gave.
        reason: std::io::Error,
    },
    /// A file or folder is damaged, or something else than expected.
    #[error("{path}: {message}", path = path.display())]
    File {
        /// Path of the file or folder.
        path: PathBuf,
        /// What is wrong with it, and the remedy if there is one.
        message: String,
    },
    /// A key of a model's `config.json` is missing, or has a value that is not supported.
    #[error("{path}: `{key}` is {got}, but this needs {wanted}", path = path.display())]
    Config {
        /// Path of the file.
        path: PathBuf,
        /// The key, with dots for nested ones: `rope_scaling.factor`.
        key: String,
        /// The value found, as JSON, or `missing`.
        got: String,
        /// The supported values.
        wanted: String,
    },
    /// A tensor that the model needs is not in the checkpoint.
    #[error("{path}: no tensor `{name}`{hint}", path = path.display())]
    MissingTensor {
        /// Path of the checkpoint.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Names that the checkpoint has, as a clause that begins with a semicolon; may be empty.
        hint: String,
    },
    /// A tensor of the checkpoint cannot be used.
    #[error("{path}: tensor `{name}` {message}", path = path.display())]
    Tensor {
        /// Path of the checkpoint or its file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// What is wrong with the tensor, as the rest of a sentence, and the remedy.
        message: String,
    },
    /// Two shards hold a tensor of the same name.
    #[error("tensor `{name}` is in {first} and in {second}: delete the file that does not belong", first = first.display(), second = second.display())]
    DuplicateTensor {
        /// Name of the tensor.
        name: String,
        /// Path of the shard that was read first.
        first: PathBuf,
        /// Path of the other shard.
        second: PathBuf,
    },
    /// The tokenizer could not be loaded, or could not encode or decode a text, for this reason.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A chat template could not be parsed or rendered, for this reason.
    #[error("chat template: {0}")]
    Template(String),
    /// A line of a JSONL file is wrong.
    #[error("{path}:{line}: {message}", path = path.display())]
    Line {
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, counted from 1.
        line: usize,
        /// The mistake and its remedy.
        message: String,
    },
    /// A prompt cannot be used.
    #[error("{}prompt {:?}: {message}", at(place), short(prompt))]
    Prompt {
        /// The file and line of the prompt; empty if it is from no file.
        place: String,
        /// The question that the prompt asks.
        prompt: String,
        /// The mistake in its row and the remedy.
        message: String,
    },
    /// An argument of a function is out of range.
    #[error("`{name}` is {got}, but must be {wanted}")]
    Argument {
        /// Name of the argument.
        name: &'static str,
        /// Value of the argument.
        got: String,
        /// The values allowed.
        wanted: String,
    },
}

/// Returns a place with a colon, or an empty text for none.
fn at(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!("{place}: ") }
}

/// Returns the first 60 characters of a text, for an error message.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Error {
    /// Returns a function that wraps a system error on `path`.
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |reason| Self::Io { action, path, reason }
    }

    /// Returns a function that wraps a JSON error in `path`.
    pub(crate) fn json(path: &std::path::Path) -> impl FnOnce(serde_json::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::File { path, message: format!("not the expected JSON: {error}") }
    }

    /// Creates the error for a damaged safetensors file.
    pub(crate) fn safetensors(path: &std::path::Path, reason: impl std::fmt::Display) -> Self {
        let message = format!("not a complete safetensors file ({reason}); copy or download it again");
        Self::File { path: path.to_owned(), message }
    }

    /// Creates the error for an argument out of range.
    pub(crate) fn argument(name: &'static str, got: impl ToString, wanted: impl ToString) -> Self {
        Self::Argument { name, got: got.to_string(), wanted: wanted.to_string() }
    }
}

/// The result of functions of a transformer policy on a device `B`.
pub type PolicyResult<T, B> = Result<T, PolicyError<<B as Backend>::Error>>;

/// An error of a transformer policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError<E: BackendError> {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] E),
    /// The checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] Error),
    /// A prompt has no tokens.
    #[error("prompt {index} has no tokens; a prompt needs at least one")]
    EmptyPrompt {
        /// Index of the prompt in the batch.
        index: usize,
    },
    /// A token is not in the vocabulary.
    #[error(
        "{what} {index} holds token {token}, but the vocabulary has {vocab} tokens: does the tokenizer belong to the model?"
    )]
    UnknownToken {
        /// `prompt` or `completion`.
        what: &'static str,
        /// Index of the prompt or completion in the batch.
        index: usize,
        /// The token that is out of range.
        token: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The reference was used after it had been dropped.
    #[error("there is no reference: it was dropped because the objective was said not to need it")]
    NoReference,
    /// A list has the wrong length.
    #[error("`{argument}` has {got} entries, but needs {wanted}")]
    Length {
        /// Name of the argument.
        argument: &'static str,
        /// Length of the list.
        got: usize,
        /// The length it should have.
        wanted: usize,
    },
    /// A completion refers to a prompt that does not exist.
    #[error("`prompt_of[{completion}]` is {got}, but there are {prompts} prompts")]
    PromptOf {
        /// Index of the completion in the batch.
        completion: usize,
        /// The prompt it refers to.
        got: usize,
        /// Number of prompts.
        prompts: usize,
    },
    /// Sampling or scoring was interrupted, see [`Limits::interrupt`](crate::Limits::interrupt).
    #[error("the policy was interrupted")]
    Interrupted(#[source] Interrupted),
    /// A backward pass was called without its forward pass.
    #[error("`backward` needs a `forward` pass before it")]
    NoForward,
}

/// The cause of [`PolicyError::Interrupted`], independent of the device, so that callers can find it among the
/// causes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the caller asked to stop")]
pub struct Interrupted;
