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
}

/// Indices on a device, and a copy on the host, which is checked before a kernel may follow them.
#[derive(Debug)]
pub struct Index {
    pub(crate) memory: Memory,
    pub(crate) host: Vec<u32>,
}
