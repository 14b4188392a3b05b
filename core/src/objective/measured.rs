//! What an evaluation measures of each sequence, and how that becomes [`Diagnostics`].

use super::clip::Clip;
use super::{Diagnostics, FlowRl, Importance, KlEstimator, Length, LogZ, Objective, PolicyGradient, TokenMask};

/// What was measured of one sequence, wherever it was computed. For devices: [`Diagnostics::of`] makes of them what the host's
/// evaluation reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Its share of the loss.
    pub loss: f64,
    /// r̂ or A, after a KL term in the reward.
    pub advantage: f64,
    /// δ; 0 for a policy gradient.
    pub residual: f64,
    /// The log Z that was used; 0 for a policy gradient.
    pub log_z: f64,
    /// w after clipping; for the ratio of a sequence that ratio before it.
    pub weight: f64,
    /// Weights that clipping changed: 0 or 1 for FlowRL, the number of tokens for a policy gradient.
    pub clipped: usize,
    /// Tokens whose log-ratio is beyond ±20.
    pub outliers: usize,
    /// Tokens whose KL estimate is at its bound.
    pub capped: usize,
    /// Whether a mask left the sequence out.
    pub dropped: bool,
    /// Σ |∂loss/∂l| over the tokens, and the largest.
    pub slope_sum: f64,
    /// The largest |∂loss/∂l|.
    pub slope_max: f64,
    /// T.
    pub tokens: usize,
    /// Tokens that a mask left; T where there is none.
    pub kept: usize,
    /// Σ (l − l_ref) over all tokens, where the reference is given.
    pub ref_log_ratio: Option<f64>,
    /// Largest |l − l_old|, 0 without tokens, where the old policy is given.
    pub old_log_ratio_max: Option<f64>,
}

impl Measured {
    /// Counts one token's ∂loss/∂l.
    pub(super) fn push_slope(&mut self, slope: f64) {
        self.slope_sum += slope.abs();
        self.slope_max = self.slope_max.max(slope.abs());
    }
}

impl Diagnostics {
    /// The diagnostics of a batch from those of its sequences, which come in the order of the batch, or sorted by group (and by place in
    /// it) where log Z comes from the group. They differ from the host's in rounding at most.
    #[must_use]
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

    /// Those of no sequence.
    fn for_objective(objective: &Objective) -> Self {
        let length_normalised = matches!(objective, Objective::FlowRl(FlowRl { length: Length::Mean, .. }));
        Self { length_normalised, ..Self::default() }
    }

    /// What does not depend on log Z.
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

    /// The rest, once log Z is known.
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
