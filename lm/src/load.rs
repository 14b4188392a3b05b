//! Transfers between checkpoints and devices.

use flowrl_core::Real;
use flowrl_core::backend::{Backend, Role};

use crate::backend::TransformerBackend;
use crate::checkpoint::{Checkpoint, NamedTensor, save};
use crate::config::Dtype;
use crate::error::{Error, PolicyResult};
use crate::model::{Part, Weights};
use crate::policy::TransformerPolicy;

/// Copies the weights of a checkpoint to a device, tensor by tensor.
///
/// # Errors
/// Returns an error if a tensor is missing, has another shape or a value that is not finite, or if the device
/// has not enough memory.
pub fn load_weights<B: Backend>(backend: &B, checkpoint: &Checkpoint) -> PolicyResult<Weights<B::Buffer>, B> {
    /// Elements converted at once.
    const PIECE: usize = 1 << 20;
    Weights::build(&checkpoint.config().dims, |parts| {
        let mut buffer = backend.zeros_for(Role::Weight, Part::total(parts))?;
        for part in parts {
            let mut values = vec![0.0_f32; part.elements()];
            checkpoint.read_f32(&part.name, &part.shape, &mut values)?;
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                let message = format!(
                    "has {} at element {index}: the weights are damaged, and every number computed from them would be; \
                     take an earlier checkpoint, or copy the file again",
                    values[index]
                );
                let (path, name) = (checkpoint.path().to_owned(), part.name.clone());
                return Err(Error::Tensor { path, name, message }.into());
            }
            for (i, piece) in values.chunks(PIECE).enumerate() {
                let piece: Vec<B::Real> = piece.iter().map(|&x| B::Real::of(f64::from(x))).collect();
                backend.write(&mut buffer, part.offset + i * PIECE, &piece)?;
            }
        }
        Ok(buffer)
    })
}

/// Loads a policy from a checkpoint. Completions end with any of the checkpoint's end tokens, and tokens that
/// the tokenizer does not have are never drawn.
pub fn load_policy<B: TransformerBackend>(
    backend: B,
    checkpoint: &Checkpoint,
) -> PolicyResult<TransformerPolicy<B>, B> {
    let weights = load_weights(&backend, checkpoint)?;
    let end = checkpoint.end_tokens()?;
    // An end token ends a completion even if the tokenizer does not know it.
    let unknown: Vec<u32> = checkpoint.unknown_tokens()?.into_iter().filter(|id| !end.contains(id)).collect();
    let mut policy = TransformerPolicy::new(backend, checkpoint.config().dims.clone(), weights, end)?;
    policy.exclude(&unknown)?;
    Ok(policy)
}

/// Writes a policy as a Hugging Face folder, with the configuration and the tokenizer of the checkpoint it came from.
pub fn save_policy<B: TransformerBackend>(
    path: &std::path::Path,
    policy: &TransformerPolicy<B>,
    origin: &Checkpoint,
    dtype: Dtype,
) -> PolicyResult<(), B> {
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
