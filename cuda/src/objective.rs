//! Objectives on the device, for a trainer of one's own: rewards, log-probabilities and gradients stay where they are, and what comes
//! back to the host is 112 bytes of a sequence. What is computed is that of [`flowrl_core::objective`], which has the equations.
//!
//! ```no_run
//! use flowrl_core::backend::Backend;
//! use flowrl_core::objective::{Mask, Objective, Outcomes, Preset};
//! use flowrl_cuda::objective::{DeviceBatch, DeviceGradients, DeviceSequences};
//! use flowrl_cuda::{CudaBackend, Precision};
//!
//! let gpu = CudaBackend::new(0, Precision::Bf16)?;
//! let objective = Objective::preset(Preset::VarGrad);
//! // Two answers to one prompt, of two tokens and of one.
//! let sequences = DeviceSequences::new(&gpu, &[0, 2, 3], &[0, 0])?;
//! // The policy's forward pass and that of its reference leave theirs on the device.
//! let (log_probs, ref_log_probs) = (gpu.upload(&[-0.7, -1.2, -0.4])?, gpu.upload(&[-0.8, -1.1, -0.5])?);
//!
//! let outcomes = Outcomes { rewards: &[1.0, 0.0], groups: &[0, 0], ..Outcomes::default() };
//! let (mut order, mut advantages, mut masks) = ([0; 2], [0.0; 2], [Mask::In; 2]);
//! objective.advantages(&outcomes, &mut order, &mut advantages, &mut masks)?;
//! let advantages = gpu.upload(&advantages)?;
//! let batch = DeviceBatch {
//!     sequences: &sequences,
//!     advantages: &advantages,
//!     log_probs: &log_probs,
//!     ref_log_probs: Some(&ref_log_probs),
//!     old_log_probs: None,
//!     rollout_log_probs: None,
//!     entropies: None,
//!     log_z: None,
//!     masks: None,
//! };
//! let mut gradients = DeviceGradients::new(&gpu, &sequences)?;
//! let diagnostics = gpu.device_evaluate(&objective, &batch, sequences.totals(), &mut gradients)?;
//! println!("loss {:.3}", diagnostics.loss);
//! // `gradients.d_log_probs` goes back through the policy.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Log-probabilities and gradients are f32, sums double-precision in a fixed order: the same bits in every run, and the host's to
//! rounding. Trajectory balance, in every variant, and all policy gradients run here. Sub-trajectory and detailed balance do not: their sums are
//! recurrences from token to token, which leave a GPU idle; [`Backend::evaluate`] computes them on the host.
//!
//! A number that is not finite is found on the device. Only then are the inputs read back, for the host to say which number it was.

use flowrl_core::Real;
use flowrl_core::backend::{Backend, CpuError, ObjectiveError, Role};
use flowrl_core::objective::{self, Batch, Diagnostics, Gradients, Mask, Measured, Objective, Totals};

use crate::backend::CudaBackend;
use crate::buffer::{Buffer, Index};
use crate::error::Error;
use crate::unit::Storage;

mod launches;

/// Columns of `Measured` in the kernels.
pub(crate) const MEASURES: usize = 14;

/// Numbers of a sequence between the two launches of trajectory balance.
pub(crate) const PARTS: usize = 3;

/// What the operations of this module give.
pub type Result<T> = core::result::Result<T, ObjectiveError<Error>>;

/// Which tokens are of which sequence, and which sequences answer the same prompt: B sequences with N tokens, packed without padding.
#[derive(Debug)]
pub struct DeviceSequences {
    /// (B + 1) from 0.
    offsets: Index,
    /// (B) sequences sorted by group, then by place.
    members: Index,
    /// (groups + 1) where each group starts in `members`.
    starts: Index,
    /// (B) the number of each sequence's group, in the order of the caller's numbers.
    group_of: Index,
}

impl DeviceSequences {
    /// Sequence i has tokens `offsets[i] − offsets[0]` up to `offsets[i + 1] − offsets[0]`, and group `groups[i]`; groups may be interleaved.
    ///
    /// # Errors
    /// Offsets that are not one more than groups or do not ascend, more than 2³² tokens, a device without memory.
    pub fn new(backend: &CudaBackend, offsets: &[usize], groups: &[usize]) -> Result<Self> {
        let sequences = groups.len();
        if offsets.len() != sequences + 1 {
            let (got, want) = (offsets.len(), sequences + 1);
            let of = "offsets (one more than `groups`)";
            return Err(objective::Error::Length { argument: "offsets", got, want, of }.into());
        }
        if let Some(index) = (1..offsets.len()).find(|&i| offsets[i] < offsets[i - 1]) {
            let (got, previous) = (offsets[index], offsets[index - 1]);
            return Err(objective::Error::Offsets { index, got, previous }.into());
        }
        let mut members: Vec<usize> = (0..sequences).collect();
        members.sort_by_key(|&i| groups[i]);
        let (mut starts, mut group_of) = (vec![0], vec![0; sequences]);
        for group in members.chunk_by(|&a, &b| groups[a] == groups[b]) {
            group.iter().for_each(|&i| group_of[i] = starts.len() - 1);
            starts.push(starts[starts.len() - 1] + group.len());
        }
        let offsets: Vec<usize> = offsets.iter().map(|end| end - offsets[0]).collect();
        let index = |argument, numbers: &[usize]| {
            let narrow =
                |(index, &x)| u32::try_from(x).map_err(|_| CpuError::Rule { argument, index, rule: "be below 2³²" });
            let narrow = numbers.iter().enumerate().map(narrow).collect::<core::result::Result<Vec<_>, _>>();
            narrow.map_err(Error::from).and_then(|narrow| backend.index(&narrow)).map_err(ObjectiveError::Device)
        };
        Ok(Self {
            offsets: index("offsets", &offsets)?,
            members: index("members", &members)?,
            starts: index("starts", &starts)?,
            group_of: index("groups", &group_of)?,
        })
    }

    /// B and N.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals { sequences: self.group_of.host.len(), tokens: *self.offsets.host.last().unwrap_or(&0) as usize }
    }

    fn groups(&self) -> usize {
        self.starts.host.len() - 1
    }
}

/// What an objective reads, on the device: as [`Batch`], of f32.
#[derive(Clone, Copy, Debug)]
pub struct DeviceBatch<'a> {
    /// Where each sequence is.
    pub sequences: &'a DeviceSequences,
    /// (B) r̂ or A, of [`Objective::advantages`], which is B numbers and stays on the host.
    pub advantages: &'a Buffer,
    /// (N) log π(y_t | x, y_<t), the policy being trained.
    pub log_probs: &'a Buffer,
    /// (N) the same under the frozen reference. Needed by FlowRL, and by a baseline with a KL term.
    pub ref_log_probs: Option<&'a Buffer>,
    /// (N) the same under the policy that sampled. `None` means on policy.
    pub old_log_probs: Option<&'a Buffer>,
    /// (N) the same under the engine that drew the tokens, if it is another one. See [`Batch::rollout_log_probs`].
    pub rollout_log_probs: Option<&'a Buffer>,
    /// (N) entropy of the policy's distribution before each token. See [`Batch::entropies`].
    pub entropies: Option<&'a Buffer>,
    /// (B) log Z of each sequence's prompt. Needed where log Z is learned or given.
    pub log_z: Option<&'a Buffer>,
    /// (B) of [`CudaBackend::device_masks`]. `None` means that all sequences are in.
    pub masks: Option<&'a Index>,
}

impl DeviceBatch<'_> {
    /// [`Batch::totals`], to evaluate it in one piece.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::of(&numbers(&self.sequences.offsets), self.masks().as_deref())
    }

    fn masks(&self) -> Option<Vec<Mask>> {
        let mask = |&number: &u32| [Mask::In, Mask::Empty, Mask::Out][number as usize];
        self.masks.map(|masks| masks.host.iter().map(mask).collect())
    }
}

/// Where an objective writes, on the device: as [`Gradients`], of f32, overwritten by each evaluation.
#[derive(Debug)]
pub struct DeviceGradients {
    /// (N) ∂loss/∂log π(y_t).
    pub d_log_probs: Buffer,
    /// (N) ∂loss/∂entropy; made by the first evaluation with an entropy bonus, and untouched by those without.
    pub d_entropies: Option<Buffer>,
    /// (B) ∂loss/∂log Z of each sequence; zero for a baseline, and where log Z is a constant.
    pub d_log_z: Buffer,
    /// (B) the log Z that was used; zero for a baseline.
    pub log_z: Buffer,
    /// (B) δ, the residual; zero for a baseline.
    pub residuals: Buffer,
    /// (B) w, the importance weight; for a baseline its sequence ratio where it has one, else 1.
    pub weights: Buffer,
    /// (B, [`PARTS`]) u, log w and how far the policy is from the one that sampled.
    parts: Buffer,
    /// (B, [`MEASURES`]).
    measured: Buffer,
}

impl DeviceGradients {
    /// Buffers for these sequences, and for any that are no more and have no more tokens.
    ///
    /// # Errors
    /// A device without memory.
    pub fn new(backend: &CudaBackend, sequences: &DeviceSequences) -> core::result::Result<Self, Error> {
        let Totals { sequences, tokens } = sequences.totals();
        let zeros = |len| backend.zeros_for(Role::State, len);
        Ok(Self {
            d_log_probs: zeros(tokens)?,
            d_entropies: None,
            d_log_z: zeros(sequences)?,
            log_z: zeros(sequences)?,
            residuals: zeros(sequences)?,
            weights: zeros(sequences)?,
            parts: zeros(PARTS * sequences)?,
            measured: backend.allocate(Storage::F64, MEASURES * sequences)?,
        })
    }
}

impl From<Error> for ObjectiveError<Error> {
    fn from(error: Error) -> Self {
        Self::Device(error)
    }
}

/// Device and host disagree about whether a result is finite.
fn disagreement() -> Error {
    let message = "the device found a number that is not finite where the host finds none: look for failing hardware";
    Error::Driver { operation: "evaluate the objective".to_owned(), message: message.to_owned() }
}

impl CudaBackend {
    /// Masks of [`Objective::advantages`] on the device, for the field `masks` of [`DeviceBatch`].
    ///
    /// # Errors
    /// A device without memory.
    pub fn device_masks(&self, masks: &[Mask]) -> core::result::Result<Index, Error> {
        self.index(&masks.iter().map(|&mask| mask as u32).collect::<Vec<_>>())
    }

    /// [`Objective::evaluate`]: the loss's share of `batch` and its metrics; gradients stay on the device. `totals` are those of the
    /// whole batch, [`DeviceSequences::totals`] where it is evaluated in one piece. Waits for the device: it is
    /// [`CudaBackend::device_gradients`], and then [`CudaBackend::device_diagnostics`].
    ///
    /// # Errors
    /// A buffer that is too short or not f32, a missing or non-finite input, an option out of range, a weight that overflows without a
    /// bound, a balance over parts of a trajectory. `out` is then only partly written.
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

    /// The first half of [`CudaBackend::device_evaluate`]: asks for the gradients and does not wait. What the device is asked for next
    /// can read them; the loss and the metrics wait in `out` for [`CudaBackend::device_diagnostics`].
    ///
    /// # Errors
    /// As for [`CudaBackend::device_evaluate`], but for numbers that are not finite: only the second half finds those.
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
            let want = "`\"trajectory\"`; others are evaluated on the host, by `Objective::evaluate`";
            return Err(objective::Error::Conflict { option, with, want }.into());
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

    /// The second half of [`CudaBackend::device_evaluate`], with the same arguments: waits for the gradients' measures, and makes the
    /// loss's share and the metrics of them.
    ///
    /// # Errors
    /// A non-finite input, a weight that overflows without a bound: the gradients are then not to be used.
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

    /// The host's error for a batch in which the device found a number that is not finite.
    fn explain(
        &self,
        objective: &Objective,
        batch: &DeviceBatch<'_>,
        totals: Totals,
    ) -> core::result::Result<ObjectiveError<Error>, Error> {
        let Totals { sequences: b, tokens: n } = batch.sequences.totals();
        let given = |buffer: Option<&Buffer>, len| buffer.map(|buffer| self.host(buffer, len)).transpose();
        let (offsets, groups) = (numbers(&batch.sequences.offsets), numbers(&batch.sequences.group_of));
        let (advantages, log_probs) = (self.host(batch.advantages, b)?, self.host(batch.log_probs, n)?);
        let (ref_log_probs, old_log_probs) = (given(batch.ref_log_probs, n)?, given(batch.old_log_probs, n)?);
        let (rollout_log_probs, entropies) = (given(batch.rollout_log_probs, n)?, given(batch.entropies, n)?);
        let log_z = given(batch.log_z, b)?;
        let masks = batch.masks();
        let host = Batch {
            offsets: &offsets,
            groups: &groups,
            advantages: &advantages,
            log_probs: &log_probs,
            ref_log_probs: ref_log_probs.as_deref(),
            old_log_probs: old_log_probs.as_deref(),
            log_flows: None,
            log_z: log_z.as_deref(),
            rollout_log_probs: rollout_log_probs.as_deref(),
            entropies: entropies.as_deref(),
            masks: masks.as_deref(),
        };
        let [mut d_log_z, mut used, mut residuals, mut weights] = [(); 4].map(|()| vec![0.0; b]);
        let mut out = Gradients {
            d_log_probs: &mut vec![0.0; n],
            d_log_flows: &mut [],
            d_entropies: &mut vec![0.0; n],
            d_log_z: &mut d_log_z,
            log_z: &mut used,
            residuals: &mut residuals,
            weights: &mut weights,
        };
        let result = objective.evaluate(&host, totals, &mut vec![0; b], &mut out);
        Ok(result.map_or_else(ObjectiveError::Input, |_| ObjectiveError::Device(disagreement())))
    }

    fn host(&self, buffer: &Buffer, len: usize) -> core::result::Result<Vec<f32>, Error> {
        let mut numbers = vec![0.0; len];
        self.read(buffer, 0, &mut numbers)?;
        Ok(numbers)
    }

    /// [`Backend::evaluate`] of host slices.
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
        let (advantages, log_probs) = (self.upload(batch.advantages)?, self.upload(batch.log_probs)?);
        let (ref_log_probs, old_log_probs) = (given(batch.ref_log_probs)?, given(batch.old_log_probs)?);
        let (rollout_log_probs, log_z) = (given(batch.rollout_log_probs)?, given(batch.log_z)?);
        let entropies = given(batch.entropies.filter(|_| objective.needs_entropies()))?;
        let masks = batch.masks.map(|masks| self.device_masks(masks)).transpose()?;
        let there = DeviceBatch {
            sequences: &sequences,
            advantages: &advantages,
            log_probs: &log_probs,
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

    /// [`Backend::value_loss`] of host slices.
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

/// Indices as the host counts.
fn numbers(index: &Index) -> Vec<usize> {
    index.host.iter().map(|&i| i as usize).collect()
}
