//! Reads the text of an answer.

use super::clean::clean;
use super::token::{Commas, tokens};
use super::value::{Value, value};
use super::{letters, parse};

/// Longest text of an answer that is read, in bytes.
const LONGEST: usize = 2000;

/// An answer that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) value: Value,
    /// The unit at its end, in words.
    pub(super) unit: Option<String>,
    /// Its letters and digits, for comparison with words.
    pub(super) letters: String,
    /// Whether it is one word or letter rather than a formula: `odd` or `(C)`.
    pub(super) is_word: bool,
    /// The letter of a choice before it, as in `(C) 42`.
    pub(super) choice: Option<char>,
}

/// Returns the meanings that a text may have, the most likely one first. There are several if a comma may group digits,
/// separate numbers or mark decimals.
pub(super) fn readings(text: &str) -> Vec<Answer> {
    if text.len() > LONGEST {
        return Vec::new();
    }
    let cleaned = clean(text);
    let mut trimmed = cleaned.trim_matches(|c: char| c.is_whitespace() || "$*_:,".contains(c));
    trimmed = trimmed.strip_prefix('=').unwrap_or(trimmed).trim();
    if trimmed.ends_with('.') && !trimmed.ends_with("\\right.") {
        trimmed = trimmed.trim_end_matches(['.', ' ', '$']);
    }
    let (choice, rest) = choice(trimmed);
    let mut found: Vec<Answer> = Vec::new();
    for commas in [Commas::Thousands, Commas::Separate, Commas::Decimal] {
        if (commas == Commas::Separate && !has_comma(rest, |n| n == 3))
            || (commas == Commas::Decimal && !is_decimal_comma(rest))
        {
            continue;
        }
        let Some(tokens) = tokens(rest, commas) else { continue };
        let Some((expr, unit)) = parse::parse(&tokens) else { continue };
        if let Some(value) = value(&expr) {
            found.push(Answer { value, unit, letters: letters::of(rest), is_word: letters::is_word(rest), choice });
        }
    }
    if found.is_empty() && letters::are_words(rest) {
        found.push(Answer { value: Value::Text, unit: None, letters: letters::of(rest), is_word: true, choice });
    }
    found
}

/// Splits off the letter of a choice: `(C) 42`, `\textbf{(C)}\ 42` or `C. 42`.
fn choice(text: &str) -> (Option<char>, &str) {
    let inner = ["\\textbf{", "\\text{", "\\mathrm{", "\\mathbf{"].iter().find_map(|start| text.strip_prefix(start));
    let (text_inside, braces) = (inner.unwrap_or(text).trim_start(), inner.is_some());
    let (open, after) = match text_inside.strip_prefix('(') {
        Some(after) => (true, after),
        None => (false, text_inside),
    };
    let Some(letter) = after.chars().next().filter(|c| ('A'..='J').contains(c)) else { return (None, text) };
    let after = &after[1..];
    let mark = if open { after.strip_prefix(')') } else { after.strip_prefix([')', '.', ':']) };
    let Some(after) = mark else { return (None, text) };
    let after = if braces { after.trim_start().strip_prefix('}') } else { Some(after) };
    let Some(after) = after.filter(|after| after.starts_with([' ', '\\', '~', '$']) || braces) else {
        return (None, text);
    };
    let rest = after.trim_matches(|c: char| c.is_whitespace() || "\\~$:".contains(c));
    // The rest begins behind spaces such as `\ `, but a command keeps its backslash.
    let start = after.find(rest).unwrap_or(0);
    let rest = match start.checked_sub(1).filter(|at| after[*at..].starts_with('\\')) {
        Some(at) if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => &after[at..],
        _ => rest,
    };
    if rest.is_empty() { (None, text) } else { (Some(letter), rest) }
}

/// Returns whether a comma stands between digits, the first ones after it so many that `test` is true.
fn has_comma(text: &str, test: impl Fn(usize) -> bool) -> bool {
    text.match_indices(',').any(|(at, _)| {
        let after = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        text[..at].ends_with(|c: char| c.is_ascii_digit()) && after > 0 && test(after)
    })
}

/// Returns whether the only comma may mark decimals: `1,5` or `0,125`, but not `1,500`.
fn is_decimal_comma(text: &str) -> bool {
    let zero = text.split(',').next().is_some_and(|before| before.trim_start_matches(['-', '$', '\\']) == "0");
    text.matches(',').count() == 1 && !text.contains(['(', '[', '{', '=']) && has_comma(text, |n| n != 3 || zero)
}
