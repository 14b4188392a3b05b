//! The numbers that an evaluation reports in addition to gradients, as sums that merge across the parts of a batch.

use super::terms::Clip;
use super::{FlowRl, Importance, KlEstimator, Length, LogZ, Objective, PolicyGradient, TokenMask};
use crate::Real;

/// The loss and the metrics of a batch, or of a part of it; [`merge`](Self::merge) combines parts.
///
/// If an objective does not have a metric, for example log Z of a policy gradient or the log-ratio to a reference that
/// was not given, the metric is absent.
///
/// ```
/// use flowrl_core::objective::{Objective, Preset, Sequence};
/// let pair = |reward| Sequence { reward, log_probs: &[-1.0_f64], ref_log_probs: Some(&[-1.5]), ..Sequence::default() };
/// let evaluation = Objective::preset(Preset::VarGrad).compute(&[pair(1.0), pair(0.0)])?;
/// assert_eq!(evaluation.diagnostics.get("ref_log_ratio"), Some(0.5));
/// assert_eq!(evaluation.diagnostics.get("token_mask_fraction"), None);
/// for (name, value) in evaluation.diagnostics.metrics() {
///     println!("{name:20} {value:.4}");
/// }
/// # Ok::<(), flowrl_core::objective::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Diagnostics {
    /// This part's share of the loss. The shares of all parts add up to the loss.
    pub loss: f64,
    advantages: Moments,
    residuals: Moments,
    log_z: Moments,
    weights: Weights,
    /// Weights that clipping changed, of sequences, or of tokens if ratios are per token.
    clipped: Fraction,
    /// Tokens that the token mask dropped.
    masked: Fraction,
    /// Sequences that a mask dropped.
    dropped: Fraction,
    /// Tokens with a log-ratio beyond ±20.
    outliers: Fraction,
    /// Tokens with a KL estimate at its bound.
    capped: Fraction,
    /// Σ |∂loss/∂l| over tokens; `slope_max` is the largest term.
    slope_sum: f64,
    slope_max: f64,
    /// Σ (l − l_ref) of each sequence.
    ref_log_ratios: Moments,
    /// Number of tokens in `ref_log_ratios`.
    ref_tokens: usize,
    old_log_ratio_max: Option<f64>,
    /// 1/T of each sequence that is not empty.
    inverse_lengths: Moments,
    /// Whether a log Z error biases lengths, which it does only if sums are divided by T.
    length_normalised: bool,
}

/// A fraction `part`/`whole` of two counts.
#[derive(Clone, Copy, Debug, Default)]
struct Fraction {
    part: usize,
    whole: usize,
}

impl Diagnostics {
    /// Iterates over every metric that this objective has, as (name, value); [`metrics`](crate::metrics) describes
    /// each.
    pub fn metrics(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.named().filter_map(|(name, value)| Some((name, value?)))
    }

    /// Returns the metric of this name, if this objective has it.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Merges another part of the same batch into this one.
    pub fn merge(&mut self, other: &Self) {
        self.loss += other.loss;
        self.advantages.merge(&other.advantages);
        self.residuals.merge(&other.residuals);
        self.log_z.merge(&other.log_z);
        self.weights.merge(&other.weights);
        self.clipped.add(other.clipped.part, other.clipped.whole);
        self.masked.add(other.masked.part, other.masked.whole);
        self.dropped.add(other.dropped.part, other.dropped.whole);
        self.outliers.add(other.outliers.part, other.outliers.whole);
        self.capped.add(other.capped.part, other.capped.whole);
        self.slope_sum += other.slope_sum;
        self.slope_max = self.slope_max.max(other.slope_max);
        self.ref_log_ratios.merge(&other.ref_log_ratios);
        self.ref_tokens += other.ref_tokens;
        self.old_log_ratio_max = match (self.old_log_ratio_max, other.old_log_ratio_max) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        self.inverse_lengths.merge(&other.inverse_lengths);
        self.length_normalised |= other.length_normalised;
    }

    /// Returns every metric that some objective has, in the order of a record.
    fn named(&self) -> impl Iterator<Item = (&'static str, Option<f64>)> + use<> {
        let log_z_error = self.weights.weighted_mean().filter(|_| self.log_z.count() > 0);
        let inverse_length = self.inverse_lengths.mean();
        let length_bias = log_z_error.zip(inverse_length).map(|(error, inverse)| 2.0 * error * inverse);
        let tokens = self.ref_tokens as f64;
        let ref_sum = self.ref_log_ratios.mean().map(|mean| mean * self.ref_log_ratios.count() as f64);
        [
            ("loss", Some(self.loss)),
            ("residual_mean", self.residuals.mean()),
            ("residual_std", self.residuals.std()),
            ("residual_abs_max", self.residuals.abs_max()),
            ("log_z_mean", self.log_z.mean()),
            ("log_z_std", self.log_z.std()),
            ("log_z_error", log_z_error),
            ("length_bias", length_bias.filter(|_| self.length_normalised)),
            ("weight_mean", self.weights.mean()),
            ("weight_min", self.weights.min()),
            ("weight_max", self.weights.max()),
            ("weight_ess", self.weights.ess()),
            ("clip_fraction", self.clipped.get()),
            ("token_mask_fraction", self.masked.get()),
            ("masked_sequences", self.dropped.get()),
            ("outlier_tokens", self.outliers.get()),
            ("kl_capped", self.capped.get()),
            ("token_gradient_share", (self.slope_sum > 0.0).then(|| self.slope_max / self.slope_sum)),
            ("advantage_std", self.advantages.std()),
            ("ref_log_ratio", ref_sum.filter(|_| self.ref_tokens > 0).map(|sum| sum / tokens)),
            ("kl_ref", self.ref_log_ratios.mean()),
            ("old_log_ratio_max", self.old_log_ratio_max),
            ("inverse_length_mean", inverse_length),
        ]
        .into_iter()
    }
}

impl Fraction {
    fn add(&mut self, part: usize, whole: usize) {
        self.part += part;
        self.whole += whole;
    }

    fn get(self) -> Option<f64> {
        (self.whole > 0).then(|| self.part as f64 / self.whole as f64)
    }
}

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

impl Diagnostics {
    /// Computes the diagnostics of a batch from the measurements of its sequences, which must be in the order of the
    /// batch. If log Z comes from the group, they must be sorted by group, and by position in it. The result differs
    /// from the host's by rounding at most.
    pub fn of(objective: &Objective, sequences: impl IntoIterator<Item = Measured>) -> Self {
        let length_normalised = matches!(objective, Objective::FlowRl(FlowRl { length: Length::Mean, .. }));
        let mut diagnostics = Self { length_normalised, ..Self::default() };
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

// Running statistics that merge: the parts of a batch give the same numbers as the whole, up to rounding.

/// Count, mean, standard deviation and largest magnitude (Welford's update, Chan's merge).
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: usize,
    mean: f64,
    /// Σ (x − mean)², the sum of squared deviations.
    squares: f64,
    abs_max: f64,
}

impl Moments {
    fn push(&mut self, x: f64) {
        self.merge(&Self { count: 1, mean: x, squares: 0.0, abs_max: x.abs() });
    }

    /// Not inlined: one copy serves the many sums of a batch, and none of them is critical for speed.
    #[inline(never)]
    fn merge(&mut self, other: &Self) {
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

    fn count(&self) -> usize {
        self.count
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    fn std(&self) -> Option<f64> {
        (self.count > 0).then(|| Real::sqrt(self.squares / self.count as f64))
    }

    fn abs_max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.abs_max)
    }
}

/// Importance weights, each with a value. Sums are relative to the largest weight, since squares of unbounded weights
/// could overflow.
#[derive(Clone, Copy, Debug, Default)]
struct Weights {
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
    fn push(&mut self, w: f64, x: f64, reported: bool) {
        let unit = if w > 0.0 { 1.0 } else { 0.0 };
        self.merge(&Self { count: 1, min: w, max: w, sum: unit, squares: unit, product: unit * x, reported });
    }

    fn merge(&mut self, other: &Self) {
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
    fn weighted_mean(&self) -> Option<f64> {
        (self.sum > 0.0).then(|| self.product / self.sum)
    }

    fn mean(&self) -> Option<f64> {
        self.reported.then(|| self.max * (self.sum / self.count as f64))
    }

    fn min(&self) -> Option<f64> {
        self.reported.then_some(self.min)
    }

    fn max(&self) -> Option<f64> {
        self.reported.then_some(self.max)
    }

    fn ess(&self) -> Option<f64> {
        (self.reported && self.sum > 0.0).then(|| self.sum * self.sum / self.squares / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Preset;
    use super::*;
    use crate::metrics;

    /// Returns a sequence on policy, and one that was clipped and masked.
    fn sequences() -> [Measured; 2] {
        let still =
            Measured { loss: 0.5, advantage: 1.0, residual: -0.3, log_z: 0.2, weight: 1.0, ..Measured::default() };
        let still = Measured { slope_sum: 1.0, slope_max: 0.5, ..still };
        let still = Measured { tokens: 3, kept: 3, ref_log_ratio: Some(-0.1), old_log_ratio_max: Some(0.0), ..still };
        let moved = Measured { residual: 1.5, weight: 0.8, clipped: 1, kept: 1, old_log_ratio_max: Some(0.9), ..still };
        [still, moved]
    }

    #[test]
    fn each_metric_has_a_row_and_lies_within_its_range() {
        let everything = Objective::preset(Preset::VerlPr3924);
        for objective in [everything, Objective::preset(Preset::Gspo), Objective::preset(Preset::Ppo)] {
            for (name, value) in Diagnostics::of(&objective, sequences()).metrics() {
                let row = metrics::get(name).unwrap_or_else(|| panic!("{name} has no row in the table of metrics"));
                assert!((row.range.0..=row.range.1).contains(&value), "{name} is {value}, outside {:?}", row.range);
            }
        }
        // The first one clips, masks, divides by the length and has a reference; the second has ratios and a bounded
        // KL.
        let flowrl = Preset::VerlPr3924.flowrl().map(|o| Objective::from(o.with_mask_truncated(true)));
        let grpo = Preset::Grpo.policy_gradient().map(|o| Objective::from(o.with_kl_max(Some(10.0))));
        let [flowrl, grpo] = [flowrl, grpo].map(|objective| Diagnostics::of(&objective.unwrap(), sequences()).named());
        for ((name, a), (_, b)) in flowrl.zip(grpo) {
            assert!(a.or(b).is_some(), "{name} is absent");
        }
    }
}
