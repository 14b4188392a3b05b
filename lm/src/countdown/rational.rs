//! Exact fractions.

use std::fmt;

/// A fraction of checked 128-bit integers, not reduced; the denominator is not 0 but may be negative.
///
/// `==` and the order compare the representation, so equal numbers are `==` only if they are [`Self::reduced`].
/// Arithmetic on up to four numbers below 2³⁰ never overflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rational {
    numerator: i128,
    denominator: i128,
}

impl Rational {
    /// Creates a whole number.
    pub(crate) fn whole(n: i128) -> Self {
        Self { numerator: n, denominator: 1 }
    }

    /// Returns n / 10^places, or [`None`] on overflow.
    pub(crate) fn decimal(n: i128, places: u32) -> Option<Self> {
        Some(Self { numerator: n, denominator: 10_i128.checked_pow(places)? })
    }

    pub(crate) fn is_zero(self) -> bool {
        self.numerator == 0
    }

    /// Returns the value of this fraction if it is a whole number.
    pub(crate) fn to_whole(self) -> Option<i128> {
        (self.numerator.checked_rem(self.denominator)? == 0).then(|| self.numerator / self.denominator)
    }

    /// Returns whether this fraction is above 0 and below 1.
    pub(crate) fn is_proper(self) -> bool {
        let Self { numerator, denominator } = self.reduced();
        0 < numerator && numerator < denominator
    }

    /// Returns this number in lowest terms with a denominator above 0, a representation that is unique. Neither
    /// part may be `i128::MIN`, which neither three 32-bit numbers nor decimals reach.
    pub(crate) fn reduced(self) -> Self {
        let (mut a, mut b) = (self.numerator, self.denominator);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        // If the greatest common divisor has the sign of the denominator, the denominator of the quotient is above 0.
        let divisor = if (a < 0) == (self.denominator < 0) { a } else { -a };
        Self { numerator: self.numerator / divisor, denominator: self.denominator / divisor }
    }

    /// Returns the sum, or [`None`] on overflow.
    pub(crate) fn add(self, other: Self) -> Option<Self> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Some(Self {
            numerator: left.checked_add(right)?,
            denominator: self.denominator.checked_mul(other.denominator)?,
        })
    }

    /// Returns the difference, or [`None`] on overflow.
    pub(crate) fn sub(self, other: Self) -> Option<Self> {
        self.add(Self { numerator: other.numerator.checked_neg()?, ..other })
    }

    /// Returns the product, or [`None`] on overflow.
    pub(crate) fn mul(self, other: Self) -> Option<Self> {
        Some(Self {
            numerator: self.numerator.checked_mul(other.numerator)?,
            denominator: self.denominator.checked_mul(other.denominator)?,
        })
    }

    /// Returns the quotient, or [`None`] on overflow and for division by zero.
    pub(crate) fn div(self, other: Self) -> Option<Self> {
        if other.is_zero() {
            return None;
        }
        self.mul(Self { numerator: other.denominator, denominator: other.numerator })
    }
}

/// Writes a whole number as one, and others as `numerator/denominator`.
impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reduced() {
            Self { numerator, denominator: 1 } => write!(f, "{numerator}"),
            Self { numerator, denominator } => write!(f, "{numerator}/{denominator}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fraction(numerator: i128, denominator: i128) -> Rational {
        Rational { numerator, denominator }
    }

    #[test]
    fn equal_fractions_reduce_to_the_same() {
        for (n, d, wanted) in [
            (6, 4, fraction(3, 2)),
            (-6, 4, fraction(-3, 2)),
            (6, -4, fraction(-3, 2)),
            (-6, -4, fraction(3, 2)),
            (0, -5, fraction(0, 1)),
            (7, 1, fraction(7, 1)),
        ] {
            assert_eq!(fraction(n, d).reduced(), wanted, "{n}/{d}");
        }
    }

    #[test]
    fn proper_fractions_are_between_0_and_1() {
        for (n, d, wanted) in
            [(1, 2, true), (-1, -2, true), (1, -2, false), (0, 2, false), (2, 2, false), (3, 2, false)]
        {
            assert_eq!(fraction(n, d).is_proper(), wanted, "{n}/{d}");
        }
    }

    #[test]
    fn overflow_is_noticed() {
        let big = Rational::whole(i128::MAX);
        assert!(big.add(big).is_none() && big.mul(big).is_none());
        assert!(Rational::whole(1).div(Rational::whole(0)).is_none());
        assert!(Rational::decimal(1, 39).is_none());
    }
}
