//! The text after "answer is".

use super::super::answer::readings;
use super::super::value::Value;
use super::last;

/// Most occurrences of "answer" that are looked at, and the longest sentence after one.
const MOST: usize = 20;
const LONGEST: usize = 1500;

/// Returns the answer after the last "answer is", "answer:" or heading "Answer" that has one.
pub(super) fn phrase(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    lower.rmatch_indices("answer").take(MOST).find_map(|(at, word)| {
        let start = at + word.len();
        let stated = stated(&lower[start..])?;
        answer_in(&text[start + stated..])
    })
}

/// Returns the length of the words between "answer" and the answer: `is`, a colon, `to this is`.
fn stated(after: &str) -> Option<usize> {
    let rest = after.strip_prefix('s').unwrap_or(after).trim_start_matches(['*', '_', '#']);
    let trimmed = rest.trim_start_matches([' ', '\t']);
    let at = |rest: &str| after.len() - rest.len();
    for sign in [":", "=", "**:", "is:", "are:"] {
        if let Some(rest) = trimmed.strip_prefix(sign) {
            return Some(at(rest));
        }
    }
    for verb in ["is", "are", "will be", "would be", "should be", "must be", "was"] {
        if let Some(rest) =
            trimmed.strip_prefix(verb).filter(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        {
            return Some(at(rest));
        }
    }
    // A heading of its own line.
    if rest.starts_with('\n') || rest.starts_with("\r\n") {
        return Some(at(rest));
    }
    if ["to ", "for ", "of "].iter().any(|word| trimmed.starts_with(word)) {
        let sentence = trimmed.split(['.', '\n']).next().unwrap_or_default();
        let (verb, found) = [" is ", " are ", ": "]
            .iter()
            .filter_map(|verb| Some((*verb, sentence.find(verb)?)))
            .min_by_key(|(_, at)| *at)?;
        return Some(at(&trimmed[found + verb.len()..]));
    }
    None
}

/// Returns the answer at the start of a text.
fn answer_in(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || "*:_".contains(c));
    let sentence = sentence(text)?;
    let cuts = [
        ", since",
        " since ",
        ", because",
        " because ",
        ", as ",
        ", so ",
        ", which",
        ", where",
        " where ",
        ", not ",
        " when ",
        " (",
        " [",
        ", i.e",
        " — ",
        " for ",
        ", with ",
        ", and the",
        ", giving",
    ];
    let cut = cuts.iter().filter_map(|cut| sentence.find(cut).filter(|at| *at > 0)).min().unwrap_or(sentence.len());
    let whole = [sentence, &sentence[..cut]].into_iter().find(|candidate| {
        let words = candidate.split_whitespace().count();
        readings(candidate).first().is_some_and(|answer| answer.value != Value::Text || words <= 4)
    });
    whole
        .or_else(|| last::last(sentence))
        .or_else(|| Some(sentence[..cut].trim()).filter(|text| text.split_whitespace().count() <= 8))
}

/// Returns the sentence at the start of a text; a formula on lines of its own is one.
fn sentence(text: &str) -> Option<&str> {
    for (open, close) in [("\\[", "\\]"), ("$$", "$$")] {
        if let Some(end) = text.strip_prefix(open).and_then(|rest| rest.find(close)) {
            return Some(text[..open.len() + end + close.len()].trim()).filter(|found| found.len() <= LONGEST);
        }
    }
    let mut end = text.find('\n').unwrap_or(text.len()).min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let line = &text[..end];
    let stops = line.match_indices(['.', '!', '?', ';']).map(|(at, _)| at);
    let is_stop = |at: &usize| line[at + 1..].chars().next().is_none_or(|c| c.is_whitespace() || "*\"”<".contains(c));
    // `1 000 . 5` is no end of a sentence, and the stop of `5!` belongs to it.
    let end = stops.filter(is_stop).find(|at| !line[*at..].starts_with('!')).unwrap_or(line.len());
    Some(line[..end].trim().trim_matches('"')).filter(|sentence| !sentence.is_empty())
}
