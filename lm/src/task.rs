//! Prompts as text, judged by a verifier: the bridge between tokens and people.

use std::sync::{Arc, OnceLock};

use flowrl_core::task::{Judgement, Task};

use crate::chat::{ChatTemplate, TemplateOptions};
use crate::countdown::{Problem, Problems};
use crate::error::{Error, Result};
use crate::prompts::PromptRow;
use crate::tokenizer::Tokenizer;
use crate::verify::{self, Verifier};

/// How text becomes tokens and back, and what ends a completion.
#[derive(Clone, Debug)]
pub struct Text {
    tokenizer: Arc<Tokenizer>,
    template: Option<Arc<ChatTemplate>>,
    stop: Vec<u32>,
}

impl Text {
    /// The tokenizer, chat template and end tokens of a checkpoint.
    ///
    /// # Errors
    /// A tokenizer that cannot be read.
    pub fn of(checkpoint: &crate::checkpoint::Checkpoint) -> Result<Self> {
        let tokenizer = Arc::new(checkpoint.tokenizer()?);
        let template = checkpoint.chat_template()?.map(Arc::new);
        Ok(Self { tokenizer, template, stop: checkpoint.config().eos_token_ids.clone() })
    }

    /// Gives the chat template what the user chose for it.
    #[must_use]
    pub fn with_template_options(mut self, options: TemplateOptions) -> Self {
        self.template = self.template.map(|template| Arc::new(Arc::unwrap_or_clone(template).with_options(options)));
        self
    }

    /// The chat template, if the model has one.
    #[must_use]
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_deref()
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The text of a prompt, a conversation through the chat template.
    ///
    /// # Errors
    /// A conversation without a template, or one that the template refuses.
    pub fn render(&self, row: &PromptRow) -> Result<String> {
        row.render(self.template())
    }

    /// The tokens of a prompt, at least one.
    ///
    /// # Errors
    /// As for [`Text::render`]; a prompt without tokens.
    pub fn encode_prompt(&self, row: &PromptRow) -> Result<Vec<u32>> {
        let text = self.render(row)?;
        let tokens = self.tokenizer.encode(&text, false)?;
        if tokens.is_empty() {
            return Err(Error::argument("prompt", format!("{text:?} without a token"), "at least one token"));
        }
        Ok(tokens)
    }

    /// The tokens of a completion that ended by itself.
    ///
    /// # Errors
    /// A text with characters that the tokenizer does not know.
    pub fn encode_completion(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = self.tokenizer.encode(text, false)?;
        tokens.extend(self.stop.first());
        Ok(tokens)
    }

    /// The text of a completion, without its end token.
    #[must_use]
    pub fn decode(&self, completion: &[u32]) -> String {
        let text = match completion.split_last() {
            Some((last, rest)) if self.stop.contains(last) => rest,
            _ => completion,
        };
        self.tokenizer.decode(text, true).unwrap_or_default()
    }
}

/// Where the rows of a [`TextTask`] come from.
#[derive(Debug)]
enum Rows {
    Given(Vec<PromptRow>),
    Countdown { problems: Arc<Problems>, held_out: bool },
}

/// A [`Task`] of prompts as text.
///
/// Prompts are made into tokens when they are first asked for, so that a task of many prompts starts at once.
#[derive(Debug)]
pub struct TextTask {
    text: Text,
    rows: Rows,
    verifier: Box<dyn Verifier>,
    cache: Vec<OnceLock<(PromptRow, Vec<u32>)>>,
}

impl TextTask {
    /// Prompts of a file, which are all checked here.
    ///
    /// # Errors
    /// A row that lacks what the verifier needs, or that cannot be made into tokens.
    pub fn new(text: Text, rows: Vec<PromptRow>, verifier: &str) -> Result<Self> {
        let verifier = verify::by_name(verifier)?;
        for row in &rows {
            let usable = verifier.check(row).and_then(|()| text.encode_prompt(row));
            usable.map_err(|e| Error::Prompt { prompt: row.prompt.question().to_owned(), message: e.to_string() })?;
        }
        let cache = rows.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { text, rows: Rows::Given(rows), verifier, cache })
    }

    /// Generated Countdown problems, the training or the held-out ones.
    ///
    /// # Errors
    /// A tokenizer that does not know the characters of Countdown.
    pub fn countdown(text: Text, problems: Arc<Problems>, held_out: bool) -> Result<Self> {
        text.encode_completion(crate::countdown::ALPHABET)?;
        let count = if held_out { problems.held_out_len() } else { problems.train_len() };
        let cache = (0..count).map(|_| OnceLock::new()).collect();
        Ok(Self { text, rows: Rows::Countdown { problems, held_out }, verifier: Box::new(verify::Countdown), cache })
    }

    /// The row of prompt `index`.
    #[must_use]
    pub fn row(&self, index: usize) -> &PromptRow {
        &self.entry(index).0
    }

    /// How text becomes tokens.
    #[must_use]
    pub const fn text(&self) -> &Text {
        &self.text
    }

    /// The Countdown problem of prompt `index`, whose correct completions can be enumerated.
    #[must_use]
    pub fn problem(&self, index: usize) -> Option<Problem> {
        if self.verifier.name() == verify::Countdown.name() {
            Problem::parse(self.row(index).prompt.question())
        } else {
            None
        }
    }

    fn entry(&self, index: usize) -> &(PromptRow, Vec<u32>) {
        self.cache[index].get_or_init(|| {
            let row = match &self.rows {
                Rows::Given(rows) => rows[index].clone(),
                Rows::Countdown { problems, held_out: true } => PromptRow::text(problems.held_out(index).prompt()),
                Rows::Countdown { problems, held_out: false } => PromptRow::text(problems.train(index).prompt()),
            };
            // Both constructors made sure that every prompt can be encoded.
            let tokens = self.text.encode_prompt(&row).unwrap_or_default();
            (row, tokens)
        })
    }
}

impl Task for TextTask {
    fn prompts(&self) -> usize {
        self.cache.len()
    }

    fn prompt(&self, index: usize) -> &[u32] {
        &self.entry(index).1
    }

    fn judge(&self, index: usize, completion: &[u32], ended: bool) -> Judgement {
        self.verifier.judge(self.row(index), &self.text.decode(completion), ended)
    }
}
