//! From an objective's options to the arguments of its kernels.

use flowrl_core::objective::{
    Aggregate, Baseline, BaselineKind, FlowRl, Importance, KlIn, Length, LogZ, Reward, Shape, TokenMask,
};

use super::{
    Buffer, CudaBackend, DeviceBatch, DeviceGradients, DeviceSequences, Diagnostics, Error, MEASURES, Measured,
    Objective, Real, Storage, Totals,
};
use crate::launch;

/// How group_norm.cu makes advantages.
#[derive(Clone, Copy)]
enum Mode {
    Raw,
    Center,
    Normalise,
    SubtractValue,
}

/// Bounds with their logarithms, which the host takes so that every device compares with the same numbers.
fn bounds(low: Option<f64>, high: Option<f64>) -> [f64; 4] {
    let (low, high) = (low.unwrap_or(0.0), high.unwrap_or(f64::INFINITY));
    [low, high, Real::ln(low), Real::ln(high)]
}

impl CudaBackend {
    /// Whether rewards, values and advantages are finite.
    pub(super) fn launch_advantages(
        &self,
        objective: &Objective,
        sequences: &DeviceSequences,
        rewards: &Buffer,
        values: Option<&Buffer>,
        out: &mut Buffer,
    ) -> Result<bool, Error> {
        let count = sequences.totals().sequences;
        if count == 0 {
            return Ok(true);
        }
        let (in_groups, mode, ddof, eps) = match objective {
            Objective::FlowRl(o) => {
                let mode = match o.reward {
                    Reward::Raw => Mode::Raw,
                    Reward::Center => Mode::Center,
                    Reward::Group => Mode::Normalise,
                };
                (true, mode, o.reward_ddof, o.reward_eps)
            }
            Objective::Baseline(o) => {
                let (in_groups, mode) = match o.kind {
                    BaselineKind::Grpo | BaselineKind::Dapo | BaselineKind::Gspo | BaselineKind::Cispo => {
                        (true, Mode::Normalise)
                    }
                    BaselineKind::DrGrpo => (true, Mode::Center),
                    BaselineKind::Reinforce => (false, Mode::Center),
                    BaselineKind::ReinforcePlusPlus => (false, Mode::Normalise),
                    BaselineKind::Ppo => (false, Mode::SubtractValue),
                };
                (in_groups, mode, o.reward_ddof, o.reward_eps)
            }
        };
        let (members, starts) =
            if in_groups { (Some(&sequences.members), &sequences.starts) } else { (None, &sequences.whole) };
        let groups = starts.host.len() - 1;
        let mut failed = self.allocate(Storage::F64, groups)?;
        let (device, keep_single) = (&self.device, usize::from(in_groups));
        let mode = mode as usize;
        launch::group_norm(
            device,
            rewards,
            values,
            members,
            starts,
            out,
            &mut failed,
            count,
            groups,
            mode,
            keep_single,
            ddof,
            eps,
        )?;
        Ok(self.read_f64(&failed)?.iter().all(|&failed| failed == 0.0))
    }

    /// Gradients, and beside them what the diagnostics are made of.
    pub(super) fn launch_objective(
        &self,
        objective: &Objective,
        batch: &DeviceBatch<'_>,
        totals: Totals,
        out: &mut DeviceGradients,
    ) -> Result<(), Error> {
        match objective {
            Objective::FlowRl(options) => self.launch_flowrl(options, batch, totals, out),
            Objective::Baseline(options) => self.launch_baseline(options, batch, totals, out),
        }
    }

    /// The diagnostics of what was launched, or `None` where an input or a result is not finite.
    pub(super) fn read_diagnostics(
        &self,
        objective: &Objective,
        batch: &DeviceBatch<'_>,
        out: &DeviceGradients,
    ) -> Result<Option<Diagnostics>, Error> {
        let rows = self.read_f64(&out.measured)?;
        let sequences = batch.sequences.totals().sequences;
        let rows = &rows.as_chunks::<MEASURES>().0[..sequences];
        if rows.iter().any(|[loss, ..]| loss.is_nan()) {
            return Ok(None);
        }
        let offsets = &batch.sequences.offsets.host;
        let measured = |i: usize| {
            let [loss, advantage, residual, log_z, weight, clipped, kept, ref_log_ratio, old_log_ratio_max] = rows[i];
            Measured {
                loss,
                advantage,
                residual,
                log_z,
                weight,
                clipped: clipped as usize,
                tokens: (offsets[i + 1] - offsets[i]) as usize,
                kept: kept as usize,
                ref_log_ratio: batch.ref_log_probs.map(|_| ref_log_ratio),
                old_log_ratio_max: batch.old_log_probs.map(|_| old_log_ratio_max),
            }
        };
        let of_group = matches!(objective.log_z(), Some(LogZ::GroupMean | LogZ::LeaveOneOut));
        let in_order = |k: usize| if of_group { batch.sequences.members.host[k] as usize } else { k };
        Ok(Some(Diagnostics::of(objective, (0..sequences).map(|k| measured(in_order(k))))))
    }

    fn launch_flowrl(
        &self,
        options: &FlowRl,
        batch: &DeviceBatch<'_>,
        totals: Totals,
        out: &mut DeviceGradients,
    ) -> Result<(), Error> {
        let DeviceBatch { sequences, advantages, log_probs, old_log_probs, .. } = *batch;
        let Totals { sequences: count, tokens } = sequences.totals();
        let ref_log_probs = batch.ref_log_probs.expect("checked: FlowRL has a reference");
        // 0 asks for the sequence's own length.
        let length = match options.length {
            Length::Mean => 0.0,
            Length::Sum => 1.0,
            Length::Fixed(n) => n as f64,
        };
        let importance = match options.importance {
            Importance::None => 0,
            Importance::Sequence => 1,
            Importance::Geometric => 2,
        };
        let estimator = match options.log_z {
            LogZ::GroupMean => 1,
            LogZ::LeaveOneOut => 2,
            LogZ::Network | LogZ::Scalar | LogZ::Given | LogZ::Zero => 0,
        };
        let [low, high, log_low, log_high] = match options.importance {
            Importance::None => bounds(None, None),
            Importance::Sequence | Importance::Geometric => bounds(options.clip_low, options.clip_high),
        };
        let masked = usize::from(options.token_mask == TokenMask::Cispo);
        let [_, _, mask_low, mask_high] = bounds(Some(options.token_clip_low), Some(options.token_clip_high));
        let huber = if options.shape == Shape::Huber { options.huber_delta } else { f64::INFINITY };
        let log_z = batch.log_z.filter(|_| options.log_z.is_input());
        let device = &self.device;
        launch::trajectory_sums(
            device,
            log_probs,
            ref_log_probs,
            old_log_probs,
            &sequences.offsets,
            advantages,
            &mut out.parts,
            &mut out.measured,
            count,
            tokens,
            options.beta,
            length,
            importance,
            masked,
            mask_low,
            mask_high,
        )?;
        launch::trajectory_balance(
            device,
            log_probs,
            old_log_probs,
            &sequences.offsets,
            advantages,
            log_z,
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
            count,
            tokens,
            sequences.groups(),
            totals.sequences as f64,
            length,
            estimator,
            low,
            high,
            log_low,
            log_high,
            huber,
            masked,
            mask_low,
            mask_high,
        )
    }

    fn launch_baseline(
        &self,
        options: &Baseline,
        batch: &DeviceBatch<'_>,
        totals: Totals,
        out: &mut DeviceGradients,
    ) -> Result<(), Error> {
        let DeviceBatch { sequences, advantages, log_probs, ref_log_probs, old_log_probs, .. } = *batch;
        let Totals { sequences: count, tokens } = sequences.totals();
        let kind = match options.kind {
            BaselineKind::Reinforce => 0,
            BaselineKind::ReinforcePlusPlus
            | BaselineKind::Ppo
            | BaselineKind::Grpo
            | BaselineKind::DrGrpo
            | BaselineKind::Dapo => 1,
            BaselineKind::Gspo => 2,
            BaselineKind::Cispo => 3,
        };
        let [low, high, log_low, log_high] = bounds(options.clip_low, options.clip_high);
        let (kl_loss, kl_reward) = match options.kl_in {
            KlIn::Loss => (options.kl, 0.0),
            KlIn::Reward => (0.0, options.kl),
        };
        let (divisor, by_length) = match options.aggregate {
            Aggregate::SequenceMean => (totals.sequences as f64, 1),
            Aggregate::TokenMean => (totals.tokens.max(1) as f64, 0),
            Aggregate::Fixed(n) => (totals.sequences as f64 * n as f64, 0),
        };
        launch::baseline(
            &self.device,
            log_probs,
            ref_log_probs,
            old_log_probs,
            &sequences.offsets,
            advantages,
            &mut out.d_log_probs,
            &mut out.d_log_z,
            &mut out.log_z,
            &mut out.residuals,
            &mut out.weights,
            &mut out.measured,
            count,
            tokens,
            kind,
            low,
            high,
            log_low,
            log_high,
            kl_loss,
            kl_reward,
            divisor,
            by_length,
        )
    }

    pub(super) fn launch_value_loss(
        &self,
        rewards: &Buffer,
        values: &Buffer,
        d_values: &mut Buffer,
        count: usize,
        sequences: usize,
    ) -> Result<f64, Error> {
        let mut loss = self.allocate(Storage::F64, 1)?;
        launch::value_loss(&self.device, rewards, values, d_values, &mut loss, count, sequences as f64)?;
        Ok(self.read_f64(&loss)?.iter().sum())
    }
}
