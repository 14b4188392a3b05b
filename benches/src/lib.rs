//! The cases that are measured: shared by the criterion benches in `benches/benches/` and by the program `peer`, which runs
//! beside PyTorch. What is compared, and where the sides differ, is in `benches/peers/README.md`.

pub mod lab;
pub mod model;
pub mod objective;
pub mod operations;

use std::error::Error;

use flowrl_core::backend::CpuBackend;
use flowrl_core::random::{Purpose, Stream};

/// What can go wrong in a case.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The device of every case.
pub type Cpu = CpuBackend<f32>;

/// `len` numbers uniform in [low, high), the same for the same `salt`.
#[must_use]
pub fn uniform(salt: u32, len: usize, low: f64, high: f64) -> Vec<f32> {
    let stream = Stream::new(0, Purpose::Init);
    (0..len).map(|i| (low + (high - low) * stream.uniform(salt, 0, i as u32)) as f32).collect()
}

/// `len` tokens below `vocab`, the same for the same `salt`.
#[must_use]
pub fn tokens(salt: u32, len: usize, vocab: usize) -> Vec<u32> {
    let stream = Stream::new(0, Purpose::Task);
    (0..len).map(|i| stream.below(vocab as u64, salt, 0, i as u32) as u32).collect()
}
