//! FlowRL's loss and gradient: ℓ = (1/B) Σ wδ², δ = log Z + (L − αL_ref)/divisor − βr̂.
//!
//! A bounded residual is clip(δ_old) + (L − L_old)/divisor, with δ_old the residual of the policy that sampled. Only
//! the second term has a gradient.

use super::balance;
use super::batch::{Batch, Gradients, Totals};
use super::diagnostics::Diagnostics;
use super::terms::{Clip, Clipped, LogRatios, masked_sum, runs, sort_by_group, sum};
use super::{Error, FlowRl, Importance, LogZ, Measured, Objective, Shape, TokenMask};
use crate::Real;

pub(super) fn evaluate<T: Real>(
    options: &FlowRl,
    batch: &Batch<'_, T>,
    totals: Totals,
    order: &mut [usize],
    out: &mut Gradients<'_, T>,
) -> Result<Diagnostics, Error> {
    let clip = match options.importance {
        Importance::None => Clip::new(None, None),
        Importance::Sequence | Importance::Geometric => Clip::new(options.clip_low.get(), options.clip_high.get()),
    };
    let pass = Pass { options, batch, clip, sequences: totals.sequences as f64 };
    let mut diagnostics = Diagnostics::of(&Objective::FlowRl(*options), []);
    match options.log_z {
        log_z if log_z.is_of_group() => {
            sort_by_group(batch.groups, order);
            for group in runs(batch.groups, order) {
                for &i in group {
                    pass.without_log_z(i, out, &mut diagnostics)?;
                }
                if log_z == LogZ::Pairwise {
                    pass.pairs(group, out, &mut diagnostics)?;
                    continue;
                }
                pass.log_z_of_group(group, out);
                for &i in group {
                    pass.with_log_z(i, out, &mut diagnostics)?;
                }
            }
        }
        _ => {
            for i in 0..batch.groups.len() {
                pass.without_log_z(i, out, &mut diagnostics)?;
                out.log_z[i] = batch.log_z.filter(|_| options.log_z.is_input()).map_or(T::zero(), |z| z[i]);
                pass.with_log_z(i, out, &mut diagnostics)?;
            }
        }
    }
    Ok(diagnostics)
}

/// The values that this pass over the batch uses for every sequence.
struct Pass<'a, T> {
    options: &'a FlowRl,
    batch: &'a Batch<'a, T>,
    clip: Clip,
    /// Number of sequences B in the whole batch.
    sequences: f64,
}

impl<T: Real> Pass<'_, T> {
    /// Computes the part of sequence i that does not depend on log Z. This leaves u = (L − αL_ref)/divisor − βr̂ in
    /// `residuals`, log w before clipping in `weights`, and (L − L_old)/divisor in `d_log_z`. If a token mask applies,
    /// it also leaves ∂u/∂l_t (1/divisor, or 0 for a dropped token) in `d_log_probs`.
    fn without_log_z(&self, i: usize, out: &mut Gradients<'_, T>, diagnostics: &mut Diagnostics) -> Result<(), Error> {
        let ratios = LogRatios::of(self.batch, i)?;
        if !self.batch.keeps(i) {
            diagnostics.push_ratios(self.options, &Measured { dropped: true, ..Measured::default() });
            return Ok(());
        }
        let advantage = self.batch.advantages[i].f64();
        let tokens = self.batch.tokens(i);
        let d = &mut out.d_log_probs[tokens.clone()];
        let mut length = d.len();
        let mut sum_ref = ratios.reference.map_or(0.0, |r| r.sum);
        let mut sum_old = ratios.old.map_or(0.0, |r| r.sum);
        let measured = Measured {
            advantage,
            tokens: length,
            ref_log_ratio: ratios.reference.map(|r| r.sum),
            old_log_ratio_max: ratios.old.map(|old| old.max_abs),
            ..Measured::default()
        };

        let masked = self.mark_kept(i, advantage, d);
        if masked {
            let l = &self.batch.log_probs[tokens.clone()];
            if let Some(reference) = self.batch.ref_log_probs {
                (sum_ref, length) = masked_sum(l, &reference[tokens.clone()], d);
            }
            if let Some(old) = self.batch.old_log_probs {
                (sum_old, length) = masked_sum(l, &old[tokens.clone()], d);
            }
        }
        let power = self.options.reference_power;
        if power != 1.0 {
            let sum = sum(&self.batch.log_probs[tokens], masked.then_some(&*d));
            sum_ref = power * sum_ref + (1.0 - power) * sum;
        }
        diagnostics.push_ratios(self.options, &Measured { kept: length, ..measured });

        let divisor = self.options.length.divisor(length);
        if masked {
            let inverse = T::of(1.0 / divisor);
            d.iter_mut().for_each(|d| *d *= inverse);
        }
        out.residuals[i] = T::of(sum_ref / divisor - self.options.beta * advantage);
        out.d_log_z[i] = T::of(sum_old / divisor);
        out.weights[i] = T::of(match self.options.importance {
            Importance::None => 0.0,
            Importance::Sequence => sum_old,
            Importance::Geometric => sum_old / length.max(1) as f64,
        });
        Ok(())
    }

    /// Returns the old log-probabilities if the token mask applies to a sequence with this advantage.
    fn masked_by(&self, advantage: f64) -> Option<&[T]> {
        self.batch.old_log_probs.filter(|_| self.options.token_mask == TokenMask::Cispo && advantage != 0.0)
    }

    /// Returns whether the token mask applies to sequence i. If it does, `keep` receives 1 for each token that is kept
    /// and 0 for each that is dropped.
    fn mark_kept(&self, i: usize, advantage: f64, keep: &mut [T]) -> bool {
        let Some(old) = self.masked_by(advantage) else { return false };
        // Compare π/π_old with its bound as logarithms, which needs no exponential per token.
        let (sign, bound) = if advantage > 0.0 {
            (1.0, Real::ln(self.options.token_clip_high))
        } else {
            (-1.0, -Real::ln(self.options.token_clip_low))
        };
        let tokens = self.batch.tokens(i);
        for ((keep, l), old) in keep.iter_mut().zip(&self.batch.log_probs[tokens.clone()]).zip(&old[tokens]) {
            *keep = if sign * (l.f64() - old.f64()) > bound { T::zero() } else { T::one() };
        }
        true
    }

    /// Writes −Σwu/Σw over the group, or over the other members, to `log_z`. Weights are relative to the largest one of
    /// the group, so that none overflows and their sum is not 0.
    fn log_z_of_group(&self, group: &[usize], out: &mut Gradients<'_, T>) {
        let log_weight = |i: usize| self.clip.log(out.weights[i].f64());
        let mean_without = |skip: Option<usize>| {
            let others = || group.iter().copied().filter(|&j| Some(j) != skip && self.batch.keeps(j));
            let largest = others().map(log_weight).fold(f64::NEG_INFINITY, f64::max);
            let (mut sum, mut product) = (0.0, 0.0);
            for j in others() {
                let w = Real::exp(log_weight(j) - largest);
                sum += w;
                product += w * out.residuals[j].f64();
            }
            (largest, sum, product)
        };
        let (largest, sum, product) = mean_without(None);
        let members = || group.iter().copied().filter(|&j| self.batch.keeps(j));
        let alone = members().nth(1).is_none();
        let old = |i: usize| out.residuals[i].f64() - out.d_log_z[i].f64();
        let old_mean = members().map(old).sum::<f64>() / members().count() as f64;
        for i in members() {
            let log_z = match self.options.log_z {
                LogZ::OldGroupMean => -old_mean,
                LogZ::LeaveOneOut if alone => 0.0,
                LogZ::LeaveOneOut => {
                    let own = Real::exp(log_weight(i) - largest);
                    if own > 0.5 * sum {
                        // Subtracting would cancel here. At most one member has more than half the weight, so sum the
                        // others.
                        let (_, sum, product) = mean_without(Some(i));
                        -product / sum
                    } else {
                        -(product - own * out.residuals[i].f64()) / (sum - own)
                    }
                }
                _ => -product / sum,
            };
            out.log_z[i] = T::of(log_z);
        }
    }

    /// Computes the loss and gradients of sequence i from its log Z.
    fn with_log_z(&self, i: usize, out: &mut Gradients<'_, T>, diagnostics: &mut Diagnostics) -> Result<(), Error> {
        if !self.batch.keeps(i) {
            out.drop_sequence(self.batch, i);
            return Ok(());
        }
        let log_weight = out.weights[i].f64();
        let weight = self.clip.weight(log_weight);
        let residual = self.bounded(out.log_z[i].f64() + out.residuals[i].f64(), out.d_log_z[i].f64());
        let share = weight.weight / self.sequences;
        let flows = self.options.balance.lambda().zip(self.batch.log_flows);
        let (loss, slope) = match flows {
            Some((lambda, log_flows)) => {
                let end = self.options.beta * self.batch.advantages[i].f64();
                let steps = balance::Steps::new(self.batch, i, log_flows, out.log_z[i].f64(), end)?;
                let tokens = self.batch.tokens(i);
                steps.loss(lambda, share, &mut out.d_log_probs[tokens.clone()], &mut out.d_log_flows[tokens])
            }
            None => {
                let (loss, slope) = penalty(self.options, residual);
                (share * loss, share * slope)
            }
        };
        let log_z = out.log_z[i].f64();
        self.finish(i, &Term { log_weight, weight, log_z, residual, loss, slope }, out, diagnostics)
    }

    /// Returns the residual after its value at π_old has been moved into the bounds. `moved` is (L − L_old)/divisor.
    fn bounded(&self, residual: f64, moved: f64) -> f64 {
        if self.options.residual_clip().is_none() {
            return residual;
        }
        let (low, high) = (self.options.residual_clip_low.get(), self.options.residual_clip_high.get());
        let old = (residual - moved).max(low.map_or(f64::NEG_INFINITY, |low| -low));
        old.min(high.unwrap_or(f64::INFINITY)) + moved
    }

    /// Computes the loss and gradients of a group whose K residuals are compared in pairs: the group adds (1/B) Σ_{i<j}
    /// φ(u_i − u_j)/(K − 1) to the loss. Each member of a pair gets half of the pair's loss.
    fn pairs(&self, group: &[usize], out: &mut Gradients<'_, T>, diagnostics: &mut Diagnostics) -> Result<(), Error> {
        let members = || group.iter().copied().filter(|&j| self.batch.keeps(j));
        let others = members().count().saturating_sub(1).max(1) as f64;
        let scaled = |i: usize| self.options.beta * self.batch.advantages[i].f64();
        let apart = |i, j| self.options.pair_gap == 0.0 || (scaled(i) - scaled(j)).abs() > self.options.pair_gap;
        // Keep u in `log_z`, since its own slice is overwritten by the residual.
        members().for_each(|i| out.log_z[i] = out.residuals[i]);
        for &i in group {
            if !self.batch.keeps(i) {
                out.drop_sequence(self.batch, i);
                continue;
            }
            let (mut loss, mut slope) = (0.0, 0.0);
            for j in members().filter(|&j| j != i && apart(i, j)) {
                let pair = penalty(self.options, out.log_z[i].f64() - out.log_z[j].f64());
                loss += 0.5 * pair.0;
                slope += pair.1;
            }
            let share = 1.0 / (others * self.sequences);
            let weight = self.clip.weight(0.0);
            let residual = 0.5 * slope / others;
            let (loss, slope) = (share * loss, share * slope);
            self.finish(i, &Term { log_weight: 0.0, weight, log_z: 0.0, residual, loss, slope }, out, diagnostics)?;
        }
        group.iter().for_each(|&i| out.log_z[i] = T::zero());
        Ok(())
    }

    /// Writes the gradients of sequence i and adds it to the diagnostics.
    fn finish(
        &self,
        i: usize,
        term: &Term,
        out: &mut Gradients<'_, T>,
        diagnostics: &mut Diagnostics,
    ) -> Result<(), Error> {
        let &Term { log_weight, weight, log_z, residual, loss, slope } = term;
        out.residuals[i] = T::of(residual);
        out.weights[i] = T::of(weight.weight);
        if !out.weights[i].is_finite() {
            return Err(Error::WeightOverflow { sequence: i, log_weight });
        }
        for (quantity, value) in [("residual", residual), ("loss", loss), ("gradient", slope)] {
            if !T::of(value).is_finite() {
                return Err(Error::Overflow { quantity, sequence: i });
            }
        }
        let scale = T::of(slope);
        out.d_log_z[i] = if self.options.log_z.has_gradient() { scale } else { T::zero() };
        let d = &mut out.d_log_probs[self.batch.tokens(i)];
        if self.options.balance.lambda().zip(self.batch.log_flows).is_some() {
            // With flows, every token has its own gradient, which has been written already.
        } else if self.masked_by(self.batch.advantages[i].f64()).is_some() {
            d.iter_mut().for_each(|d| *d *= scale);
        } else {
            let inverse = T::of(1.0 / self.options.length.divisor(d.len()));
            d.fill(inverse * scale);
        }

        let measured = Measured {
            loss,
            residual,
            log_z,
            weight: weight.weight,
            clipped: usize::from(weight.clipped),
            ..Measured::default()
        };
        diagnostics.push_outcome(self.options, &measured);
        Ok(())
    }
}

/// The contribution of one sequence to the loss.
struct Term {
    log_weight: f64,
    weight: Clipped,
    log_z: f64,
    residual: f64,
    loss: f64,
    slope: f64,
}

/// Returns the penalty of a residual and its derivative.
fn penalty(options: &FlowRl, residual: f64) -> (f64, f64) {
    let h = options.huber_delta;
    match options.shape {
        Shape::Huber if residual.abs() > h => (2.0 * h * residual.abs() - h * h, (2.0 * h).copysign(residual)),
        Shape::Squared | Shape::Huber => (residual * residual, 2.0 * residual),
    }
}
