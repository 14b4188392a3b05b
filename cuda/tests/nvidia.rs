//! Tests of features that only a GPU has: contexts, streams and memory shared with other programs. On a machine without
//! a GPU, `cargo xtask stand-in` runs them.

mod on_gpu {
    use std::error::Error as StdError;

    use std::sync::Arc;

    use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DriverError, PinnedHostSlice};
    use flowrl_core::backend::{Backend, CpuBackend, LinearShape, Role};
    use flowrl_cuda::{CudaBackend, Error, Precision};
    use flowrl_lm::backend::{Heads, Layout, Span, TransformerBackend};

    use crate::common::{Tolerance, assert_close, gpu, normals, numbers, stored};

    type Outcome = Result<(), Box<dyn StdError>>;

    /// Runs a body if there is a GPU.
    fn with_gpu(precision: Precision, body: impl FnOnce(CudaBackend) -> Outcome) {
        match gpu(precision) {
            Ok(device) => body(device).unwrap(),
            Err(error) => println!("skipped, no GPU: {error}"),
        }
    }

    #[test]
    fn any_thread_can_drop_what_another_made() {
        with_gpu(Precision::F32, |device| {
            let buffer = device.upload(&[1.0; 1000])?;
            let copy = device.clone();
            std::thread::scope(|scope| scope.spawn(|| drop(buffer)).join().unwrap());
            // If the drop failed, this upload would report it.
            assert_eq!(numbers(&device, &device.upload(&[2.0])?), [2.0]);
            drop(device);
            std::thread::spawn(|| drop(copy)).join().unwrap();
            Ok(())
        });
    }

    #[test]
    fn a_backend_works_on_several_threads() {
        with_gpu(Precision::Bf16, |device| {
            let oracle = CpuBackend::<f64>::reference();
            let work = |seed: u64| {
                // Threads use several sizes of shared memory and products at the same time.
                for round in 0..3 {
                    let shape = LinearShape { rows: 5, inputs: 24, outputs: 7 };
                    let (x, x_kept) = stored(&device, Role::Activation, &normals(seed + round, 5 * 24));
                    let (w, w_kept) = stored(&device, Role::Activation, &normals(seed + round + 100, 24 * 7));
                    let mut y = device.zeros(5 * 7).unwrap();
                    let mut wanted = vec![0.0; 5 * 7];
                    device.linear(&x, &w, None, &mut y, shape, false).unwrap();
                    oracle.linear(&x_kept, &w_kept, None, &mut wanted, shape, false).unwrap();
                    assert_close("y", &numbers(&device, &y), &wanted, Tolerance::F32);
                    attend(&device, 1 << (3 + (seed + round) % 4));
                }
            };
            std::thread::scope(|scope| (0..4).for_each(|seed| drop(scope.spawn(move || work(10 * seed)))));
            Ok(())
        });
    }

    /// Runs attention forward and backward with heads of this width. Returns an error if the device does not support
    /// it.
    fn try_attention(device: &CudaBackend, head_dim: usize) -> Result<(), Error> {
        let heads = Heads { heads: 2, kv_heads: 1, head_dim };
        let layout =
            Layout { spans: vec![Span { start: 0, len: 9, prefix_start: 0, prefix_len: 0 }], groups: vec![0, 1] };
        let (width, q_width) = (4 * head_dim, 2 * head_dim);
        let (qkv, _) = stored(device, Role::Activation, &normals(1, 9 * width));
        let (d_out, _) = stored(device, Role::Activation, &normals(2, 9 * q_width));
        let mut out = device.zeros_for(Role::Activation, 9 * q_width)?;
        let mut d_qkv = device.zeros_for(Role::Activation, 9 * width)?;
        let mut log_sum_exp = device.zeros(9 * 2)?;
        device.attention(&qkv, &layout, heads, &mut out, &mut log_sum_exp)?;
        device.attention_backward(&qkv, &out, &log_sum_exp, &d_out, &layout, heads, &mut d_qkv)?;
        assert!(numbers(device, &d_qkv).iter().all(|x| x.is_finite()));
        Ok(())
    }

    fn attend(device: &CudaBackend, head_dim: usize) {
        try_attention(device, head_dim).unwrap();
    }

    /// Consumer GPUs have 99 KiB of shared memory per block.
    #[test]
    fn every_gpu_takes_heads_of_64_in_f32() {
        with_gpu(Precision::F32, |device| {
            [2, 16, 18, 64].into_iter().for_each(|head_dim| attend(&device, head_dim));
            Ok(())
        });
    }

    /// Whether these heads run depends on the GPU. A GPU that cannot run them must report why.
    #[test]
    fn heads_that_need_more_shared_memory_run_or_are_refused() {
        with_gpu(Precision::F32, |device| {
            for head_dim in [128, 256] {
                match try_attention(&device, head_dim) {
                    Ok(()) => println!("heads of {head_dim} run"),
                    Err(error) => assert!(error.to_string().contains("shared memory"), "{error}"),
                }
            }
            Ok(())
        });
    }

    #[test]
    fn a_callers_stream_and_memory() {
        with_gpu(Precision::F32, |_| {
            let context = CudaContext::new(0)?;
            let stream = context.new_stream()?;
            let other = context.new_stream()?;
            let device = CudaBackend::with_stream(stream.clone(), Precision::F32)?;
            // Work queued on another stream finishes first, without a wait on the host.
            let (slice, _pinned) = uploaded(&other, &[3.0, 4.0])?;
            let mut adopted = device.adopt(slice)?;
            assert_eq!(device.sum_squares(&adopted, 2)?, 25.0);
            device.fill(&mut adopted, 5.0, 1)?;
            let released = device.release(adopted)?;
            assert_eq!(released.stream(), &stream);
            let numbers = stream.clone_dtoh(&released)?;
            stream.synchronize()?;
            assert_eq!(numbers, [5.0, 4.0]);
            // Memory can go back and forth without a copy any number of times.
            let adopted = device.adopt(released)?;
            assert_eq!(device.len(&adopted), 2);
            assert_eq!(device.sum_squares(&adopted, 2)?, 41.0);
            Ok(())
        });
    }

    /// Uploads numbers. Also returns their pinned source, which waits for the stream when it is dropped.
    fn uploaded(
        stream: &Arc<CudaStream>,
        values: &[f32],
    ) -> Result<(CudaSlice<f32>, PinnedHostSlice<f32>), DriverError> {
        // SAFETY: every element is written before it is read.
        let mut pinned = unsafe { stream.context().alloc_pinned(values.len()) }?;
        pinned.as_mut_slice()?.copy_from_slice(values);
        Ok((stream.clone_htod(&pinned)?, pinned))
    }

    #[test]
    fn part_of_an_allocation_cannot_be_taken_over() {
        with_gpu(Precision::F32, |_| {
            let stream = CudaContext::new(0)?.new_stream()?;
            let device = CudaBackend::with_stream(stream.clone(), Precision::F32)?;
            let (whole, _pinned) = uploaded(&stream, &[1.0; 100])?;
            stream.synchronize()?;
            let (start, _guard) = whole.device_ptr(&stream);
            // SAFETY: the memory holds that many numbers, and the slice never frees it because it is not taken over.
            let part = unsafe { stream.upgrade_device_ptr::<f32>(start + 16, 96) };
            let error = device.adopt(part).unwrap_err().to_string();
            assert!(error.contains("multiple of 256") && error.contains("clone_dtod"), "{error}");
            Ok(())
        });
    }

    /// Uploads more at once than the ring of pinned memory holds, and many small pieces, and changes the host memory at
    /// once.
    #[test]
    fn uploads_are_what_they_were_when_they_were_asked_for() {
        with_gpu(Precision::F32, |device| {
            let mut values = normals(1, 5 << 20);
            let large = device.upload(&values)?;
            let wanted = values.clone();
            values.fill(f32::NAN);
            let mut small = device.zeros(4096)?;
            for i in 0..4096_u16 {
                device.write(&mut small, i.into(), &[f32::from(i)])?;
            }
            let pieces: Vec<_> =
                (0..9_u8).map(|i| device.upload(&vec![f32::from(i); 1 << 18])).collect::<Result<_, _>>()?;
            assert!(numbers(&device, &large).iter().zip(wanted).all(|(got, wanted)| *got == f64::from(wanted)));
            assert!(numbers(&device, &small).iter().enumerate().all(|(i, got)| *got == i as f64));
            for (i, piece) in pieces.iter().enumerate() {
                assert!(numbers(&device, piece).iter().all(|got| *got == i as f64), "piece {i}");
            }
            Ok(())
        });
    }

    #[test]
    fn buffers_of_two_backends_do_not_meet() {
        with_gpu(Precision::F32, |one| {
            let two = gpu(Precision::F32)?;
            let (x, mut y) = (one.upload(&[1.0])?, two.upload(&[1.0])?);
            assert!(one.gelu(&x, &mut y, 1).unwrap_err().to_string().contains("another device"));
            Ok(())
        });
    }

    #[test]
    fn memory_that_is_not_there() {
        with_gpu(Precision::F32, |device| {
            let free = |wanted: usize| match device.zeros(wanted / 4) {
                Err(Error::OutOfMemory { wanted: got, free }) if got == wanted => free,
                other => panic!("{:?}", other.map(|buffer| device.len(&buffer))),
            };
            const LARGE: usize = 1 << 50;
            // Other tests allocate at the same time as this one, but not as much.
            const PIECE: usize = 1 << 29;
            let before = free(LARGE);
            let piece = device.zeros(PIECE / 4)?;
            device.synchronize()?;
            let during = free(LARGE);
            drop(piece);
            device.synchronize()?;
            let after = free(LARGE);
            assert!(before > during + PIECE / 2, "{before} bytes, {during} with {PIECE} bytes more in use");
            // Memory that the driver keeps for the next allocation counts as free.
            assert!(after > during + PIECE / 2, "{during} bytes, {after} after {PIECE} bytes were freed");
            Ok(())
        });
    }

    #[test]
    fn a_device_that_is_not_there() {
        with_gpu(Precision::F32, |_| {
            let error = CudaBackend::new(1000, Precision::F32).unwrap_err().to_string();
            assert!(error.contains("open GPU 1000") && error.contains("INVALID_DEVICE"), "{error}");
            Ok(())
        });
    }
}
