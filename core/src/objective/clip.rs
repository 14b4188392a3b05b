//! Importance weights, always computed from their logarithm, so that a log weight of ±10⁴ stays finite if a bound is
//! set.

use crate::Real;

/// Bounds of a weight, stored together with their logarithms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clip {
    low: f64,
    high: f64,
    log_low: f64,
    log_high: f64,
    /// Upper bound of a surrogate if the advantage is negative.
    dual: f64,
    log_dual: f64,
}

/// A weight after clipping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clipped {
    pub(super) weight: f64,
    pub(super) clipped: bool,
}

impl Clip {
    pub(super) fn new(low: Option<f64>, high: Option<f64>) -> Self {
        let (low, high) = (low.unwrap_or(0.0), high.unwrap_or(f64::INFINITY));
        let (log_low, log_high, dual) = (Real::ln(low), Real::ln(high), f64::INFINITY);
        Self { low, high, log_low, log_high, dual, log_dual: dual }
    }

    /// Adds an upper bound for negative advantages to the surrogate: dual clip (Ye and others, arXiv 1912.09729).
    pub(super) fn with_dual(self, dual: Option<f64>) -> Self {
        let dual = dual.unwrap_or(f64::INFINITY);
        Self { dual, log_dual: Real::ln(dual), ..self }
    }

    /// Creates a clip without bounds.
    pub(super) fn none() -> Self {
        Self::new(None, None)
    }

    /// Returns whether a bound is set.
    pub(super) fn bounds(&self) -> bool {
        self.low > 0.0 || self.high.is_finite()
    }

    /// Returns clip(exp(log_weight)). A clipped weight equals the bound bit for bit.
    pub(super) fn weight(&self, log_weight: f64) -> Clipped {
        if log_weight > self.log_high {
            Clipped { weight: self.high, clipped: true }
        } else if log_weight < self.log_low {
            Clipped { weight: self.low, clipped: true }
        } else {
            Clipped { weight: Real::exp(log_weight), clipped: false }
        }
    }

    /// Returns the logarithm of [`weight`](Self::weight), for weights that underflow.
    pub(super) fn log(&self, log_weight: f64) -> f64 {
        log_weight.max(self.log_low).min(self.log_high)
    }

    /// Returns ρ′ of the clipped surrogate min(ρA, clip(ρ)A) = ρ′A, in which ρ′ is bounded only on the side that `min`
    /// selects. If that bound is active, `clipped` is set and the gradient is 0.
    pub(super) fn surrogate(&self, log_ratio: f64, advantage: f64) -> Clipped {
        if advantage == 0.0 {
            return Clipped { weight: 1.0, clipped: false };
        }
        let one_sided = if advantage > 0.0 {
            Self { low: 0.0, log_low: f64::NEG_INFINITY, ..*self }
        } else {
            Self { high: self.dual, log_high: self.log_dual, ..*self }
        };
        one_sided.weight(log_ratio)
    }
}
