//! Losses and gradients of the policy-gradient baselines.

use super::batch::{Batch, Gradients, Totals};
use super::clip::{Clip, Clipped};
use super::diagnostics::Diagnostics;
use super::tokens::LogRatios;
use super::{Aggregate, Baseline, BaselineKind, Error, KlIn, Measured};
use crate::Real;

pub(super) fn evaluate<T: Real>(
    options: &Baseline,
    batch: &Batch<'_, T>,
    totals: Totals,
    out: &mut Gradients<'_, T>,
) -> Result<Diagnostics, Error> {
    let clip = Clip::new(options.clip_low, options.clip_high);
    let mut diagnostics = Diagnostics::default();
    for i in 0..batch.groups.len() {
        out.d_log_z[i] = T::zero();
        out.log_z[i] = T::zero();
        out.residuals[i] = T::zero();
        sequence(options, clip, batch, totals, i, out, &mut diagnostics)?;
    }
    Ok(diagnostics)
}

/// A term of the loss and its derivative with respect to the token's log-probability.
#[derive(Clone, Copy)]
struct Term {
    loss: f64,
    slope: f64,
    clipped: bool,
}

fn sequence<T: Real>(
    options: &Baseline,
    clip: Clip,
    batch: &Batch<'_, T>,
    totals: Totals,
    i: usize,
    out: &mut Gradients<'_, T>,
    diagnostics: &mut Diagnostics,
) -> Result<(), Error> {
    let ratios = LogRatios::of(batch, i)?;
    let mut advantage = batch.advantages[i].f64();
    if let (KlIn::Reward, Some(reference)) = (options.kl_in, ratios.reference) {
        advantage -= options.kl * reference.sum;
    }
    // Per token, where the term is part of the loss.
    let reference_in_loss = batch.ref_log_probs.filter(|_| options.kl != 0.0 && options.kl_in == KlIn::Loss);
    let tokens = batch.tokens(i);
    let length = tokens.len();
    let share = match options.aggregate {
        Aggregate::SequenceMean => 1.0 / (totals.sequences as f64 * length.max(1) as f64),
        Aggregate::TokenMean => 1.0 / totals.tokens.max(1) as f64,
        Aggregate::Fixed(n) => 1.0 / (totals.sequences as f64 * n as f64),
    };

    let mut sequence_term = None;
    out.weights[i] = T::one();
    if options.kind == BaselineKind::Gspo {
        let log_ratio = ratios.old.map_or(0.0, |old| old.sum) / length.max(1) as f64;
        let term = surrogate(clip, log_ratio, advantage);
        let ratio = Real::exp(log_ratio);
        out.weights[i] = T::of(ratio);
        if !out.weights[i].is_finite() {
            return Err(Error::WeightOverflow { sequence: i, log_weight: log_ratio });
        }
        sequence_term = Some((term, ratio));
    }

    let (mut loss, mut clipped) = (0.0, 0);
    for t in tokens.clone() {
        let l = batch.log_probs[t].f64();
        let log_ratio = batch.old_log_probs.map_or(0.0, |old| l - old[t].f64());
        let own_term = || token_term(options.kind, clip, l, log_ratio, advantage);
        let term = sequence_term.map_or_else(own_term, |(term, _)| term);
        let (mut token_loss, mut slope) = (term.loss, term.slope);
        if let Some(reference) = reference_in_loss {
            // k3 = eᵈ − d − 1, d = l_ref − l.
            let d = reference[t].f64() - l;
            let growth = Real::exp_m1(d);
            token_loss += options.kl * (growth - d);
            slope -= options.kl * growth;
        }
        clipped += usize::from(term.clipped);
        loss += token_loss;
        out.d_log_probs[t] = T::of(share * slope);
        if !out.d_log_probs[t].is_finite() || !token_loss.is_finite() {
            let ratio_overflows = !T::of(Real::exp(log_ratio)).is_finite();
            return Err(if ratio_overflows {
                Error::WeightOverflow { sequence: i, log_weight: log_ratio }
            } else {
                Error::Overflow { quantity: "loss", sequence: i }
            });
        }
    }

    let measured = Measured {
        loss: share * loss,
        advantage,
        weight: sequence_term.map_or(1.0, |(_, ratio)| ratio),
        clipped,
        tokens: length,
        kept: length,
        ref_log_ratio: ratios.reference.map(|reference| reference.sum),
        old_log_ratio_max: ratios.old.map(|old| old.max_abs),
        ..Measured::default()
    };
    diagnostics.push_baseline(options, &measured);
    Ok(())
}

fn token_term(kind: BaselineKind, clip: Clip, l: f64, log_ratio: f64, advantage: f64) -> Term {
    match kind {
        BaselineKind::Reinforce => Term { loss: -advantage * l, slope: -advantage, clipped: false },
        BaselineKind::Cispo => {
            let Clipped { weight, clipped } = clip.weight(log_ratio);
            Term { loss: -weight * advantage * l, slope: -weight * advantage, clipped }
        }
        _ => surrogate(clip, log_ratio, advantage),
    }
}

/// −min(ρA, clip(ρ)A), ρ = exp(log_ratio). ρ is its own derivative with respect to the log-probability.
fn surrogate(clip: Clip, log_ratio: f64, advantage: f64) -> Term {
    let Clipped { weight, clipped } = clip.surrogate(log_ratio, advantage);
    let loss = -weight * advantage;
    Term { loss, slope: if clipped { 0.0 } else { loss }, clipped }
}
