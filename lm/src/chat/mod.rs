//! Rendering of chat messages to the text a model was trained on, with the Jinja template that comes with its
//! tokenizer.

mod date;
mod inputs;
mod json;
mod message;
mod python;
mod source;
mod string;
mod tokens;

pub(crate) use tokens::read as special_tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::io::Write;

use minijinja::value::Serde;
use minijinja::{ErrorKind, Value as Jinja};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
pub use date::Date;
pub use inputs::{ChatInputs, TemplateOptions};
pub use message::Message;
use source::{LIMITS, Limits, Source};

/// Appended to a last message that is continued, to find where it ends. The space shows whether the template trims.
const MARK: &str = "FLOWRL_CONTINUES_HERE ";

/// A chat template, rendered as `transformers` renders it.
///
/// A template is parsed when a conversation is first rendered. Until then, a mistake in it does not matter.
///
/// ```
/// use flowrl_lm::chat::{ChatInputs, ChatTemplate, Message};
/// let template = ChatTemplate::new("{% for m in messages %}<{{ m.role }}>{{ m.content.strip() }}{% endfor %}");
/// assert_eq!(template.render(&[Message::user(" 2+2? ")], &ChatInputs::default())?, "<user>2+2?");
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    /// Templates by name, or the reason why they cannot be used.
    sources: Result<BTreeMap<String, Source>, String>,
    tokens: Map<String, Value>,
    options: TemplateOptions,
    limits: Limits,
}

/// The texts of the files from which a model's chat template is read, as far as they exist.
#[derive(Clone, Copy, Debug, Default)]
pub struct TemplateFiles<'a> {
    /// `tokenizer_config.json`, which may have a template and special tokens.
    pub tokenizer_config: Option<&'a str>,
    /// `special_tokens_map.json`, which has special tokens.
    pub special_tokens_map: Option<&'a str>,
    /// `chat_template.jinja`, whose template takes precedence, as in `transformers`.
    pub jinja: Option<&'a str>,
}

impl ChatTemplate {
    /// Creates a template without special tokens.
    pub fn new(source: &str) -> Self {
        let sources = Ok(BTreeMap::from([("default".to_owned(), Source::new(source))]));
        Self { sources, tokens: Map::new(), options: TemplateOptions::default(), limits: LIMITS }
    }

    /// Creates the template of a model, or returns [`None`] if no file has one. `by_id` looks up a special
    /// token that the files do not mention, given its name such as `bos_token`.
    ///
    /// # Errors
    /// Returns [`Error::File`] if a file is not JSON. A bad template is an error only when it is rendered.
    pub fn from_files(files: TemplateFiles<'_>, by_id: impl Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let json = |name: &str, text: Option<&str>| match text {
            Some(text) => serde_json::from_str::<Value>(text).map_err(Error::json(name.as_ref())),
            None => Ok(Value::Null),
        };
        let config = json("tokenizer_config.json", files.tokenizer_config)?;
        let map = json("special_tokens_map.json", files.special_tokens_map)?;
        let template = match (files.jinja, &config["chat_template"]) {
            (Some(source), _) => Self::new(source),
            (None, Value::Null) => return Ok(None),
            (None, Value::String(source)) => Self::new(source),
            (None, named) => Self { sources: source::named(named), ..Self::new("") },
        };
        Ok(Some(Self { tokens: tokens::read(&config, &map, by_id), ..template }))
    }

    /// Sets the user's options for this template.
    #[must_use]
    pub fn with_options(self, options: TemplateOptions) -> Self {
        Self { options, ..self }
    }

    /// Returns the user's options for this template.
    pub const fn options(&self) -> &TemplateOptions {
        &self.options
    }

    /// Returns the date that this template gets: the one set by the user, or today's.
    pub fn date(&self) -> Date {
        self.options.date.unwrap_or_else(Date::today)
    }

    /// Returns whether prompts of this template may depend on the date.
    pub fn uses_date(&self) -> bool {
        self.sources.iter().flatten().any(|(_, source)| source.text.contains("strftime_now"))
    }

    /// Returns the special tokens that this template refers to and that are unknown. As in `transformers`, they
    /// are rendered as an empty text.
    pub fn unknown_tokens(&self) -> Vec<&'static str> {
        let named = self.sources.iter().flatten().flat_map(|(_, source)| source.named_tokens(self.limits));
        let is_known = |name: &str| self.tokens.contains_key(name) || self.options.variables.contains_key(name);
        let unknown: BTreeSet<_> = named.copied().filter(|name| !is_known(name)).collect();
        unknown.into_iter().collect()
    }

    /// Returns the variables, tools, tool calls and documents of a conversation that no template refers to, so
    /// that they change nothing.
    pub fn unused<'a>(&'a self, messages: &[Message], inputs: &'a ChatInputs) -> Vec<&'a str> {
        let variables = inputs.chat_template_kwargs.as_object().into_iter().flatten().chain(&self.options.variables);
        let calls = messages.iter().any(Message::calls_tools).then_some("tool_calls");
        let lists = inputs.names().filter(|name| *name != "chat_template_kwargs").chain(calls);
        let mentions = |name: &str| self.sources.iter().flatten().any(|(_, source)| source.mentions(name));
        let mut names: Vec<&str> = variables.map(|(name, _)| name.as_str()).collect();
        names.extend(lists.map(|name: &'static str| -> &'a str { name }));
        names.retain(|name| !mentions(name));
        names
    }

    /// Renders the prompt text of a conversation with this template.
    ///
    /// The text ends with the assistant's turn opened. If the last message is the assistant's, the text ends
    /// with that message, to be continued.
    ///
    /// # Errors
    /// Returns [`Error::Template`] if the template has a mistake, raises an exception (for example for a role it does
    /// not know), uses something that is not supported or exceeds a limit, and if the last message cannot be continued.
    pub fn render(&self, messages: &[Message], inputs: &ChatInputs) -> Result<String> {
        let continued = messages.last().filter(|message| message.role() == "assistant");
        let mut messages = messages.to_vec();
        if let (Some(message), Some(last)) = (continued, messages.last_mut()) {
            if message.calls_tools() || message.text().trim().is_empty() {
                return Err(Error::Template(
                    "the last message is the assistant's, but holds no text to continue: add the answer to it, or leave it out"
                        .into(),
                ));
            }
            *last = message.marked(MARK);
        }
        let text = self.run(&messages, inputs, continued.is_none())?;
        let Some(message) = continued else { return Ok(text) };
        match text.split_once(MARK.trim_end()) {
            // A second mark would stay in the prompt.
            Some((kept, rest))
                if !rest.contains(MARK.trim_end()) && (kept.contains(message.text().trim()) || message.has_parts()) =>
            {
                // A template that trims the message has removed the space after the mark.
                Ok(if rest.starts_with(' ') { kept } else { kept.trim_end() }.to_owned())
            }
            _ => Err(Error::Template(
                "the last message is the assistant's, but the template does not print it unchanged and exactly \
                 once, so it cannot be continued; end the conversation with another role"
                    .into(),
            )),
        }
    }

    /// Renders the messages as they are.
    fn run(&self, messages: &[Message], inputs: &ChatInputs, add_generation_prompt: bool) -> Result<String> {
        let environment = self.source(inputs)?.environment(self.limits)?;
        let template = environment.get_template(Source::NAME).map_err(|error| Error::Template(error.to_string()))?;
        let date = self.date();
        let strftime_now =
            move |format: &str| date.format(format).map_err(|why| string::invalid(format!("strftime_now: {why}")));
        let mut context = BTreeMap::from([("strftime_now", Jinja::from_function(strftime_now))]);
        let row = inputs.chat_template_kwargs.as_object();
        for (name, value) in self.tokens.iter().chain(&self.options.variables).chain(row.into_iter().flatten()) {
            context.insert(name.as_str(), Jinja::from(Serde(value)));
        }
        let objects: Vec<_> = messages.iter().map(Message::for_template).collect();
        context.insert("messages", Jinja::from(Serde(&objects)));
        // As in transformers, both are none if a row has none, because templates test for that.
        context.insert("tools", Jinja::from(Serde(&inputs.tools)));
        context.insert("documents", Jinja::from(Serde(&inputs.documents)));
        context.insert("add_generation_prompt", Jinja::from(add_generation_prompt));
        let mut text = Limited { bytes: Vec::new(), most: self.limits.bytes };
        let rendered = template.render_captured_to(context, &mut text).map(drop);
        let parts = messages.iter().zip(&objects).filter(|(message, _)| message.has_parts());
        let mut parts = parts.map(|(_, object)| Jinja::from(Serde(&object["content"])).to_string());
        if let Err(error) = rendered {
            let hint = "; `content` is a list of parts: this template may want it as one string";
            return Err(Error::Template(self.describe(&error) + if parts.next().is_some() { hint } else { "" }));
        }
        let text = String::from_utf8(text.bytes).map_err(|error| Error::Template(error.to_string()))?;
        if parts.any(|list| text.contains(&list)) {
            return Err(Error::Template(
                "the template prints a list of parts as it stands: write `content` as one string".into(),
            ));
        }
        Ok(text)
    }

    /// Returns the template for a conversation: the one for tools if there are tools and the model has such a template.
    fn source(&self, inputs: &ChatInputs) -> Result<&Source> {
        let sources = self.sources.as_ref().map_err(|message| Error::Template(message.clone()))?;
        let for_tools = sources.get("tool_use").filter(|_| !inputs.tools.is_null());
        for_tools.or_else(|| sources.get("default")).ok_or_else(|| {
            let names: Vec<_> = sources.keys().map(|name| format!("`{name}`")).collect();
            let names = names.join(", ");
            Error::Template(format!("none of the model's templates is named `default`; their names are {names}"))
        })
    }

    /// Describes an error, in our own words if a limit was exceeded or the template raised an exception.
    fn describe(&self, error: &minijinja::Error) -> String {
        let Limits { instructions, bytes } = self.limits;
        let mut sources = std::iter::successors(error.source(), |&source| source.source());
        let raised = sources.find_map(|source| source.downcast_ref::<python::Raised>());
        match (raised, error.kind()) {
            (Some(raised), _) => format!("the template refuses the conversation: {raised}"),
            (None, ErrorKind::OutOfFuel) => format!(
                "more than {instructions} instructions for one conversation: the template has a loop without an end, or the \
                 conversation is far too long"
            ),
            (None, ErrorKind::WriteFailure) => {
                format!("one conversation renders to more than {} MiB of text", bytes >> 20)
            }
            _ => error.to_string(),
        }
    }
}

/// A writer that fails after a number of bytes.
struct Limited {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
