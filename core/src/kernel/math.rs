//! The exponential and the normal distribution function, precise or vectorisable.

use crate::Real;

/// The arithmetic of a kernel's transcendental functions.
pub trait Math: Copy + Send + Sync + 'static {
    /// Whether it is worth compiling a kernel for special sizes.
    const FAST: bool;
    /// Returns eˣ: 0 for −∞, and NaN for NaN. Above 88 the result may saturate instead of becoming infinite.
    fn exp<T: Real>(x: T) -> T;
    /// Returns the normal distribution function Φ(x) and its density φ(x). With these GELU(x) = x·Φ(x) and GELU′(x) =
    /// Φ(x) + x·φ(x).
    fn normal<T: Real>(x: T) -> (T, T);
}

/// Takes every function from [`libm`], with the same bits on every platform.
#[derive(Clone, Copy, Debug, Default)]
pub struct Precise;

impl Math for Precise {
    const FAST: bool = false;

    #[inline(always)]
    fn exp<T: Real>(x: T) -> T {
        x.exp()
    }

    #[inline(always)]
    fn normal<T: Real>(x: T) -> (T, T) {
        let half = T::of(0.5);
        let cdf = half * (T::one() + (x * T::of(core::f64::consts::FRAC_1_SQRT_2)).erf());
        let pdf = T::of(INV_SQRT_TAU) * (-half * x * x).exp();
        (cdf, pdf)
    }
}

/// Polynomials without branches, which compilers turn into vector code. In f32 the exponential has a relative error
/// below 3e-7 (it is 0 for x < −86.6 and stays at e⁸⁸ above 88), and Φ has an absolute error below 2e-7. In f64 this is
/// the same as [`Precise`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Fast;

impl Math for Fast {
    const FAST: bool = true;

    #[inline(always)]
    fn exp<T: Real>(x: T) -> T {
        T::exp_fast(x)
    }

    #[inline(always)]
    fn normal<T: Real>(x: T) -> (T, T) {
        T::normal_fast(x)
    }
}

/// 1 / √(2π), the density φ(0).
pub(crate) const INV_SQRT_TAU: f64 = 0.398_942_280_401_432_7;

/// Returns eˣ in f32, computed as eˣ = 2ⁿ·eʳ with |r| ≤ ½ ln 2 and a polynomial of degree 6 for eʳ (interpolated at
/// Chebyshev points).
#[inline(always)]
pub(crate) fn exp_f32(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding it rounds to an integer in the low mantissa bits
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // The comparisons let a NaN pass through. Between the bounds 2ⁿ is a normal number.
    let low = x < -86.6;
    let clamped = if low { -86.6 } else { x };
    let clamped = if clamped > 88.0 { 88.0 } else { clamped };
    let shifted = clamped * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let q = EXP_Q[4];
    let q = q * r + EXP_Q[3];
    let q = q * r + EXP_Q[2];
    let q = q * r + EXP_Q[1];
    let q = q * r + EXP_Q[0];
    let power = 1.0 + (r + r * r * q);
    let value = power * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if low { 0.0 } else { value }
}

const EXP_Q: [f32; 5] = [0.5, 0.166_665_77, 0.041_666_554, 0.008_363_203, 0.001_392_621_3];

/// Returns Φ and φ in f32. Φ is formula 7.1.26 of Abramowitz and Stegun, which shares the exponential with φ and keeps
/// its relative accuracy in the lower tail.
#[inline(always)]
pub(crate) fn normal_f32(x: f32) -> (f32, f32) {
    let bell = exp_f32(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.327_591_1 * core::f32::consts::FRAC_1_SQRT_2 * x.abs());
    let q = 1.061_405_4;
    let q = q * t - 1.453_152;
    let q = q * t + 1.421_413_7;
    let q = q * t - 0.284_496_74;
    let q = q * t + 0.254_829_6;
    let tail = 0.5 * q * t * bell;
    let cdf = if x < 0.0 { tail } else { 1.0 - tail };
    (cdf, INV_SQRT_TAU as f32 * bell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_exponential_is_accurate_over_the_whole_range() {
        let mut worst = 0.0_f64;
        for i in 0..400_000 {
            let x = -86.5 + 174.5 * i as f32 / 400_000.0;
            let wanted = libm::exp(f64::from(x));
            worst = worst.max((f64::from(exp_f32(x)) / wanted - 1.0).abs());
        }
        assert!(worst < 3e-7, "relative error {worst}");
    }

    #[test]
    fn fast_exponential_handles_the_edges() {
        assert_eq!(exp_f32(0.0), 1.0);
        assert_eq!(exp_f32(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_f32(-1e4), 0.0);
        assert_eq!(exp_f32(f32::INFINITY), exp_f32(88.0));
        assert_eq!(exp_f32(1e4), exp_f32(88.0));
        assert!(exp_f32(f32::NAN).is_nan());
    }

    #[test]
    fn fast_normal_matches_libm() {
        for i in -8000..=8000 {
            let x = i as f32 / 1000.0;
            let (cdf, pdf) = normal_f32(x);
            let (want_cdf, want_pdf) = Precise::normal(f64::from(x));
            assert!((f64::from(cdf) - want_cdf).abs() < 2.5e-7, "Φ({x}) = {cdf}, wanted {want_cdf}");
            assert!((f64::from(pdf) - want_pdf).abs() < 1e-7, "φ({x}) = {pdf}, wanted {want_pdf}");
        }
        assert!(normal_f32(f32::NAN).0.is_nan());
    }
}
