//! Polynomials with rational coefficients and rational exponents.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::{BigRational, Ratio};
use num_traits::{CheckedAdd, CheckedMul, One, Signed, ToPrimitive, Zero};

/// Most terms of a polynomial, and most bits of a coefficient. Larger results are not computed.
const MOST_TERMS: usize = 400;
const MOST_BITS: u64 = 8000;

/// The largest prime that is split off a radicand.
const LARGEST_PRIME: u32 = 2000;

/// An indivisible factor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Atom {
    /// A prime with a fractional exponent: a root of it.
    Prime(u32),
    /// Rest of a radicand without its small primes.
    Cofactor(BigInt),
    Pi,
    E,
    I,
    Name(String),
    Call(String, Vec<Fraction>),
    Power(Box<Fraction>, Box<Fraction>),
}

type Exponent = Ratio<i64>;

/// A product of atoms with exponents other than 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Monomial(BTreeMap<Atom, Exponent>);

/// A sum of monomials with coefficients other than 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Poly(BTreeMap<Monomial, BigRational>);

/// A quotient of polynomials. Equal quotients may differ in form; their difference is 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Fraction {
    pub(in super::super) numerator: Poly,
    pub(super) denominator: Poly,
}

impl Monomial {
    fn times(&self, other: &Self) -> Option<(BigRational, Self)> {
        let mut atoms = self.0.clone();
        for (atom, exponent) in &other.0 {
            let sum = atoms.get(atom).map_or(Some(*exponent), |mine| mine.checked_add(exponent))?;
            atoms.insert(atom.clone(), sum);
        }
        Self::reduced(atoms)
    }

    /// Moves whole powers of primes and of i into a coefficient.
    fn reduced(atoms: BTreeMap<Atom, Exponent>) -> Option<(BigRational, Self)> {
        let mut factor = BigRational::one();
        let mut kept = BTreeMap::new();
        for (atom, exponent) in atoms {
            let exponent = match &atom {
                Atom::Prime(_) | Atom::Cofactor(_) => {
                    let prime = match &atom {
                        Atom::Prime(prime) => BigInt::from(*prime),
                        Atom::Cofactor(n) => n.clone(),
                        _ => BigInt::one(),
                    };
                    factor *= power(&BigRational::from_integer(prime), exponent.floor().to_integer())?;
                    exponent - exponent.floor()
                }
                Atom::I if exponent.is_integer() => {
                    let quarter = exponent.to_integer().rem_euclid(4);
                    if quarter >= 2 {
                        factor = -factor;
                    }
                    Exponent::from_integer(quarter % 2)
                }
                Atom::I => return None,
                _ => exponent,
            };
            if !exponent.is_zero() {
                kept.insert(atom, exponent);
            }
        }
        Some((factor, Self(kept)))
    }

    fn power(&self, exponent: Exponent) -> Option<(BigRational, Self)> {
        let mut atoms = BTreeMap::new();
        for (atom, own) in &self.0 {
            atoms.insert(atom.clone(), own.checked_mul(&exponent)?);
        }
        Self::reduced(atoms)
    }
}

/// Returns an integer power of a number, if it is not too large.
fn power(base: &BigRational, exponent: i64) -> Option<BigRational> {
    let bits = base.numer().bits().max(base.denom().bits());
    if base.numer().magnitude().is_one() && base.denom().is_one() {
        return Some(if exponent % 2 == 0 { BigRational::one() } else { base.clone() });
    }
    if base.is_zero() && exponent <= 0 || bits.checked_mul(exponent.unsigned_abs())? > MOST_BITS {
        return None;
    }
    Some(base.pow(exponent.to_i32()?))
}

impl Poly {
    pub(super) fn constant(value: BigRational) -> Self {
        Self(if value.is_zero() { BTreeMap::new() } else { BTreeMap::from([(Monomial::default(), value)]) })
    }

    pub(in super::super) fn atom(atom: Atom) -> Self {
        let monomial = Monomial(BTreeMap::from([(atom, Exponent::one())]));
        Self(BTreeMap::from([(monomial, BigRational::one())]))
    }

    pub(in super::super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&self, other: &Self) -> Option<Self> {
        let mut sum = self.clone();
        for (monomial, coefficient) in &other.0 {
            sum.add_term(monomial.clone(), coefficient.clone())?;
        }
        (sum.0.len() <= MOST_TERMS).then_some(sum)
    }

    pub(super) fn scaled(&self, factor: &BigRational) -> Self {
        if factor.is_zero() {
            return Self::default();
        }
        Self(self.0.iter().map(|(monomial, coefficient)| (monomial.clone(), coefficient * factor)).collect())
    }

    pub(super) fn mul(&self, other: &Self) -> Option<Self> {
        if self.0.len().checked_mul(other.0.len())? > MOST_TERMS {
            return None;
        }
        let mut product = Self::default();
        for (a, x) in &self.0 {
            for (b, y) in &other.0 {
                let (factor, monomial) = a.times(b)?;
                product.add_term(monomial, x * y * factor)?;
            }
        }
        Some(product)
    }

    /// Adds a term; None if its coefficient becomes too large.
    fn add_term(&mut self, monomial: Monomial, coefficient: BigRational) -> Option<()> {
        let sum = match self.0.get(&monomial) {
            Some(mine) => mine + coefficient,
            None => coefficient,
        };
        if sum.numer().bits().max(sum.denom().bits()) > MOST_BITS {
            return None;
        }
        if sum.is_zero() {
            self.0.remove(&monomial);
        } else {
            self.0.insert(monomial, sum);
        }
        Some(())
    }

    /// Returns the value if this is a number without roots, π, e, i and variables.
    pub(in super::super) fn rational(&self) -> Option<BigRational> {
        match self.0.len() {
            0 => Some(BigRational::zero()),
            1 => self.0.get(&Monomial::default()).cloned(),
            _ => None,
        }
    }

    /// Returns the coefficient of the first monomial in the order of all.
    pub(super) fn leading(&self) -> Option<&BigRational> {
        self.0.values().next_back()
    }

    /// Returns the inverse of a polynomial of one term.
    pub(super) fn inverse(&self) -> Option<Self> {
        let (monomial, coefficient) = self.0.iter().next().filter(|_| self.0.len() == 1)?;
        let (factor, monomial) = monomial.power(-Exponent::one())?;
        Some(Self(BTreeMap::from([(monomial, factor / coefficient)])))
    }

    pub(super) fn terms(&self) -> usize {
        self.0.len()
    }

    /// Returns a power with a whole exponent from 0.
    pub(super) fn power(&self, exponent: u32) -> Option<Self> {
        if self.0.len() == 1 {
            return self.root(Exponent::from_integer(exponent.into()));
        }
        if exponent > 64 {
            return None;
        }
        let mut product = Self::constant(BigRational::one());
        for _ in 0..exponent {
            product = product.mul(self)?;
        }
        Some(product)
    }

    /// Returns a power with a rational exponent of a polynomial of one term. A variable keeps its root only if it is
    /// alone: `√(x²)` is not x.
    pub(super) fn root(&self, exponent: Exponent) -> Option<Self> {
        let (monomial, coefficient) = self.0.iter().next().filter(|_| self.0.len() == 1)?;
        let whole = exponent.is_integer();
        let mut product = if whole {
            Self::constant(power(coefficient, exponent.to_integer())?)
        } else {
            root_of(coefficient, exponent)?
        };
        for (atom, own) in &monomial.0 {
            let positive = matches!(atom, Atom::Prime(_) | Atom::Cofactor(_) | Atom::Pi | Atom::E);
            if !whole && !positive && (monomial.0.len() > 1 || !own.is_one()) {
                return None;
            }
            let (factor, monomial) = Monomial(BTreeMap::from([(atom.clone(), *own)])).power(exponent)?;
            product = product.mul(&Self(BTreeMap::from([(monomial, factor)])))?;
        }
        Some(product)
    }

    /// Returns whether this polynomial, which is not 0, is proved to differ from 0: roots of different primes and powers
    /// of π or of e are linearly independent.
    pub(in super::super) fn is_proved_nonzero(&self) -> bool {
        let atoms = || self.0.keys().flat_map(|monomial| monomial.0.keys());
        let proper = |atom: &Atom| matches!(atom, Atom::Prime(_) | Atom::Pi | Atom::E | Atom::I | Atom::Name(_));
        let both = atoms().any(|atom| *atom == Atom::Pi) && atoms().any(|atom| *atom == Atom::E);
        !self.is_zero() && atoms().all(proper) && !both
    }

    /// Splits the polynomial into `a·x + b` for a name or function x, where a is a number and b is free of x.
    pub(in super::super) fn linear(&self, x: &Atom) -> Option<(BigRational, Self)> {
        let alone = Monomial(BTreeMap::from([(x.clone(), Exponent::one())]));
        let mut rest = self.clone();
        let slope = rest.0.remove(&alone)?;
        rest.0.keys().all(|monomial| !monomial.0.contains_key(x)).then_some((slope, rest))
    }

    /// Returns the names and functions.
    pub(in super::super) fn unknowns(&self) -> Vec<Atom> {
        let atoms = self.0.keys().flat_map(|monomial| monomial.0.keys());
        let mut found: Vec<Atom> =
            atoms.filter(|atom| matches!(atom, Atom::Name(_) | Atom::Call(..) | Atom::Power(..))).cloned().collect();
        found.sort();
        found.dedup();
        found
    }

    /// Returns the text of a polynomial in names and, if `constants`, roots of numbers, π, e and i.
    pub(super) fn text(&self, constants: bool) -> Option<String> {
        let mut text = String::new();
        for (monomial, coefficient) in self.0.iter().rev() {
            let mut term =
                if coefficient.is_one() && !monomial.0.is_empty() { String::new() } else { coefficient.to_string() };
            for (atom, exponent) in &monomial.0 {
                let factor = match atom {
                    Atom::Name(name) => name.clone(),
                    _ if !constants => return None,
                    Atom::I => "i".to_owned(),
                    Atom::Pi => "pi".to_owned(),
                    Atom::E => "e".to_owned(),
                    Atom::Prime(prime) => prime.to_string(),
                    _ => return None,
                };
                term.push_str(if term.is_empty() { "" } else { "*" });
                term.push_str(&factor);
                if !exponent.is_one() {
                    term.push_str(&format!("^{exponent}"));
                }
            }
            text.push_str(if text.is_empty() { "" } else { " + " });
            text.push_str(&term);
        }
        Some(if text.is_empty() { "0".into() } else { text })
    }
}

/// Returns a root of a rational number. That of a negative one is real if the degree is odd.
fn root_of(value: &BigRational, exponent: Exponent) -> Option<Poly> {
    let mut product = Poly::constant(BigRational::one());
    if value.is_zero() {
        return exponent.is_positive().then(|| Poly::constant(BigRational::zero()));
    }
    if value.is_negative() {
        if exponent.denom().is_odd() {
            product = Poly::constant(BigRational::from_integer(if exponent.numer().is_odd() { -1 } else { 1 }.into()));
        } else if *exponent.denom() == 2 {
            let (factor, monomial) = Monomial(BTreeMap::from([(Atom::I, Exponent::from_integer(*exponent.numer()))]))
                .power(Exponent::one())?;
            product = Poly(BTreeMap::from([(monomial, factor)]));
        } else {
            return None;
        }
    }
    let mut atoms = BTreeMap::new();
    for (part, sign) in [(value.numer(), 1), (value.denom(), -1)] {
        for (atom, count) in factors(&part.abs())? {
            let whole = Exponent::from_integer(count.checked_mul(sign)?);
            let own = whole.checked_mul(&exponent)?;
            let sum = atoms.get(&atom).map_or(Some(own), |mine: &Exponent| mine.checked_add(&own))?;
            atoms.insert(atom, sum);
        }
    }
    let (factor, monomial) = Monomial::reduced(atoms)?;
    product.mul(&Poly(BTreeMap::from([(monomial, factor)])))
}

/// Returns the small primes of a positive number with their counts, and the rest as one factor.
fn factors(n: &BigInt) -> Option<Vec<(Atom, i64)>> {
    if n.bits() > 4000 {
        return None;
    }
    let (mut rest, mut found) = (n.clone(), Vec::new());
    for prime in 2..=LARGEST_PRIME {
        if rest.is_one() {
            break;
        }
        let mut count = 0;
        loop {
            let (quotient, remainder) = rest.div_rem(&BigInt::from(prime));
            if !remainder.is_zero() {
                break;
            }
            rest = quotient;
            count += 1;
        }
        if count > 0 {
            found.push((Atom::Prime(prime), count));
        }
    }
    if !rest.is_one() {
        // Without prime factors up to the bound, a number below its square is a prime.
        let square = rest.sqrt();
        found.push(match rest.to_u32().filter(|n| u64::from(*n) < u64::from(LARGEST_PRIME).pow(2)) {
            Some(prime) => (Atom::Prime(prime), 1),
            None if &square * &square == rest => (Atom::Cofactor(square), 2),
            None => (Atom::Cofactor(rest), 1),
        });
    }
    Some(found)
}
