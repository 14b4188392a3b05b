//! Buffers of numbers and of indices on a device.

use flowrl_core::backend::{CpuError, check_len};

use crate::device::{Device, Memory};
use crate::error::{Error, Result};
use crate::unit::Storage;

/// Numbers on a device, either f32 or bf16. A bf16 weight also has an f32 master copy, which the optimiser updates.
#[derive(Debug)]
pub struct Buffer {
    pub(crate) memory: Memory,
    /// Storage type of `memory`.
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
    pub(crate) fn new(memory: Memory, storage: Storage, len: usize) -> Self {
        Self { memory, storage, len, master: None, gradient: None }
    }

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

    /// Checks the storage type of an argument.
    pub(crate) fn check_storage(&self, argument: &'static str, wanted: Storage) -> Result<()> {
        if self.storage == wanted {
            return Ok(());
        }
        Err(Error::Storage { argument, got: self.storage.name(), wanted: wanted.name() })
    }
}

/// Indices on a device, with a host copy for range checks before a kernel uses them.
#[derive(Debug)]
pub struct Index {
    pub(crate) memory: Memory,
    pub(crate) host: Vec<u32>,
}

impl Index {
    pub(crate) fn new(device: &Device, indices: Vec<u32>) -> Result<Self> {
        let bytes: Vec<u8> = indices.iter().flat_map(|i| i.to_ne_bytes()).collect();
        let mut memory = device.scratch(bytes.len())?;
        device.write(&mut memory, 0, &bytes)?;
        Ok(Self { memory, host: indices })
    }

    /// Checks that the first `len` indices exist and are below `below`.
    pub(crate) fn check(&self, name: &'static str, len: usize, below: usize) -> Result<()> {
        check_len(name, self.host.len(), len)?;
        match self.host[..len].iter().find(|&&i| i as usize >= below) {
            Some(&got) => Err(CpuError::Index { argument: name, got: got as usize, below }.into()),
            None => Ok(()),
        }
    }
}
