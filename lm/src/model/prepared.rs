//! The matrices of a model in the arrangement that a device multiplies by fastest: for generation, which meets them at every token.

use flowrl_core::backend::{Backend, LinearShape};

use super::{Dimensions, Weights};

/// The matrices of a model, as [`Backend::prepare`] made them.
#[derive(Debug)]
pub struct Prepared<T> {
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
    /// Prepares the matrices; `None` where the device reads them as they are.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new<B: Backend<Buffer = T>>(
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

/// A linear layer by its prepared matrix, where there is one: the same bits.
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
