//! Splits an answer in LaTeX or plain text into tokens.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

use super::clean::braced;

/// One piece of a formula.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A number with the count of its decimals.
    Number(BigRational, usize),
    /// A run of letters.
    Word(String),
    /// A command without its backslash.
    Command(String),
    /// The content of `\text{…}`.
    Text(String),
    /// Any other sign. `<=`, `>=` and `!=` are `≤`, `≥` and `≠`; `\{` and `\}` are `⦃` and `⦄`; `\\` is a line feed.
    Sign(char),
}

/// A token, and whether a space comes before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spaced {
    pub(super) token: Token,
    pub(super) space: bool,
}

/// The meaning of a comma between digits outside brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commas {
    /// `1,234` is one number; commas that group no digits separate.
    Thousands,
    /// Every comma separates.
    Separate,
    /// `1,5` is a decimal.
    Decimal,
}

/// The most digits of a number, and the largest exponent of ten, that are read.
const MOST_DIGITS: usize = 2000;
const MOST_EXPONENT: u64 = 400;
const MOST_TOKENS: usize = 2000;

/// Commands that only change how a formula looks.
const LOOKS: &[&str] = &[
    "left",
    "right",
    "big",
    "Big",
    "bigg",
    "Bigg",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "biggl",
    "biggr",
    "displaystyle",
    "textstyle",
    "limits",
    "quad",
    "qquad",
    "thinspace",
    "medspace",
    "thickspace",
    "space",
    "bf",
    "rm",
    "it",
    "middle",
    "mathstrut",
    "nolimits",
    "hfill",
    "enspace",
    "large",
    "Large",
];

/// Commands whose argument is prose.
const PROSE: &[&str] =
    &["text", "mbox", "textbf", "textit", "textrm", "textnormal", "hbox", "texttt", "textsf", "textup", "emph"];

/// Commands whose argument is a formula in another font, or in a frame.
const FONTS: &[&str] = &[
    "mathrm",
    "mathbf",
    "mathit",
    "mathsf",
    "mathcal",
    "boldsymbol",
    "bm",
    "boxed",
    "fbox",
    "operatorname",
    "ensuremath",
];

/// Returns the tokens of a text that went through [`super::clean::clean`], or None if they are too many or too long.
pub(super) fn tokens(text: &str, commas: Commas) -> Option<Vec<Spaced>> {
    let mut reader = Reader { commas, depth: 0, tokens: Vec::new(), space: false };
    reader.read(text, 0)?;
    Some(reader.tokens)
}

struct Reader {
    commas: Commas,
    /// Open round or square brackets and sets, in which commas separate.
    depth: usize,
    tokens: Vec<Spaced>,
    space: bool,
}

impl Reader {
    fn push(&mut self, token: Token) -> Option<()> {
        self.tokens.push(Spaced { token, space: std::mem::take(&mut self.space) });
        (self.tokens.len() <= MOST_TOKENS).then_some(())
    }

    fn read(&mut self, text: &str, nesting: usize) -> Option<()> {
        if nesting > 32 {
            return None;
        }
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            let following = after.chars().next().unwrap_or(' ');
            rest = match c {
                '\\' => self.command(after, nesting)?,
                '0'..='9' => self.number(rest)?,
                '.' if following.is_ascii_digit() => self.number(rest)?,
                '$' => after,
                '~' => {
                    self.space = true;
                    after
                }
                _ if c.is_whitespace() => {
                    self.space = true;
                    after
                }
                '<' | '>' | '!' if following == '=' => {
                    self.push(Token::Sign(match c {
                        '<' => '≤',
                        '>' => '≥',
                        _ => '≠',
                    }))?;
                    &after[1..]
                }
                _ if c.is_alphabetic() => {
                    let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
                    self.push(Token::Word(rest[..end].to_owned()))?;
                    &rest[end..]
                }
                _ => {
                    match c {
                        '(' | '[' => self.depth += 1,
                        ')' | ']' => self.depth = self.depth.saturating_sub(1),
                        _ => {}
                    }
                    self.push(Token::Sign(c))?;
                    after
                }
            };
        }
        Some(())
    }

    /// Reads the command after a backslash, and returns the rest.
    fn command<'a>(&mut self, text: &'a str, nesting: usize) -> Option<&'a str> {
        let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
        if end == 0 {
            let Some(c) = text.chars().next() else { return Some(text) };
            match c {
                '{' => {
                    self.depth += 1;
                    self.push(Token::Sign('⦃'))?;
                }
                '}' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.push(Token::Sign('⦄'))?;
                }
                '%' | '|' | '#' | '&' | '_' => self.push(Token::Sign(c))?,
                '\\' => self.push(Token::Sign('\n'))?,
                // A thin negative space joins, other spaces separate.
                '!' => {}
                _ => self.space = true,
            }
            return Some(&text[c.len_utf8()..]);
        }
        let (name, rest) = text.split_at(end);
        // `\quadx` lacks a space.
        if let Some(run) = name.strip_prefix("quad").filter(|run| !run.is_empty()) {
            self.space = true;
            return Some(&text[end - run.len()..]);
        }
        if LOOKS.contains(&name) {
            self.space = true;
            // `\left.` and `\right.` stand for no bracket.
            let is_side = name == "left" || name == "right";
            return Some(if is_side { rest.strip_prefix('.').unwrap_or(rest) } else { rest });
        }
        if let Some((content, after)) = braced(rest.trim_start()) {
            if PROSE.contains(&name) {
                self.prose(content, nesting)?;
                return Some(after);
            }
            if FONTS.contains(&name) || name == "math" {
                self.space = true;
                self.read(content, nesting + 1)?;
                self.space = true;
                return Some(after);
            }
            if name == "mathbb" {
                self.push(Token::Word(format!("{}{}", content.trim(), content.trim())))?;
                return Some(after);
            }
            if name == "begin" || name == "end" {
                self.push(Token::Command(format!("{name} {}", content.trim_end_matches('*'))))?;
                return Some(after);
            }
            if name == "phantom" || name == "hspace" || name == "vspace" {
                return Some(after);
            }
        }
        match name {
            "lbrace" => self.push(Token::Sign('⦃'))?,
            "rbrace" => self.push(Token::Sign('⦄'))?,
            "le" | "leq" | "leqslant" => self.push(Token::Sign('≤'))?,
            "ge" | "geq" | "geqslant" => self.push(Token::Sign('≥'))?,
            "ne" | "neq" => self.push(Token::Sign('≠'))?,
            "lt" => self.push(Token::Sign('<'))?,
            "gt" => self.push(Token::Sign('>'))?,
            "approx" | "simeq" | "cong" | "sim" => self.push(Token::Sign('≈'))?,
            "times" | "cdot" | "ast" => self.push(Token::Sign('*'))?,
            "div" => self.push(Token::Sign('/'))?,
            "pm" => self.push(Token::Sign('±'))?,
            "mp" => self.push(Token::Sign('∓'))?,
            "in" => self.push(Token::Sign('∈'))?,
            "cup" => self.push(Token::Sign('∪'))?,
            "cap" => self.push(Token::Sign('∩'))?,
            "colon" => self.push(Token::Sign(':'))?,
            "mid" | "vert" | "lvert" | "rvert" => self.push(Token::Sign('|'))?,
            "lbrack" => self.push(Token::Sign('['))?,
            "rbrack" => self.push(Token::Sign(']'))?,
            _ => self.push(Token::Command(name.to_owned()))?,
        }
        Some(rest)
    }

    /// Reads the content of `\text{…}`: numbers and `and` belong to the formula, other words do not.
    fn prose(&mut self, content: &str, nesting: usize) -> Option<()> {
        let trimmed = content.trim().trim_matches(',').trim();
        let is_formula = trimmed.chars().any(|c| c.is_ascii_digit()) && !trimmed.chars().any(char::is_alphabetic);
        if is_formula || matches!(trimmed, "and" | "or" | "to" | "" | "or " | "," | ";") {
            self.space = true;
            self.read(content, nesting + 1)?;
        } else {
            self.push(Token::Text(trimmed.to_owned()))?;
        }
        self.space = true;
        Some(())
    }

    /// Reads a number, with separators of thousands, decimals and an exponent such as `e3`.
    fn number<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let groups = if self.depth == 0 && self.commas == Commas::Thousands { GROUPS } else { &GROUPS[1..] };
        let mut digits = String::new();
        let mut rest = take_digits(text, &mut digits);
        let first = digits.len();
        if (1..=3).contains(&first) && !digits.starts_with('0') {
            if let Some(after) = groups.iter().find_map(|mark| grouped(rest, mark, &mut digits)) {
                rest = after;
            } else if first <= 2 && groups.len() == GROUPS.len() {
                rest = indian(rest, &mut digits).unwrap_or(rest);
            }
        }
        let mut decimals = 0;
        let decimal_comma = self.commas == Commas::Decimal && self.depth == 0 && rest.starts_with(',');
        let point = if decimal_comma { ',' } else { '.' };
        if let Some(after) = rest.strip_prefix(point).filter(|after| after.starts_with(|c: char| c.is_ascii_digit())) {
            let before = digits.len();
            rest = take_digits(after, &mut digits);
            decimals = digits.len() - before;
        } else if let Some(after) = rest.strip_prefix('.').filter(|after| !after.starts_with('.')) {
            // The point of `5.` ends a sentence.
            rest = after;
        }
        if digits.len() > MOST_DIGITS {
            return None;
        }
        let mut value = BigRational::from_integer(digits.parse::<BigInt>().unwrap_or_default());
        value /= ten_to(decimals);
        if let Some((exponent, after)) = exponent(rest) {
            if exponent.unsigned_abs() > MOST_EXPONENT {
                return None;
            }
            let factor = ten_to(exponent.unsigned_abs() as usize);
            value = if exponent < 0 { value / factor } else { value * factor };
            rest = after;
        }
        self.push(Token::Number(value, decimals))?;
        Some(rest)
    }
}

/// Marks between groups of three digits.
const GROUPS: &[&str] =
    &[",", "{,}", ",\\!", "\\,", " ", "_", " {,}", "\\;", "\\ ", "{,}\\!", "{, }", " {, }", ",\\! "];

/// Moves the digits at the start of `text` to `digits`, and returns the rest.
fn take_digits<'a>(text: &'a str, digits: &mut String) -> &'a str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    digits.push_str(&text[..end]);
    &text[end..]
}

/// Reads groups of exactly three digits, each after `mark`.
fn grouped<'a>(text: &'a str, mark: &str, digits: &mut String) -> Option<&'a str> {
    let (mut rest, before) = (text, digits.len());
    while let Some(after) = rest.strip_prefix(mark) {
        let mut group = String::new();
        let next = take_digits(after, &mut group);
        if group.len() != 3 {
            break;
        }
        digits.push_str(&group);
        rest = next;
    }
    (digits.len() > before && !rest.starts_with(|c: char| c.is_ascii_digit())).then_some(rest).or_else(|| {
        digits.truncate(before);
        None
    })
}

/// Reads groups of two digits and a last one of three, as in `1,23,456`.
fn indian<'a>(text: &'a str, digits: &mut String) -> Option<&'a str> {
    let (mut rest, mut found) = (text, String::new());
    loop {
        let mut group = String::new();
        let next = take_digits(rest.strip_prefix(',')?, &mut group);
        found.push_str(&group);
        rest = next;
        match group.len() {
            2 => {}
            3 if found.len() > 3 => break,
            _ => return None,
        }
    }
    digits.push_str(&found);
    Some(rest)
}

/// Reads `e3` or `E-3` after a number. `2e` and `2ex` are products.
fn exponent(text: &str) -> Option<(i64, &str)> {
    let rest = text.strip_prefix(['e', 'E'])?;
    let (negative, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix('+').unwrap_or(rest)),
    };
    let mut digits = String::new();
    let rest = take_digits(rest, &mut digits);
    let exponent = digits.parse::<i64>().ok()?;
    Some((if negative { -exponent } else { exponent }, rest))
}

fn ten_to(exponent: usize) -> BigRational {
    if exponent.is_zero() {
        return BigRational::one();
    }
    BigRational::from_integer(BigInt::from(10).pow(exponent as u32))
}
