//! Exact fractions.

/// A fraction of checked 128-bit integers, not reduced; the denominator is not 0 but may be negative.
///
/// Nothing of the arithmetic on up to four numbers below 2³⁰ overflows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rational {
    numerator: i128,
    denominator: i128,
}

impl Rational {
    /// A whole number.
    pub(crate) fn whole(n: i128) -> Self {
        Self { numerator: n, denominator: 1 }
    }

    /// n / 10^places, or [`None`] on overflow.
    pub(crate) fn decimal(n: i128, places: u32) -> Option<Self> {
        Some(Self { numerator: n, denominator: 10_i128.checked_pow(places)? })
    }

    pub(crate) fn is_zero(self) -> bool {
        self.numerator == 0
    }

    /// The whole number it is, if it is one.
    pub(crate) fn to_whole(self) -> Option<i128> {
        (self.numerator.checked_rem(self.denominator)? == 0).then(|| self.numerator / self.denominator)
    }

    /// Whether two fractions are the same number, or [`None`] on overflow.
    pub(crate) fn equals(self, other: Self) -> Option<bool> {
        Some(self.numerator.checked_mul(other.denominator)? == other.numerator.checked_mul(self.denominator)?)
    }

    /// The sum, or [`None`] on overflow.
    pub(crate) fn add(self, other: Self) -> Option<Self> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Some(Self {
            numerator: left.checked_add(right)?,
            denominator: self.denominator.checked_mul(other.denominator)?,
        })
    }

    /// The difference, or [`None`] on overflow.
    pub(crate) fn sub(self, other: Self) -> Option<Self> {
        self.add(Self { numerator: other.numerator.checked_neg()?, ..other })
    }

    /// The product, or [`None`] on overflow.
    pub(crate) fn mul(self, other: Self) -> Option<Self> {
        Some(Self {
            numerator: self.numerator.checked_mul(other.numerator)?,
            denominator: self.denominator.checked_mul(other.denominator)?,
        })
    }

    /// The quotient, or [`None`] on overflow and for division by zero.
    pub(crate) fn div(self, other: Self) -> Option<Self> {
        if other.is_zero() {
            return None;
        }
        self.mul(Self { numerator: other.denominator, denominator: other.numerator })
    }
}
