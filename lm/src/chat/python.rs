//! The Python that chat templates use and Jinja itself does not have.

use minijinja::value::{Kwargs, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State};
use serde::Serialize;

/// Adds `raise_exception`, Python's spelling of `tojson`, and the common methods of `str` and `dict`.
pub(super) fn install(environment: &mut Environment<'_>) {
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_filter("tojson", tojson);
    environment.set_unknown_method_callback(method);
}

/// `json.dumps(value, ensure_ascii=False)`: spaces after commas and colons, nothing escaped for HTML.
fn tojson(value: Value, kwargs: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let failed = |e: serde_json::Error| Error::new(ErrorKind::BadSerialization, e.to_string());
    let mut text = Vec::new();
    match indent {
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter)).map_err(failed)?;
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Spaced)).map_err(failed)?,
    }
    Ok(Value::from_safe_string(String::from_utf8_lossy(&text).into_owned()))
}

/// `{"a": 1, "b": [1, 2]}`.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// `value.name(args)` for methods that minijinja does not know.
fn method(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match (value.as_str(), value.kind()) {
        (Some(text), _) => string_method(text, name, args),
        (None, ValueKind::Map) => map_method(state, value, name, args),
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

fn string_method(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    Ok(match name {
        "strip" | "lstrip" | "rstrip" => {
            let (characters,): (Option<&str>,) = from_args(args)?;
            let strip = |c: char| characters.map_or(c.is_whitespace(), |set| set.contains(c));
            let text = if name == "rstrip" { text } else { text.trim_start_matches(strip) };
            Value::from(if name == "lstrip" { text } else { text.trim_end_matches(strip) })
        }
        "split" => {
            let (separator, limit): (Option<&str>, Option<i64>) = from_args(args)?;
            let pieces = limit.and_then(|n| usize::try_from(n).ok()).map_or(usize::MAX, |n| n.saturating_add(1));
            match separator {
                Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "split: empty separator")),
                Some(separator) => text.splitn(pieces, separator).collect(),
                None if pieces == usize::MAX => text.split_whitespace().collect(),
                None => return Err(Error::new(ErrorKind::InvalidOperation, "split: a limit needs a separator")),
            }
        }
        "splitlines" => text.lines().collect(),
        "startswith" => Value::from(text.starts_with(from_args::<(&str,)>(args)?.0)),
        "endswith" => Value::from(text.ends_with(from_args::<(&str,)>(args)?.0)),
        "replace" => {
            let (from, to): (&str, &str) = from_args(args)?;
            Value::from(text.replace(from, to))
        }
        "find" => {
            let at = text.find(from_args::<(&str,)>(args)?.0);
            Value::from(at.map_or(-1, |bytes| text[..bytes].chars().count() as i64))
        }
        "count" => Value::from(text.matches(from_args::<(&str,)>(args)?.0).count()),
        "join" => {
            let items = from_args::<(Value,)>(args)?.0.try_iter()?.map(|item| item.to_string()).collect::<Vec<_>>();
            Value::from(items.join(text))
        }
        _ => {
            from_args::<()>(args)?;
            match name {
                "upper" => Value::from(text.to_uppercase()),
                "lower" => Value::from(text.to_lowercase()),
                "capitalize" => Value::from(capitalize(text)),
                "title" => {
                    Value::from(text.split_inclusive(|c: char| !c.is_alphabetic()).map(capitalize).collect::<String>())
                }
                "isdigit" => Value::from(!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())),
                "isalpha" => Value::from(!text.is_empty() && text.chars().all(char::is_alphabetic)),
                "isspace" => Value::from(!text.is_empty() && text.chars().all(char::is_whitespace)),
                _ => return Err(ErrorKind::UnknownMethod.into()),
            }
        }
    })
}

/// First character upper case, the others lower.
fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters.flat_map(char::to_lowercase)).collect()
}

fn map_method(state: &mut State<'_, '_>, map: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match name {
        "get" => {
            let (key, default): (&Value, Option<&Value>) = from_args(args)?;
            let found = map.get_item(key)?;
            Ok(if found.is_undefined() { default.cloned().unwrap_or(Value::from(())) } else { found })
        }
        "keys" => Ok(map.try_iter()?.collect()),
        "values" => map.try_iter()?.map(|key| map.get_item(&key)).collect::<Result<Vec<_>, _>>().map(Value::from),
        "items" => state.apply_filter("items", std::slice::from_ref(map)),
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}
