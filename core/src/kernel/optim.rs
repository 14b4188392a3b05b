//! AdamW's update of one tensor (Loshchilov and Hutter, arXiv 1711.05101; the order of operations of PyTorch).

use crate::Real;
use crate::optim::AdamWStep;

/// p ← p·(1 − lr·decay) − lr/(1−β₁ᵗ)·m/(√v/√(1−β₂ᵗ) + ε), with m and v the moments of `scale`·g.
#[inline(always)]
pub fn adamw<T: Real>(p: &mut [T], g: &[T], m: &mut [T], v: &mut [T], step: &AdamWStep) {
    let (b1, b2) = (T::of(step.beta1), T::of(step.beta2));
    let (c1, c2) = (T::one() - b1, T::one() - b2);
    let keep = T::of(1.0 - step.learning_rate * step.weight_decay);
    let rate = T::of(step.learning_rate / (1.0 - libm::pow(step.beta1, step.time as f64)));
    let root = T::of(libm::sqrt(1.0 - libm::pow(step.beta2, step.time as f64)));
    let (eps, scale) = (T::of(step.eps), T::of(step.grad_scale));
    for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        let g = g * scale;
        *m = b1 * *m + c1 * g;
        *v = b2 * *v + c2 * g * g;
        *p = *p * keep - rate * *m / (v.sqrt() / root + eps);
    }
}
