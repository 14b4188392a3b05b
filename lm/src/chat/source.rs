//! The source of a template: its conversion to the dialect of the engine, and the parsed template.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use serde_json::Value;

use super::{python, tokens};
use crate::error::{Error, Result};

/// Limits of one rendering, which stop endless templates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Instructions of the template engine.
    pub(super) instructions: u64,
    /// Bytes of rendered text.
    pub(super) bytes: usize,
}

pub(super) const LIMITS: Limits = Limits { instructions: 50_000_000, bytes: 16 << 20 };

#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) text: String,
    parsed: OnceLock<Result<Environment<'static>, String>>,
    /// The special tokens that this template refers to.
    named: OnceLock<Vec<&'static str>>,
}

impl Source {
    /// Name of the only template in an environment.
    pub(super) const NAME: &'static str = "chat_template";

    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), parsed: OnceLock::new(), named: OnceLock::new() }
    }

    pub(super) fn environment(&self, limits: Limits) -> Result<&Environment<'static>> {
        let parsed = self.parsed.get_or_init(|| {
            let mut environment = Environment::new();
            environment.set_fuel(Some(limits.instructions));
            let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
            environment.set_syntax(syntax.map_err(|error| error.to_string())?);
            python::install(&mut environment);
            let added = environment.add_template_owned(Self::NAME, prepare(&self.text));
            added.map_err(|error| error.to_string()).map(|()| environment)
        });
        parsed.as_ref().map_err(|message| Error::Template(message.clone()))
    }

    /// Returns whether the text has the name as a whole word.
    pub(super) fn mentions(&self, name: &str) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        self.text.match_indices(name).any(|(at, _)| {
            let (before, after) = (&self.text[..at], &self.text[at + name.len()..]);
            !before.ends_with(is_part) && !after.starts_with(is_part)
        })
    }

    pub(super) fn named_tokens(&self, limits: Limits) -> &[&'static str] {
        self.named.get_or_init(|| {
            let environment = self.environment(limits).ok();
            let template = environment.and_then(|environment| environment.get_template(Self::NAME).ok());
            let variables = template.map(|template| template.undeclared_variables(false)).unwrap_or_default();
            tokens::NAMES.into_iter().filter(|name| variables.contains(*name)).collect()
        })
    }
}

/// Reads named templates from a list of `{"name", "template"}` or from an object by name.
pub(super) fn named(value: &Value) -> Result<BTreeMap<String, Source>, String> {
    let pairs: Option<Vec<_>> = match value {
        Value::Array(list) => list.iter().map(|entry| entry["name"].as_str().zip(entry["template"].as_str())).collect(),
        Value::Object(map) => map.iter().map(|(name, template)| Some((name.as_str(), template.as_str()?))).collect(),
        _ => None,
    };
    let pairs = pairs.ok_or(
        "`chat_template` in tokenizer_config.json is neither a string nor named templates (a list of {\"name\", \"template\"}, \
         or an object)",
    )?;
    Ok(pairs.into_iter().map(|(name, template)| (name.to_owned(), Source::new(template))).collect())
}

/// Normalises line ends to `\n`, as Jinja does, and converts `{% generation %}` blocks to blocks that only
/// print their content.
///
/// With these blocks `transformers` marks the tokens of the assistant. They have a scope of their own and obey
/// white-space control like any other block, so each becomes a `with` block without assignments. Lines keep
/// their numbers.
fn prepare(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(at) = rest.find('{') {
        out += &rest[..at];
        rest = &rest[at..];
        let length = match rest.as_bytes().get(1) {
            Some(b'#') => rest.find("#}").map_or(rest.len(), |end| end + 2),
            Some(b'{') => tag_length(rest, "}}"),
            Some(b'%') => tag_length(rest, "%}"),
            _ => 1,
        };
        let (tag, after) = rest.split_at(length);
        rest = after;
        match tag.strip_prefix("{%").and_then(statement) {
            Some("generation") => out += &tag.replace("generation", "with"),
            Some("endgeneration") => out += &tag.replace("endgeneration", "endwith"),
            Some("raw") => {
                let length = end_of_raw(rest);
                out += tag;
                out += &rest[..length];
                rest = &rest[length..];
            }
            _ => out += tag,
        }
    }
    out + rest
}

/// Returns the number of bytes of a tag, from its first to its last brace. Text in quotes does not end it.
fn tag_length(text: &str, end: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if text[at..].starts_with(end) => return at + end.len(),
            None => {}
        }
    }
    text.len()
}

/// Returns the statement of a tag `{% … %}` of one word, without its white-space control.
fn statement(tag: &str) -> Option<&str> {
    let inner = tag.strip_suffix("%}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    Some(inner.strip_suffix(['-', '+']).unwrap_or(inner).trim())
}

/// Returns the number of bytes up to the end of the tag that closes a raw block.
fn end_of_raw(text: &str) -> usize {
    let tags = text.match_indices("{%").map(|(at, _)| at);
    let ends = tags.filter_map(|at| Some((at, at + text[at..].find("%}")? + 2)));
    ends.into_iter()
        .find(|&(at, end)| statement(&text[at + 2..end]) == Some("endraw"))
        .map_or(text.len(), |(_, end)| end)
}

#[cfg(test)]
mod tests {
    use super::prepare;

    #[test]
    fn generation_blocks_become_blocks_without_effect() {
        for (source, wanted) in [
            ("a{% generation %}b{% endgeneration %}c", "a{% with %}b{% endwith %}c"),
            ("{%- generation -%}x{%+endgeneration+%}", "{%- with -%}x{%+endwith+%}"),
            ("{%generation%}{{ '{% generation %}' }}{%endgeneration%}", "{%with%}{{ '{% generation %}' }}{%endwith%}"),
        ] {
            assert_eq!(prepare(source), wanted);
        }
    }

    #[test]
    fn all_else_stays() {
        for source in [
            "{# {% generation %} #}",
            "{% raw %}{% generation %}{%- endraw -%}{{ generation }}",
            "{% set generation = \"a\\\"%}{% generation %}\" %}",
            "{% if generation %}{ x }{% endif %}",
            "{{ {'a': {'b': 1}} }}{%",
            "{{ \"never closed",
        ] {
            assert_eq!(prepare(source), source);
        }
        assert_eq!(prepare("a\r\nb\rc\n"), "a\nb\nc\n");
    }
}
