//! Numbers and indices on a device.

use crate::launch::Memory;
use crate::unit::Storage;

/// Numbers on a device: f32, or bf16 with, for weights, an f32 master copy that the optimiser keeps.
#[derive(Debug)]
pub struct Buffer {
    pub(crate) memory: Memory,
    pub(crate) storage: Storage,
    pub(crate) len: usize,
    pub(crate) master: Option<Box<Buffer>>,
    pub(crate) gradient: Option<Box<Gradient>>,
}

/// A place of its own for the gradient of logits in f32, stored as the activations are that products take it with.
#[derive(Debug)]
pub(crate) struct Gradient {
    pub(crate) buffer: Buffer,
    /// Whether it has taken the place of the logits.
    pub(crate) is_current: bool,
}

impl Buffer {
    /// What the buffer holds now: its gradient if that has taken its place.
    pub(crate) fn current(&self) -> &Self {
        self.gradient.as_ref().filter(|gradient| gradient.is_current).map_or(self, |gradient| &gradient.buffer)
    }

    /// The buffer, to be overwritten.
    pub(crate) fn renewed(&mut self) -> &mut Self {
        if let Some(gradient) = &mut self.gradient {
            gradient.is_current = false;
        }
        self
    }
}

/// Indices on a device, and a copy on the host, which is checked before a kernel may follow them.
#[derive(Debug)]
pub struct Index {
    pub(crate) memory: Memory,
    pub(crate) host: Vec<u32>,
}
