//! The measured cases, and the harness that times them alone or in alternation with a peer. The program `bench`, the
//! benchmark of `flowrl-cuda` and, for its own comparisons, `xtask` use it. `benches/peers/README.md` describes the
//! comparison with PyTorch and the differences between the two sides.
//!
//! Functions return an error if the device fails.

pub mod args;
pub mod cases;
pub mod lab;
pub mod model;
pub mod objective;
pub mod operations;
pub mod paired;
pub mod peer;
pub mod report;

use std::error::Error;

use flowrl_core::backend::CpuBackend;
use flowrl_core::random::{Purpose, Stream};

/// Any error of a case.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The device of every case.
pub type Cpu = CpuBackend<f32>;

/// Returns `len` numbers uniform in [low, high), which depend only on `salt`.
pub fn uniform(salt: u32, len: usize, low: f64, high: f64) -> Vec<f32> {
    let stream = Stream::new(0, Purpose::Init);
    (0..len).map(|i| (low + (high - low) * stream.uniform(salt, 0, i as u32)) as f32).collect()
}

/// Returns `len` tokens below `vocab`, which depend only on `salt`.
pub fn tokens(salt: u32, len: usize, vocab: usize) -> Vec<u32> {
    let stream = Stream::new(0, Purpose::Task);
    (0..len).map(|i| stream.below(vocab as u64, salt, 0, i as u32) as u32).collect()
}
