//! The filter `tojson` as `transformers` defines it: Python's `json.dumps` with `ensure_ascii=False`, without
//! escapes for HTML.

use std::fmt::Write;

use minijinja::Error;
use minijinja::value::{Kwargs, Value, ValueKind};

use super::string::{indentation, invalid};

/// Deepest nesting of lists and objects that is written. JSON that was parsed has at most 128 levels.
const DEPTH: usize = 256;

/// Implements the filter `tojson(ensure_ascii=false, indent=none, separators=none, sort_keys=false)`.
pub(super) fn tojson(value: &Value, ascii: Option<bool>, options: Kwargs) -> Result<String, Error> {
    let ascii = ascii.or(options.get("ensure_ascii")?).unwrap_or(false);
    let indent: Option<Value> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let sort = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    let indent = indent.map(|indent| indentation(&indent, "tojson: `indent`", 64)).transpose()?;
    let (item, key) = match separators.as_deref() {
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(invalid("tojson: `separators` must be two strings")),
    };
    let mut writer = Writer { out: String::new(), ascii, indent, item, key, sort };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer {
    out: String,
    ascii: bool,
    indent: Option<String>,
    /// Separator between the items of a list.
    item: String,
    /// Separator between a key and its value.
    key: String,
    sort: bool,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(invalid(format!("tojson: lists and objects are nested more than {DEPTH} deep")));
        }
        match value.kind() {
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.list(['[', ']'], &items, depth, |writer, item| writer.value(item, depth + 1))?;
            }
            ValueKind::Map => {
                let mut pairs = Vec::new();
                for key in value.try_iter()? {
                    let name = key.as_str().map_or_else(|| scalar(&key, "key"), |name| Ok(name.to_owned()))?;
                    pairs.push((name, value.get_item(&key)?));
                }
                if self.sort {
                    pairs.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.list(['{', '}'], &pairs, depth, |writer, (name, item)| {
                    writer.string(name);
                    writer.out += &writer.key;
                    writer.value(item, depth + 1)
                })?;
            }
            _ => self.out += &scalar(value, "value")?,
        }
        Ok(())
    }

    fn list<T>(
        &mut self,
        brackets: [char; 2],
        items: &[T],
        depth: usize,
        write: impl Fn(&mut Self, &T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(brackets[0]);
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out += &self.item;
            }
            self.new_line(depth + 1);
            write(self, item)?;
        }
        if !items.is_empty() {
            self.new_line(depth);
        }
        self.out.push(brackets[1]);
        Ok(())
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out += "\\\"",
                '\\' => self.out += "\\\\",
                '\n' => self.out += "\\n",
                '\r' => self.out += "\\r",
                '\t' => self.out += "\\t",
                '\u{8}' => self.out += "\\b",
                '\u{c}' => self.out += "\\f",
                c if c < ' ' || self.ascii && !c.is_ascii() => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

/// Returns the text of none, a boolean or a number. As the key of an object it is written in quotes, as in Python.
fn scalar(value: &Value, what: &str) -> Result<String, Error> {
    match value.kind() {
        ValueKind::None => Ok("null".into()),
        ValueKind::Bool => Ok(value.is_true().to_string()),
        ValueKind::Number if value.is_integer() => Ok(value.to_string()),
        ValueKind::Number => Ok(float(f64::try_from(value.clone())?)),
        other => Err(invalid(format!("tojson: a {what} of type {other} is not JSON"))),
    }
}

/// Writes a float as Python does: with the fewest digits that give it back, and with an exponent below 1e-4 and
/// from 1e16 on.
fn float(x: f64) -> String {
    if x.is_nan() {
        return "NaN".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if x != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = x.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

#[cfg(test)]
mod tests {
    use super::float;

    #[test]
    fn floats_are_written_as_in_python() {
        for (x, wanted) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e-5, "1.5e-05"),
            (1e-4, "0.0001"),
            (-1.25e100, "-1.25e+100"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(float(x), wanted);
        }
    }
}
