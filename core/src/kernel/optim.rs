//! AdamW's update of one tensor (Loshchilov and Hutter, arXiv 1711.05101), with the operations in PyTorch's order.

use crate::Real;
use crate::optim::AdamWStep;

/// Returns `x`, or 0 if |x| is below `floor`.
///
/// If the gradients of a weight stay 0 (a dead unit, a token that no longer occurs), its moments shrink at every step
/// until they are subnormal, and stay so. Every operation on them is then a hundred times slower, for a step that
/// changes no parameter.
#[inline(always)]
fn zero_below<T: Real>(floor: T, x: T) -> T {
    if x.abs() < floor { T::zero() } else { x }
}

/// Computes p ← p·(1 − lr·decay) − lr/(1−β₁ᵗ)·m/(√v/√(1−β₂ᵗ) + ε), where m and v are the moments of `scale`·g.
///
/// # Panics
/// If the slices differ in length.
#[inline(always)]
pub fn adamw<T: Real>(p: &mut [T], g: &[T], m: &mut [T], v: &mut [T], step: &AdamWStep) {
    assert!(g.len() == p.len() && m.len() == p.len() && v.len() == p.len(), "p, g, m and v differ in length");
    let (b1, b2) = (T::of(step.options.beta1), T::of(step.options.beta2));
    let (c1, c2) = (T::one() - b1, T::one() - b2);
    let keep = T::of(1.0 - step.learning_rate * step.options.weight_decay);
    let rate = T::of(step.learning_rate / (1.0 - libm::pow(step.options.beta1, step.time as f64)));
    let root = T::of(libm::sqrt(1.0 - libm::pow(step.options.beta2, step.time as f64)));
    let (eps, scale) = (T::of(step.options.eps), T::of(step.grad_scale));
    // The first moment is multiplied by the rate, and that product must be normal too.
    let small = T::min_positive_value() / T::epsilon();
    for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        let g = g * scale;
        *m = zero_below(small, b1 * *m + c1 * g);
        *v = zero_below(T::min_positive_value(), b2 * *v + c2 * g * g);
        *p = *p * keep - rate * *m / (v.sqrt() / root + eps);
    }
}

#[cfg(test)]
mod tests {
    use super::adamw;
    use crate::optim::AdamW;

    #[test]
    #[should_panic(expected = "p, g, m and v differ in length")]
    fn lengths_that_differ_are_refused() {
        adamw(&mut [1.0; 4], &[1.0; 3], &mut [0.0; 4], &mut [0.0; 4], &AdamW::default().step(1e-3, 1, 1.0));
    }

    /// After ten gradients come only zeros: the moments must vanish instead of staying subnormal.
    #[test]
    fn moments_never_become_subnormal() {
        let (mut p, mut m, mut v) = ([1.0_f32], [0.0], [0.0]);
        let options = AdamW { beta1: 0.9, beta2: 0.99, ..AdamW::default() };
        for time in 1..12_000 {
            let gradient = [if time <= 10 { 1e-3 } else { 0.0 }];
            adamw(&mut p, &gradient, &mut m, &mut v, &options.step(1e-3, time, 1.0));
            assert!(!(1e-3 * m[0]).is_subnormal() && !v[0].is_subnormal(), "step {time}: {m:?} {v:?}");
        }
        assert_eq!((m, v), ([0.0], [0.0]));
        assert!(p[0] < 1.0 && p[0] > 0.9);
    }
}
