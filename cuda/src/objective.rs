//! Objectives on the device, for custom trainers. Rewards, log-probabilities and gradients stay on the device, and only
//! 112 bytes per sequence come back to the host. The equations are those of [`flowrl_core::objective`].
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
//! // The forward passes of the policy and its reference leave their log-probabilities on the device.
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
//! Log-probabilities and gradients are f32. Sums are double-precision in a fixed order, so every run gives the same
//! bits, which agree with the host's results to within rounding. All variants of trajectory balance and all policy
//! gradients run here. Sub-trajectory and detailed balance do not, because their sums are recurrences from token to
//! token, which leave a GPU idle. [`Backend::evaluate`] computes those on the host.
//!
//! The device detects non-finite numbers. Only then does the host read the inputs back, to report the number at fault.

use flowrl_core::Real;
use flowrl_core::backend::{Backend, CpuError, ObjectiveError, Role};
use flowrl_core::objective::{self, Batch, Diagnostics, Gradients, Mask, Measured, Objective, Totals};

use crate::backend::CudaBackend;
use crate::buffer::{Buffer, Index};
use crate::error::Error;
use crate::unit::Storage;

mod launches;

/// Number of columns of `Measured` in the kernels.
pub(crate) const MEASURES: usize = 14;

/// Numbers per sequence that the first launch of trajectory balance leaves for the second.
pub(crate) const PARTS: usize = 3;

/// The result of an operation of this module.
pub type Result<T> = core::result::Result<T, ObjectiveError<Error>>;

/// The division of N tokens into B sequences, packed without padding, and of the sequences into groups that answer the
/// same prompt.
#[derive(Debug)]
pub struct DeviceSequences {
    /// (B + 1) Start of each sequence, counted from 0, and the end of the last.
    offsets: Index,
    /// (B) Sequences sorted by group, then by position.
    members: Index,
    /// (groups + 1) Start of each group in `members`.
    starts: Index,
    /// (B) Group of each sequence, numbered in ascending order of the caller's numbers.
    group_of: Index,
}

impl DeviceSequences {
    /// Uploads the division into sequences. Sequence i has tokens `offsets[i] − offsets[0]` to `offsets[i + 1] −
    /// offsets[0]` and group `groups[i]`. Groups may be interleaved.
    ///
    /// # Errors
    /// Returns an error if `offsets` is not one longer than `groups` or does not ascend, if there are 2³² tokens or
    /// more, or if the device is out of memory.
    pub fn new(backend: &CudaBackend, offsets: &[usize], groups: &[usize]) -> Result<Self> {
        let sequences = groups.len();
        if offsets.len() != sequences + 1 {
            let (got, wanted) = (offsets.len(), sequences + 1);
            let of = "offsets (one more than `groups`)";
            return Err(objective::Error::Length { argument: "offsets", got, wanted, of }.into());
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

    /// Returns B and N.
    pub fn totals(&self) -> Totals {
        Totals { sequences: self.group_of.host.len(), tokens: *self.offsets.host.last().unwrap_or(&0) as usize }
    }

    fn groups(&self) -> usize {
        self.starts.host.len() - 1
    }
}

/// The inputs of an objective on the device, as in [`Batch`] but with f32 numbers.
#[derive(Clone, Copy, Debug)]
pub struct DeviceBatch<'a> {
    /// The division into sequences and groups.
    pub sequences: &'a DeviceSequences,
    /// (B) r̂ or A from [`Objective::advantages`], which runs on the host because there are only B numbers.
    pub advantages: &'a Buffer,
    /// (N) log π(y_t | x, y_<t) under the policy being trained.
    pub log_probs: &'a Buffer,
    /// (N) Log-probabilities under the frozen reference. Needed by FlowRL, and by a baseline with a KL term.
    pub ref_log_probs: Option<&'a Buffer>,
    /// (N) Log-probabilities under the policy that sampled. `None` means on policy.
    pub old_log_probs: Option<&'a Buffer>,
    /// (N) Log-probabilities under the engine that drew the tokens, if it is another one. See
    /// [`Batch::rollout_log_probs`].
    pub rollout_log_probs: Option<&'a Buffer>,
    /// (N) Entropy of the policy's distribution before each token. See [`Batch::entropies`].
    pub entropies: Option<&'a Buffer>,
    /// (B) log Z of each sequence's prompt. Needed if log Z is learned or given.
    pub log_z: Option<&'a Buffer>,
    /// (B) Masks from [`CudaBackend::device_masks`]. `None` means that all sequences are in.
    pub masks: Option<&'a Index>,
}

impl DeviceBatch<'_> {
    /// Returns the totals of this batch, for evaluating it in one piece. See [`Batch::totals`].
    pub fn totals(&self) -> Totals {
        Totals::of(&numbers(&self.sequences.offsets), self.masks().as_deref())
    }

    fn masks(&self) -> Option<Vec<Mask>> {
        let mask = |&number: &u32| [Mask::In, Mask::Empty, Mask::Out][number as usize];
        self.masks.map(|masks| masks.host.iter().map(mask).collect())
    }
}

/// The outputs of an objective on the device, as in [`Gradients`] but with f32 numbers. Each evaluation overwrites
/// them.
#[derive(Debug)]
pub struct DeviceGradients {
    /// (N) ∂loss/∂log π(y_t) of each token.
    pub d_log_probs: Buffer,
    /// (N) ∂loss/∂entropy of each token. The first evaluation with an entropy bonus allocates it; those without leave
    /// it alone.
    pub d_entropies: Option<Buffer>,
    /// (B) ∂loss/∂log Z of each sequence. Zero for a baseline and if log Z is a constant.
    pub d_log_z: Buffer,
    /// (B) The log Z that was used. Zero for a baseline.
    pub log_z: Buffer,
    /// (B) The residual δ. Zero for a baseline.
    pub residuals: Buffer,
    /// (B) The importance weight w. For a baseline this is the sequence ratio if there is one, otherwise 1.
    pub weights: Buffer,
    /// (B, [`PARTS`]) u, log w and (L − L_old)/divisor of each sequence.
    parts: Buffer,
    /// (B, [`MEASURES`]) The measurements that the diagnostics are computed from.
    measured: Buffer,
}

impl DeviceGradients {
    /// Allocates buffers for these sequences, or for any others with at most as many sequences and tokens.
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

/// Returns the error for a device and a host that disagree about whether a result is finite.
fn disagreement() -> Error {
    let message = "the device found a non-finite number, but the host finds none: check for failing hardware";
    Error::Driver { operation: "evaluate the objective".to_owned(), message: message.to_owned() }
}

impl CudaBackend {
    /// Uploads the masks of [`Objective::advantages`], for the field `masks` of [`DeviceBatch`].
    pub fn device_masks(&self, masks: &[Mask]) -> core::result::Result<Index, Error> {
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

/// Converts indices to the host's `usize`.
fn numbers(index: &Index) -> Vec<usize> {
    index.host.iter().map(|&i| i as usize).collect()
}
