//! The measurements of each sequence in an evaluation, from which [`Diagnostics`] are computed.

use super::clip::Clip;
use super::{Diagnostics, FlowRl, Importance, KlEstimator, Length, LogZ, Objective, PolicyGradient, TokenMask};

/// The measurements of one sequence. A device fills them in, and [`Diagnostics::of`] computes from them the numbers
/// that the host's evaluation reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// This sequence's share of the loss.
    pub loss: f64,
    /// Shaped reward r̂ or advantage A, after a KL term in the reward.
    pub advantage: f64,
    /// Residual δ; 0 for a policy gradient.
    pub residual: f64,
    /// The log Z that was used; 0 for a policy gradient.
    pub log_z: f64,
    /// Importance weight w after clipping. For a policy gradient with a sequence ratio, this is the ratio before
    /// clipping.
    pub weight: f64,
    /// Number of weights that clipping changed: 0 or 1 for FlowRL, a number of tokens for a policy gradient.
    pub clipped: usize,
    /// Number of tokens with a log-ratio beyond ±20.
    pub outliers: usize,
    /// Number of tokens with a KL estimate at its bound.
    pub capped: usize,
    /// Whether a mask dropped this sequence.
    pub dropped: bool,
    /// Σ |∂loss/∂l| over the tokens.
    pub slope_sum: f64,
    /// Largest |∂loss/∂l| of a token.
    pub slope_max: f64,
    /// Number of tokens, T.
    pub tokens: usize,
    /// Number of tokens kept by the token mask, or T if there is no mask.
    pub kept: usize,
    /// Σ (l − l_ref) over all tokens, if the reference is given.
    pub ref_log_ratio: Option<f64>,
    /// Largest |l − l_old|, or 0 without tokens, if the old policy is given.
    pub old_log_ratio_max: Option<f64>,
}

impl Measured {
    /// Adds one token's ∂loss/∂l to the sum and the maximum.
    pub(super) fn push_slope(&mut self, slope: f64) {
        self.slope_sum += slope.abs();
        self.slope_max = self.slope_max.max(slope.abs());
    }
}

impl Diagnostics {
    /// Computes the diagnostics of a batch from the measurements of its sequences, which must be in the order of the
    /// batch. If log Z comes from the group, they must be sorted by group, and by position in it. The result differs
    /// from the host's by rounding at most.
    pub fn of(objective: &Objective, sequences: impl IntoIterator<Item = Measured>) -> Self {
        let mut diagnostics = Self::for_objective(objective);
        for measured in sequences {
            match objective {
                Objective::FlowRl(options) => {
                    diagnostics.push_ratios(options, &measured);
                    diagnostics.push_outcome(options, &measured);
                }
                Objective::PolicyGradient(options) => diagnostics.push_gradient(options, &measured),
            }
        }
        diagnostics
    }

    /// Creates the diagnostics of an empty batch.
    fn for_objective(objective: &Objective) -> Self {
        let length_normalised = matches!(objective, Objective::FlowRl(FlowRl { length: Length::Mean, .. }));
        Self { length_normalised, ..Self::default() }
    }

    /// Adds the measurements that do not depend on log Z.
    pub(super) fn push_ratios(&mut self, options: &FlowRl, measured: &Measured) {
        if options.masks() {
            self.dropped.add(usize::from(measured.dropped), 1);
        }
        if measured.dropped {
            return;
        }
        self.push_common(measured);
        if options.token_mask != TokenMask::None {
            self.masked.add(measured.tokens - measured.kept, measured.tokens);
        }
    }

    /// Adds the measurements that depend on log Z.
    pub(super) fn push_outcome(&mut self, options: &FlowRl, measured: &Measured) {
        if measured.dropped {
            return;
        }
        let weighted = options.importance != Importance::None;
        self.loss += measured.loss;
        self.residuals.push(measured.residual);
        if options.log_z != LogZ::Pairwise {
            self.log_z.push(measured.log_z);
        }
        self.weights.push(measured.weight, measured.residual, weighted);
        if weighted && Clip::new(options.clip_low.get(), options.clip_high.get()).bounds() {
            self.clipped.add(measured.clipped, 1);
        }
    }

    pub(super) fn push_gradient(&mut self, options: &PolicyGradient, measured: &Measured) {
        self.loss += measured.loss;
        self.push_common(measured);
        if options.masks() {
            self.dropped.add(usize::from(measured.dropped), 1);
        }
        if options.has_kl_loss() && options.kl_estimator == KlEstimator::K3 && options.kl_max.get().is_some() {
            self.capped.add(measured.capped, measured.tokens);
        }
        if options.weighs() {
            self.outliers.add(measured.outliers, measured.tokens);
        }
        self.slope_sum += measured.slope_sum;
        self.slope_max = self.slope_max.max(measured.slope_max);
        if options.weighs_sequences() {
            self.weights.push(measured.weight, 0.0, true);
            self.clipped.add(usize::from(measured.clipped > 0), 1);
        } else if options.weighs() && Clip::new(options.clip_low.get(), options.clip_high.get()).bounds() {
            self.clipped.add(measured.clipped, measured.tokens);
        }
    }

    fn push_common(&mut self, measured: &Measured) {
        self.advantages.push(measured.advantage);
        if let Some(sum) = measured.ref_log_ratio {
            self.ref_log_ratios.push(sum);
            self.ref_tokens += measured.tokens;
        }
        if let Some(max_abs) = measured.old_log_ratio_max {
            self.old_log_ratio_max = Some(self.old_log_ratio_max.unwrap_or(0.0).max(max_abs));
        }
        if measured.kept > 0 {
            self.inverse_lengths.push(1.0 / measured.kept as f64);
        }
    }
}
