//! Functions and their arguments.

use super::super::expr::Expr;
use super::super::token::Token;
use super::Parser;

/// Returns the canonical name of a function, or None if the word is not one.
pub(super) fn function(word: &str) -> Option<&'static str> {
    Some(match word {
        "sin" => "sin",
        "cos" => "cos",
        "tan" | "tg" => "tan",
        "cot" | "ctg" => "cot",
        "sec" => "sec",
        "csc" => "csc",
        "arcsin" | "asin" => "arcsin",
        "arccos" | "acos" => "arccos",
        "arctan" | "atan" => "arctan",
        "sinh" => "sinh",
        "cosh" => "cosh",
        "tanh" => "tanh",
        "ln" => "ln",
        "log" => "log",
        "lg" => "lg",
        "exp" => "exp",
        "gcd" => "gcd",
        "lcm" => "lcm",
        "max" => "max",
        "min" => "min",
        "abs" => "abs",
        "floor" => "floor",
        "ceil" => "ceil",
        "sum" => "sum",
        "prod" => "prod",
        "int" => "int",
        "lim" => "lim",
        _ => return None,
    })
}

/// Reads the rest of a function whose name was just read.
pub(super) fn call(parser: &mut Parser<'_>, function: &'static str) -> Option<Expr> {
    if matches!(function, "sum" | "prod" | "int" | "lim") {
        return big(parser, function);
    }
    let mut exponent = None;
    let mut base = None;
    loop {
        if parser.eats('^') {
            exponent = Some(parser.nested(Parser::exponent)?);
        } else if parser.eats('_') {
            base = Some(parser.nested(Parser::exponent)?);
        } else {
            break;
        }
    }
    let arguments = arguments(parser)?;
    let inverse = matches!(&exponent, Some(Expr::Neg(one)) if **one == Expr::integer(1));
    let called = match (function, base) {
        ("log", Some(base)) => {
            let [of] = <[Expr; 1]>::try_from(arguments).ok()?;
            let ln = |expr| Box::new(Expr::Call("ln".into(), vec![expr]));
            Expr::Div(ln(of), ln(base))
        }
        (_, Some(_)) => return None,
        ("exp", None) => {
            let [of] = <[Expr; 1]>::try_from(arguments).ok()?;
            Expr::Pow(Box::new(Expr::name("e")), Box::new(of))
        }
        ("sin" | "cos" | "tan", None) if inverse => {
            exponent = None;
            Expr::Call(format!("arc{function}"), arguments)
        }
        _ => Expr::Call(function.into(), arguments),
    };
    Some(match exponent {
        Some(exponent) => Expr::Pow(Box::new(called), Box::new(exponent)),
        None => called,
    })
}

/// Reads arguments in brackets, or a product without brackets as in `\sin 2x`.
fn arguments(parser: &mut Parser<'_>) -> Option<Vec<Expr>> {
    if parser.is('(') || parser.is('[') || parser.is('{') {
        return Some(match parser.nested(Parser::atom)? {
            Expr::Tuple(items) | Expr::List(items) => items,
            other => vec![other],
        });
    }
    let mut factors = vec![parser.nested(|parser| {
        let negative = parser.eats('-');
        let first = parser.power()?;
        Some(if negative { Expr::Neg(Box::new(first)) } else { first })
    })?];
    loop {
        let continues = match parser.peek() {
            Some(Token::Word(word)) => function(word).is_none() && word.len() == 1,
            Some(Token::Command(name)) => name == "pi" || matches!(&**name, "theta" | "alpha" | "beta" | "phi"),
            _ => false,
        };
        if continues {
            factors.push(parser.nested(Parser::power)?);
        } else if parser.is('/') && matches!(parser.ahead(1), Some(Token::Number(..))) {
            parser.at += 1;
            let denominator = parser.nested(Parser::argument)?;
            let numerator = Expr::Mul(std::mem::take(&mut factors));
            factors.push(Expr::Div(Box::new(numerator), Box::new(denominator)));
        } else {
            return Some(vec![if factors.len() == 1 { factors.remove(0) } else { Expr::Mul(factors) }]);
        }
    }
}

/// Reads a sum, product, integral or limit as an unknown function of its bounds and body.
fn big(parser: &mut Parser<'_>, function: &str) -> Option<Expr> {
    let mut parts = Vec::new();
    loop {
        let bound = if parser.eats('_') {
            "from"
        } else if parser.eats('^') {
            "to"
        } else {
            break;
        };
        let part = if parser.eats('{') {
            let part = parser.nested(Parser::groups)?;
            if !parser.eats('}') {
                return None;
            }
            part
        } else {
            parser.nested(Parser::argument)?
        };
        parts.push((bound, part));
    }
    parts.sort_by_key(|(bound, _)| *bound);
    let body = parser.nested(Parser::product)?;
    Some(Expr::Call(function.into(), parts.into_iter().map(|(_, part)| part).chain([body]).collect()))
}

/// Reads `f(x)` after a name that usually stands for a function; other names are factors.
pub(super) fn unknown(parser: &mut Parser<'_>, name: Expr) -> Option<Expr> {
    let Expr::Name(function) = &name else { return Some(name) };
    let letter = function.split(['_', '\'']).next().unwrap_or_default();
    let usual =
        matches!(letter, "f" | "g" | "h" | "F" | "G" | "H" | "P" | "Q" | "W" | "T" | "phi" | "psi" | "Gamma" | "zeta");
    if !usual || !parser.is('(') || parser.spaced() {
        return Some(name);
    }
    let function = function.clone();
    let arguments = match parser.nested(Parser::atom)? {
        Expr::Tuple(items) => items,
        other => vec![other],
    };
    Some(Expr::Call(function, arguments))
}
