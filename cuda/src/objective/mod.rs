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

use flowrl_core::backend::{Backend, CpuError, ObjectiveError, Role};
use flowrl_core::objective::{self, Mask, Totals};

use crate::backend::CudaBackend;
use crate::buffer::{Buffer, Index};
use crate::constants::{MEASURES, PARTS};
use crate::error::Error;
use crate::unit::Storage;

mod evaluate;
mod launches;

/// The result of an operation of this module.
pub type Result<T, E = ObjectiveError<Error>> = core::result::Result<T, E>;

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
            let narrow = numbers.iter().enumerate().map(narrow).collect::<Result<Vec<_>, _>>();
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

/// The inputs of an objective on the device, as in [`Batch`](objective::Batch) but with f32 numbers.
#[derive(Clone, Copy, Debug)]
pub struct DeviceBatch<'a> {
    /// The division into sequences and groups.
    pub sequences: &'a DeviceSequences,
    /// (B) r̂ or A from [`Objective::advantages`](objective::Objective::advantages), which runs on the host because
    /// there are only B numbers.
    pub advantages: &'a Buffer,
    /// (N) log π(y_t | x, y_<t) under the policy being trained.
    pub log_probs: &'a Buffer,
    /// (N) Log-probabilities under the frozen reference. Needed by FlowRL, and by a baseline with a KL term.
    pub ref_log_probs: Option<&'a Buffer>,
    /// (N) Log-probabilities under the policy that sampled. `None` means on policy.
    pub old_log_probs: Option<&'a Buffer>,
    /// (N) Log-probabilities under the engine that drew the tokens, if it is another one. See
    /// [`Batch::rollout_log_probs`](objective::Batch::rollout_log_probs).
    pub rollout_log_probs: Option<&'a Buffer>,
    /// (N) Entropy of the policy's distribution before each token. See
    /// [`Batch::entropies`](objective::Batch::entropies).
    pub entropies: Option<&'a Buffer>,
    /// (B) log Z of each sequence's prompt. Needed if log Z is learned or given.
    pub log_z: Option<&'a Buffer>,
    /// (B) Masks from [`CudaBackend::device_masks`]. `None` means that all sequences are in.
    pub masks: Option<&'a Index>,
}

impl DeviceBatch<'_> {
    /// Returns the totals of this batch, for evaluating it in one piece. See
    /// [`Batch::totals`](objective::Batch::totals).
    pub fn totals(&self) -> Totals {
        Totals::of(&numbers(&self.sequences.offsets), self.masks().as_deref())
    }

    fn masks(&self) -> Option<Vec<Mask>> {
        let mask = |&number: &u32| [Mask::In, Mask::Empty, Mask::Out][number as usize];
        self.masks.map(|masks| masks.host.iter().map(mask).collect())
    }
}

/// The outputs of an objective on the device, as in [`Gradients`](objective::Gradients) but with f32 numbers. Each
/// evaluation overwrites them.
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
    pub fn new(backend: &CudaBackend, sequences: &DeviceSequences) -> Result<Self, Error> {
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

/// Converts indices to the host's `usize`.
fn numbers(index: &Index) -> Vec<usize> {
    index.host.iter().map(|&i| i as usize).collect()
}
