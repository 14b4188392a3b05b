//! The last number or formula of a text.

use super::super::answer::readings;
use super::super::expr::Expr;
use super::super::value::Value;

/// Most lines from the end in which a number is looked for, and the longest of them.
const MOST_LINES: usize = 40;
const LONGEST: usize = 1500;

/// Words before a number that take its meaning away.
const DOUBTS: &[&str] = &["not", "than", "half", "versus", "equation", "step"];

/// Words after a number that change its value.
const FACTORS: &[&str] = &[
    "squared", "cubed", "thirds", "halves", "fourths", "fifths", "dozen", "hundred", "thousand", "million", "billion",
    "trillion",
];

/// One piece of a line: a formula between dollar signs, or a word.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: usize,
    end: usize,
    formula: bool,
}

/// Returns the last number or formula of the last line that has one.
pub(super) fn last(text: &str) -> Option<&str> {
    let lines = text.lines().rev().filter(|line| !line.trim().is_empty()).take(MOST_LINES);
    if let Some(display) = display(text) {
        return Some(display);
    }
    // A text that is one formula is the answer, even if it is a mere letter or a sentence in `\text{…}`.
    let whole = text.trim().trim_end_matches('.');
    if let [Piece { formula: true, .. }] = pieces(ending(whole))[..] {
        return Some(whole).filter(|whole| !readings(whole).is_empty());
    }
    let mut lines = lines.peekable();
    // A text of a single word or two is an answer in words.
    if let Some(line) =
        lines.peek().filter(|line| line.trim().len() == text.trim().len() && line.split_whitespace().count() <= 3)
    {
        let line = line.trim();
        let one = !line.contains(char::is_whitespace) && is_answer(line);
        if one || readings(line).first().is_some_and(|answer| answer.value == Value::Text) {
            return Some(line);
        }
    }
    lines.map(ending).find_map(in_line)
}

/// Returns the end of a long line.
fn ending(line: &str) -> &str {
    let mut start = line.len().saturating_sub(LONGEST);
    while !line.is_char_boundary(start) {
        start += 1;
    }
    &line[start..]
}

/// Returns a formula on lines of its own at the end of a text.
fn display(text: &str) -> Option<&str> {
    let trimmed = text.trim_end().trim_end_matches('.');
    for (open, close) in [("\\[", "\\]"), ("$$", "$$")] {
        let inside = trimmed.strip_suffix(close).and_then(|before| before.rsplit_once(open)).map(|(_, inside)| inside);
        if let Some(inside) = inside.filter(|inside| inside.len() <= LONGEST && is_answer(inside)) {
            return Some(inside);
        }
    }
    None
}

fn is_answer(text: &str) -> bool {
    readings(text).first().is_some_and(|answer| match &answer.value {
        Value::Text | Value::Scalar(Expr::Name(_)) => false,
        // A function is named, not computed: `f(x)`.
        Value::Scalar(Expr::Call(name, _)) => name.len() > 1,
        _ => true,
    })
}

fn in_line(line: &str) -> Option<&str> {
    let pieces = pieces(line);
    let text = |piece: &Piece| line[piece.start..piece.end].trim_matches(|c: char| "*_`\"“”,;:".contains(c));
    let mut end = pieces.len();
    while end > 0 {
        if !is_mathematical(&pieces, end - 1, line) {
            end -= 1;
            continue;
        }
        let mut start = end - 1;
        while start > 0
            && (is_mathematical(&pieces, start - 1, line) || joins(&pieces, start - 1, line))
            && !ends(line, &pieces[start - 1])
        {
            start -= 1;
        }
        while start < end && joins(&pieces, start, line) {
            start += 1;
        }
        // Nothing but signs between formulas.
        if start == end {
            end -= 1;
            continue;
        }
        let before = start.checked_sub(1).map(|at| text(&pieces[at]).to_lowercase()).unwrap_or_default();
        let after = pieces.get(end).map(|piece| text(piece).trim_end_matches('.').to_lowercase()).unwrap_or_default();
        if FACTORS.contains(&&*after) {
            return None;
        }
        let percent = matches!(&*after, "percent" | "pct" | "%" | "degrees");
        let last = if percent { end } else { end - 1 };
        let run = line[pieces[start].start..pieces[last].end].trim_end_matches(['.', ',', ';', ':', '?']);
        let earlier = start.checked_sub(2).map(|at| text(&pieces[at]).to_lowercase()).unwrap_or_default();
        let part = before == "of" && matches!(&*earlier, "half" | "third" | "quarter" | "percent" | "twice");
        if part || DOUBTS.contains(&&*before) {
            return None;
        }
        // The formula after the last words: `total: 5`, `is 5`.
        if is_answer(run) {
            return Some(run);
        }
        // A text that is not understood as a whole may end in a formula that is.
        let formula = pieces[start..end].iter().rev().find(|piece| piece.formula);
        if let Some(piece) = formula.filter(|piece| is_answer(&line[piece.start..piece.end])) {
            return Some(&line[piece.start..piece.end]);
        }
        if pieces[start..end].iter().any(|piece| line[piece.start..piece.end].bytes().any(|b| b.is_ascii_digit())) {
            return None;
        }
        end = start;
    }
    None
}

/// Returns whether a sentence ends with a piece.
fn ends(line: &str, piece: &Piece) -> bool {
    line[piece.start..piece.end].ends_with(['.', '?', ':', ';']) && !piece.formula
}

/// Returns whether a piece is part of a formula.
fn is_mathematical(pieces: &[Piece], at: usize, line: &str) -> bool {
    let piece = pieces[at];
    let text = &line[piece.start..piece.end];
    if piece.formula || text.bytes().any(|b| b.is_ascii_digit()) {
        return true;
    }
    if text.chars().any(|c| "²³⁴½¼¾π∞０１２３４５６７８９".contains(c)) {
        return true;
    }
    let operator = |text: &str| text.chars().all(|c| "+-−–*×·/÷=<>≤≥≈^".contains(c)) && !text.starts_with("**");
    let letter = text.len() == 1 && text.bytes().all(|b| b.is_ascii_alphabetic());
    let near = |at: usize| {
        pieces.get(at).is_some_and(|piece| {
            let text = &line[piece.start..piece.end];
            operator(text) || text.starts_with(['-', '+', '='])
        })
    };
    let command = text.starts_with('\\') && text.len() > 1;
    (operator(text) && !text.is_empty())
        || command
        || text == "%"
        || (letter && (near(at + 1) || (at > 0 && near(at - 1))))
}

/// Returns whether a word joins numbers.
fn joins(pieces: &[Piece], at: usize, line: &str) -> bool {
    let text = &line[pieces[at].start..pieces[at].end];
    matches!(text, "and" | "or" | "," | "x")
}

/// Splits a line into formulas and words.
fn pieces(line: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        let marks = [("$$", "$$"), ("\\(", "\\)"), ("\\[", "\\]"), ("$", "$")];
        let formula = marks.iter().find_map(|(open, close)| {
            let inside = rest.strip_prefix(open)?;
            let end = inside.find(close)?;
            // `$5 and $6` are amounts.
            let amount = *open == "$"
                && inside.starts_with(|c: char| c.is_ascii_digit())
                && inside[..end].ends_with([' ', '(', '-']);
            let prose = inside[..end]
                .split(' ')
                .filter(|word| word.len() > 3 && word.bytes().all(|b| b.is_ascii_lowercase()))
                .count();
            (!amount && (prose == 0 || *open != "$") && end > 0).then_some(open.len() + end + close.len())
        });
        if let Some(length) = formula {
            pieces.push(Piece { start: at, end: at + length, formula: true });
            at += length;
            continue;
        }
        let Some(c) = rest.chars().next() else { break };
        if c.is_whitespace() && c != '\u{a0}' && c != '\u{202f}' {
            at += c.len_utf8();
            continue;
        }
        // Dollars after the first character begin a formula, unless they are an amount.
        let space = |c: char| c.is_whitespace() && c != '\u{a0}' && c != '\u{202f}';
        let end = rest[c.len_utf8()..].find(space).map_or(rest.len(), |end| end + c.len_utf8());
        let word = &rest[..end];
        let inner = ["$", "\\(", "\\["].iter().filter_map(|open| word[c.len_utf8()..].find(open)).min();
        let end = match inner.map(|inner| inner + c.len_utf8()) {
            Some(inner) if !word[..inner].ends_with(|c: char| c.is_ascii_digit() || "-+−".contains(c)) => inner,
            _ => end,
        };
        pieces.push(Piece { start: at, end: at + end, formula: false });
        at += end;
    }
    pieces
}
