//! Prompts as text, judged by a verifier.

use std::sync::{Arc, OnceLock};

use flowrl_core::task::{Attempt, JudgeError, Judgement, Task};

use crate::chat::{ChatTemplate, TemplateOptions};
use crate::countdown::{Problem, Problems};
use crate::error::{Error, Result};
use crate::generate::StopRule;
use crate::prompts::{Prompt, PromptRow};
use crate::tokenizer::Tokenizer;
use crate::verify::{self, Verifier};

/// The conversion between text and tokens, and the rules that end a completion.
#[derive(Clone, Debug)]
pub struct Text {
    tokenizer: Arc<Tokenizer>,
    template: Option<Arc<ChatTemplate>>,
    /// End tokens, the first of which closes a finished text.
    end: Vec<u32>,
    /// Texts that end a completion.
    stop: Vec<String>,
    /// Whether the tokenizer puts special tokens around a text.
    adds_special: bool,
}

impl Text {
    /// Reads the tokenizer, chat template and end tokens of a checkpoint.
    ///
    /// # Errors
    /// Returns an error if the tokenizer or the chat template's files cannot be read.
    pub fn of(checkpoint: &crate::checkpoint::Checkpoint) -> Result<Self> {
        let tokenizer = checkpoint.tokenizer()?;
        let template = checkpoint.chat_template()?.map(Arc::new);
        let adds_special = !tokenizer.encode("", true)?.is_empty();
        Ok(Self { tokenizer, template, end: checkpoint.end_tokens()?, stop: Vec::new(), adds_special })
    }

    /// Sets texts each of which ends a completion too. Completions are judged by the text before the first of them.
    ///
    /// # Errors
    /// Returns an error if a text is empty.
    pub fn with_stop(self, stop: Vec<String>) -> Result<Self> {
        if stop.iter().any(String::is_empty) {
            return Err(Error::argument("stop", "\"\"", "texts of at least one character"));
        }
        Ok(Self { stop, ..self })
    }

    /// Returns the tokens that end a completion of this model, the first of which closes a finished text.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end
    }

    /// Passes the user's options to the chat template.
    #[must_use]
    pub fn with_template_options(mut self, options: TemplateOptions) -> Self {
        self.template = self.template.map(|template| Arc::new(Arc::unwrap_or_clone(template).with_options(options)));
        self
    }

    /// Returns the chat template, if this model has one.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_deref()
    }

    /// Returns the tokenizer of this model.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Returns the text of a prompt, rendering a conversation with the chat template.
    ///
    /// # Errors
    /// Returns an error if there is no template for a conversation, or the template refuses it.
    pub fn render(&self, row: &PromptRow) -> Result<String> {
        row.render(self.template())
    }

    /// Encodes a prompt for this model, as at least one token.
    ///
    /// A text gets the special tokens that the tokenizer puts before it, such as Llama's begin token, unless it
    /// already begins with them. A conversation gets only those that its template writes.
    ///
    /// # Errors
    /// Returns an error if the prompt cannot be rendered or encoded, or has no tokens.
    pub fn encode_prompt(&self, row: &PromptRow) -> Result<Vec<u32>> {
        let text = self.render(row)?;
        let mut tokens = self.tokenizer.encode(&text, false)?;
        if self.adds_special && matches!(row.prompt, Prompt::Text(_)) {
            let whole = self.tokenizer.encode(&text, true)?;
            if tokens.is_empty() && whole.len() == 1 {
                return Ok(whole);
            }
            // Special tokens after the text are left out, because they would end the prompt before its completion.
            let before = (0..=whole.len().saturating_sub(tokens.len()))
                .find(|&at| whole[at..].starts_with(&tokens))
                .unwrap_or(0);
            if !tokens.starts_with(&whole[..before]) {
                tokens.splice(0..0, whole[..before].iter().copied());
            }
        }
        if tokens.is_empty() {
            return Err(Error::argument("prompt", format!("{text:?} without a token"), "at least one token"));
        }
        Ok(tokens)
    }

    /// Encodes a completion; `ended` adds the end token, for one that was not cut off.
    ///
    /// # Errors
    /// Returns an error if the tokenizer does not know a character of the text.
    pub fn encode_completion(&self, text: &str, ended: bool) -> Result<Vec<u32>> {
        let mut tokens = self.tokenizer.encode(text, false)?;
        tokens.extend(self.end.first().filter(|_| ended));
        Ok(tokens)
    }

    /// Returns whether the user has set texts that end a completion.
    pub(crate) fn has_stop(&self) -> bool {
        !self.stop.is_empty()
    }

    /// Returns the text of a completion without its end token, up to the first stop text. Ids that the
    /// tokenizer does not have are left out.
    pub fn decode(&self, completion: &[u32]) -> String {
        let tokens = match completion.split_last() {
            Some((last, rest)) if self.end.contains(last) => rest,
            _ => completion,
        };
        let mut text = self.decode_known(tokens);
        if let Some(end) = self.stop.iter().filter_map(|stop| text.find(stop)).min() {
            text.truncate(end);
        }
        text
    }

    fn decode_known(&self, tokens: &[u32]) -> String {
        let known: Vec<u32> = tokens.iter().copied().filter(|&id| self.tokenizer.knows(id)).collect();
        self.tokenizer.decode(&known, true).unwrap_or_default()
    }
}

impl StopRule for Text {
    /// Returns whether the last token completed one of the stop texts, or is one.
    fn is_met(&self, completion: &[u32]) -> bool {
        let Some(longest) = self.stop.iter().map(String::len).max() else { return false };
        // A token adds at least one byte of text, unless it is special. How the first one is written depends on
        // the one before it, so the tail is somewhat longer.
        let tail = &completion[completion.len().saturating_sub(longest + 2)..];
        let text = self.decode_known(tail);
        // A special token such as `<|im_end|>` is not part of the decoded text.
        let is_last = |stop: &String| self.tokenizer.token_id(stop).is_some_and(|id| completion.last() == Some(&id));
        self.stop.iter().any(|stop| text.contains(stop) || is_last(stop))
    }
}

/// The treatment of prompts that are longer than a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LongPrompts {
    /// The first of them is an error.
    #[default]
    Error,
    /// They are left out.
    Drop,
    /// Only their last tokens are kept.
    Truncate,
}

/// A [`Task`] of prompts as text.
#[derive(Debug)]
pub struct TextTask {
    text: Text,
    verifier: Box<dyn Verifier>,
    /// Rows and their tokens. Generated ones are filled in when they are first used, so that many of them cost nothing
    /// at the start.
    prompts: Vec<OnceLock<(PromptRow, Vec<u32>)>>,
    /// The source of generated prompts, and whether they are the held-out ones.
    generated: Option<(Arc<Problems>, bool)>,
}

impl TextTask {
    /// Creates a task from prompts, all of which are checked here, and a verifier: one of [`verify::by_name`] or your
    /// own.
    ///
    /// # Errors
    /// Returns an error if a row lacks the fields that the verifier needs, or if a prompt cannot be encoded.
    pub fn new(text: Text, rows: Vec<PromptRow>, verifier: Box<dyn Verifier>) -> Result<Self> {
        let mut prompts = Vec::with_capacity(rows.len());
        for row in rows {
            let refusal = |message: String| {
                let prompt = row.prompt.question().to_owned();
                Error::Prompt { place: row.origin.to_string(), prompt, message }
            };
            verifier.check(&row).map_err(|error| {
                let keys = &row.origin.keys;
                let is_missing = !keys.is_empty() && matches!(error, Error::Argument { name: "answer", .. });
                let there = format!("; the row has {keys}: name the answer's key with --answer-key");
                refusal(if is_missing { format!("{error}{there}") } else { error.to_string() })
            })?;
            let tokens = text.encode_prompt(&row).map_err(|error| refusal(error.to_string()))?;
            prompts.push(OnceLock::from((row, tokens)));
        }
        Ok(Self { text, verifier, prompts, generated: None })
    }

    /// Creates a task of generated Countdown problems, either the training or the held-out ones.
    ///
    /// # Errors
    /// Returns an error if the tokenizer does not know the characters of Countdown.
    pub fn countdown(text: Text, problems: Arc<Problems>, held_out: bool) -> Result<Self> {
        text.encode_completion(crate::countdown::ALPHABET, true)?;
        let count = if held_out { problems.held_out_len() } else { problems.train_len() };
        let prompts = vec![OnceLock::new(); count];
        Ok(Self { text, verifier: Box::new(verify::Countdown), prompts, generated: Some((problems, held_out)) })
    }

    /// Treats the prompts of more than `limit` tokens, and returns their numbers. Those that are dropped no longer count:
    /// the prompts after them move up. Generated prompts stay as they are.
    ///
    /// # Errors
    /// Returns [`Error::Prompt`] for the first long prompt if `policy` says so, or [`Error::Argument`] if `limit` is 0.
    pub fn limit_prompts(&mut self, limit: usize, policy: LongPrompts) -> Result<Vec<usize>> {
        if limit == 0 {
            return Err(Error::argument("max_prompt_tokens", 0, "at least 1"));
        }
        let is_long =
            |entry: &OnceLock<(PromptRow, Vec<u32>)>| entry.get().is_some_and(|(_, tokens)| tokens.len() > limit);
        let long: Vec<usize> = (0..self.prompts.len()).filter(|&i| is_long(&self.prompts[i])).collect();
        let Some(first) = long.first().and_then(|&first| self.prompts[first].get()) else { return Ok(long) };
        match policy {
            LongPrompts::Error => {
                let (row, tokens) = first;
                return Err(Error::Prompt {
                    place: row.origin.to_string(),
                    prompt: row.prompt.question().to_owned(),
                    message: format!(
                        "{} tokens, more than the {limit} of max_prompt_tokens; shorten it, raise the limit, or set \
                         long_prompts to drop or truncate",
                        tokens.len()
                    ),
                });
            }
            LongPrompts::Drop => self.prompts.retain(|entry| !is_long(entry)),
            LongPrompts::Truncate => {
                for (_, tokens) in self.prompts.iter_mut().filter_map(OnceLock::get_mut) {
                    tokens.drain(..tokens.len().saturating_sub(limit));
                }
            }
        }
        Ok(long)
    }

    /// Returns the row of prompt `index`.
    pub fn row(&self, index: usize) -> &PromptRow {
        &self.entry(index).0
    }

    /// Returns whether this task generates its prompts on demand.
    pub const fn is_generated(&self) -> bool {
        self.generated.is_some()
    }

    /// Returns the verifier of this task.
    pub fn verifier(&self) -> &dyn Verifier {
        &*self.verifier
    }

    /// Returns the conversion between text and tokens that this task uses.
    pub const fn text(&self) -> &Text {
        &self.text
    }

    /// Returns the Countdown problem of prompt `index`, whose correct completions can be enumerated, or
    /// [`None`] for another verifier.
    pub fn problem(&self, index: usize) -> Option<Problem> {
        if self.verifier.name() == verify::Countdown.name() {
            Problem::parse(self.row(index).prompt.question())
        } else {
            None
        }
    }

    fn entry(&self, index: usize) -> &(PromptRow, Vec<u32>) {
        self.prompts[index].get_or_init(|| {
            let (problems, held_out) = self.generated.as_ref().expect("prompts that were given are there");
            let problem = if *held_out { problems.held_out(index) } else { problems.train(index) };
            let row = PromptRow::text(problem.prompt());
            let tokens = self.text.encode_prompt(&row).expect("the constructor encoded every character");
            (row, tokens)
        })
    }
}

impl Task for TextTask {
    fn prompts(&self) -> usize {
        self.prompts.len()
    }

    fn prompt(&self, index: usize) -> &[u32] {
        &self.entry(index).1
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        let completion = self.text.decode(attempt.completion);
        self.verifier.judge(verify::Attempt {
            row: self.row(attempt.prompt),
            completion: &completion,
            ended: attempt.ended,
            tokens: attempt.completion.len(),
        })
    }

    fn judge_batch(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        let texts: Vec<String> = attempts.iter().map(|attempt| self.text.decode(attempt.completion)).collect();
        let pairs = attempts.iter().zip(&texts);
        let rows = pairs.map(|(attempt, text)| verify::Attempt {
            row: self.row(attempt.prompt),
            completion: text,
            ended: attempt.ended,
            tokens: attempt.completion.len(),
        });
        self.verifier.judge_batch(&rows.collect::<Vec<_>>())
    }
}
