//! Transfers between checkpoints and devices.

use flowrl_core::Real;
use flowrl_core::backend::{Backend, BackendError, Role};

use crate::backend::{Heads, TransformerBackend};
use crate::checkpoint::{Checkpoint, NamedTensor, save};
use crate::config::{Dtype, ModelConfig};
use crate::model::{Dimensions, Weights};
use crate::{Error, PolicyError, TransformerPolicy};

/// An error of loading a checkpoint onto a device, or of saving it from one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError<E: BackendError> {
    /// The checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] Error),
    /// The device failed.
    #[error(transparent)]
    Device(E),
    /// The policy could not be created or read.
    #[error(transparent)]
    Policy(#[from] PolicyError<E>),
}

impl From<&ModelConfig> for Dimensions {
    fn from(config: &ModelConfig) -> Self {
        Self {
            vocab: config.vocab_size,
            hidden: config.hidden_size,
            layers: config.layers,
            heads: Heads { heads: config.heads, kv_heads: config.kv_heads, head_dim: config.head_dim },
            intermediate: config.intermediate_size,
            rms_eps: config.rms_norm_eps,
            qkv_bias: config.qkv_bias,
            o_bias: config.o_bias,
            qk_norm: config.qk_norm,
            tied: config.tie_word_embeddings,
            frequencies: config.inv_frequencies(),
        }
    }
}

/// Copies the weights of a checkpoint to a device, tensor by tensor.
///
/// # Errors
/// Returns an error if a tensor is missing, has another shape or a value that is not finite, or if the device
/// has not enough memory.
pub fn load_weights<B: Backend>(
    backend: &B,
    checkpoint: &Checkpoint,
) -> Result<Weights<B::Buffer>, LoadError<B::Error>> {
    /// Elements converted at once.
    const PIECE: usize = 1 << 20;
    let dims = Dimensions::from(checkpoint.config());
    let parts = Weights::parts(&dims);
    let mut tensor = 0;
    Weights::build(&dims, |len| {
        let mut buffer = backend.zeros_for(Role::Weight, len).map_err(LoadError::Device)?;
        for part in parts.iter().filter(|part| part.tensor == tensor) {
            let mut values = vec![0.0_f32; part.len()];
            checkpoint.read_f32(&part.name, &part.shape, &mut values)?;
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                let (path, name) = (checkpoint.path().to_owned(), part.name.clone());
                return Err(Error::NotFinite { path, name, index, got: values[index] }.into());
            }
            for (i, piece) in values.chunks(PIECE).enumerate() {
                let piece: Vec<B::Real> = piece.iter().map(|&x| B::Real::of(f64::from(x))).collect();
                backend.write(&mut buffer, part.offset + i * PIECE, &piece).map_err(LoadError::Device)?;
            }
        }
        tensor += 1;
        Ok(buffer)
    })
}

/// Loads a policy from a checkpoint. Completions end with any of the checkpoint's end tokens, and tokens that
/// the tokenizer does not have are never drawn.
pub fn load_policy<B: TransformerBackend>(
    backend: B,
    checkpoint: &Checkpoint,
) -> Result<TransformerPolicy<B>, LoadError<B::Error>> {
    let weights = load_weights(&backend, checkpoint)?;
    let end = checkpoint.end_tokens()?;
    // An end token ends a completion even if the tokenizer does not know it.
    let unknown: Vec<u32> = checkpoint.unknown_tokens()?.into_iter().filter(|id| !end.contains(id)).collect();
    let mut policy = TransformerPolicy::new(backend, Dimensions::from(checkpoint.config()), weights, end)?;
    policy.exclude(&unknown)?;
    Ok(policy)
}

/// Writes a policy as a Hugging Face folder, with the configuration and the tokenizer of the checkpoint it came
/// from.
pub fn save_policy<B: TransformerBackend>(
    path: &std::path::Path,
    policy: &TransformerPolicy<B>,
    origin: &Checkpoint,
    dtype: Dtype,
) -> Result<(), LoadError<B::Error>> {
    let parts = Weights::parts(policy.dims());
    let mut values = Vec::with_capacity(parts.len());
    for part in &parts {
        let read = policy.read_part(policy.weights(), part)?;
        values.push(read.iter().map(|x| x.f64() as f32).collect::<Vec<_>>());
    }
    let tensors: Vec<NamedTensor<'_>> = parts
        .iter()
        .zip(&values)
        .map(|(part, values)| NamedTensor { name: &part.name, shape: part.shape.clone(), values })
        .collect();
    Ok(save(path, origin.config(), &tensors, dtype, origin.side_files())?)
}
