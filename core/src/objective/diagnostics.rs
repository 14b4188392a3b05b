//! What an evaluation reports beside gradients: sums that merge across the parts of a batch.

mod moments;

pub(super) use moments::{Moments, Weights};

/// The loss and the metrics of a batch, or of a part of it: [`merge`](Self::merge) the parts.
///
/// A metric that an objective does not have (log Z of a baseline, the log-ratio to a reference that was not given) is absent.
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
    /// This part's share of the loss: shares add up.
    pub loss: f64,
    pub(super) advantages: Moments,
    pub(super) residuals: Moments,
    pub(super) log_z: Moments,
    pub(super) weights: Weights,
    /// Weights (of sequences, or of tokens where ratios are per token) that clipping changed.
    pub(super) clipped: Fraction,
    /// Tokens that the mask dropped.
    pub(super) masked: Fraction,
    /// Σ (l − l_ref) of each sequence.
    pub(super) ref_log_ratios: Moments,
    /// Tokens behind `ref_log_ratios`.
    pub(super) ref_tokens: usize,
    pub(super) old_log_ratio_max: Option<f64>,
    /// 1/T of each sequence that is not empty.
    pub(super) inverse_lengths: Moments,
    /// Whether a log Z error shows as a length bias: only where sums are divided by T.
    pub(super) length_normalised: bool,
}

/// How many of how many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fraction {
    pub(super) part: usize,
    pub(super) whole: usize,
}

/// Every metric: name and meaning, in the order of [`Diagnostics::metrics`].
pub const METRICS: [(&str, &str); 19] = [
    ("loss", "the loss"),
    ("residual_mean", "mean of the residual δ"),
    ("residual_std", "standard deviation of δ (population)"),
    ("residual_abs_max", "largest |δ|"),
    ("log_z_mean", "mean of the log Z that was used"),
    ("log_z_std", "standard deviation of log Z (population)"),
    ("log_z_error", "Δ = Σwδ/Σw: how far log Z is above its best value for this policy"),
    ("length_bias", "2Δ·E[1/T]: coefficient of the pull on lengths that Δ causes; above 0 lengthens answers"),
    ("weight_mean", "mean importance weight w"),
    ("weight_min", "smallest w"),
    ("weight_max", "largest w"),
    ("weight_ess", "effective sample size (Σw)²/Σw², as a fraction of the batch"),
    ("clip_fraction", "fraction of weights (per token where ratios are) that clipping changed"),
    ("token_mask_fraction", "fraction of tokens that the token mask dropped"),
    ("advantage_std", "standard deviation of r̂ or A (population)"),
    ("ref_log_ratio", "mean over tokens of l − l_ref"),
    ("kl_ref", "mean over sequences of Σ(l − l_ref): on policy, an estimate of KL(π ‖ π_ref)"),
    ("old_log_ratio_max", "largest |l − l_old|: exactly 0 in the first update after sampling"),
    ("inverse_length_mean", "E[1/T] over sequences that are not empty"),
];

/// Their names alone, for a program that has no use for the meanings.
const NAMES: [&str; METRICS.len()] = {
    let mut names = [""; METRICS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = METRICS[i].0;
        i += 1;
    }
    names
};

impl Diagnostics {
    /// Every metric that this objective has, as (name, value). The names are those of [`METRICS`].
    pub fn metrics(&self) -> impl Iterator<Item = (&'static str, f64)> {
        NAMES.into_iter().zip(self.values()).filter_map(|(name, value)| Some((name, value?)))
    }

    /// The metric of this name, if this objective has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Adds another part of the same batch.
    pub fn merge(&mut self, other: &Self) {
        self.loss += other.loss;
        self.advantages.merge(&other.advantages);
        self.residuals.merge(&other.residuals);
        self.log_z.merge(&other.log_z);
        self.weights.merge(&other.weights);
        self.clipped.add(other.clipped.part, other.clipped.whole);
        self.masked.add(other.masked.part, other.masked.whole);
        self.ref_log_ratios.merge(&other.ref_log_ratios);
        self.ref_tokens += other.ref_tokens;
        self.old_log_ratio_max = match (self.old_log_ratio_max, other.old_log_ratio_max) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        self.inverse_lengths.merge(&other.inverse_lengths);
        self.length_normalised |= other.length_normalised;
    }

    /// The values in the order of [`METRICS`].
    fn values(&self) -> [Option<f64>; METRICS.len()] {
        let log_z_error = self.weights.weighted_mean().filter(|_| self.residuals.count() > 0);
        let inverse_length = self.inverse_lengths.mean();
        let length_bias = log_z_error.zip(inverse_length).map(|(error, inverse)| 2.0 * error * inverse);
        let tokens = self.ref_tokens as f64;
        let ref_sum = self.ref_log_ratios.mean().map(|mean| mean * self.ref_log_ratios.count() as f64);
        [
            Some(self.loss),
            self.residuals.mean(),
            self.residuals.std(),
            self.residuals.abs_max(),
            self.log_z.mean(),
            self.log_z.std(),
            log_z_error,
            length_bias.filter(|_| self.length_normalised),
            self.weights.mean(),
            self.weights.min(),
            self.weights.max(),
            self.weights.ess(),
            self.clipped.get(),
            self.masked.get(),
            self.advantages.std(),
            ref_sum.filter(|_| self.ref_tokens > 0).map(|sum| sum / tokens),
            self.ref_log_ratios.mean(),
            self.old_log_ratio_max,
            inverse_length,
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
