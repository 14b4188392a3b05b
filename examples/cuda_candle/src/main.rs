//! Computes log-probabilities of a candle model with FlowRL's kernels, without a copy through the host. Candle needs
//! nvcc, so run it on a machine with the CUDA toolkit: `cd examples/cuda_candle && cargo run --release --features cuda`
//!
//! Candle keeps its context and its stream, and FlowRL works on that stream. The storage of a tensor may be shared, so
//! FlowRL gets a copy on the device. The result becomes a candle tensor without a copy.

#[cfg(not(feature = "cuda"))]
fn main() {
    println!("built without the feature `cuda`, which needs the CUDA toolkit: cargo run --release --features cuda");
}

#[cfg(feature = "cuda")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use candle_core::{D, Device, Tensor};

    let device = Device::new_cuda(0)?;
    let logits = Tensor::randn(0.0_f32, 1.0, (4, 1000), &device)?;
    let targets = vec![0_u32, 7, 14, 500];
    let ours = logits.apply_op1(cuda::LogProb { targets: targets.clone() })?;

    let all = logits.broadcast_sub(&logits.exp()?.sum_keepdim(D::Minus1)?.log()?)?;
    let theirs = all.gather(&Tensor::new(targets, &device)?.unsqueeze(1)?, 1)?.squeeze(1)?;
    let apart = (ours - theirs)?.abs()?.max(0)?.to_scalar::<f32>()?;
    println!("largest difference to candle's log-softmax: {apart:.1e}");
    if apart < 1e-5 { Ok(()) } else { Err("FlowRL's log-probabilities differ from candle's".into()) }
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::backend::BackendStorage;
    use candle_core::{CpuStorage, CudaStorage, CustomOp1, Error, Layout, Result, Shape};
    use flowrl_core::backend::Backend;
    use flowrl_cuda::{CudaBackend, Precision};

    /// The log-softmax of (rows, vocab) logits at one target per row.
    pub(crate) struct LogProb {
        pub(crate) targets: Vec<u32>,
    }

    impl CustomOp1 for LogProb {
        fn name(&self) -> &'static str {
            "flowrl-log-prob"
        }

        fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
            Err(Error::msg("this example runs only on a GPU"))
        }

        fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
            let (rows, vocab) = layout.shape().dims2()?;
            let (start, end) = layout.contiguous_offsets().ok_or_else(|| Error::msg("logits must be contiguous"))?;
            let device = storage.device().clone();
            let stream = device.cuda_stream();
            let logits = stream.clone_dtod(&storage.as_cuda_slice::<f32>()?.slice(start..end)).map_err(Error::wrap)?;

            let run = || {
                let gpu = CudaBackend::with_stream(stream.clone(), Precision::F32)?;
                let logits = gpu.adopt(logits)?;
                let targets = gpu.index(&self.targets)?;
                let (mut log_prob, mut log_sum_exp, mut entropy) =
                    (gpu.zeros(rows)?, gpu.zeros(rows)?, gpu.zeros(rows)?);
                let (log_sum_exp, entropy) = (&mut log_sum_exp, &mut entropy);
                gpu.log_prob(&logits, &targets, (rows, vocab), 1.0, &mut log_prob, log_sum_exp, entropy)?;
                gpu.release(log_prob)
            };
            Ok((CudaStorage::wrap_cuda_slice(run().map_err(Error::wrap)?, device), Shape::from(rows)))
        }
    }
}
