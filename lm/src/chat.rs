//! Chat messages to the text a model was trained on, by the Jinja template that comes with its tokenizer.

mod python;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Value as Jinja, context};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of the user.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".to_owned(), content: content.into() }
    }
}

/// A chat template, rendered as `transformers` renders it.
///
/// Blocks are trimmed, `raise_exception` and Python's common string and dictionary methods are there. `strftime_now` is
/// not, so that a prompt never depends on the day; templates that would use it have a fixed date to fall back on.
///
/// ```
/// use flowrl_lm::chat::{ChatTemplate, Message};
/// let template = ChatTemplate::new("{% for m in messages %}<{{ m.role }}>{{ m.content.strip() }}{% endfor %}")?;
/// assert_eq!(template.render(&[Message::user(" 2+2? ")], true)?, "<user>2+2?");
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// The name of the one template in the environment.
    const NAME: &'static str = "chat_template";

    /// Parses a template; the begin and end tokens are empty strings.
    ///
    /// # Errors
    ///
    /// [`Error::Template`] with the line of the mistake.
    pub fn new(source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(template_error)?);
        python::install(&mut environment);
        environment.add_template_owned(Self::NAME, source.to_owned()).map_err(template_error)?;
        Ok(Self { environment, bos_token: String::new(), eos_token: String::new() })
    }

    /// The template of a model, from the texts of its `tokenizer_config.json` and `chat_template.jinja` as far as they exist.
    ///
    /// The `.jinja` file wins, as in `transformers`. Of several named templates the one named `default` is taken.
    /// [`None`] when there is no template.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] for a bad `tokenizer_config.json`, [`Error::Template`] for a bad template.
    pub fn from_files(tokenizer_config: Option<&str>, jinja: Option<&str>) -> Result<Option<Self>> {
        let config: Value = match tokenizer_config {
            Some(text) => serde_json::from_str(text).map_err(Error::json("tokenizer_config.json".as_ref()))?,
            None => Value::Null,
        };
        let source = match jinja {
            Some(source) => Some(source),
            None => default_template(&config["chat_template"])?,
        };
        let Some(source) = source else { return Ok(None) };
        let special = |key: &str| match &config[key] {
            Value::String(token) => token.clone(),
            token => token["content"].as_str().unwrap_or_default().to_owned(),
        };
        let template = Self::new(source)?;
        Ok(Some(Self { bos_token: special("bos_token"), eos_token: special("eos_token"), ..template }))
    }

    /// The prompt text of `messages`; `add_generation_prompt` opens the assistant's turn at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Template`]: what the template raised (a role it does not know), or what it uses and is not supported.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let template = self.environment.get_template(Self::NAME).map_err(template_error)?;
        let message = |m: &Message| context! { role => m.role.as_str(), content => m.content.as_str() };
        let messages: Jinja = messages.iter().map(message).collect();
        let (bos_token, eos_token) = (&self.bos_token, &self.eos_token);
        // Given as `none`, as transformers does: templates ask whether they are.
        let (tools, documents) = ((), ());
        let context = context! { messages, add_generation_prompt, bos_token, eos_token, tools, documents };
        template.render(context).map_err(template_error)
    }
}

/// The string, or the one named `default` in a list of `{"name", "template"}`.
fn default_template(value: &Value) -> Result<Option<&str>> {
    match value {
        Value::Null => Ok(None),
        Value::String(source) => Ok(Some(source)),
        Value::Array(named) => {
            let default = named.iter().find(|entry| entry["name"] == "default");
            let source = default.and_then(|entry| entry["template"].as_str());
            source
                .map(Some)
                .ok_or_else(|| Error::Template { message: "none of the templates is named `default`".into() })
        }
        _ => {
            Err(Error::Template { message: "`chat_template` is neither a string nor a list of named templates".into() })
        }
    }
}

fn template_error(error: minijinja::Error) -> Error {
    Error::Template { message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String> {
        ChatTemplate::new(source)?.render(&[Message::user(" Hi, you\n"), Message::user("x")], false)
    }

    #[test]
    fn blocks_are_trimmed_as_transformers_does() {
        let source = "{% for m in messages %}\n    {% if loop.first %}\nA\n    {% endif %}\n{% endfor %}\nZ\n";
        assert_eq!(render(source).unwrap(), "A\nZ");
    }

    #[test]
    fn python_methods_work() {
        for (expression, wanted) in [
            ("messages[0].content.strip()", "Hi, you"),
            ("messages[0]['content'].rstrip()", " Hi, you"),
            ("messages[0].content.lstrip()", "Hi, you\n"),
            ("'xxaxx'.strip('x')", "a"),
            ("'a,b,c'.split(',')[-1]", "c"),
            ("'a,b,c'.split(',', 1)[1]", "b,c"),
            ("' a  b '.split()|length", "2"),
            ("'<think>a</think>b'.split('</think>')[0].lstrip('\n')", "<think>a"),
            ("'abc'.startswith('ab') and 'abc'.endswith('bc')", "True"),
            ("'aBc'.upper() ~ 'aBc'.lower() ~ 'aBc'.capitalize()", "ABCabcAbc"),
            ("'hello world'.title()", "Hello World"),
            ("'aXbX'.replace('X', '-')", "a-b-"),
            ("'-'.join(['a', 'b'])", "a-b"),
            ("'abc'.find('c')", "2"),
            ("'abc'.find('z')", "-1"),
            ("'banana'.count('an')", "2"),
            ("'a\nb'.splitlines()|length", "2"),
            ("'12'.isdigit()", "True"),
            ("messages[0].get('role')", "user"),
            ("messages[0].get('tool_calls', 'none')", "none"),
            ("messages[0].keys()|list|length", "2"),
            ("messages[0].values()|list|length", "2"),
            ("messages[0].items()|list|length", "2"),
            ("messages[::-1][0].content", "x"),
            ("{'a': [1, 'é<']}|tojson", "{\"a\": [1, \"é<\"]}"),
            ("{'a': [1]}|tojson(indent=2)", "{\n  \"a\": [\n    1\n  ]\n}"),
            ("strftime_now is defined", "False"),
        ] {
            assert_eq!(render(&format!("{{{{ {expression} }}}}")).unwrap(), wanted, "{expression}");
        }
    }

    /// The constructs of Qwen3's template, which looks for the last question from the end.
    #[test]
    fn namespaces_and_reversed_loops_work() {
        let source = r#"{%- if tools is not none %}tools{%- endif %}
{%- set ns = namespace(search=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.search and message.role == "user" and message.content is string and not(message.content.startswith('<a>') and message.content.endswith('</a>')) %}
        {%- set ns.search = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{{- ns.last }}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>' }}
    {%- endif %}
{%- endif %}"#;
        let messages = [Message::user("q"), Message::user("<a>x</a>")];
        let text = ChatTemplate::new(source).unwrap().render(&messages, true).unwrap();
        assert_eq!(text, "0<|im_start|>assistant\n");
    }

    #[test]
    fn loops_can_break() {
        assert_eq!(render("{% for m in messages %}{{ m.role }}{% break %}{% endfor %}").unwrap(), "user");
    }

    #[test]
    fn what_the_template_raises_is_the_error() {
        let error = render("{{ raise_exception('no system role') }}").unwrap_err().to_string();
        assert!(error.contains("no system role"), "{error}");
        assert!(render("{{ 'a'.frobnicate() }}").unwrap_err().to_string().contains("frobnicate"));
        assert!(ChatTemplate::new("{% for %}").unwrap_err().to_string().starts_with("chat template: "));
    }

    #[test]
    fn templates_are_found_where_models_keep_them() {
        let load = |config, jinja| ChatTemplate::from_files(config, jinja);
        let rendered = |config, jinja| load(config, jinja).unwrap().unwrap().render(&[], false).unwrap();
        assert_eq!(
            rendered(Some(r#"{"chat_template": "{{ bos_token }}1", "bos_token": {"content": "<s>"}}"#), None),
            "<s>1"
        );
        let named = r#"{"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d{{ eos_token }}"}], "eos_token": "e"}"#;
        assert_eq!(rendered(Some(named), None), "de");
        assert_eq!(rendered(Some(named), Some("file{{ eos_token }}")), "filee");
        assert!(load(Some("{}"), None).unwrap().is_none());
        assert!(load(None, None).unwrap().is_none());
        assert!(load(Some("{"), None).is_err());
        assert!(load(Some(r#"{"chat_template": [{"name": "rag", "template": "r"}]}"#), None).is_err());
        assert!(load(Some(r#"{"chat_template": 3}"#), None).is_err());
    }
}
