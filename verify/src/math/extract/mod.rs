//! Finds the answer that a completion states.

mod last;
mod phrase;

use std::borrow::Cow;

use super::answer::readings;
use super::clean::braced;
use super::value::Value;

/// The place of an answer in a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the last `\boxed{…}`, or in the last ones if only `and` or a comma separates them.
    Boxed,
    /// After the last `####`.
    Hashes,
    /// After the last "answer is" or "answer:".
    Phrase,
    /// The last number or formula.
    Last,
}

/// The answer of a completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extracted<'a> {
    /// The text of the answer. Several boxes are joined by commas.
    Answer(Cow<'a, str>, Place),
    /// There is none.
    Nothing,
    /// The last numbers are alternatives, as in "40, 41 or 42".
    Guesses,
}

/// Longest text of a box.
const LONGEST: usize = 4000;

/// Most boxes that are joined.
const MOST_BOXES: usize = 16;

/// Returns the answer that a completion states: the last box, else the text after the last `####`, else that after "answer
/// is", else a lone final number. Reasoning and special tokens are ignored.
///
/// ```
/// use flowrl_verify::math::{Extracted, Place, extract};
/// let text = "<think>2 + 3 = 6?</think> So it is \\boxed{5}, as 2 + 3 shows.";
/// assert_eq!(extract(text), Extracted::Answer("5".into(), Place::Boxed));
/// assert_eq!(extract("It is 4 or 5."), Extracted::Guesses);
/// ```
pub fn extract(completion: &str) -> Extracted<'_> {
    match found(completion) {
        None => Extracted::Nothing,
        Some((text, Place::Last)) if is_guess(&text) => Extracted::Guesses,
        Some((text, place)) => Extracted::Answer(text, place),
    }
}

/// Returns the answer of a completion, which may consist of alternatives.
pub(super) fn found(completion: &str) -> Option<(Cow<'_, str>, Place)> {
    let text = visible(completion);
    if let Some(boxed) = boxed(text) {
        return Some((boxed, Place::Boxed));
    }
    if let Some(line) = hashes(text) {
        return Some((line.into(), Place::Hashes));
    }
    let phrase = phrase::phrase(text).map(|found| (found.into(), Place::Phrase));
    phrase.or_else(|| last::last(text).map(|found| (found.into(), Place::Last)))
}

/// Returns the text after the reasoning, up to the end of the turn, or within `<answer>`.
fn visible(completion: &str) -> &str {
    let mut text = completion;
    for end in ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "</s>"] {
        text = text.split_once(end).map_or(text, |(before, _)| before);
    }
    for name in ["think", "thinking", "thought", "reasoning", "reflection"] {
        let close = format!("</{name}>");
        text = text.rsplit_once(&*close).map_or(text, |(_, after)| after);
        let open = format!("<{name}>");
        text = text.split_once(&*open).map_or(text, |(before, _)| before);
    }
    text = text.rsplit_once("[/THINK]").map_or(text, |(_, after)| after);
    text = text.rsplit_once("<|end_of_thought|>").map_or(text, |(_, after)| after);
    text = text.rsplit_once("<|channel|>final<|message|>").map_or(text, |(_, after)| after);
    if let Some((_, inside)) = text.rsplit_once("<answer>") {
        text = inside.split_once("</answer>").map_or(inside, |(before, _)| before);
    }
    text
}

/// Returns the content of the last box, together with those just before it.
fn boxed(text: &str) -> Option<Cow<'_, str>> {
    let mut found: Vec<(usize, &str)> = Vec::new();
    for (at, mark) in text.rmatch_indices("box").take(MOST_BOXES) {
        let before = &text[..at];
        let after = &text[at + mark.len()..];
        let (start, after) = match (before.strip_suffix("\\f"), after.strip_prefix("ed")) {
            (Some(start), _) => (start.len(), after),
            (None, Some(after)) if before.ends_with('\\') => (at - 1, after),
            _ => continue,
        };
        let (content, end) = content(after);
        let end = text.len() - end.len();
        let is_inside = found.last().is_some_and(|(next, _)| *next < end);
        if is_inside || found.last().is_some_and(|(next, _)| !joins(&text[end..*next])) {
            break;
        }
        found.push((start, content));
    }
    found.reverse();
    let mut contents: Vec<&str> = found.into_iter().map(|(_, content)| content.trim()).collect();
    contents.dedup();
    match &contents[..] {
        [] => None,
        [one] => Some(Cow::Borrowed(one)),
        _ => Some(Cow::Owned(contents.join(", "))),
    }
}

/// Returns the content of a box, and the text after it. An unclosed box ends with its line.
fn content(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let mut longest = LONGEST.min(text.len());
    while !text.is_char_boundary(longest) {
        longest -= 1;
    }
    if let Some((inside, _)) = braced(&text[..longest]) {
        return (inside, &text[inside.len() + 2..]);
    }
    let open = text.strip_prefix('{').unwrap_or(text);
    let ends: &[char] = if open.len() < text.len() { &['\n'] } else { &['\n', ' ', '$', ',', ')'] };
    open.split_at(open.find(ends).unwrap_or(open.len()))
}

/// Returns whether the text between two boxes joins them: a comma or `and`, with a few words or a name around it.
fn joins(between: &str) -> bool {
    if between.len() > 120 || between.contains("\n\n") {
        return false;
    }
    let mut text = String::new();
    for word in between.replace(['$', '~', '{', '}', '\n'], " ").split_whitespace() {
        let word = word.trim_start_matches("\\(").trim_end_matches("\\)").trim_start_matches("\\text");
        if !word.starts_with("\\quad")
            && !word.starts_with("\\qquad")
            && !matches!(word, "" | "\\" | "\\)" | "\\(" | "\\," | "\\;")
        {
            text.push_str(word);
            text.push(' ');
        }
    }
    // A name may precede the box: `and y_2 =`.
    let text = match text.trim_end().strip_suffix('=') {
        Some(before) => before.trim_end().rsplit_once(' ').map_or("", |(before, _)| before),
        None => text.trim_end(),
    };
    let last = text.rsplit(' ').next().unwrap_or_default();
    let sentence = text.contains(['.', '!', '?', ':']) || text.split(' ').count() > 5;
    !sentence && (text.is_empty() || text.ends_with([',', ';']) || matches!(last, "and" | "or"))
}

/// Returns the answer after the last `####` that is no heading.
fn hashes(text: &str) -> Option<&str> {
    for (at, mark) in text.rmatch_indices("####").take(MOST_BOXES) {
        let line = text[at + mark.len()..].lines().next().unwrap_or_default().trim();
        if text[..at].ends_with('#') || line.starts_with('#') || line.len() > LONGEST {
            continue;
        }
        let bare = line.trim_matches(|c| c == '*' || c == ' ');
        let cut = bare.split(" (").next().unwrap_or(bare);
        let heading = cut.split_once(['.', ')']).is_some_and(|(number, title)| {
            number.bytes().all(|b| b.is_ascii_digit()) && title.starts_with(' ') && title.contains(char::is_alphabetic)
        });
        let is_last = text[at..].lines().skip(1).all(|line| line.trim().is_empty());
        for candidate in [bare, cut] {
            let words = |value: &Value| *value == Value::Text && (!is_last || candidate.split(' ').count() > 2);
            if !heading && readings(candidate).first().is_some_and(|answer| !words(&answer.value)) {
                return Some(candidate);
            }
        }
    }
    None
}

/// Returns whether a text is several numbers of which one may be right.
fn is_guess(text: &str) -> bool {
    let alternatives = text.contains(" or ");
    alternatives
        && readings(text).first().is_some_and(|answer| matches!(&answer.value, Value::List(items) if items.len() > 1))
}
