//! Numbers, names, brackets, fractions, roots and matrices.

use num_traits::ToPrimitive;

use super::super::expr::Expr;
use super::super::token::Token;
use super::Parser;
use super::{call, unit};

/// Commands of constants and Greek letters.
const GREEK: &[&str] = &[
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "vartheta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Xi",
    "Sigma",
    "Phi",
    "Psi",
    "Omega",
    "ell",
    "hbar",
    "aleph",
];

/// Returns whether a command may begin a factor.
pub(super) fn begins(name: &str) -> bool {
    let other = [
        "pi",
        "infty",
        "frac",
        "dfrac",
        "tfrac",
        "cfrac",
        "sqrt",
        "binom",
        "dbinom",
        "tbinom",
        "lfloor",
        "lceil",
        "langle",
        "overline",
        "bar",
        "vec",
        "hat",
        "angle",
        "triangle",
        "overrightarrow",
        "overarc",
        "widehat",
        "tilde",
    ];
    GREEK.contains(&name) || other.contains(&name) || call::function(name).is_some() || name.starts_with("begin ")
}

impl Parser<'_> {
    /// Reads a number, name, command or bracket.
    pub(super) fn atom(&mut self) -> Option<Expr> {
        atom(self)
    }

    /// Reads an argument of a command: a group, or one digit as in `\frac12`.
    pub(super) fn argument(&mut self) -> Option<Expr> {
        argument(self)
    }
}

fn atom(parser: &mut Parser<'_>) -> Option<Expr> {
    let token = parser.peek()?.clone();
    parser.at += 1;
    match token {
        Token::Number(value, decimals) => based(parser, Expr::Number(value, decimals)),
        Token::Word(word) => named(parser, &word),
        Token::Command(name) => command(parser, &name),
        // A label such as `\text{Area} = 5`, or prose.
        Token::Text(text) => Some(subscript(parser, Expr::Text(text))),
        Token::Sign(sign) => bracket(parser, sign),
    }
}

/// Reads the base after a number, as in `12_8` or `12_{eight}`.
fn based(parser: &mut Parser<'_>, number: Expr) -> Option<Expr> {
    if !parser.is('_') {
        return Some(number);
    }
    parser.at += 1;
    let base = parser.nested(Parser::exponent)?;
    match (number, base) {
        (Expr::Number(value, _), Expr::Number(base, 0)) => {
            base.to_integer().to_u32().filter(|base| (2..=36).contains(base)).map(|base| Expr::Based(value, base))
        }
        _ => None,
    }
}

/// Reads a word: a function, a constant, or letters that are multiplied.
fn named(parser: &mut Parser<'_>, word: &str) -> Option<Expr> {
    if let Some(function) = call::function(word) {
        return call::call(parser, function);
    }
    match word {
        "pi" | "Pi" => return Some(Expr::name("pi")),
        "infinity" | "inf" | "oo" => return Some(Expr::name("infinity")),
        "sqrt" => return root(parser, 2),
        "cbrt" => return root(parser, 3),
        "frac" | "dfrac" => return divided(parser),
        "mod" => return None,
        _ => {}
    }
    if unit::is_function_word(word) {
        return Some(Expr::Text(word.to_owned()));
    }
    let letters: Vec<char> = word.chars().collect();
    let one_letter = |c: &char| c.is_ascii_uppercase();
    // Longer words are prose, unless all letters are capitals, as in ABCD for the corners of a figure.
    if letters.len() > 3 && !letters.iter().all(one_letter) {
        return Some(Expr::Text(word.to_owned()));
    }
    if letters.len() == 1 {
        let name = subscript(parser, Expr::name(word));
        return call::unknown(parser, name);
    }
    let mut factors: Vec<Expr> = letters.iter().map(|c| Expr::name(&c.to_string())).collect();
    let last = factors.pop()?;
    factors.push(subscript(parser, last));
    Some(Expr::Mul(factors))
}

/// Adds a subscript and primes to a name.
fn subscript(parser: &mut Parser<'_>, name: Expr) -> Expr {
    let (Expr::Name(mut full) | Expr::Text(mut full)) = name.clone() else { return name };
    let is_name = matches!(name, Expr::Name(_));
    if parser.is('_') {
        let start = parser.at + 1;
        parser.at = start;
        if parser.nested(Parser::exponent).is_none() {
            parser.at = parser.tokens.len();
            return name;
        }
        full.push('_');
        for spaced in &parser.tokens[start..parser.at] {
            match &spaced.token {
                Token::Number(value, _) => full.push_str(&value.to_string()),
                Token::Word(text) | Token::Command(text) | Token::Text(text) => full.push_str(text),
                Token::Sign('{' | '}') => {}
                Token::Sign(sign) => full.push(*sign),
            }
        }
    }
    while parser.eats('\'') || parser.eats_command("prime") {
        full.push('\'');
    }
    if is_name { Expr::Name(full) } else { Expr::Text(full) }
}

fn command(parser: &mut Parser<'_>, name: &str) -> Option<Expr> {
    if let Some(function) = call::function(name) {
        return call::call(parser, function);
    }
    match name {
        "pi" => Some(Expr::name("pi")),
        "infty" => Some(Expr::name("infinity")),
        "emptyset" | "varnothing" => Some(Expr::Set(Vec::new())),
        "frac" | "dfrac" | "tfrac" | "cfrac" => divided(parser),
        "sqrt" => {
            let mut degree = 2;
            if parser.eats('[') {
                let Some(Token::Number(n, 0)) = parser.peek() else { return None };
                degree = n.to_integer().to_u32().filter(|n| (1..=100).contains(n))?;
                parser.at += 1;
                if !parser.eats(']') {
                    return None;
                }
            }
            root(parser, degree)
        }
        "binom" | "dbinom" | "tbinom" => {
            let n = parser.nested(argument)?;
            let k = parser.nested(argument)?;
            Some(Expr::Call("binom".into(), vec![n, k]))
        }
        "lfloor" => closed(parser, "rfloor", "floor"),
        "lceil" => closed(parser, "rceil", "ceil"),
        "langle" => {
            let inner = parser.nested(Parser::groups)?;
            if !parser.eats_command("rangle") {
                return None;
            }
            Some(match inner {
                Expr::List(items) | Expr::Groups(items) => Expr::Tuple(items),
                other => Expr::Tuple(vec![other]),
            })
        }
        "overline" | "bar" | "vec" | "hat" | "overrightarrow" | "overarc" | "widehat" | "tilde" => {
            let inner = parser.nested(argument)?;
            // A bar over digits repeats them; this is not computed.
            if inner.any(&|part| matches!(part, Expr::Number(..))) { None } else { Some(inner) }
        }
        "angle" | "triangle" => parser.nested(Parser::exponent),
        _ if GREEK.contains(&name) => {
            let name = subscript(parser, Expr::name(name));
            call::unknown(parser, name)
        }
        _ => name.strip_prefix("begin ").and_then(|environment| matrix(parser, environment)),
    }
}

fn argument(parser: &mut Parser<'_>) -> Option<Expr> {
    if let Some(Token::Number(value, 0)) = parser.peek() {
        let value = value.clone();
        parser.at += 1;
        return Some(Expr::Number(value, 0));
    }
    atom(parser)
}

fn divided(parser: &mut Parser<'_>) -> Option<Expr> {
    if let Some(Token::Number(value, 0)) = parser.peek() {
        // \frac12 and \frac3{4}: the first digit is the numerator.
        let digits = value.to_integer().to_string();
        let split = digits.len() == 2 && parser.ahead(1) != Some(&Token::Sign('{'));
        if let (true, Some((a, b))) = (split, digits.split_at_checked(1)) {
            parser.at += 1;
            let digit = |text: &str| text.parse().map(Expr::integer).ok().map(Box::new);
            return Some(Expr::Div(digit(a)?, digit(b)?));
        }
    }
    let numerator = parser.nested(argument)?;
    let denominator = parser.nested(argument)?;
    Some(Expr::Div(Box::new(numerator), Box::new(denominator)))
}

fn root(parser: &mut Parser<'_>, degree: u32) -> Option<Expr> {
    parser.nested(argument).map(|inner| Expr::Root(degree, Box::new(inner)))
}

fn closed(parser: &mut Parser<'_>, end: &str, function: &str) -> Option<Expr> {
    let inner = parser.nested(Parser::sum)?;
    parser.eats_command(end).then(|| Expr::Call(function.into(), vec![inner]))
}

/// Reads a bracket whose opening sign was just read.
fn bracket(parser: &mut Parser<'_>, open: char) -> Option<Expr> {
    if open == '|' {
        parser.bars += 1;
        let inner = parser.nested(Parser::sum)?;
        parser.bars = parser.bars.saturating_sub(1);
        return parser.eats('|').then(|| Expr::Call("abs".into(), vec![inner]));
    }
    if !matches!(open, '(' | '[' | '{' | '⦃') {
        return None;
    }
    let bars = std::mem::take(&mut parser.bars);
    if parser.eats(if open == '⦃' { '⦄' } else { '}' }) {
        return (open == '⦃').then(|| Expr::Set(Vec::new()));
    }
    let mut inner = parser.nested(Parser::groups)?;
    if open == '⦃' && (parser.eats('|') || parser.eats(':')) {
        // A set of all x with a property is the set that the property describes.
        inner = parser.nested(Parser::groups)?;
        return parser.eats('⦄').then_some(inner);
    }
    parser.bars = bars;
    let Some(Token::Sign(close)) = parser.peek().cloned() else { return None };
    parser.at += 1;
    let items = match inner {
        Expr::List(items) => items,
        Expr::Groups(items) if !items.iter().any(|item| matches!(item, Expr::List(_))) => items,
        other => vec![other],
    };
    match (open, close, <[Expr; 2]>::try_from(items)) {
        ('⦃', '⦄', items) => Some(Expr::Set(items.map_or_else(|items| items, Vec::from))),
        ('{', '}', Err(mut items)) if items.len() == 1 => items.pop(),
        ('{', '}', items) => Some(Expr::List(items.map_or_else(|items| items, Vec::from))),
        ('(', ')', Ok(pair)) => Some(Expr::Tuple(pair.into())),
        ('(' | '[', ')' | ']', Ok([a, b])) => Some(Expr::Interval(Box::new(a), open == '[', Box::new(b), close == ']')),
        ('(', ')', Err(items)) | ('[', ']', Err(items)) => match <[Expr; 1]>::try_from(items) {
            Ok([item]) => Some(item),
            Err(items) => Some(Expr::Tuple(items)),
        },
        _ => None,
    }
}

fn matrix(parser: &mut Parser<'_>, environment: &str) -> Option<Expr> {
    match environment {
        "matrix" | "pmatrix" | "bmatrix" | "smallmatrix" => {}
        "array" => {
            // The columns, {cc}.
            while !parser.eats('}') {
                parser.peek()?;
                parser.at += 1;
            }
        }
        _ => return None,
    }
    let end = format!("end {environment}");
    let mut rows = vec![Vec::new()];
    loop {
        if parser.eats_command(&end) {
            break;
        } else if parser.eats('\n') {
            rows.push(Vec::new());
        } else if !parser.eats('&') {
            let cell = parser.nested(Parser::sum)?;
            rows.last_mut()?.push(cell);
        }
    }
    rows.retain(|row| !row.is_empty());
    let width = rows.first()?.len();
    rows.iter().all(|row| row.len() == width).then_some(Expr::Matrix(rows))
}
