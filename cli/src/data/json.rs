//! JSON lines and JSON documents.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use flowrl_lm::jsonl::{self, Object, describe};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Returns the objects of JSON lines with their lines. A file of one line may be a document.
pub(super) fn lines(bytes: &[u8], path: &Path) -> Result<Vec<(usize, Map<String, Value>)>> {
    let mut rows = jsonl::parse(bytes, path, |line, fields| Ok((line, fields)))?;
    if let [(line, only)] = &mut rows[..]
        && let Some(inner) = list_in(only).map_err(|why| anyhow!("{}: {why}", path.display()))?
    {
        return Ok(inner.into_iter().map(|fields| (*line, fields)).collect());
    }
    Ok(rows)
}

/// Returns the objects of a document: an array, an object with an array of them, or objects after each other.
pub(super) fn document(bytes: &[u8], name: &str) -> Result<Vec<Map<String, Value>>> {
    let bytes = super::format::unmarked(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        anyhow!("{name}:{line}: not UTF-8; save the file as UTF-8")
    })?;
    let wrong = |error: serde_json::Error| anyhow!("{name}:{}: {}", error.line(), describe(&error));
    let mut rows = Vec::new();
    if text.trim_start().starts_with('[') {
        let items: Vec<Item> = serde_json::from_str(text).map_err(wrong)?;
        for (i, Item(item)) in items.into_iter().enumerate() {
            match item {
                Ok(fields) => rows.push(fields),
                Err(other) => bail!("{name}:row {}: {other} is not an object, {{\"prompt\": …, \"answer\": …}}", i + 1),
            }
        }
        return Ok(rows);
    }
    for object in serde_json::Deserializer::from_str(text).into_iter::<Object>() {
        rows.push(object.map_err(wrong)?.0);
    }
    match &mut rows[..] {
        [only] => Ok(list_in(only).map_err(|why| anyhow!("{name}: {why}"))?.unwrap_or(rows)),
        _ => Ok(rows),
    }
}

/// An object, or how another value begins.
struct Item(Result<Map<String, Value>, String>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Unlike `Value`, an object refuses a key that comes twice.
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Item;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a value")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
                let fields = serde::de::value::MapAccessDeserializer::new(map);
                Object::deserialize(fields).map(|Object(fields)| Item(Ok(fields)))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
                while items.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(Item(Err("an array".into())))
            }

            fn visit_str<E>(self, text: &str) -> Result<Item, E> {
                Ok(Item(Err(format!("{:?}", flowrl_lm::short(text)))))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Item, E> {
                Ok(Item(Err(number.to_string())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Item, E> {
                Ok(Item(Err(number.to_string())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Item, E> {
                Ok(Item(Err(number.to_string())))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Item, E> {
                Ok(Item(Err(value.to_string())))
            }

            fn visit_unit<E>(self) -> Result<Item, E> {
                Ok(Item(Err("null".into())))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Takes the rows out of an object that holds them in a list, as `{"version": …, "data": [{…}, …]}`. Returns `None` if
/// the object is itself a row.
///
/// # Errors
/// Returns a message if the object holds columns, or several lists of rows.
fn list_in(object: &mut Map<String, Value>) -> Result<Option<Vec<Map<String, Value>>>, String> {
    let is_list =
        |value: &Value| value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object));
    // A row of a conversation has a list of objects too, but those have a role or a speaker.
    let is_rows = |value: &Value| {
        is_list(value)
            && value[0].get("role").is_none()
            && value[0].get("from").is_none()
            && value[0].get("type").is_none()
    };
    let has_prompt = ["prompt", "question", "problem", "instruction", "messages", "conversations", "completion"];
    if has_prompt.iter().any(|key| object.get(*key).is_some_and(|value| value.is_string() || is_list(value))) {
        return Ok(None);
    }
    let names: Vec<String> = object.iter().filter(|(_, value)| is_rows(value)).map(|(key, _)| key.clone()).collect();
    match &names[..] {
        [name] => {
            let Some(Value::Array(items)) = object.remove(name) else { return Ok(None) };
            let fields =
                items.into_iter().filter_map(|item| if let Value::Object(fields) = item { Some(fields) } else { None });
            Ok(Some(fields.collect()))
        }
        [] => {
            let is_column = |value: &Value| value.as_object().is_some_and(|column| column.contains_key("0"));
            if !object.is_empty() && object.values().all(is_column) {
                return Err("this holds columns, as pandas writes by default, not rows; write rows: \
                            frame.to_json(…, orient=\"records\", lines=True)"
                    .into());
            }
            Ok(None)
        }
        several => Err(format!(
            "several lists of rows: {}; write one of them to a file of its own: jq '.{}' FILE > rows.json",
            jsonl::keys(&several.iter().map(|name| (name.clone(), Value::Null)).collect()),
            several[0]
        )),
    }
}
