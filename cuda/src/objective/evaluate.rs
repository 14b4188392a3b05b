//! The evaluation of objectives, on buffers of the device and on slices of the host.

use flowrl_core::backend::{Backend, ObjectiveError};
use flowrl_core::objective::{self, Batch, Diagnostics, Gradients, Mask, Objective, Totals};

use super::{DeviceBatch, DeviceGradients, DeviceSequences, Result, numbers};
use crate::backend::CudaBackend;
use crate::buffer::{Buffer, Index};
use crate::error::Error;

/// Returns the error for a device and a host that disagree about whether a result is finite.
fn disagreement() -> Error {
    let message = "the device found a non-finite number, but the host finds none: check for failing hardware";
    Error::driver("evaluate the objective", message)
}

impl CudaBackend {
    /// Uploads the masks of [`Objective::advantages`], for the field `masks` of [`DeviceBatch`].
    pub fn device_masks(&self, masks: &[Mask]) -> Result<Index, Error> {
        self.index(&masks.iter().map(|&mask| mask as u32).collect::<Vec<_>>())
    }

    /// Evaluates the objective, as [`Objective::evaluate`] does. Returns the loss's share of `batch` and its metrics,
    /// and leaves the gradients on the device. `totals` describes the whole batch; pass [`DeviceSequences::totals`] if
    /// it is evaluated in one piece.
    ///
    /// This method calls [`CudaBackend::device_gradients`] and then [`CudaBackend::device_diagnostics`], which waits
    /// for the device.
    ///
    /// # Errors
    /// Returns an error if a buffer is too short or not f32, an input is missing or not finite, an option is out of
    /// range, an unbounded weight overflows, or the balance is not over whole trajectories. `out` is then only partly
    /// written.
    pub fn device_evaluate(
        &self,
        objective: &Objective,
        batch: &DeviceBatch<'_>,
        totals: Totals,
        out: &mut DeviceGradients,
    ) -> Result<Diagnostics> {
        self.device_gradients(objective, batch, totals, out)?;
        self.device_diagnostics(objective, batch, totals, out)
    }

    /// Queues the computation of the gradients without waiting: the first half of [`CudaBackend::device_evaluate`].
    /// Operations queued afterwards can read the gradients. The loss and metrics stay in `out` for
    /// [`CudaBackend::device_diagnostics`].
    ///
    /// # Errors
    /// Returns the errors of [`CudaBackend::device_evaluate`] except those about non-finite numbers, which only the
    /// second half detects.
    pub fn device_gradients(
        &self,
        objective: &Objective,
        batch: &DeviceBatch<'_>,
        totals: Totals,
        out: &mut DeviceGradients,
    ) -> Result<()> {
        objective.validate()?;
        if objective.needs_flows() {
            let (option, with) = ("balance", "evaluation on the device");
            let wanted = "`\"trajectory\"`; others are evaluated on the host, by `Objective::evaluate`";
            return Err(objective::Error::Conflict { option, with, wanted }.into());
        }
        totals.check_part(batch.totals())?;
        objective.check_given(
            batch.ref_log_probs.is_some(),
            batch.log_z.is_some(),
            false,
            batch.entropies.is_some(),
        )?;
        Ok(self.launch_objective(objective, batch, totals, out)?)
    }

    /// Waits for the measurements of [`CudaBackend::device_gradients`], called with the same arguments, and computes
    /// the loss's share and the metrics from them: the second half of [`CudaBackend::device_evaluate`].
    ///
    /// # Errors
    /// Returns an error if an input is not finite or an unbounded weight overflows. The gradients must then not be
    /// used.
    pub fn device_diagnostics(
        &self,
        objective: &Objective,
        batch: &DeviceBatch<'_>,
        totals: Totals,
        out: &DeviceGradients,
    ) -> Result<Diagnostics> {
        match self.read_diagnostics(objective, batch, out)? {
            Some(diagnostics) => Ok(diagnostics),
            None => Err(self.explain(objective, batch, totals)?),
        }
    }

    /// Returns the host's error for a batch in which the device found a non-finite number.
    fn explain(
        &self,
        objective: &Objective,
        batch: &DeviceBatch<'_>,
        totals: Totals,
    ) -> Result<ObjectiveError<Error>, Error> {
        let Totals { sequences: b, tokens: n } = batch.sequences.totals();
        let given = |buffer: Option<&Buffer>, len| buffer.map(|buffer| self.host(buffer, len)).transpose();
        let (ref_log_probs, old_log_probs) = (given(batch.ref_log_probs, n)?, given(batch.old_log_probs, n)?);
        let (rollout_log_probs, entropies) = (given(batch.rollout_log_probs, n)?, given(batch.entropies, n)?);
        let (log_z, masks) = (given(batch.log_z, b)?, batch.masks());
        let host = Batch {
            offsets: &numbers(&batch.sequences.offsets),
            groups: &numbers(&batch.sequences.group_of),
            advantages: &self.host(batch.advantages, b)?,
            log_probs: &self.host(batch.log_probs, n)?,
            ref_log_probs: ref_log_probs.as_deref(),
            old_log_probs: old_log_probs.as_deref(),
            log_flows: None,
            log_z: log_z.as_deref(),
            rollout_log_probs: rollout_log_probs.as_deref(),
            entropies: entropies.as_deref(),
            masks: masks.as_deref(),
        };
        let mut out = Gradients {
            d_log_probs: &mut vec![0.0; n],
            d_log_flows: &mut [],
            d_entropies: &mut vec![0.0; n],
            d_log_z: &mut vec![0.0; b],
            log_z: &mut vec![0.0; b],
            residuals: &mut vec![0.0; b],
            weights: &mut vec![0.0; b],
        };
        let result = objective.evaluate(&host, totals, &mut vec![0; b], &mut out);
        Ok(result.map_or_else(ObjectiveError::Input, |_| ObjectiveError::Device(disagreement())))
    }

    fn host(&self, buffer: &Buffer, len: usize) -> Result<Vec<f32>, Error> {
        let mut numbers = vec![0.0; len];
        self.read(buffer, 0, &mut numbers)?;
        Ok(numbers)
    }

    /// Implements [`Backend::evaluate`] for host slices.
    pub(crate) fn host_evaluate(
        &self,
        objective: &Objective,
        batch: &Batch<'_, f32>,
        totals: Totals,
        order: &mut [usize],
        out: &mut Gradients<'_, f32>,
    ) -> Result<Diagnostics> {
        objective.check_batch(batch, totals, order, out)?;
        if objective.needs_flows() {
            return Ok(objective.evaluate(batch, totals, order, out)?);
        }
        let sequences = DeviceSequences::new(self, batch.offsets, batch.groups)?;
        let given = |slice: Option<&[f32]>| slice.map(|slice| self.upload(slice)).transpose();
        let (ref_log_probs, old_log_probs) = (given(batch.ref_log_probs)?, given(batch.old_log_probs)?);
        let (rollout_log_probs, log_z) = (given(batch.rollout_log_probs)?, given(batch.log_z)?);
        let entropies = given(batch.entropies.filter(|_| objective.needs_entropies()))?;
        let masks = batch.masks.map(|masks| self.device_masks(masks)).transpose()?;
        let there = DeviceBatch {
            sequences: &sequences,
            advantages: &self.upload(batch.advantages)?,
            log_probs: &self.upload(batch.log_probs)?,
            ref_log_probs: ref_log_probs.as_ref(),
            old_log_probs: old_log_probs.as_ref(),
            rollout_log_probs: rollout_log_probs.as_ref(),
            entropies: entropies.as_ref(),
            log_z: log_z.as_ref(),
            masks: masks.as_ref(),
        };
        let mut gradients = DeviceGradients::new(self, &sequences)?;
        self.launch_objective(objective, &there, totals, &mut gradients)?;
        let Some(diagnostics) = self.read_diagnostics(objective, &there, &gradients)? else {
            objective.evaluate(batch, totals, order, out)?;
            return Err(ObjectiveError::Device(disagreement()));
        };
        self.read(&gradients.d_log_probs, 0, out.d_log_probs)?;
        if let Some(d_entropies) = &gradients.d_entropies {
            self.read(d_entropies, 0, out.d_entropies)?;
        }
        self.read(&gradients.d_log_z, 0, out.d_log_z)?;
        self.read(&gradients.log_z, 0, out.log_z)?;
        self.read(&gradients.residuals, 0, out.residuals)?;
        self.read(&gradients.weights, 0, out.weights)?;
        Ok(diagnostics)
    }

    /// Implements [`Backend::value_loss`] for host slices.
    pub(crate) fn host_value_loss(
        &self,
        rewards: &[f32],
        values: &[f32],
        sequences: usize,
        d_values: &mut [f32],
    ) -> Result<f64> {
        let count = rewards.len();
        if (values.len(), d_values.len()) != (count, count) {
            return Ok(objective::value_loss(rewards, values, sequences, d_values)?);
        }
        let (rewards_there, values_there) = (self.upload(rewards)?, self.upload(values)?);
        let mut gradient = self.zeros(count)?;
        let loss = self.launch_value_loss(&rewards_there, &values_there, &mut gradient, count, sequences)?;
        if !loss.is_finite() {
            return Ok(objective::value_loss(rewards, values, sequences, d_values)?);
        }
        self.read(&gradient, 0, d_values)?;
        Ok(loss)
    }
}
