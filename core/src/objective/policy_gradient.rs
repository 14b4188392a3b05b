//! Losses and gradients of the policy gradients: −A times a function of ρ = π/π_old, the KL to the reference, and the
//! entropy bonus.

use super::batch::{Batch, Gradients, Totals};
use super::diagnostics::Diagnostics;
use super::terms::{Clip, Clipped, Difference, LogRatios, difference};
use super::{Error, KlEstimator, KlIn, Measured, PolicyGradient, Ratio, RolloutCorrection};
use crate::Real;

/// Largest |log-ratio| with a gradient. A single token beyond it would outweigh the rest of a batch.
pub(super) const MAX_LOG_RATIO: f64 = 20.0;

pub(super) fn evaluate<T: Real>(
    options: &PolicyGradient,
    batch: &Batch<'_, T>,
    totals: Totals,
    out: &mut Gradients<'_, T>,
) -> Result<Diagnostics, Error> {
    let clip = Clip::new(options.clip_low.get(), options.clip_high.get()).with_dual(options.dual_clip.get());
    let mut diagnostics = Diagnostics::default();
    for i in 0..batch.groups.len() {
        out.drop_sequence(batch, i);
        out.weights[i] = T::one();
        let measured = sequence(options, clip, batch, totals, i, out)?;
        diagnostics.push_gradient(options, &measured);
    }
    Ok(diagnostics)
}

/// A term of the loss and its derivative with respect to the token's log-probability.
#[derive(Clone, Copy, Default)]
struct Term {
    loss: f64,
    slope: f64,
    clipped: bool,
    /// Whether the log-ratio is beyond [`MAX_LOG_RATIO`].
    outlier: bool,
}

fn sequence<T: Real>(
    options: &PolicyGradient,
    clip: Clip,
    batch: &Batch<'_, T>,
    totals: Totals,
    i: usize,
    out: &mut Gradients<'_, T>,
) -> Result<Measured, Error> {
    let ratios = LogRatios::of(batch, i)?;
    let tokens = batch.tokens(i);
    let length = tokens.len();
    let mut measured = Measured {
        advantage: batch.advantages[i].f64(),
        weight: 1.0,
        tokens: length,
        kept: length,
        ref_log_ratio: ratios.reference.map(|reference| reference.sum),
        old_log_ratio_max: ratios.old.map(|old| old.max_abs),
        ..Measured::default()
    };
    if let (true, KlIn::Reward, Some(reference)) = (options.kl != 0.0, options.kl_in, ratios.reference) {
        measured.advantage -= options.kl * reference.sum;
    }
    if !batch.keeps(i) {
        out.weights[i] = T::zero();
        return Ok(Measured { dropped: true, kept: 0, ..measured });
    }
    let advantage = measured.advantage;
    let reference_in_loss = batch.ref_log_probs.filter(|_| options.has_kl_loss());
    let entropies = batch.entropies.filter(|_| options.entropy != 0.0);
    let share = 1.0 / options.aggregate.divisor(totals, length);

    let (mut sequence_term, mut sequence_log_ratio) = (None, None);
    if options.weighs_sequences() {
        let sum = ratios.old.map_or(0.0, |old| old.sum);
        let (log_ratio, tokens_behind) = match options.ratio {
            Ratio::Trajectory => (sum, length as f64),
            _ => (sum / length.max(1) as f64, 1.0),
        };
        let term = surrogate(clip, log_ratio, advantage);
        measured.weight = Real::exp(within(log_ratio).0);
        out.weights[i] = T::of(measured.weight);
        // The derivative of a mean's ρ with respect to each token has a factor 1/T, which the share already contains.
        sequence_term = Some(Term { slope: term.slope * tokens_behind, ..term });
        sequence_log_ratio = Some((log_ratio, tokens_behind / length.max(1) as f64));
    }

    // Weight of the policy term: 0 for a sequence too far off policy, times the correction for another engine.
    let correction = Correction::of(options, batch, i);
    let behind = batch.rollout_log_probs.or(batch.old_log_probs).map_or(0.0, |old| {
        -difference(&batch.log_probs[tokens.clone()], &old[tokens.clone()]).sum / length.max(1) as f64
    });
    measured.dropped = options.mask_off_policy.get().is_some_and(|most| advantage < 0.0 && behind > most);
    let policy_weight = if measured.dropped { 0.0 } else { 1.0 };

    // The ratio of a sequence multiplies the KL of all its tokens, and has a gradient with respect to each of them.
    let mut slope_of_ratio = 0.0;
    if let (Some(reference), Some((log_ratio, each)), true) =
        (reference_in_loss, sequence_log_ratio, options.kl_unbiased)
    {
        let (log_ratio, outlier) = within(log_ratio);
        let terms = tokens.clone().map(|t| kl_term(options, reference[t].f64() - batch.log_probs[t].f64()).loss);
        slope_of_ratio = if outlier { 0.0 } else { each * Real::exp(log_ratio) * terms.sum::<f64>() };
    }

    let mut loss = 0.0;
    for t in tokens.clone() {
        let l = batch.log_probs[t].f64();
        let log_ratio = batch.old_log_probs.map_or(0.0, |old| l - old[t].f64());
        let own_term = || token_term(options.ratio, clip, l, log_ratio, advantage);
        let mut term = sequence_term.unwrap_or_else(own_term);
        if let Some(weight) = correction.weight(t, policy_weight) {
            term = Term { loss: term.loss * weight, slope: term.slope * weight, ..term };
        }
        if let Some(reference) = reference_in_loss {
            let mut kl = kl_term(options, reference[t].f64() - l);
            if options.kl_unbiased {
                kl = match sequence_log_ratio {
                    Some((log_ratio, _)) => kl.times(log_ratio, slope_of_ratio),
                    None => kl.times(log_ratio, Real::exp(within(log_ratio).0) * kl.loss),
                };
            }
            term.loss += options.kl * kl.loss;
            term.slope += options.kl * kl.slope;
            measured.capped += usize::from(kl.clipped);
        }
        if let Some(entropies) = entropies {
            let entropy = entropies[t].f64();
            if !entropy.is_finite() {
                let token = Some(t - tokens.start);
                return Err(Error::NonFinite { argument: "entropies", sequence: i, token, got: entropy });
            }
            term.loss -= options.entropy * entropy;
            out.d_entropies[t] = T::of(-share * options.entropy);
        }
        measured.clipped += usize::from(term.clipped);
        measured.outliers += usize::from(term.outlier);
        loss += term.loss;
        let slope = share * term.slope;
        measured.slope_sum += slope.abs();
        measured.slope_max = measured.slope_max.max(slope.abs());
        out.d_log_probs[t] = T::of(slope);
        if !out.d_log_probs[t].is_finite() || !term.loss.is_finite() {
            return Err(Error::Overflow { quantity: "loss", sequence: i });
        }
    }
    measured.loss = share * loss;
    Ok(measured)
}

fn token_term(ratio: Ratio, clip: Clip, l: f64, log_ratio: f64, advantage: f64) -> Term {
    match ratio {
        Ratio::None => Term { loss: -advantage * l, slope: -advantage, ..Term::default() },
        Ratio::Detached => {
            let (log_ratio, outlier) = within(log_ratio);
            let Clipped { weight, clipped } = clip.weight(log_ratio);
            let slope = if outlier { 0.0 } else { -weight * advantage };
            Term { loss: -weight * advantage * l, slope, clipped, outlier }
        }
        Ratio::Token | Ratio::Sequence | Ratio::Trajectory => surrogate(clip, log_ratio, advantage),
    }
}

/// Returns −min(ρA, clip(ρ)A) with ρ = exp(log_ratio). ρ is its own derivative with respect to the log-probability.
fn surrogate(clip: Clip, log_ratio: f64, advantage: f64) -> Term {
    let (log_ratio, outlier) = within(log_ratio);
    let Clipped { weight, clipped } = clip.surrogate(log_ratio, advantage);
    let loss = -weight * advantage;
    Term { loss, slope: if clipped || outlier { 0.0 } else { loss }, clipped, outlier }
}

/// Returns the bounded log-ratio, and whether it was out of bounds.
fn within(log_ratio: f64) -> (f64, bool) {
    (log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO), log_ratio.abs() > MAX_LOG_RATIO)
}

impl Term {
    /// Multiplies this term by a ratio, with `slope_of_ratio` as the contribution of the ratio's own derivative. If the
    /// log-ratio is out of bounds, the slope is 0.
    fn times(self, log_ratio: f64, slope_of_ratio: f64) -> Self {
        let (log_ratio, outlier) = within(log_ratio);
        let ratio = Real::exp(log_ratio);
        let slope = if outlier { 0.0 } else { ratio * self.slope + slope_of_ratio };
        Self { loss: ratio * self.loss, slope, ..self }
    }
}

/// Returns the estimate of a token's KL from d = l_ref − l, and its derivative with respect to l. `clipped` is set if
/// the estimate is at `kl_max`.
fn kl_term(options: &PolicyGradient, d: f64) -> Term {
    let (loss, slope) = match options.kl_estimator {
        KlEstimator::K1 => (-d, 1.0),
        KlEstimator::K2 => (0.5 * d * d, -d),
        KlEstimator::K3 => {
            let growth = Real::exp_m1(d);
            (growth - d, -growth)
        }
    };
    match options.kl_max.get().filter(|&most| options.kl_estimator == KlEstimator::K3 && loss > most) {
        Some(most) => Term { loss: most, slope: 0.0, clipped: true, outlier: false },
        None => Term { loss, slope, ..Term::default() },
    }
}

/// The weights that correct for an engine with other log-probabilities than the policy it serves.
enum Correction<'a, T> {
    None,
    Token { old: &'a [T], rollout: &'a [T], options: &'a PolicyGradient },
    Sequence(f64),
}

impl<'a, T: Real> Correction<'a, T> {
    /// Computes the correction of sequence i.
    fn of(options: &'a PolicyGradient, batch: &Batch<'a, T>, i: usize) -> Self {
        let (Some(old), Some(rollout)) = (batch.old_log_probs, batch.rollout_log_probs) else { return Self::None };
        match options.rollout_correction {
            RolloutCorrection::None => Self::None,
            RolloutCorrection::TokenTruncate | RolloutCorrection::TokenMask => Self::Token { old, rollout, options },
            RolloutCorrection::SequenceTruncate | RolloutCorrection::SequenceMask => {
                let Difference { sum, .. } = difference(&old[batch.tokens(i)], &rollout[batch.tokens(i)]);
                Self::Sequence(rollout_weight(options, sum))
            }
        }
    }

    /// Returns the factor of token t's policy term, which includes `weight`, or `None` if it is 1.
    fn weight(&self, t: usize, weight: f64) -> Option<f64> {
        let own = match *self {
            Self::None => 1.0,
            Self::Token { old, rollout, options } => rollout_weight(options, old[t].f64() - rollout[t].f64()),
            Self::Sequence(own) => own,
        };
        let product = own * weight;
        (product != 1.0).then_some(product)
    }
}

/// Returns exp(log_weight) clamped to its bounds; if the correction masks, returns 0 outside the bounds instead.
fn rollout_weight(options: &PolicyGradient, log_weight: f64) -> f64 {
    let weight = Real::exp(log_weight);
    let bounded = weight.clamp(options.rollout_min, options.rollout_max);
    let masks = matches!(options.rollout_correction, RolloutCorrection::TokenMask | RolloutCorrection::SequenceMask);
    if masks && bounded != weight { 0.0 } else { bounded }
}
