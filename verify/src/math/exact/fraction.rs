//! Quotients of polynomials, and their computation from formulas.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::{BigRational, Ratio};
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::super::expr::Expr;
use super::poly::{Atom, Fraction, Poly};

impl Fraction {
    fn new(numerator: Poly, denominator: Poly) -> Option<Self> {
        if denominator.is_zero() {
            return None;
        }
        if denominator.terms() == 1 {
            let numerator = numerator.mul(&denominator.inverse()?)?;
            return Some(Self { numerator, denominator: Poly::constant(BigRational::one()) });
        }
        let scale = denominator.leading()?.recip();
        Some(Self { numerator: numerator.scaled(&scale), denominator: denominator.scaled(&scale) })
    }

    fn polynomial(numerator: Poly) -> Self {
        Self { numerator, denominator: Poly::constant(BigRational::one()) }
    }

    pub(in super::super) fn constant(value: BigRational) -> Self {
        Self::polynomial(Poly::constant(value))
    }

    fn atom(atom: Atom) -> Self {
        Self::polynomial(Poly::atom(atom))
    }

    /// Returns the number that this is, if it is rational.
    pub(in super::super) fn rational(&self) -> Option<BigRational> {
        self.denominator.rational().filter(One::is_one).and_then(|_| self.numerator.rational())
    }

    fn add(&self, other: &Self) -> Option<Self> {
        if self.denominator == other.denominator {
            return Self::new(self.numerator.add(&other.numerator)?, self.denominator.clone());
        }
        let (a, b) = (self.numerator.mul(&other.denominator)?, other.numerator.mul(&self.denominator)?);
        Self::new(a.add(&b)?, self.denominator.mul(&other.denominator)?)
    }

    fn negated(&self) -> Self {
        let numerator = self.numerator.scaled(&-BigRational::one());
        Self { numerator, denominator: self.denominator.clone() }
    }

    pub(in super::super) fn minus(&self, other: &Self) -> Option<Self> {
        self.add(&other.negated())
    }

    fn mul(&self, other: &Self) -> Option<Self> {
        Self::new(self.numerator.mul(&other.numerator)?, self.denominator.mul(&other.denominator)?)
    }

    fn inverse(&self) -> Option<Self> {
        Self::new(self.denominator.clone(), self.numerator.clone())
    }

    /// Returns whether both have the same numerator except for a factor; their equations with 0 are the same then.
    pub(in super::super) fn is_multiple_of(&self, other: &Self) -> Option<bool> {
        let (a, b) = (self.numerator.leading()?, other.numerator.leading()?);
        Some(self.numerator.scaled(b) == other.numerator.scaled(a))
    }

    /// Returns whether both numerators are the same except for a positive factor.
    pub(in super::super) fn is_positive_multiple_of(&self, other: &Self) -> bool {
        let (Some(a), Some(b)) = (self.numerator.leading(), other.numerator.leading()) else { return self == other };
        self.denominator == other.denominator
            && a.is_positive() == b.is_positive()
            && self.numerator.scaled(&b.abs()) == other.numerator.scaled(&a.abs())
    }

    /// Returns this divided by the leading coefficient.
    pub(in super::super) fn monic(&self) -> Self {
        let scale = self.numerator.leading().map_or_else(BigRational::one, BigRational::recip);
        Self { numerator: self.numerator.scaled(&scale), denominator: self.denominator.clone() }
    }

    /// Returns this divided by the size of the leading coefficient.
    pub(in super::super) fn unit(&self) -> Self {
        let scale = self.numerator.leading().map_or_else(BigRational::one, |leading| leading.abs().recip());
        Self { numerator: self.numerator.scaled(&scale), denominator: self.denominator.clone() }
    }

    /// Returns the text of a polynomial in names, the same for equal ones.
    pub(in super::super) fn text(&self) -> Option<String> {
        self.denominator.rational().and_then(|_| self.numerator.text(false))
    }

    /// Returns the text of a polynomial that may have roots of numbers, π, e and i.
    pub(in super::super) fn exact_text(&self) -> Option<String> {
        self.denominator.rational().and_then(|_| self.numerator.text(true))
    }

    /// Computes a formula; None if it is too large, undefined, or not a number or function.
    pub(in super::super) fn of(expr: &Expr) -> Option<Self> {
        Some(match expr {
            Expr::Number(value, _) => Self::constant(value.clone()),
            Expr::Name(name) => match &**name {
                "pi" => Self::atom(Atom::Pi),
                "e" => Self::atom(Atom::E),
                "i" => Self::atom(Atom::I),
                "infinity" => return None,
                _ => Self::atom(Atom::Name(name.clone())),
            },
            Expr::Add(parts) => {
                let mut sum = Self::constant(BigRational::zero());
                for part in parts {
                    sum = sum.add(&Self::of(part)?)?;
                }
                sum
            }
            Expr::Mul(parts) => {
                let mut product = Self::constant(BigRational::one());
                for part in parts {
                    product = product.mul(&Self::of(part)?)?;
                }
                product
            }
            Expr::Neg(part) => Self::of(part)?.negated(),
            Expr::Div(a, b) => Self::of(a)?.mul(&Self::of(b)?.inverse()?)?,
            Expr::Pow(base, exponent) => Self::of(base)?.power(&Self::of(exponent)?)?,
            Expr::Root(degree, inner) => {
                Self::of(inner)?.power(&Self::constant(BigRational::new(1.into(), (*degree).into())))?
            }
            Expr::Factorial(inner) => {
                let inner = Self::of(inner)?;
                match inner.rational() {
                    Some(n) => Self::constant(factorial(whole(&n)?)?),
                    None => Self::atom(Atom::Call("factorial".into(), vec![inner])),
                }
            }
            Expr::Percent(inner) => Self::of(inner)?.mul(&Self::constant(BigRational::new(1.into(), 100.into())))?,
            Expr::Degrees(inner) => {
                let degree = Self::constant(BigRational::new(1.into(), 180.into()));
                Self::of(inner)?.mul(&degree)?.mul(&Self::atom(Atom::Pi))?
            }
            Expr::Call(name, arguments) => return call(name, arguments),
            _ => return None,
        })
    }

    fn power(&self, exponent: &Self) -> Option<Self> {
        let Some(exponent_value) = exponent.rational() else {
            return Some(Self::atom(Atom::Power(Box::new(self.clone()), Box::new(exponent.clone()))));
        };
        let small = Ratio::new(exponent_value.numer().to_i64()?, exponent_value.denom().to_i64()?);
        if small.is_zero() {
            return Some(Self::constant(BigRational::one()));
        }
        if small.is_negative() {
            return self.inverse()?.power(&exponent.negated());
        }
        let root = |poly: &Poly| match small.is_integer() {
            true => poly.power(small.to_integer().to_u32()?),
            false => poly.root(small),
        };
        match (root(&self.numerator), root(&self.denominator)) {
            (Some(a), Some(b)) => Self::new(a, b),
            _ if small.is_integer() => None,
            _ if self.numerator.is_zero() => Some(self.clone()),
            _ => Some(Self::atom(Atom::Power(Box::new(self.clone()), Box::new(exponent.clone())))),
        }
    }
}

/// Returns a whole number from 0 to 1000.
fn whole(value: &BigRational) -> Option<u64> {
    value.to_integer().to_u64().filter(|n| value.is_integer() && *n <= 1000)
}

fn factorial(n: u64) -> Option<BigRational> {
    Some(BigRational::from_integer((1..=n).map(BigInt::from).product()))
}

/// Computes a function of rational numbers, or returns it as an atom.
fn call(name: &str, arguments: &[Expr]) -> Option<Fraction> {
    let mut parts = Vec::new();
    let mut label = name.to_owned();
    for argument in arguments {
        match argument {
            Expr::Chain(first, rest) => {
                parts.push(Fraction::of(first)?);
                for (relation, part) in rest {
                    label.push_str(&format!("{relation:?}"));
                    parts.push(Fraction::of(part)?);
                }
            }
            other => parts.push(Fraction::of(other)?),
        }
    }
    let numbers: Option<Vec<BigRational>> = parts.iter().map(Fraction::rational).collect();
    if let Some(value) = numbers.and_then(|numbers| compute(name, &numbers)) {
        return Some(Fraction::constant(value));
    }
    if name == "binom" {
        return None;
    }
    Some(Fraction::atom(Atom::Call(label, parts)))
}

fn compute(name: &str, numbers: &[BigRational]) -> Option<BigRational> {
    let integers = || numbers.iter().map(|n| n.is_integer().then(|| n.to_integer())).collect::<Option<Vec<BigInt>>>();
    Some(match (name, numbers) {
        ("abs", [x]) => x.abs(),
        ("floor", [x]) => x.floor(),
        ("ceil", [x]) => x.ceil(),
        ("max", [_, ..]) => numbers.iter().max()?.clone(),
        ("min", [_, ..]) => numbers.iter().min()?.clone(),
        ("gcd", [_, ..]) => BigRational::from_integer(integers()?.iter().fold(BigInt::zero(), |a, b| a.gcd(b))),
        ("lcm", [_, ..]) => BigRational::from_integer(integers()?.iter().fold(BigInt::one(), |a, b| a.lcm(b))),
        ("binom", [n, k]) => {
            let (n, k) = (whole(n)?, whole(k)?);
            if k > n {
                return Some(BigRational::zero());
            }
            factorial(n)? / (factorial(k)? * factorial(n - k)?)
        }
        ("ln" | "log" | "lg", [x]) if x.is_one() => BigRational::zero(),
        ("sin" | "tan" | "arcsin" | "arctan" | "sinh" | "tanh", [x]) if x.is_zero() => BigRational::zero(),
        ("cos" | "cosh", [x]) if x.is_zero() => BigRational::one(),
        _ => return None,
    })
}
