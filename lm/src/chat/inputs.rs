//! What the row of a data file and the user give to a chat template in addition to the messages.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::date::Date;
use crate::error::{Error, Result};

/// Variables that every template gets from the row, and that options therefore cannot set.
const RESERVED: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];

/// The inputs that a row of a data file gives to the chat template in addition to its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChatInputs {
    /// Tools the model may call: a list of JSON schemas, or null.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub tools: Value,
    /// Documents to answer from: a list of objects, or null.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub documents: Value,
    /// Variables of the template by name, such as `enable_thinking`, or null.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub chat_template_kwargs: Value,
}

impl ChatInputs {
    /// Returns a message if this row is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, value) in [("tools", &self.tools), ("documents", &self.documents)] {
            let is_list = value.as_array().is_some_and(|items| items.iter().all(Value::is_object));
            if !value.is_null() && !is_list {
                return Err(format!("`{name}` is {value}, but must be a list of objects"));
            }
        }
        match &self.chat_template_kwargs {
            Value::Null => Ok(()),
            Value::Object(variables) => check_names(variables).map_err(|why| format!("`chat_template_kwargs`: {why}")),
            other => Err(format!("`chat_template_kwargs` is {other}, but must be an object of variables by name")),
        }
    }

    /// Returns the keys that have a value. Null and empty values do not count, because tables of rows fill in
    /// the keys that only some rows have.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let Self { tools, documents, chat_template_kwargs: variables } = self;
        let all = [("tools", tools), ("documents", documents), ("chat_template_kwargs", variables)];
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        };
        all.into_iter().filter(move |(_, value)| !is_empty(value)).map(|(name, _)| name)
    }
}

/// The inputs that the user of a model gives to its chat template, the same for every row.
///
/// ```
/// use flowrl_lm::chat::TemplateOptions;
/// let options = serde_json::json!({"enable_thinking": false, "date": "2024-07-26"});
/// let options = TemplateOptions::from_json(options.as_object().unwrap().clone())?;
/// assert_eq!(options.date.unwrap().to_string(), "2024-07-26");
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TemplateOptions {
    /// The date of `strftime_now`; [`Date::today`] if it is not given.
    pub date: Option<Date>,
    /// Variables by name. Those of a row take precedence.
    pub variables: Map<String, Value>,
}

impl TemplateOptions {
    /// Takes variables by name; `date` becomes the date.
    ///
    /// # Errors
    /// Returns [`Error::Argument`] if the date is not one, or [`Error::Template`] if a name is reserved.
    pub fn from_json(mut variables: Map<String, Value>) -> Result<Self> {
        let date = match variables.remove("date") {
            None => None,
            Some(date) => {
                let parsed = date.as_str().and_then(|text| text.parse().ok());
                Some(parsed.ok_or_else(|| Error::argument("date", &date, "a day such as \"2024-07-26\""))?)
            }
        };
        check_names(&variables).map_err(Error::Template)?;
        Ok(Self { date, variables })
    }
}

fn check_names(variables: &Map<String, Value>) -> Result<(), String> {
    match RESERVED.iter().find(|name| variables.contains_key(**name)) {
        Some(name) => Err(format!("the variable `{name}` cannot be set, because the row gives it")),
        None => Ok(()),
    }
}
