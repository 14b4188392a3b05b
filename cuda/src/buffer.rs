//! Buffers of numbers and of indices on a device.

use crate::launch::Memory;
use crate::unit::Storage;

/// Numbers on a device, either f32 or bf16. A bf16 weight also has an f32 master copy, which the optimiser updates.
#[derive(Debug)]
pub struct Buffer {
    /// Storage type of `memory`.
    pub(crate) memory: Memory,
    pub(crate) storage: Storage,
    pub(crate) len: usize,
    pub(crate) master: Option<Box<Buffer>>,
    pub(crate) gradient: Option<Box<Gradient>>,
}

/// A separate buffer for the gradient of f32 logits, stored as activations are because products read it with them.
#[derive(Debug)]
pub(crate) struct Gradient {
    pub(crate) buffer: Buffer,
    /// Whether the gradient has replaced the logits.
    pub(crate) is_current: bool,
}

impl Buffer {
    /// Returns the buffer's present contents: the gradient if it has replaced the logits, otherwise the buffer itself.
    pub(crate) fn current(&self) -> &Self {
        self.gradient.as_ref().filter(|gradient| gradient.is_current).map_or(self, |gradient| &gradient.buffer)
    }

    /// Returns the buffer for overwriting, which discards a gradient in its place.
    pub(crate) fn renewed(&mut self) -> &mut Self {
        if let Some(gradient) = &mut self.gradient {
            gradient.is_current = false;
        }
        self
    }
}

/// Indices on a device, with a host copy for range checks before a kernel uses them.
#[derive(Debug)]
pub struct Index {
    pub(crate) memory: Memory,
    pub(crate) host: Vec<u32>,
}
