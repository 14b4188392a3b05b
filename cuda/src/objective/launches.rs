//! Converts an objective's options to the arguments of its kernels.

use flowrl_core::Real;
use flowrl_core::backend::Backend;
use flowrl_core::objective::{
    Aggregate, Bound, Diagnostics, FlowRl, Importance, Length, Measured, Objective, PolicyGradient, Shape, TokenMask,
    Totals,
};

use super::{DeviceBatch, DeviceGradients};
use crate::backend::CudaBackend;
use crate::buffer::Buffer;
use crate::constants::MEASURES;
use crate::error::Result;
use crate::kernels;
use crate::unit::Storage;

/// Returns the bounds and their logarithms. The host computes the logarithms, so that every device compares with the
/// same numbers.
fn bounds(low: Bound, high: Bound) -> [f64; 4] {
    let (low, high) = (low.get().unwrap_or(0.0), high.get().unwrap_or(f64::INFINITY));
    [low, high, Real::ln(low), Real::ln(high)]
}

impl CudaBackend {
    /// Launches the kernels that compute the gradients and the measurements for the diagnostics.
    pub(super) fn launch_objective(
        &self,
        objective: &Objective,
        batch: &DeviceBatch<'_>,
        totals: Totals,
        out: &mut DeviceGradients,
    ) -> Result<()> {
        match objective {
            Objective::FlowRl(options) => self.launch_flowrl(options, batch, totals, out),
            Objective::PolicyGradient(options) => self.launch_policy_gradient(options, batch, totals, out),
            _ => unreachable!("the host knows two families"),
        }
    }

    /// Returns the diagnostics of the last launch, or `None` if an input or a result is not finite.
    pub(super) fn read_diagnostics(
        &self,
        objective: &Objective,
        batch: &DeviceBatch<'_>,
        out: &DeviceGradients,
    ) -> Result<Option<Diagnostics>> {
        let rows = self.read_f64(&out.measured)?;
        let sequences = batch.sequences.totals().sequences;
        let rows = &rows.as_chunks::<MEASURES>().0[..sequences];
        if rows.iter().any(|[loss, ..]| loss.is_nan()) {
            return Ok(None);
        }
        let offsets = &batch.sequences.offsets.host;
        let measured = |i: usize| {
            let [loss, advantage, residual, log_z, weight, clipped, kept, rest @ ..] = rows[i];
            let [ref_log_ratio, old_log_ratio_max, dropped, outliers, capped, slope_sum, slope_max] = rest;
            Measured {
                loss,
                advantage,
                residual,
                log_z,
                weight,
                clipped: clipped as usize,
                outliers: outliers as usize,
                capped: capped as usize,
                dropped: dropped != 0.0,
                slope_sum,
                slope_max,
                tokens: (offsets[i + 1] - offsets[i]) as usize,
                kept: kept as usize,
                ref_log_ratio: batch.ref_log_probs.map(|_| ref_log_ratio),
                old_log_ratio_max: batch.old_log_probs.map(|_| old_log_ratio_max),
            }
        };
        let of_group = objective.log_z().is_some_and(|log_z| log_z.is_of_group());
        let in_order = |k: usize| if of_group { batch.sequences.members.host[k] as usize } else { k };
        Ok(Some(Diagnostics::of(objective, (0..sequences).map(|k| measured(in_order(k))))))
    }

    fn launch_flowrl(
        &self,
        options: &FlowRl,
        batch: &DeviceBatch<'_>,
        totals: Totals,
        out: &mut DeviceGradients,
    ) -> Result<()> {
        let DeviceBatch { sequences, advantages, log_probs, ref_log_probs, old_log_probs, masks, .. } = *batch;
        let Totals { sequences: count, tokens } = sequences.totals();
        // A length of 0 selects the sequence's own length.
        let length = if options.length == Length::Mean { 0.0 } else { options.length.divisor(1) };
        let clip = match options.importance {
            Importance::None => bounds(Bound::Absent, Bound::Absent),
            _ => bounds(options.clip_low, options.clip_high),
        };
        let masked = usize::from(options.token_mask == TokenMask::Cispo);
        let [_, _, mask_low, mask_high] = bounds(Bound::At(options.token_clip_low), Bound::At(options.token_clip_high));
        let mask_log = [mask_low, mask_high];
        let huber = if options.shape == Shape::Huber { options.huber_delta } else { f64::INFINITY };
        let log_z = batch.log_z.filter(|_| options.log_z.is_input());
        let [low, high] =
            [options.residual_clip_low, options.residual_clip_high].map(|bound| bound.get().unwrap_or(f64::INFINITY));
        let pointers = (
            log_probs,
            ref_log_probs,
            old_log_probs,
            &sequences.offsets,
            advantages,
            masks,
            &mut out.parts,
            &mut out.measured,
        );
        let (power, importance) = (options.reference_power, options.importance as usize);
        let sizes = (count, tokens, options.beta, power, length, importance, masked, mask_log);
        kernels::trajectory_sums(&self.device, pointers, sizes)?;
        let pointers = (
            log_probs,
            old_log_probs,
            &sequences.offsets,
            advantages,
            log_z,
            masks,
            &sequences.members,
            &sequences.starts,
            &sequences.group_of,
            &out.parts,
            &mut out.d_log_probs,
            &mut out.d_log_z,
            &mut out.log_z,
            &mut out.residuals,
            &mut out.weights,
            &mut out.measured,
        );
        let sizes = (
            count,
            tokens,
            sequences.groups(),
            totals.sequences as f64,
            length,
            options.log_z as usize,
            clip,
            huber,
            masked,
            mask_log,
            usize::from(options.log_z.has_gradient()),
            [-low, high],
            options.beta,
            options.pair_gap,
        );
        kernels::trajectory_balance(&self.device, pointers, sizes)
    }

    fn launch_policy_gradient(
        &self,
        options: &PolicyGradient,
        batch: &DeviceBatch<'_>,
        totals: Totals,
        out: &mut DeviceGradients,
    ) -> Result<()> {
        let DeviceBatch { sequences, advantages, log_probs, ref_log_probs, old_log_probs, masks, .. } = *batch;
        let Totals { sequences: count, tokens } = sequences.totals();
        let [_, dual, _, log_dual] = bounds(Bound::Absent, options.dual_clip);
        let [_, kl_max, ..] = bounds(Bound::Absent, options.kl_max);
        let [_, max_behind, ..] = bounds(Bound::Absent, options.mask_off_policy);
        let has_bonus = options.entropy != 0.0;
        if has_bonus && out.d_entropies.is_none() {
            out.d_entropies = Some(self.zeros(self.len(&out.d_log_probs))?);
        }
        let pointers = (
            log_probs,
            ref_log_probs,
            old_log_probs,
            batch.rollout_log_probs,
            batch.entropies.filter(|_| has_bonus),
            &sequences.offsets,
            advantages,
            masks,
            &mut out.d_log_probs,
            out.d_entropies.as_mut().filter(|_| has_bonus),
            &mut out.d_log_z,
            &mut out.log_z,
            &mut out.residuals,
            &mut out.weights,
            &mut out.measured,
        );
        let sizes = (
            count,
            tokens,
            options.ratio as usize,
            bounds(options.clip_low, options.clip_high),
            [dual, log_dual],
            options.kl,
            options.kl_in as usize,
            options.kl_estimator as usize,
            kl_max,
            usize::from(options.kl_unbiased),
            options.entropy,
            options.aggregate.divisor(totals, 1),
            usize::from(options.aggregate == Aggregate::SequenceMean),
            max_behind,
            options.rollout_correction as usize,
            [options.rollout_min, options.rollout_max],
        );
        kernels::policy_gradient(&self.device, pointers, sizes)
    }

    pub(super) fn launch_value_loss(
        &self,
        rewards: &Buffer,
        values: &Buffer,
        d_values: &mut Buffer,
        count: usize,
        sequences: usize,
    ) -> Result<f64> {
        let mut loss = self.allocate(Storage::F64, 1)?;
        kernels::value_loss(&self.device, (rewards, values, d_values, &mut loss), (count, sequences as f64))?;
        Ok(self.read_f64(&loss)?.iter().sum())
    }
}
