//! The matrices of a model in the arrangement that a device multiplies fastest, for generation, which reads
//! them at every token.

use flowrl_core::backend::{Backend, LinearShape};

use super::{Dimensions, Weights};

/// The matrices of a model, prepared by [`Backend::prepare`].
#[derive(Debug)]
pub(crate) struct Prepared<T> {
    pub(super) layers: Vec<PreparedLayer<T>>,
    pub(super) head: T,
}

#[derive(Debug)]
pub(super) struct PreparedLayer<T> {
    pub qkv: T,
    pub o: T,
    pub gate_up: T,
    pub down: T,
}

impl<T> Prepared<T> {
    /// Prepares the matrices, or returns [`None`] if the device reads them as they are.
    pub(crate) fn new<B: Backend<Buffer = T>>(
        backend: &B,
        dims: &Dimensions,
        weights: &Weights<T>,
    ) -> Result<Option<Self>, B::Error> {
        let prepare = |w: &T, shape: LinearShape| backend.prepare(w, shape.inputs, shape.outputs);
        let Some(head) = prepare(weights.head(), dims.logits(0))? else { return Ok(None) };
        let mut layers = Vec::with_capacity(dims.layers);
        for w in &weights.layers {
            let qkv = prepare(&w.qkv, dims.qkv(0))?;
            let o = prepare(&w.o, dims.attention_out(0))?;
            let gate_up = prepare(&w.gate_up, dims.gate_up(0))?;
            let down = prepare(&w.down, dims.down(0))?;
            let (Some(qkv), Some(o), Some(gate_up), Some(down)) = (qkv, o, gate_up, down) else { return Ok(None) };
            layers.push(PreparedLayer { qkv, o, gate_up, down });
        }
        Ok(Some(Self { layers, head }))
    }
}

/// Applies a linear layer by its prepared matrix if there is one; the result has the same bits either way.
pub(super) fn linear<B: Backend>(
    backend: &B,
    x: &B::Buffer,
    (w, prepared): (&B::Buffer, Option<&B::Buffer>),
    bias: Option<&B::Buffer>,
    y: &mut B::Buffer,
    shape: LinearShape,
    accumulate: bool,
) -> Result<(), B::Error> {
    match prepared {
        Some(prepared) => backend.linear_prepared(x, prepared, bias, y, shape, accumulate),
        None => backend.linear(x, w, bias, y, shape, accumulate),
    }
}
