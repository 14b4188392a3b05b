//! Tokens of a text, as far as numbers need them: prose, Markdown, and the LaTeX usually found around answers.

use crate::countdown::Rational;

/// A piece of text without white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Digits with groups of thousands, a decimal point and an exponent. [`None`] if they are not a number
    /// (`1,2`) or do not fit 128 bits.
    Number(Option<Rational>),
    /// `\frac{3}{4}`, including both parts. [`None`] if one of them is not a whole number.
    Fraction(Option<Rational>),
    /// A word of letters.
    Word(&'a str),
    /// Any other character, even if LaTeX has a command for it. Unknown commands become a `\`.
    Mark(char),
}

/// The white space before a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    None,
    Space,
    Line,
}

/// Tokens, with the gap before each.
#[derive(Debug, Default)]
pub(super) struct Tokens<'a> {
    pub(super) tokens: Vec<Token<'a>>,
    pub(super) gaps: Vec<Gap>,
}

impl<'a> Tokens<'a> {
    /// Splits a text, which [`plain`] has prepared, into tokens.
    pub(super) fn of(text: &'a str) -> Self {
        let mut all = Self::default();
        let (mut rest, mut gap) = (text, Gap::None);
        while !rest.is_empty() {
            // The point of `.5` is a decimal point, but those of `x.5` and `...5` may not be.
            let decimal_point = match all.tokens.last() {
                Some(Token::Mark(mark)) => *mark != '.' || gap != Gap::None,
                Some(_) => gap != Gap::None,
                None => true,
            };
            let piece;
            (piece, rest) = first_piece(rest, decimal_point);
            match piece {
                Piece::Gap(next) => gap = gap.max(next),
                Piece::Token(token) => {
                    all.tokens.push(token);
                    all.gaps.push(gap);
                    gap = Gap::None;
                }
            }
        }
        all
    }
}

/// Replaces characters that look alike by one of them: ASCII for full-width forms, `-` for the minus sign, the
/// hyphens and the en dash, `,` for LaTeX's `{,}`, `→` for `->` and `=>`.
pub(super) fn plain(text: &str) -> String {
    let text: String = text.chars().map(plain_char).collect();
    text.replace("{,}", ",").replace("\\!", "").replace("->", "→").replace("=>", "→")
}

fn plain_char(c: char) -> char {
    match c {
        '！'..='～' => char::from_u32(u32::from(c) - u32::from('！') + u32::from('!')).unwrap_or(c),
        '−' | '–' | '‐' | '‑' => '-',
        '⁄' | '∕' => '/',
        '⋅' => '×',
        _ => c,
    }
}

/// Returns the content of the braces with which `text` begins, and the text after them.
pub(super) fn braced(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('{')?;
    let (mut depth, mut escaped) = (1, false);
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&inner[..at], &inner[at + 1..]));
        }
    }
    None
}

/// Returns the quotient of two whole numbers.
pub(super) fn ratio(numerator: Option<Rational>, denominator: Option<Rational>) -> Option<Rational> {
    let whole = |part: Option<Rational>| part?.to_whole().map(Rational::whole);
    whole(numerator)?.div(whole(denominator)?)
}

/// Returns `number` · 10^`exponent`.
pub(super) fn scaled(number: Rational, exponent: i128) -> Option<Rational> {
    let power = Rational::whole(10_i128.checked_pow(exponent.unsigned_abs().try_into().ok()?)?);
    if exponent < 0 { number.div(power) } else { number.mul(power) }
}

enum Piece<'a> {
    Token(Token<'a>),
    Gap(Gap),
}

/// Splits off the first piece of `text`, which must not be empty.
fn first_piece(text: &str, decimal_point: bool) -> (Piece<'_>, &str) {
    if let Some((value, rest)) = number(text, decimal_point) {
        return (Piece::Token(Token::Number(value)), rest);
    }
    let mut chars = text.chars();
    let first = chars.next().unwrap_or_default();
    let rest = chars.as_str();
    let (piece, rest) = match first {
        '\\' => return command(rest),
        '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => (Piece::Gap(Gap::Line), rest),
        // In LaTeX `~` is a space, and `&` aligns.
        '~' | '&' => (Piece::Gap(Gap::Space), rest),
        _ if first.is_whitespace() => (Piece::Gap(Gap::Space), rest),
        '<' => tag(rest).unwrap_or((Piece::Token(Token::Mark('<')), rest)),
        '^' => match rest.strip_prefix("\\circ").or_else(|| rest.strip_prefix("{\\circ}")) {
            Some(rest) => (Piece::Token(Token::Mark('°')), rest),
            None => (Piece::Token(Token::Mark('^')), rest),
        },
        _ if first.is_alphabetic() => {
            let (word, rest) = word(text);
            (Piece::Token(Token::Word(word)), rest)
        }
        _ => (Piece::Token(Token::Mark(first)), rest),
    };
    (piece, rest)
}

/// Splits off letters, which may have an apostrophe between them.
fn word(text: &str) -> (&str, &str) {
    let inside = |(at, c): &(usize, char)| {
        let letter_follows = || text[at + c.len_utf8()..].starts_with(char::is_alphabetic);
        c.is_alphabetic() || matches!(c, '\'' | '’') && letter_follows()
    };
    let end = text.char_indices().find(|c| !inside(c)).map_or(text.len(), |(at, _)| at);
    text.split_at(end)
}

/// Splits off a tag such as `</answer>`, given without its `<`. It separates like the end of a line.
fn tag(text: &str) -> Option<(Piece<'_>, &str)> {
    let (tag, rest) = text.split_once('>')?;
    let name = tag.strip_prefix('/').unwrap_or(tag);
    let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '|' | '_'));
    let piece = if matches!(tag, "sup" | "sub") { Piece::Token(Token::Mark('^')) } else { Piece::Gap(Gap::Line) };
    named.then_some((piece, rest))
}

/// Splits off a LaTeX command, given without its `\`.
fn command(text: &str) -> (Piece<'_>, &str) {
    let (name, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_alphabetic).count());
    let piece = match name {
        "" => return escaped(text),
        "frac" | "dfrac" | "tfrac" | "cfrac" => {
            let (value, rest) = fraction(rest);
            return (Piece::Token(Token::Fraction(value)), rest);
        }
        "left" | "right" | "displaystyle" => Piece::Gap(Gap::None),
        "text" | "textbf" | "textit" | "textrm" | "mathrm" | "mathbf" | "mathit" | "mbox" | "bf" | "quad" | "qquad" => {
            Piece::Gap(Gap::Space)
        }
        "times" | "cdot" => Piece::Token(Token::Mark('×')),
        "circ" | "degree" => Piece::Token(Token::Mark('°')),
        "approx" => Piece::Token(Token::Mark('≈')),
        "to" | "rightarrow" | "Rightarrow" | "implies" | "therefore" => Piece::Token(Token::Mark('→')),
        _ => Piece::Token(Token::Mark('\\')),
    };
    (piece, rest)
}

/// Splits off a LaTeX command of one character that is not a letter, given without its `\`.
fn escaped(text: &str) -> (Piece<'_>, &str) {
    let mut chars = text.chars();
    let piece = match chars.next() {
        Some(',' | ';' | ':' | ' ') => Piece::Gap(Gap::Space),
        Some('\\' | '\n') => Piece::Gap(Gap::Line),
        // These begin and end a formula.
        Some('(' | ')' | '[' | ']') => Piece::Token(Token::Mark('$')),
        Some(c) => Piece::Token(Token::Mark(c)),
        None => Piece::Token(Token::Mark('\\')),
    };
    (piece, chars.as_str())
}

/// Splits off the arguments of `\frac`, each in braces or of one digit. If there are none, nothing is split off.
fn fraction(text: &str) -> (Option<Rational>, &str) {
    let argument = |text: &'_ str| -> Option<(Option<Rational>, usize)> {
        let trimmed = text.trim_start();
        let (content, rest) = match braced(trimmed) {
            Some(argument) => argument,
            None if trimmed.starts_with(|c: char| c.is_ascii_digit()) => trimmed.split_at(1),
            None => return None,
        };
        Some((whole(content), text.len() - rest.len()))
    };
    let both = argument(text).and_then(|(numerator, length)| {
        let (denominator, more) = argument(&text[length..])?;
        Some((ratio(numerator, denominator), &text[length + more..]))
    });
    both.unwrap_or((None, text))
}

/// Returns the whole number that makes up all of `text`.
fn whole(text: &str) -> Option<Rational> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (value, rest) = number(digits, false)?;
    let value = Rational::whole(value?.to_whole()?);
    match rest {
        "" if text.starts_with('-') => Rational::whole(0).sub(value),
        "" => Some(value),
        _ => None,
    }
}

/// Splits off a number without a sign, with the value [`None`] if the digits are not a number.
fn number(text: &str, decimal_point: bool) -> Option<(Option<Rational>, &str)> {
    if text.starts_with('.') && !decimal_point {
        return None;
    }
    let (digits, mut rest) = digits(text);
    if digits.is_empty() {
        return None;
    }
    let mut digits = digits.to_owned();
    if digits.len() <= 3 && all_digits(&digits) {
        let separator = separator(rest);
        while let Some((group, after)) = separator.and_then(|separator| group(rest.strip_prefix(separator)?)) {
            digits.push(',');
            digits.push_str(group);
            rest = after;
        }
    }
    let (exponent, rest) = exponent(rest).unwrap_or((0, rest));
    Some((decimal(&digits).and_then(|mantissa| scaled(mantissa, exponent)), rest))
}

/// Splits off digits of any script, with points and commas that precede a digit.
fn digits(text: &str) -> (&str, &str) {
    let inside = |(at, c): &(usize, char)| {
        let digit_follows = || text[at + 1..].starts_with(|c: char| c.is_ascii_digit());
        c.is_numeric() || matches!(c, '.' | ',') && digit_follows()
    };
    let end = if text.starts_with(',') {
        0
    } else {
        text.char_indices().find(|c| !inside(c)).map_or(text.len(), |(at, _)| at)
    };
    text.split_at(end)
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// Returns the space that `text` begins with, if it may separate thousands.
fn separator(text: &str) -> Option<&str> {
    let first = text.chars().next()?;
    match first {
        '\\' => text.starts_with("\\,").then_some("\\,"),
        '~' => Some("~"),
        _ => (first.is_whitespace() && !first.is_control()).then(|| &text[..first.len_utf8()]),
    }
}

/// Splits off three digits, with their decimals if they are the last group.
fn group(text: &str) -> Option<(&str, &str)> {
    let (group, rest) = digits(text);
    let whole = group.split('.').next()?;
    (whole.len() == 3 && all_digits(whole)).then_some((group, rest))
}

/// Splits off an exponent, `e-3`.
fn exponent(text: &str) -> Option<(i128, &str)> {
    let text = text.strip_prefix(['e', 'E'])?;
    let signless = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = signless.bytes().take_while(u8::is_ascii_digit).count();
    let (exponent, rest) = text.split_at(text.len() - signless.len() + digits);
    // An exponent too large to be read is too large to be used.
    (digits > 0).then(|| (exponent.parse().unwrap_or(i128::MAX), rest))
}

/// Returns the value of digits with a point, and with commas between groups of three.
fn decimal(digits: &str) -> Option<Rational> {
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let grouped = whole.contains(',');
    if grouped && (first.starts_with('0') || !(1..=3).contains(&first.len()) || groups.any(|group| group.len() != 3)) {
        return None;
    }
    let mantissa = [&whole.replace(',', ""), places].concat().parse().ok()?;
    Some(Rational::decimal(mantissa, places.len().try_into().ok()?)?.reduced())
}
