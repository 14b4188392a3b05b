//! Functions, filters, tests and methods of Jinja and Python that chat templates use, and that the engine lacks
//! or implements differently.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use minijinja::value::{Kwargs, Object, ObjectRepr, Rest, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State};

use super::json::tojson;
use super::string::{self, invalid};

/// Adds the functions, filters and tests, and the methods of `str`, `dict` and `list`.
pub(super) fn install(environment: &mut Environment<'_>) {
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
    });
    environment.add_function("cycler", |items: Rest<Value>| match items.is_empty() {
        true => Err(invalid("cycler: no items")),
        false => Ok(Value::from_object(Cycler { items: items.to_vec(), at: AtomicUsize::new(0) })),
    });
    // `joiner(', ')` returns an empty text at its first call and then the separator.
    environment.add_function("joiner", |separator: Option<String>| {
        let (separator, used) = (separator.unwrap_or_else(|| ", ".into()), AtomicBool::new(false));
        Value::from_function(move || if used.swap(true, Ordering::Relaxed) { separator.clone() } else { String::new() })
    });
    environment.add_filter("tojson", tojson);
    environment.add_filter("trim", |text: String, characters: Option<&str>| {
        string::strip(&text, characters, true, true).to_owned()
    });
    environment.add_filter("indent", indent);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("wordcount", |text: String| {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).count()
    });
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    // A sequence has a length and can be indexed.
    environment.add_test("sequence", |value: &Value| match value.kind() {
        ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map => true,
        ValueKind::Iterable => value.len().is_some(),
        _ => false,
    });
    environment.set_unknown_method_callback(method);
}

/// The message of a template's `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

/// Calls `value.name(args)`, for methods that the engine does not have.
fn method(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match (value.as_str(), value.kind()) {
        (Some(text), _) => string::method(text, name, args),
        (None, ValueKind::Map) => map_method(state, value, name, args),
        (None, ValueKind::Seq | ValueKind::Iterable) => list_method(value, name, args),
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

/// Calls a method of `dict` that does not change it.
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
        "copy" => Ok(map.clone()),
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

/// Calls a method of `list` that does not change it.
fn list_method(list: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match name {
        "index" => {
            let (what,): (&Value,) = from_args(args)?;
            let at = list.try_iter()?.position(|item| item == *what);
            at.map(Value::from).ok_or_else(|| invalid(format!("index: {what} is not in the list")))
        }
        "count" => {
            let (what,): (&Value,) = from_args(args)?;
            Ok(Value::from(list.try_iter()?.filter(|item| item == what).count()))
        }
        "copy" => Ok(list.clone()),
        _ => Err(ErrorKind::UnknownMethod.into()),
    }
}

/// Implements Jinja's filter `default`. Unlike the engine's, its arguments may be named.
fn default(value: &Value, args: Rest<Value>, options: Kwargs) -> Result<Value, Error> {
    let named = |name| if options.has(name) { options.get(name).map(Some) } else { Ok(None) };
    let other: Option<Value> = args.first().cloned().or(named("default_value")?);
    let boolean: Option<Value> = args.get(1).cloned().or(named("boolean")?);
    options.assert_all_used()?;
    let is_missing = value.is_undefined() || boolean.is_some_and(|boolean| boolean.is_true()) && !value.is_true();
    Ok(if is_missing { other.unwrap_or_else(|| Value::from("")) } else { value.clone() })
}

/// Implements Jinja's filter `indent`. Unlike the engine's, it keeps a final line end and accepts a string as
/// the indentation.
fn indent(
    text: String,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    options: Kwargs,
) -> Result<String, Error> {
    let width = width.or(options.get("width")?).unwrap_or_else(|| Value::from(4));
    let first = first.or(options.get("first")?).unwrap_or(false);
    let blank = blank.or(options.get("blank")?).unwrap_or(false);
    options.assert_all_used()?;
    let space = string::indentation(&width, "indent: `width`", 1024)?;
    let mut out = String::new();
    for (i, line) in string::split_lines(&(text + "\n"), false).into_iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if if i == 0 { first } else { blank || !line.is_empty() } {
            out += &space;
        }
        out += line;
    }
    Ok(out)
}

/// `cycler('a', 'b')`, whose `next()` returns the items in turn.
#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    at: AtomicUsize,
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str() == Some("current")).then(|| self.items[self.at.load(Ordering::Relaxed)].clone())
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, name: &str, args: &[Value]) -> Result<Value, Error> {
        let at = self.at.load(Ordering::Relaxed);
        match name {
            "next" => self.at.store((at + 1) % self.items.len(), Ordering::Relaxed),
            "reset" => self.at.store(0, Ordering::Relaxed),
            _ => return Err(ErrorKind::UnknownMethod.into()),
        }
        from_args::<()>(args)?;
        Ok(if name == "next" { self.items[at].clone() } else { Value::from(()) })
    }
}
