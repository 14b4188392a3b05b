//! Running statistics that merge: the parts of a batch give the same numbers as the whole, up to rounding.

use crate::Real;

/// Count, mean, standard deviation and largest magnitude (Welford's update, Chan's merge).
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Moments {
    count: usize,
    mean: f64,
    /// Σ (x − mean)², the sum of squared deviations.
    squares: f64,
    abs_max: f64,
}

impl Moments {
    pub(in super::super) fn push(&mut self, x: f64) {
        self.merge(&Self { count: 1, mean: x, squares: 0.0, abs_max: x.abs() });
    }

    /// Not inlined: one copy serves the many sums of a batch, and none of them is critical for speed.
    #[inline(never)]
    pub(super) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let shift = other.mean - self.mean;
        self.count += other.count;
        self.mean += shift * (b / (a + b));
        self.squares += other.squares + shift * shift * (a * b / (a + b));
        self.abs_max = self.abs_max.max(other.abs_max);
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    pub(super) fn std(&self) -> Option<f64> {
        (self.count > 0).then(|| Real::sqrt(self.squares / self.count as f64))
    }

    pub(super) fn abs_max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.abs_max)
    }
}

/// Importance weights, each with a value. Sums are relative to the largest weight, since squares of unbounded weights
/// could overflow.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Weights {
    count: usize,
    min: f64,
    max: f64,
    /// Σ w / max.
    sum: f64,
    /// Σ (w / max)².
    squares: f64,
    /// Σ w·x / max.
    product: f64,
    /// Whether weights are part of the objective, rather than all 1 by definition.
    reported: bool,
}

impl Weights {
    /// Adds weight w with value x. `reported` is false if every weight is 1 by definition.
    pub(in super::super) fn push(&mut self, w: f64, x: f64, reported: bool) {
        let unit = if w > 0.0 { 1.0 } else { 0.0 };
        self.merge(&Self { count: 1, min: w, max: w, sum: unit, squares: unit, product: unit * x, reported });
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let max = self.max.max(other.max);
        let (a, b) = if max > 0.0 { (self.max / max, other.max / max) } else { (0.0, 0.0) };
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = max;
        self.count += other.count;
        self.sum = self.sum * a + other.sum * b;
        self.squares = self.squares * a * a + other.squares * b * b;
        self.product = self.product * a + other.product * b;
        self.reported |= other.reported;
    }

    /// Returns Σwx / Σw, or `None` if every weight is 0.
    pub(super) fn weighted_mean(&self) -> Option<f64> {
        (self.sum > 0.0).then(|| self.product / self.sum)
    }

    pub(super) fn mean(&self) -> Option<f64> {
        self.reported.then(|| self.max * (self.sum / self.count as f64))
    }

    pub(super) fn min(&self) -> Option<f64> {
        self.reported.then_some(self.min)
    }

    pub(super) fn max(&self) -> Option<f64> {
        self.reported.then_some(self.max)
    }

    pub(super) fn ess(&self) -> Option<f64> {
        (self.reported && self.sum > 0.0).then(|| self.sum * self.sum / self.squares / self.count as f64)
    }
}
