//! The floating-point type of every computation.

use core::fmt::{Debug, Display};
use core::iter::Sum;
use core::ops::{AddAssign, DivAssign, MulAssign, SubAssign};

use num_traits::float::FloatCore;

use crate::kernel::{self, Math, Precise};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// The types `f32` and `f64`, with transcendental functions that always come from [`libm`].
///
/// This trait does not build on `num_traits::Float`: feature unification decides whether that calls libm or the
/// platform's functions, and the two disagree in the last bit. Here native, WebAssembly and bare-metal builds give the
/// same bits.
///
/// ```
/// use flowrl_core::Real;
/// fn sigmoid<T: Real>(x: T) -> T {
///     T::one() / (T::one() + (-x).exp())
/// }
/// assert_eq!(sigmoid(0.0_f32), 0.5);
/// ```
pub trait Real:
    sealed::Sealed
    + FloatCore
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
    + Debug
    + Display
    + Default
    + Send
    + Sync
    + 'static
{
    /// Name of the type: `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// Returns the value nearest to `x`.
    fn of(x: f64) -> Self;
    /// Returns the value nearest to the count `n`.
    fn of_usize(n: usize) -> Self {
        Self::of(n as f64)
    }
    /// Converts this value to double precision, which is exact for both types.
    fn f64(self) -> f64;
    /// Returns eˣ.
    fn exp(self) -> Self;
    /// Returns eˣ − 1 without cancellation near 0.
    fn exp_m1(self) -> Self;
    /// Returns the natural logarithm.
    fn ln(self) -> Self;
    /// Returns ln(1 + x) without cancellation near 0.
    fn ln_1p(self) -> Self;
    /// Returns the square root.
    fn sqrt(self) -> Self;
    /// Returns the hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Returns the error function of this value.
    fn erf(self) -> Self;
    /// Returns the sine.
    fn sin(self) -> Self;
    /// Returns the cosine.
    fn cos(self) -> Self;
    /// Returns this value raised to the power `exponent`.
    fn pow(self, exponent: Self) -> Self;
    /// Returns eˣ by arithmetic that vectorises, see [`kernel::Fast`](crate::kernel::Fast).
    #[doc(hidden)]
    fn exp_fast(self) -> Self;
    /// Returns (Φ(x), φ(x)) by arithmetic that vectorises.
    #[doc(hidden)]
    fn normal_fast(self) -> (Self, Self);
    /// Returns the number of outputs in a panel of a packed matrix, or `None` if this machine lacks the instructions
    /// for packed products.
    #[cfg(feature = "fast")]
    #[doc(hidden)]
    fn panel_width() -> Option<usize>;
    /// Multiplies rows by a packed matrix.
    #[cfg(feature = "fast")]
    #[doc(hidden)]
    fn multiply_packed(product: crate::kernel::panel::Product<'_, Self>);
}

macro_rules! real {
    ($type:ident, $sqrt:ident, $pow:ident, [$($name:ident = $libm:ident),+], $exp_fast:expr, $normal_fast:expr) => {
        impl Real for $type {
            const NAME: &'static str = stringify!($type);
            #[inline]
            fn of(x: f64) -> Self {
                x as $type
            }
            #[inline]
            fn f64(self) -> f64 {
                f64::from(self)
            }
            $(
                #[inline]
                fn $name(self) -> Self {
                    libm::$libm(self)
                }
            )+
            #[inline(always)]
            fn sqrt(self) -> Self {
                // Correctly rounded everywhere, so the vector instruction and libm agree bit for bit.
                #[cfg(feature = "fast")]
                return <$type>::sqrt(self);
                #[cfg(not(feature = "fast"))]
                libm::$sqrt(self)
            }
            #[inline]
            fn pow(self, exponent: Self) -> Self {
                libm::$pow(self, exponent)
            }
            #[inline(always)]
            fn exp_fast(self) -> Self {
                $exp_fast(self)
            }
            #[inline(always)]
            fn normal_fast(self) -> (Self, Self) {
                $normal_fast(self)
            }
            #[cfg(feature = "fast")]
            fn panel_width() -> Option<usize> {
                crate::kernel::panel::$type::panel_width()
            }
            #[cfg(feature = "fast")]
            fn multiply_packed(product: crate::kernel::panel::Product<'_, Self>) {
                crate::kernel::panel::$type::multiply(product);
            }
        }
    };
}

real!(
    f32,
    sqrtf,
    powf,
    [exp = expf, exp_m1 = expm1f, ln = logf, ln_1p = log1pf, tanh = tanhf, erf = erff, sin = sinf, cos = cosf],
    kernel::exp_f32,
    kernel::normal_f32
);
real!(
    f64,
    sqrt,
    pow,
    [exp = exp, exp_m1 = expm1, ln = log, ln_1p = log1p, tanh = tanh, erf = erf, sin = sin, cos = cos],
    libm::exp,
    Precise::normal
);
