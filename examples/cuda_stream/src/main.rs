//! FlowRL's kernels in another CUDA program: they share a stream and memory, without a copy through the host. `cargo
//! xtask examples cuda_stream` runs it. If there is no GPU, this program says so and exits.
//!
//! The program has its own kernel, which computes logits. FlowRL turns them into log-probabilities and then, in place,
//! into the gradient of Σ d·log π. All of this runs on the program's stream, so the host never waits in between.

use std::error::Error;

use cudarc::driver::{CudaContext, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::compile_ptx;
use flowrl_core::backend::Backend;
use flowrl_cuda::{CudaBackend, Error as CudaError, Precision, probe};

const ROWS: usize = 4;
const VOCAB: usize = 1000;

/// The other program's kernel. It computes logits of a model that prefers tokens near 7·row.
const KERNEL: &str = r#"
extern "C" __global__ void model(float* logits, unsigned vocab) {
    unsigned row = blockIdx.x, token = threadIdx.x + blockIdx.y * blockDim.x;
    if (token < vocab) logits[row * vocab + token] = -0.01f * fabsf((float)token - 7.0f * row);
}
"#;

fn main() -> Result<(), Box<dyn Error>> {
    if let Err(missing @ CudaError::NoCuda { .. }) = probe() {
        println!("skipped: {missing}");
        return Ok(());
    }
    // The other program has its own context, stream and memory.
    let context = CudaContext::new(0)?;
    let stream = context.new_stream()?;
    let kernel = context.load_module(compile_ptx(KERNEL)?)?.load_function("model")?;
    let mut logits = stream.alloc_zeros::<f32>(ROWS * VOCAB)?;
    let config = LaunchConfig { grid_dim: (ROWS as u32, 4, 1), block_dim: (256, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the kernel writes ROWS·VOCAB floats.
    unsafe { stream.launch_builder(&kernel).arg(&mut logits).arg(&(VOCAB as u32)).launch(config) }?;

    // FlowRL uses the same stream and memory.
    let gpu = CudaBackend::with_stream(stream.clone(), Precision::F32)?;
    let mut logits = gpu.adopt(logits)?;
    let targets = gpu.index(&[0, 7, 14, 500])?;
    let (mut log_prob, mut log_sum_exp, mut entropy) = (gpu.zeros(ROWS)?, gpu.zeros(ROWS)?, gpu.zeros(ROWS)?);
    gpu.log_prob(&logits, &targets, (ROWS, VOCAB), 1.0, &mut log_prob, &mut log_sum_exp, &mut entropy)?;
    let upstream = gpu.upload(&[1.0; ROWS])?;
    gpu.log_prob_backward(&mut logits, &targets, (ROWS, VOCAB), 1.0, &log_sum_exp, &upstream, None)?;

    // The gradient becomes a slice of the other program again.
    let gradient = stream.clone_dtoh(&gpu.release(logits)?)?;
    let log_probs = stream.clone_dtoh(&gpu.release(log_prob)?)?;
    for (row, (log_prob, gradient)) in log_probs.iter().zip(gradient.chunks(VOCAB)).enumerate() {
        // The gradient of a log-softmax sums to 0.
        let sum: f32 = gradient.iter().sum();
        println!("row {row}: log p {log_prob:.4}, sum of the gradient {sum:+.1e}");
        if sum.abs() > 1e-4 {
            return Err("the gradient of a log-probability must sum to 0 over the vocabulary".into());
        }
    }
    Ok(())
}
