//! Compares numbers and functions.

use num_rational::BigRational;
use num_traits::{One, Signed};

use super::exact::Fraction;
use super::expr::Expr;
use super::numeric::{Closeness, Evaluator};

/// Whether two answers are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// They are equal.
    Yes,
    /// They differ.
    No,
    /// One of them is not understood, or is too large to be computed.
    Unknown,
}

impl Same {
    pub(super) fn from_bool(same: bool) -> Self {
        if same { Self::Yes } else { Self::No }
    }

    /// Returns Yes if all are, No if any is No.
    pub(super) fn all(each: impl IntoIterator<Item = Self>) -> Self {
        let mut result = Self::Yes;
        for same in each {
            match same {
                Self::No => return Self::No,
                Self::Unknown => result = Self::Unknown,
                Self::Yes => {}
            }
        }
        result
    }

    /// Returns Yes if any is, No if all are No.
    pub(super) fn any(each: impl IntoIterator<Item = Self>) -> Self {
        let mut result = Self::No;
        for same in each {
            match same {
                Self::Yes => return Self::Yes,
                Self::Unknown => result = Self::Unknown,
                Self::No => {}
            }
        }
        result
    }
}

/// Decimals from which a rounded number stands for the exact one.
const MANY_DECIMALS: usize = 10;

/// Points at which functions of variables are compared: two with positive variables, two with negative ones too.
const POINTS: [u64; 4] = [0, 2, 1, 3];

/// Whole numbers above 2²⁰⁰ would leave too few bits for the terms added to them.
const MOST_BITS: u64 = 200;

/// Compares two numbers or functions: exactly if possible, and otherwise by values of some 300 bits.
pub(super) fn same(a: &Expr, b: &Expr) -> Same {
    let (Some(x), Some(y)) = (Fraction::of(a), Fraction::of(b)) else {
        return match (infinity(a), infinity(b)) {
            (Some(x), Some(y)) => Same::from_bool(x == y),
            (None, None) => Same::Unknown,
            _ => Same::No,
        };
    };
    let Some(difference) = x.minus(&y) else { return Same::Unknown };
    if difference.numerator.is_zero() {
        return Same::Yes;
    }
    if is_rounded(a, b) || is_rounded(b, a) {
        return Same::Yes;
    }
    if difference.numerator.is_proved_nonzero() {
        return Same::No;
    }
    let large = |part: &Expr| matches!(part, Expr::Number(n, _) if n.numer().bits().max(n.denom().bits()) > MOST_BITS);
    if a.any(&large) || b.any(&large) {
        return Same::Unknown;
    }
    let mut found = Same::Unknown;
    for point in POINTS {
        let Some(mut evaluator) = Evaluator::new(point) else { return Same::Unknown };
        match (evaluator.evaluate(a), evaluator.evaluate(b)) {
            (Some(x), Some(y)) => match x.closeness(&y) {
                Closeness::Equal => found = Same::Yes,
                Closeness::Different if a.any(&not_computed) || b.any(&not_computed) => return Same::Unknown,
                Closeness::Different => return Same::No,
                Closeness::Unclear => return Same::Unknown,
            },
            // Neither is defined, or not real.
            (None, None) => {}
            _ => return Same::Unknown,
        }
    }
    found
}

/// Returns whether a formula is a function that has a value, which is not computed.
fn not_computed(expr: &Expr) -> bool {
    let names = ["floor", "ceil", "max", "min", "gcd", "lcm", "sum", "prod", "int", "lim", "log", "Gamma", "zeta"];
    matches!(expr, Expr::Call(name, _) if names.contains(&&**name)) || matches!(expr, Expr::Factorial(_))
}

/// Returns the sign if a formula is plus or minus infinity.
pub(super) fn infinity(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::Name(name) => (name == "infinity").then_some(true),
        Expr::Neg(inner) => infinity(inner).map(|positive| !positive),
        _ => None,
    }
}

/// Returns whether `a` is `b` rounded or cut to many decimals. Two different decimals never stand for each other.
fn is_rounded(a: &Expr, b: &Expr) -> bool {
    let (negative, literal) = match a {
        Expr::Neg(inner) => (true, &**inner),
        other => (false, other),
    };
    let Expr::Number(value, decimals) = literal else { return false };
    if *decimals < MANY_DECIMALS || is_decimal(b) {
        return false;
    }
    let value = if negative { -value } else { value.clone() };
    let unit = BigRational::new(1.into(), num_bigint::BigInt::from(10).pow(*decimals as u32));
    let near = match Fraction::of(b).and_then(|exact| exact.rational()) {
        Some(exact) => (value - exact).abs() < unit,
        None => {
            let between = Expr::Add(vec![b.clone(), Expr::Number(-value, 0)]);
            let below = |sign: bool| {
                let distance = if sign { between.clone() } else { Expr::Neg(Box::new(between.clone())) };
                let left = Expr::Add(vec![Expr::Number(unit.clone(), 0), distance]);
                Evaluator::new(0).and_then(|mut evaluator| evaluator.evaluate(&left)).and_then(|left| left.sign())
            };
            constant(b) && below(true) == Some(true) && below(false) == Some(true)
        }
    };
    near && value_digits(literal) >= MANY_DECIMALS
}

fn is_decimal(expr: &Expr) -> bool {
    match expr {
        Expr::Neg(inner) => is_decimal(inner),
        Expr::Number(..) => true,
        _ => false,
    }
}

/// Returns the significant digits of a decimal.
fn value_digits(literal: &Expr) -> usize {
    let Expr::Number(value, decimals) = literal else { return 0 };
    let scaled = value * BigRational::from_integer(num_bigint::BigInt::from(10).pow(*decimals as u32));
    if scaled < BigRational::one() { 0 } else { scaled.to_integer().to_string().len() }
}

/// Returns whether a formula has no variables and no unknown functions.
pub(super) fn constant(expr: &Expr) -> bool {
    let unknown = |part: &Expr| match part {
        Expr::Name(name) => !matches!(&**name, "pi" | "e" | "i" | "infinity"),
        Expr::Call(name, _) => {
            name.len() == 1 || matches!(&**name, "sum" | "prod" | "int" | "lim" | "phi" | "psi" | "Gamma" | "zeta")
        }
        Expr::Text(_) => true,
        _ => false,
    };
    !expr.any(&unknown)
}

/// Returns the order of two real numbers, if it is certain.
pub(super) fn order(a: &Expr, b: &Expr) -> Option<std::cmp::Ordering> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    if let (Some(x), Some(y)) = (Fraction::of(a).and_then(|x| x.rational()), Fraction::of(b).and_then(|y| y.rational()))
    {
        return Some(x.cmp(&y));
    }
    if !constant(a) || !constant(b) {
        return None;
    }
    match same(a, b) {
        Same::Yes => Some(Equal),
        Same::Unknown => None,
        Same::No => {
            let difference = Expr::Add(vec![a.clone(), Expr::Neg(Box::new(b.clone()))]);
            let positive = Evaluator::new(0)?.evaluate(&difference)?.sign()?;
            Some(if positive { Greater } else { Less })
        }
    }
}
