//! The numbers of a text, each with its sign, currency and unit.

use super::token::Token::{Fraction, Mark, Number, Word};
use super::token::{Gap, Token, Tokens, ratio, scaled};
use crate::countdown::Rational;

/// A number of a text. The tokens from `start` to `end` are its sign, currency, digits and unit.
#[derive(Debug)]
pub(super) struct Quantity {
    /// The value; [`None`] if it cannot be read, or if the number is part of something else, as 3 is of `2\sqrt{3}`.
    pub(super) value: Option<Rational>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Words after which a number is part of a value, a bound, one of several, or negated.
#[rustfmt::skip]
const SPOILING_BEFORE: [&str; 34] = [
    "above", "and", "below", "cos", "divided", "double", "exceeds", "half", "least", "ln", "log", "minus", "most", "multiplied",
    "not", "or", "out", "over", "per", "percent", "plus", "power", "quarter", "root", "sin", "sqrt", "tan", "than", "third", "through",
    "times", "triple", "twice", "under",
];

/// Words before which a number is part of a value, a bound, or one of several.
const SPOILING_AFTER: [&str; 11] =
    ["and", "choose", "cubed", "factorial", "minus", "mod", "or", "over", "pi", "plus", "squared"];

/// Beginnings of words that multiply or divide the number before them.
#[rustfmt::skip]
const SCALES: [&str; 19] = [
    "billion", "bn", "crore", "dozen", "eighth", "fifth", "fourth", "half", "halves", "hundred", "lakh", "million", "mn",
    "quarter", "sixth", "tenth", "third", "thousand", "trillion",
];

/// Units that are recognised even if they touch the number or are a single letter.
const UNITS: [&str; 14] = ["L", "cm", "dm", "g", "h", "kg", "km", "l", "m", "mL", "mg", "ml", "mm", "s"];

/// Characters that may be on either side of a number.
const PUNCTUATION: &str = ".,:;?=≈→\"'“”‘’`。、✓✔✅";

/// Returns every number of a text, in order. Powers of units, such as the 2 in `9 cm^2`, are skipped.
pub(super) fn quantities(text: &Tokens<'_>) -> Vec<Quantity> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.tokens.len() {
        let Some((value, length)) = magnitude(text.line(at)) else {
            at += 1;
            continue;
        };
        found.extend(text.quantity(at, at + length, value));
        at += length;
    }
    found
}

/// Reads a fraction or a number without a sign at the beginning of `tokens`. Returns its value and the number
/// of tokens it takes.
pub(super) fn fraction_or_number(tokens: &[Token<'_>]) -> Option<(Option<Rational>, usize)> {
    match *tokens {
        [Number(numerator), Mark('/'), Number(denominator), ..] => Some((ratio(numerator, denominator), 3)),
        [Number(value) | Fraction(value), ..] => Some((value, 1)),
        _ => None,
    }
}

/// Reads a number as [`fraction_or_number`] does, and also mixed numbers and powers of ten: `1 3/4`, `2 \times 10^3`.
fn magnitude(tokens: &[Token<'_>]) -> Option<(Option<Rational>, usize)> {
    match *tokens {
        [Number(whole), Fraction(part), ..] => Some((mixed(whole, part), 2)),
        [Number(whole), Number(numerator), Mark('/'), Number(denominator), ..] => {
            Some((mixed(whole, ratio(numerator, denominator)), 4))
        }
        [Number(factor), Mark('×' | '*') | Word("x"), Number(Some(ten)), ref power @ ..]
            if ten == Rational::whole(10) =>
        {
            let Some((exponent, length)) = power_of(power) else { return fraction_or_number(tokens) };
            Some((factor.zip(exponent).and_then(|(factor, exponent)| scaled(factor, exponent)), 3 + length))
        }
        _ => fraction_or_number(tokens),
    }
}

/// Returns the sum of a whole number and a fraction below 1.
fn mixed(whole: Option<Rational>, part: Option<Rational>) -> Option<Rational> {
    let part = part.filter(|part| part.is_proper())?;
    Rational::whole(whole?.to_whole()?).add(part)
}

/// Reads the exponent of `^3`, `^{-3}` or `**3`. Returns its value and the number of tokens it takes.
fn power_of(tokens: &[Token<'_>]) -> Option<(Option<i128>, usize)> {
    let (exponent, length) = match tokens {
        [Mark('^'), exponent @ ..] => (exponent, 1),
        [Mark('*'), Mark('*'), exponent @ ..] => (exponent, 2),
        _ => return None,
    };
    let (value, negative, more) = match *exponent {
        [Number(value), ..] => (value, false, 1),
        [Mark('-'), Number(value), ..] => (value, true, 2),
        [Mark('{'), Number(value), Mark('}'), ..] => (value, false, 3),
        [Mark('{'), Mark('-'), Number(value), Mark('}'), ..] => (value, true, 4),
        _ => return None,
    };
    let value = value.and_then(Rational::to_whole);
    Some((value.map(|value| if negative { -value } else { value }), length + more))
}

/// The effect of the tokens before a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Clear,
    Spoilt,
    /// The number is the power of a unit.
    Unit,
}

impl<'a> Tokens<'a> {
    /// Returns the tokens from `at` on that are on one line, at least as many as a number can take.
    fn line(&self, at: usize) -> &[Token<'a>] {
        let end = self.tokens.len().min(at + 9);
        let end = (at + 1..end).find(|&i| self.gaps[i] == Gap::Line).unwrap_or(end);
        &self.tokens[at..end]
    }

    /// Returns the token before `at` on its line.
    fn previous(&self, at: usize) -> Option<Token<'a>> {
        if at == 0 || self.gaps[at] == Gap::Line { None } else { Some(self.tokens[at - 1]) }
    }

    /// Returns the token at `at`, if it is on the line of the one before.
    fn following(&self, at: usize) -> Option<Token<'a>> {
        if self.gaps.get(at) == Some(&Gap::Line) { None } else { self.tokens.get(at).copied() }
    }

    /// Returns the number whose digits are the tokens from `digits` to `end`; [`None`] if it is the power of a unit.
    fn quantity(&self, digits: usize, end: usize, magnitude: Option<Rational>) -> Option<Quantity> {
        let start = self.before_currency(digits);
        let Sign { start, negative, certain } = self.sign(start, digits);
        let before = if certain { self.before(start, start == digits) } else { Before::Spoilt };
        let end = self.after_unit(end);
        let value = match before {
            Before::Unit => return None,
            Before::Clear if self.is_clear_after(end) => magnitude,
            _ => None,
        };
        let value = if negative { value.and_then(|value| Rational::whole(0).sub(value)) } else { value };
        Some(Quantity { value: value.map(Rational::reduced), start, end })
    }

    /// Returns the start of a currency that ends before `at`.
    fn before_currency(&self, mut at: usize) -> usize {
        while self.previous(at).is_some_and(is_currency) {
            at -= 1;
        }
        at
    }

    /// Returns the end of a currency, a percent sign or a degree sign that starts at `at`.
    fn after_unit(&self, mut at: usize) -> usize {
        while self.following(at).is_some_and(|token| is_currency(token) || matches!(token, Mark('%' | '°'))) {
            at += 1;
        }
        at
    }

    /// Returns the sign before `at`, for the number whose digits begin at `digits`.
    fn sign(&self, at: usize, digits: usize) -> Sign {
        match self.previous(at) {
            Some(Mark(mark @ ('-' | '+'))) => {
                let apart = self.gaps[at..=digits].iter().any(|gap| *gap != Gap::None);
                let start = self.before_currency(at - 1);
                let certain = match self.previous(start) {
                    // A dash and a space at the beginning of a line may be a bullet.
                    None => !apart || start == 0,
                    Some(Mark(before)) if apart => "=≈→:,([{".contains(before),
                    Some(_) => !apart,
                };
                Sign { start, negative: mark == '-', certain }
            }
            Some(Word(word)) if is_one_of(&["minus", "negative"], word) => {
                // `ten minus 5` is a difference.
                let certain = match self.previous(at - 1) {
                    Some(Word(before)) => {
                        word.eq_ignore_ascii_case("negative") || is_one_of(&["is", "be", "equals"], before)
                    }
                    _ => true,
                };
                Sign { start: at - 1, negative: true, certain }
            }
            _ => Sign { start: at, negative: false, certain: true },
        }
    }

    /// Classifies the tokens before `start` by their effect on the number there. `bare` says that the number
    /// has neither sign nor currency.
    fn before(&self, start: usize, bare: bool) -> Before {
        let (mut at, mut apart) = (start, false);
        while let Some(token) = self.previous(at) {
            let touches = self.gaps[at] == Gap::None;
            apart |= !touches;
            at -= 1;
            match token {
                // `f(5)` is not a remark in parentheses: the text before the parenthesis must be apart from it.
                Mark('(' | '[' | '{') => apart = false,
                Mark(')' | ']' | '}') => {}
                Mark('*') if touches => {}
                // This is the end of bold text, as in `**Answer:** 5`.
                Mark('*') if self.gaps[at] == Gap::None && self.previous(at) == Some(token) => {}
                // This is a bullet rather than a product.
                Mark('*') if self.previous(at).is_none() => return Before::Clear,
                Mark('^') if self.raises_unit(at) => return Before::Unit,
                Mark(mark) if self.separates(at, mark, touches) => return Before::Clear,
                Word(unit) if bare && touches && at + 1 == start && UNITS.contains(&unit) => return Before::Unit,
                Word(_) if apart && self.is_prose_before(at) => return Before::Clear,
                _ if is_currency(token) => {}
                _ => return Before::Spoilt,
            }
        }
        Before::Clear
    }

    /// Returns whether the mark at `at` ends the expression before it. `touches` says that it touches the token
    /// after it.
    fn separates(&self, at: usize, mark: char, touches: bool) -> bool {
        let number_before = matches!(self.previous(at), Some(Number(_) | Fraction(_)));
        let between = touches && self.gaps[at] == Gap::None;
        match mark {
            '=' => match self.previous(at) {
                // `x >= 5`, `x != 5`
                Some(Mark('<' | '>' | '!')) => false,
                // `x = 5 or x = 6`
                Some(Word(_)) => !matches!(self.previous(self.before_currency(at - 1)), Some(Word("and" | "or"))),
                _ => true,
            },
            '≈' | '→' => true,
            '.' => !touches,
            // `(5, 2)` is a list, but a comma after a word belongs to a sentence.
            ',' | ';' => is_prose(self.previous(at)),
            // The number continues in `12:30` and `5'10`.
            ':' => !number_before || !between && self.gaps[at] == Gap::None,
            '!' | '#' => !(number_before && between),
            _ => PUNCTUATION.contains(mark) && !(number_before && between),
        }
    }

    /// Returns whether the `^` at `at` raises a unit (`cm^2`, `\text{inches}^2`) rather than variables (`ab^2`).
    fn raises_unit(&self, mut at: usize) -> bool {
        while self.previous(at) == Some(Mark('}')) {
            at -= 1;
        }
        matches!(self.previous(at), Some(Word(word)) if word.len() > 3 || UNITS.contains(&word))
    }

    /// Returns whether the word at `at` does not affect the number after it.
    fn is_prose_before(&self, at: usize) -> bool {
        let before = self.previous(at);
        let number = matches!(before, Some(Number(_) | Fraction(_)));
        match self.tokens[at] {
            // `root of 2`, `50% of 2`, `divided by 2`
            Word("of" | "by") => match before {
                Some(Word(word)) => !is_one_of(&SPOILING_BEFORE, word),
                _ => !number && before != Some(Mark('%')),
            },
            Word("to") => !number,
            Word(word) => !is_variable(word) && !is_one_of(&SPOILING_BEFORE, word),
            _ => false,
        }
    }

    /// Returns whether the tokens from `end` on do not affect the number before them.
    fn is_clear_after(&self, end: usize) -> bool {
        let (mut at, mut apart) = (end, false);
        while let Some(token) = self.following(at) {
            let touches = self.gaps[at] == Gap::None;
            apart |= !touches;
            at += 1;
            match token {
                Mark(')' | ']' | '}' | '{') => {}
                Mark('*') if touches => {}
                _ if is_currency(token) => {}
                // This is a remark rather than a product.
                Mark('(' | '[') => {
                    return !touches && matches!(self.following(at), Some(Word(word)) if !is_variable(word));
                }
                Mark('.') => return self.following(at) != Some(Mark('.')),
                Mark(',' | ';') => return is_prose(self.following(at)),
                // `5!` is a factorial, and `5 != x` a bound.
                Mark('!') => return !touches && self.following(at) != Some(Mark('=')),
                Mark(mark) => return PUNCTUATION.contains(mark),
                Word(word) if !apart => return word.len() > 1 && UNITS.contains(&word),
                // `5 m`, but not `5 m + n`
                Word(word) if is_variable(word) => {
                    return UNITS.contains(&word)
                        && !matches!(self.following(at), Some(Mark('+' | '-' | '*' | '×' | '=' | '(')));
                }
                Word(word) => return !is_one_of(&SPOILING_AFTER, word) && !is_scale(word),
                Number(_) | Fraction(_) => return false,
            }
        }
        true
    }
}

/// A sign that begins at `start`. It is not `certain` if it may be a difference, a range or a bullet.
struct Sign {
    start: usize,
    negative: bool,
    certain: bool,
}

/// Returns whether a word is a single letter that is not an English word.
fn is_variable(word: &str) -> bool {
    word.chars().count() == 1 && !matches!(word, "a" | "A" | "I")
}

/// Returns whether the neighbour of a comma shows that the comma belongs to a sentence rather than a list.
fn is_prose(neighbour: Option<Token<'_>>) -> bool {
    neighbour.is_none_or(|token| matches!(token, Word(word) if !is_variable(word)))
}

fn is_scale(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    SCALES.iter().any(|scale| word.starts_with(scale))
}

pub(super) fn is_currency(token: Token<'_>) -> bool {
    matches!(token, Mark('$' | '€' | '£' | '¥' | '₹'))
}

fn is_one_of(words: &[&str], word: &str) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}
