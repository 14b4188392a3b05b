//! The methods of Python's `str`.

use minijinja::value::{Kwargs, Tuple, Value, from_args};
use minijinja::{Error, ErrorKind};

/// Largest width of a padded string, in characters.
const WIDEST: usize = 1 << 20;

/// Returns the error for a wrong call of a method, filter or function by a template.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Returns the indentation given to a filter as a text or as a number of spaces, at most `most`.
pub(super) fn indentation(value: &Value, argument: &str, most: usize) -> Result<String, Error> {
    match (value.as_str(), value.as_usize()) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Some(width)) if width <= most => Ok(" ".repeat(width)),
        _ => Err(invalid(format!("{argument} is {value}, but must be a number up to {most} or a string"))),
    }
}

/// Calls `text.name(args)`.
///
/// # Errors
/// Returns [`ErrorKind::UnknownMethod`] if there is no such method here, and an error for arguments that Python
/// would not accept.
pub(super) fn method(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    Ok(match name {
        "strip" | "lstrip" | "rstrip" => {
            let (characters,): (Option<&str>,) = from_args(args)?;
            Value::from(strip(text, characters, name != "rstrip", name != "lstrip"))
        }
        "split" | "rsplit" => {
            let (separator, limit, options): (Option<&str>, Option<i64>, Kwargs) = from_args(args)?;
            let separator = separator.or(options.get("sep")?);
            let limit = limit.or(options.get("maxsplit")?).and_then(|n| usize::try_from(n).ok());
            let parts = split(text, separator, limit.unwrap_or(usize::MAX), name == "rsplit")?;
            options.assert_all_used()?;
            parts.into_iter().collect()
        }
        "splitlines" => {
            let (keep, options): (Option<bool>, Kwargs) = from_args(args)?;
            let keep = keep.or(options.get("keepends")?).unwrap_or(false);
            options.assert_all_used()?;
            split_lines(text, keep).into_iter().collect()
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            if separator.is_empty() {
                return Err(invalid(format!("{name}: empty separator")));
            }
            let found = if name == "partition" { text.split_once(separator) } else { text.rsplit_once(separator) };
            let parts = match found {
                Some((before, after)) => [before, separator, after],
                None if name == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            Value::from(Tuple::from(parts.map(Value::from)))
        }
        "startswith" | "endswith" => {
            let (affix, start, end): (&Value, Option<i64>, Option<i64>) = from_args(args)?;
            let (_, part) = between(text, start, end);
            let affixes: Vec<Value> = if affix.is_tuple() { affix.try_iter()?.collect() } else { vec![affix.clone()] };
            let mut found = false;
            for affix in &affixes {
                let affix = affix.as_str().ok_or_else(|| invalid(format!("{name}: {affix} is not a string")))?;
                found |= part.is_some_and(|part| match name {
                    "startswith" => part.starts_with(affix),
                    _ => part.ends_with(affix),
                });
            }
            Value::from(found)
        }
        "removeprefix" => Value::from(text.strip_prefix(from_args::<(&str,)>(args)?.0).unwrap_or(text)),
        "removesuffix" => Value::from(text.strip_suffix(from_args::<(&str,)>(args)?.0).unwrap_or(text)),
        "replace" => {
            let (from, to, count, options): (&str, &str, Option<i64>, Kwargs) = from_args(args)?;
            let count = count.or(options.get("count")?).and_then(|n| usize::try_from(n).ok());
            options.assert_all_used()?;
            Value::from(count.map_or_else(|| text.replace(from, to), |n| text.replacen(from, to, n)))
        }
        "find" | "rfind" | "index" | "rindex" => {
            let (what, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
            let (first, part) = between(text, start, end);
            let found = part.and_then(|part| {
                let at = if name.starts_with('r') { part.rfind(what) } else { part.find(what) };
                at.map(|bytes| first + part[..bytes].chars().count())
            });
            match found {
                Some(at) => Value::from(at),
                None if name.ends_with("find") => Value::from(-1),
                None => return Err(invalid(format!("{name}: {what:?} is not in the string"))),
            }
        }
        "count" => {
            let (what, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
            Value::from(between(text, start, end).1.map_or(0, |part| part.matches(what).count()))
        }
        "join" => {
            let mut items = Vec::new();
            for item in from_args::<(&Value,)>(args)?.0.try_iter()? {
                let text = item.as_str().ok_or_else(|| invalid(format!("join: {item} is not a string")))?;
                items.push(text.to_owned());
            }
            Value::from(items.join(text))
        }
        "center" | "ljust" | "rjust" | "zfill" => {
            let (width, fill): (usize, Option<char>) = from_args(args)?;
            Value::from(pad(text, name, width, fill.unwrap_or(' '))?)
        }
        "format" => Value::from(format(text, args)?),
        _ => {
            let value = without_arguments(text, name).ok_or(ErrorKind::UnknownMethod)?;
            from_args::<()>(args)?;
            value
        }
    })
}

/// Calls a method without arguments.
fn without_arguments(text: &str, name: &str) -> Option<Value> {
    let all = |is: fn(char) -> bool| Value::from(!text.is_empty() && text.chars().all(is));
    let cased =
        |is: fn(char) -> bool, is_not: fn(char) -> bool| Value::from(text.chars().any(is) && !text.chars().any(is_not));
    Some(match name {
        "upper" => Value::from(text.to_uppercase()),
        "lower" => Value::from(text.to_lowercase()),
        "capitalize" => Value::from(capitalize(text)),
        "title" => Value::from(title(text)),
        "swapcase" => Value::from(swap_case(text)),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isdigit" | "isdecimal" => all(|c| c.is_ascii_digit()),
        "isnumeric" => all(char::is_numeric),
        "isspace" => all(is_space),
        "isascii" => Value::from(text.is_ascii()),
        "isupper" => cased(char::is_uppercase, char::is_lowercase),
        "islower" => cased(char::is_lowercase, char::is_uppercase),
        _ => return None,
    })
}

/// Returns whether Python counts a character as white space: that of Unicode and four ASCII separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(u32::from(c), 0x1c..=0x1f)
}

/// Returns whether a character ends a line in Python, where `\r\n` is one line end.
fn is_line_end(c: char) -> bool {
    matches!(u32::from(c), 0x0a..=0x0d | 0x1c..=0x1e | 0x85 | 0x2028 | 0x2029)
}

/// Strips the given characters, or white space, from one end or both.
pub(super) fn strip<'a>(text: &'a str, characters: Option<&str>, left: bool, right: bool) -> &'a str {
    let is_cut = |c: char| characters.map_or_else(|| is_space(c), |set| set.contains(c));
    let text = if left { text.trim_start_matches(is_cut) } else { text };
    if right { text.trim_end_matches(is_cut) } else { text }
}

/// Splits a text at separators or, without one, at runs of white space. There are at most `limit` splits,
/// counted from the end if `last`.
fn split<'a>(text: &'a str, separator: Option<&str>, limit: usize, last: bool) -> Result<Vec<&'a str>, Error> {
    let mut parts: Vec<&str> = match separator {
        Some("") => return Err(invalid("split: empty separator")),
        Some(separator) if last => text.rsplitn(limit.saturating_add(1), separator).collect(),
        Some(separator) => text.splitn(limit.saturating_add(1), separator).collect(),
        None => {
            let mut parts = Vec::new();
            let mut rest = strip(text, None, !last, last);
            while !rest.is_empty() {
                let at = if last { rest.rfind(is_space) } else { rest.find(is_space) };
                let Some(at) = at.filter(|_| parts.len() < limit) else {
                    parts.push(rest);
                    break;
                };
                let (before, after) = (&rest[..at], rest[at..].trim_start_matches(is_space));
                let (part, others) = if last { (after, before) } else { (before, after) };
                parts.push(part);
                rest = strip(others, None, !last, last);
            }
            parts
        }
    };
    if last {
        parts.reverse();
    }
    Ok(parts)
}

/// Splits a text into lines, with or without their ends.
pub(super) fn split_lines(text: &str, keep: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = rest.find(is_line_end).unwrap_or(rest.len());
        let length = match rest[line..].chars().next() {
            Some('\r') if rest[line..].starts_with("\r\n") => 2,
            end => end.map_or(0, char::len_utf8),
        };
        lines.push(&rest[..if keep { line + length } else { line }]);
        rest = &rest[line + length..];
    }
    lines
}

/// Returns `text[start:end]` and the index of its first character; [`None`] if `start` lies after the end.
fn between(text: &str, start: Option<i64>, end: Option<i64>) -> (usize, Option<&str>) {
    let length = text.chars().count();
    let place = |at: i64| if at < 0 { length.saturating_sub(at.unsigned_abs() as usize) } else { at as usize };
    let (start, end) = (start.map_or(0, place), end.map_or(length, place).min(length));
    if start > end {
        return (start, None);
    }
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    (start, Some(&text[byte(start)..byte(end)]))
}

fn pad(text: &str, name: &str, width: usize, fill: char) -> Result<String, Error> {
    if width > WIDEST {
        return Err(invalid(format!("{name}: the width is {width}, but must be at most {WIDEST}")));
    }
    let missing = width.saturating_sub(text.chars().count());
    let (before, left) = match name {
        "ljust" => ("", 0),
        "rjust" => ("", missing),
        "zfill" => (&text[..usize::from(text.starts_with(['+', '-']))], missing),
        // If the number is odd, the larger half goes to the left only if the width is odd too.
        _ => ("", missing / 2 + (missing & width & 1)),
    };
    let fill = if name == "zfill" { '0' } else { fill };
    let repeat = |count| std::iter::repeat_n(fill, count);
    let middle = text[before.len()..].chars();
    Ok(before.chars().chain(repeat(left)).chain(middle).chain(repeat(missing - left)).collect())
}

/// Implements `str.format` with plain fields: `{}`, `{0}`, `{name}`.
fn format(text: &str, args: &[Value]) -> Result<String, Error> {
    let (named, positional) = match args.split_last() {
        Some((last, rest)) if last.is_kwargs() => (Some(last), rest),
        _ => (None, args),
    };
    let mut out = String::new();
    let mut unnamed = positional.iter();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        out += &rest[..at];
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out += brace;
            rest = after;
            continue;
        }
        let (field, after) = match rest.split_once('}') {
            Some(parts) if brace == "{" => parts,
            _ => return Err(invalid("format: a brace without its counterpart")),
        };
        rest = after;
        if field.contains([':', '!', '.', '[']) {
            return Err(invalid(format!("format: the field {{{field}}} is not supported, only a number or a name")));
        }
        let value = match field.parse::<usize>() {
            Ok(number) => positional.get(number).cloned(),
            Err(_) if field.is_empty() => unnamed.next().cloned(),
            Err(_) => named.and_then(|named| named.get_attr(field).ok()).filter(|value| !value.is_undefined()),
        };
        out += &value.ok_or_else(|| invalid(format!("format: no argument for {{{field}}}")))?.to_string();
    }
    Ok(out + rest)
}

/// Converts the first character to upper case and the others to lower case.
fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters.flat_map(char::to_lowercase)).collect()
}

/// Converts letters after a letter to lower case and all others to upper case.
fn title(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        inside = c.is_lowercase() || c.is_uppercase();
    }
    out
}

fn swap_case(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_uppercase() { out.extend(c.to_lowercase()) } else { out.extend(c.to_uppercase()) }
    }
    out
}
