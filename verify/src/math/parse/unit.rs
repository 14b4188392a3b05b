//! Units after a number, and other words.

use super::super::token::Token;
use super::{Parser, call};

/// Units that may follow a number without `\text`.
const UNITS: &[&str] = &[
    "cm", "mm", "km", "kg", "mg", "ml", "mL", "ft", "mi", "lb", "lbs", "oz", "hr", "hrs", "min", "mins", "sec", "secs",
    "mph", "kph", "yd", "USD", "usd", "deg", "units", "unit", "dm", "kWh", "Hz", "kJ", "in",
];

/// Short words that are no products of variables.
const FUNCTION_WORDS: &[&str] = &[
    "it", "is", "in", "to", "so", "of", "at", "be", "we", "an", "as", "by", "if", "no", "on", "the", "for", "are",
    "was", "has", "not", "one", "two", "ten", "all", "any", "per", "see", "can", "its", "and", "but", "let", "yes",
    "get", "how", "out", "now",
];

/// Words after a number that change its value, so that they are no unit.
const CHANGES: &[&str] = &[
    "or",
    "k",
    "and",
    "to",
    "times",
    "squared",
    "cubed",
    "thirds",
    "third",
    "halves",
    "half",
    "fourths",
    "quarters",
    "fifths",
    "sixths",
    "tenths",
    "plus",
    "minus",
    "over",
    "divided",
    "factorial",
    "choose",
    "more",
    "less",
    "fewer",
    "modulo",
];

/// Returns the number that a word after another multiplies it by.
fn multiplier(word: &str) -> Option<i64> {
    Some(match word.to_lowercase().as_str() {
        "dozen" => 12,
        "hundred" => 100,
        "thousand" => 1000,
        "million" => 1_000_000,
        "billion" => 1_000_000_000,
        "trillion" => 1_000_000_000_000,
        _ => return None,
    })
}

/// Returns whether a word is one of the short words that are no products of variables.
pub(super) fn is_function_word(word: &str) -> bool {
    FUNCTION_WORDS.contains(&&*word.to_lowercase())
}

impl Parser<'_> {
    /// Reads a word such as `million` after a number.
    pub(super) fn eats_multiplier(&mut self) -> Option<i64> {
        let factor = multiplier(self.word().split(' ').next()?)?;
        self.at += 1;
        Some(factor)
    }

    /// Skips a unit after a number: words, `\text{…}`, exponents and divisions such as `m/s^2`.
    pub(super) fn eats_unit(&mut self) -> bool {
        let start = self.at;
        if CHANGES.contains(&self.word().split(' ').next().unwrap_or_default().to_lowercase().as_str()) {
            return false;
        }
        let mut unit = String::new();
        loop {
            let last = self.at + 1 >= self.tokens.len();
            match self.peek() {
                Some(Token::Text(text)) => unit.push_str(text),
                Some(Token::Command(name)) if name == "$" => {}
                Some(Token::Word(word)) => {
                    let long = word.len() >= 3 && self.spaced() && !matches!(&**word, "and" | "mod");
                    let is_unit = UNITS.contains(&&**word) || (long && is_prose(word)) || !unit.is_empty();
                    let is_letter = matches!(&**word, "m" | "s" | "g" | "h" | "L" | "J" | "N" | "W" | "V");
                    // 9m^2 without a space is an area, as there is hardly a variable of this name.
                    let area = word == "m" && self.has_exponent() && self.at + 3 >= self.tokens.len().saturating_sub(2);
                    let letter = (is_letter && self.spaced() && (last || self.has_exponent())) || area;
                    if !(is_unit || letter) || matches!(&**word, "and" | "or") {
                        break;
                    }
                    unit.push_str(word);
                }
                _ => break,
            }
            self.at += 1;
            if self.eats('^') {
                let before = self.at;
                if self.nested(Parser::exponent).is_none() {
                    self.at = before;
                    return false;
                }
                unit.push('^');
                for spaced in &self.tokens[before..self.at] {
                    if let Token::Number(value, _) = &spaced.token {
                        unit.push_str(&value.to_string());
                    }
                }
            } else if matches!(self.peek(), Some(Token::Number(..)))
                && self.at + 1 == self.tokens.len()
                && !self.spaced()
            {
                // cm2
                if let Some(Token::Number(value, _)) = self.peek() {
                    unit.push('^');
                    unit.push_str(&value.to_string());
                }
                self.at += 1;
            }
            if self.is('/') && matches!(self.ahead(1), Some(Token::Word(_) | Token::Text(_))) {
                self.at += 1;
                unit.push('/');
            } else if self.is('*') && matches!(self.ahead(1), Some(Token::Word(_) | Token::Text(_))) {
                self.at += 1;
            } else {
                unit.push(' ');
            }
        }
        if self.at > start {
            self.unit = Some(unit.trim().to_owned());
        }
        self.at > start
    }

    fn has_exponent(&self) -> bool {
        matches!(self.ahead(1), Some(Token::Sign('^' | '/')))
            || (self.at + 2 == self.tokens.len() && matches!(self.ahead(1), Some(Token::Number(..))))
    }
}

/// Returns whether a word cannot be a product of variables or a function.
fn is_prose(word: &str) -> bool {
    call::function(word).is_none() && !matches!(word, "pi" | "sqrt" | "cbrt" | "infinity" | "frac" | "percent" | "pct")
}
