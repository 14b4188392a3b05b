//! The numbers that an evaluation reports in addition to gradients, as sums that merge across the parts of a batch.

mod moments;

pub(super) use moments::{Moments, Weights};

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
    pub(super) advantages: Moments,
    pub(super) residuals: Moments,
    pub(super) log_z: Moments,
    pub(super) weights: Weights,
    /// Weights that clipping changed, of sequences, or of tokens if ratios are per token.
    pub(super) clipped: Fraction,
    /// Tokens that the token mask dropped.
    pub(super) masked: Fraction,
    /// Sequences that a mask dropped.
    pub(super) dropped: Fraction,
    /// Tokens with a log-ratio beyond ±20.
    pub(super) outliers: Fraction,
    /// Tokens with a KL estimate at its bound.
    pub(super) capped: Fraction,
    /// Σ |∂loss/∂l| over tokens; `slope_max` is the largest term.
    pub(super) slope_sum: f64,
    pub(super) slope_max: f64,
    /// Σ (l − l_ref) of each sequence.
    pub(super) ref_log_ratios: Moments,
    /// Number of tokens in `ref_log_ratios`.
    pub(super) ref_tokens: usize,
    pub(super) old_log_ratio_max: Option<f64>,
    /// 1/T of each sequence that is not empty.
    pub(super) inverse_lengths: Moments,
    /// Whether a log Z error biases lengths, which it does only if sums are divided by T.
    pub(super) length_normalised: bool,
}

/// A fraction `part`/`whole` of two counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fraction {
    pub(super) part: usize,
    pub(super) whole: usize,
}

impl Diagnostics {
    /// Iterates over every metric that this objective has, as (name, value); [`metrics`](crate::metrics) describes
    /// each.
    pub fn metrics(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.named().into_iter().filter_map(|(name, value)| Some((name, value?)))
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
    fn named(&self) -> [(&'static str, Option<f64>); 23] {
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
    }
}

impl Fraction {
    pub(super) fn add(&mut self, part: usize, whole: usize) {
        self.part += part;
        self.whole += whole;
    }

    fn get(self) -> Option<f64> {
        (self.whole > 0).then(|| self.part as f64 / self.whole as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Measured, Objective, Preset};
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
        for ((name, a), (_, b)) in flowrl.into_iter().zip(grpo) {
            assert!(a.or(b).is_some(), "{name} is absent");
        }
    }
}
