//! Evaluates formulas to some 300 bits, with a bound on the error.

use astro_float_num::{BigFloat, Consts, Radix, RoundingMode, Sign};
use num_bigint::{BigInt, Sign as IntSign};
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive};

use super::exact::Fraction;
use super::expr::Expr;

/// Bits of precision of a computation.
const BITS: usize = 384;
const NEAREST: RoundingMode = RoundingMode::ToEven;
/// Bits that must be right for two values to count as equal.
const SURE: i64 = 200;

/// A value whose error is below two to the power of `error`.
#[derive(Clone, Debug)]
pub(super) struct Ball {
    value: BigFloat,
    error: i64,
}

/// The result of a comparison of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closeness {
    Equal,
    Different,
    /// The values are too inaccurate.
    Unclear,
}

/// Evaluates formulas, with values for variables that depend on their names and on `point`.
pub(super) struct Evaluator {
    constants: Consts,
    point: u64,
}

/// Returns the exponent of two just above a value, far below all others for 0.
fn log(value: &BigFloat) -> i64 {
    if value.is_zero() { -1_000_000_000 } else { value.exponent().map_or(1_000_000_000, i64::from) }
}

impl Ball {
    /// Returns a value with the rounding error of one operation and `error`; None if it is no finite number.
    fn new(value: BigFloat, error: i64) -> Option<Self> {
        let finite = !value.is_nan() && !value.is_inf();
        let rounding = log(&value) - BITS as i64 + 2;
        finite.then(|| Self { error: error.max(rounding) + 1, value })
    }

    fn log(&self) -> i64 {
        log(&self.value)
    }

    /// Returns the sign if it is certain.
    pub(super) fn sign(&self) -> Option<bool> {
        (self.log() > self.error + 1).then(|| self.value.is_positive())
    }

    /// Compares two values.
    pub(super) fn closeness(&self, other: &Self) -> Closeness {
        let difference = log(&self.value.sub(&other.value, BITS, NEAREST));
        let error = self.error.max(other.error) + 2;
        if difference > error {
            Closeness::Different
        } else if error < self.log().max(other.log()).max(0) - SURE {
            Closeness::Equal
        } else {
            Closeness::Unclear
        }
    }
}

impl Evaluator {
    /// Creates an evaluator; None if the constants cannot be allocated.
    pub(super) fn new(point: u64) -> Option<Self> {
        Some(Self { constants: Consts::new().ok()?, point })
    }

    fn rational(&mut self, value: &BigRational) -> Option<Ball> {
        let (a, b) = (integer(value.numer())?, integer(value.denom())?);
        Ball::new(a.div(&b, BITS, NEAREST), i64::MIN / 4)
    }

    /// Returns a value for a name: a fraction between 1/3 and 3 of which the sign depends on the point.
    fn named(&mut self, name: &str) -> Option<Ball> {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ self.point.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in name.bytes().chain(*b"flowrl") {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            hash ^= hash >> 29;
        }
        let negative = self.point % 2 == 1 && (self.point == 3 || hash % 7 < 4);
        let value = BigRational::new(((hash >> 11) % 800_000_011 + 300_000_007).into(), 415_000_003_i64.into());
        self.rational(&if negative { -value } else { value })
    }

    /// Evaluates a formula; None if it is not real, undefined or too large.
    pub(super) fn evaluate(&mut self, expr: &Expr) -> Option<Ball> {
        match expr {
            Expr::Number(value, _) => self.rational(value),
            Expr::Name(name) => match &**name {
                "pi" => Ball::new(self.constants.pi(BITS, NEAREST), i64::MIN / 4),
                "e" => Ball::new(self.constants.e(BITS, NEAREST), i64::MIN / 4),
                "i" | "infinity" => None,
                _ => self.named(name),
            },
            Expr::Add(parts) => {
                let mut sum = self.evaluate(parts.first()?)?;
                for part in &parts[1..] {
                    let part = self.evaluate(part)?;
                    sum = Ball::new(sum.value.add(&part.value, BITS, NEAREST), sum.error.max(part.error) + 1)?;
                }
                Some(sum)
            }
            Expr::Mul(parts) => {
                let mut product = self.evaluate(parts.first()?)?;
                for part in &parts[1..] {
                    product = times(&product, &self.evaluate(part)?)?;
                }
                Some(product)
            }
            Expr::Neg(inner) => {
                let inner = self.evaluate(inner)?;
                Some(Ball { value: inner.value.neg(), error: inner.error })
            }
            Expr::Div(a, b) => {
                let (a, b) = (self.evaluate(a)?, self.evaluate(b)?);
                times(&a, &inverse(&b)?)
            }
            Expr::Pow(base, exponent) => self.power(base, exponent),
            Expr::Root(degree, inner) => {
                self.power(inner, &Expr::Number(BigRational::new(1.into(), (*degree).into()), 0))
            }
            Expr::Percent(inner) => {
                let percent = self.rational(&BigRational::new(1.into(), 100.into()))?;
                times(&self.evaluate(inner)?, &percent)
            }
            Expr::Degrees(inner) => {
                let degree = self.rational(&BigRational::new(1.into(), 180.into()))?;
                let pi = self.evaluate(&Expr::name("pi"))?;
                times(&times(&self.evaluate(inner)?, &degree)?, &pi)
            }
            Expr::Factorial(_) => self.opaque(expr),
            Expr::Call(name, arguments) => match &arguments[..] {
                [argument] => self.function(expr, name, argument),
                _ => self.opaque(expr),
            },
            _ => None,
        }
    }

    /// Evaluates a number that is computed exactly, or else a formula about which nothing is known, like a variable.
    fn opaque(&mut self, expr: &Expr) -> Option<Ball> {
        let exact = Fraction::of(expr)?;
        match exact.rational() {
            Some(value) => self.rational(&value),
            None => self.named(&format!("{exact:?}")),
        }
    }

    fn power(&mut self, base: &Expr, exponent: &Expr) -> Option<Ball> {
        let fixed = Fraction::of(exponent).and_then(|exponent| exponent.rational());
        let base = self.evaluate(base)?;
        let Some(fixed) = fixed else {
            let exponent = self.evaluate(exponent)?;
            return self.positive_power(&base, &exponent);
        };
        if let Some(n) = fixed.to_integer().to_i64().filter(|n| fixed.is_integer() && n.abs() <= 100_000) {
            let n_bits = i64::from(64 - n.unsigned_abs().leading_zeros());
            let value = base.value.powi(n.unsigned_abs() as usize, BITS + 64, NEAREST);
            let error = log(&value) + n_bits + base.error - base.log() + 1;
            let power =
                if n == 0 { self.rational(&BigRational::from_integer(1.into()))? } else { Ball::new(value, error)? };
            return if n < 0 { inverse(&power) } else { Some(power) };
        }
        let exponent = self.rational(&fixed)?;
        if base.sign() == Some(false) {
            // A root of odd degree of a negative number is real.
            let odd = |n: &BigInt| n.bit(0);
            if !odd(fixed.denom()) {
                return None;
            }
            let positive = Ball { value: base.value.neg(), error: base.error };
            let mut power = self.positive_power(&positive, &exponent)?;
            if odd(fixed.numer()) {
                power.value = power.value.neg();
            }
            return Some(power);
        }
        self.positive_power(&base, &exponent)
    }

    fn positive_power(&mut self, base: &Ball, exponent: &Ball) -> Option<Ball> {
        if base.value.is_zero() && exponent.sign() == Some(true) && base.error < -(BITS as i64) * 100 {
            return Some(base.clone());
        }
        let logarithm = self.ln(base)?;
        let product = times(&logarithm, exponent)?;
        self.exp(&product)
    }

    fn ln(&mut self, of: &Ball) -> Option<Ball> {
        if of.sign() != Some(true) {
            return None;
        }
        Ball::new(of.value.ln(BITS, NEAREST, &mut self.constants), of.error - of.log() + 2)
    }

    fn exp(&mut self, of: &Ball) -> Option<Ball> {
        if of.log() > 24 {
            return None;
        }
        let value = of.value.exp(BITS + 32, NEAREST, &mut self.constants);
        let error = log(&value) + of.error + 1;
        Ball::new(value, error)
    }

    /// Evaluates a known function of one argument.
    fn function(&mut self, expr: &Expr, name: &str, argument: &Expr) -> Option<Ball> {
        if !matches!(
            name,
            "sin"
                | "cos"
                | "tan"
                | "cot"
                | "sec"
                | "csc"
                | "arcsin"
                | "arccos"
                | "arctan"
                | "sinh"
                | "cosh"
                | "tanh"
                | "ln"
                | "log"
                | "lg"
                | "abs"
        ) {
            return self.opaque(expr);
        }
        let of = self.evaluate(argument)?;
        if of.log() > 64 && name != "abs" && !matches!(name, "ln" | "log" | "lg") {
            return None;
        }
        let one = self.rational(&BigRational::from_integer(1.into()))?;
        let cc = &mut self.constants;
        let value = &of.value;
        match name {
            "abs" => Some(Ball { value: value.abs(), error: of.error }),
            "ln" => self.ln(&of),
            // Without a base, a logarithm may be decimal or natural.
            "log" => self.opaque(expr),
            "lg" => {
                let ten = self.rational(&BigRational::from_integer(10.into()))?;
                let ten = self.ln(&ten)?;
                times(&self.ln(&of)?, &inverse(&ten)?)
            }
            "sin" => Ball::new(value.sin(BITS, NEAREST, cc), of.error),
            "cos" => Ball::new(value.cos(BITS, NEAREST, cc), of.error),
            "arctan" => Ball::new(value.atan(BITS, NEAREST, cc), of.error),
            "tanh" => Ball::new(value.tanh(BITS, NEAREST, cc), of.error),
            "sinh" => Ball::new(value.sinh(BITS, NEAREST, cc), of.error + of.log().clamp(0, 64) * 2 + 64),
            "cosh" => Ball::new(value.cosh(BITS, NEAREST, cc), of.error + of.log().clamp(0, 64) * 2 + 64),
            "arcsin" | "arccos" => {
                // The derivative is 1/√(1 - x²).
                let square = times(&of, &of)?;
                let left = Ball::new(one.value.sub(&square.value, BITS, NEAREST), square.error.max(one.error) + 1)?;
                let edge = left.value.is_zero() || left.sign() != Some(true);
                let error = if edge { of.error / 2 } else { of.error - left.log() / 2 + 2 };
                let value =
                    if name == "arcsin" { value.asin(BITS, NEAREST, cc) } else { value.acos(BITS, NEAREST, cc) };
                Ball::new(value, error)
            }
            "tan" | "cot" | "sec" | "csc" => {
                let sin = Ball::new(value.sin(BITS, NEAREST, cc), of.error)?;
                let cos = Ball::new(value.cos(BITS, NEAREST, cc), of.error)?;
                match name {
                    "tan" => times(&sin, &inverse(&cos)?),
                    "cot" => times(&cos, &inverse(&sin)?),
                    "sec" => inverse(&cos),
                    _ => inverse(&sin),
                }
            }
            _ => self.opaque(expr),
        }
    }

    /// Returns the fraction of a small denominator that a value is.
    pub(super) fn simple(&mut self, ball: &Ball) -> Option<BigRational> {
        (1..=24_i32).find_map(|denominator| {
            let factor = BigFloat::from_i32(denominator, BITS);
            let multiple = Ball::new(ball.value.mul(&factor, BITS, NEAREST), ball.error + 6)?;
            let nearest = multiple.value.add(&BigFloat::from_f64(0.5, BITS), BITS, NEAREST).floor();
            let whole = Ball::new(nearest, i64::MIN / 4).filter(|whole| whole.log() < 60)?;
            if multiple.closeness(&whole) != Closeness::Equal {
                return None;
            }
            let text = whole.value.format(Radix::Bin, NEAREST, &mut self.constants).ok()?;
            let numerator = from_binary(&text)?;
            Some(BigRational::new(numerator.into(), denominator.into()))
        })
    }

    /// Returns the first 30 digits of a value, the same for equal values.
    pub(super) fn digits(&mut self, ball: &Ball) -> Option<String> {
        if ball.error > ball.log() - SURE {
            return None;
        }
        let mut rounded = ball.value.clone();
        rounded.set_precision(128, NEAREST).ok()?;
        let text = rounded.format(Radix::Dec, NEAREST, &mut self.constants).ok()?;
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let length = 32 + usize::from(mantissa.starts_with('-'));
        Some(format!("{}e{exponent}", mantissa.get(..length).unwrap_or(mantissa)))
    }
}

fn times(a: &Ball, b: &Ball) -> Option<Ball> {
    let error = (a.log() + b.error).max(b.log() + a.error).max(a.error.saturating_add(b.error)) + 1;
    Ball::new(a.value.mul(&b.value, BITS, NEAREST), error)
}

/// Returns 1/x, unless x may be 0.
fn inverse(of: &Ball) -> Option<Ball> {
    of.sign()?;
    Ball::new(of.value.reciprocal(BITS, NEAREST), of.error - 2 * of.log() + 3)
}

/// Reads a whole number in the form `-1.01e+10`, with mantissa and exponent in binary.
fn from_binary(text: &str) -> Option<i64> {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = usize::try_from(i64::from_str_radix(exponent.trim_start_matches('+'), 2).ok()?).ok()?;
    let digits = format!("{whole}{}", part.get(..exponent.min(part.len()))?);
    let value = i64::from_str_radix(&digits, 2).ok()?.checked_shl((exponent - exponent.min(part.len())) as u32)?;
    Some(if negative { -value } else { value })
}

/// Returns an integer of at most some thousand bits.
fn integer(n: &BigInt) -> Option<BigFloat> {
    if n.bits() > 50_000 {
        return None;
    }
    let words: Vec<_> = n.magnitude().to_u64_digits();
    if words.is_empty() {
        return Some(BigFloat::new(BITS));
    }
    let sign = if n.sign() == IntSign::Minus { Sign::Neg } else { Sign::Pos };
    let exponent = i32::try_from(words.len() * 64).ok()?;
    let mut value = BigFloat::from_words(&words, sign, exponent);
    debug_assert!(value.is_positive() != n.is_negative());
    if words.len() * 64 > BITS {
        value.set_precision(BITS, NEAREST).ok()?;
    }
    Some(value)
}
