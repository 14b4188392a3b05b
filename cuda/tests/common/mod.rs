//! One body per operation, run on the CPU, in the emulator and, where there is one, on a GPU.

pub(crate) mod batches;

use flowrl_core::backend::{Backend, Role};
use flowrl_core::random::{Purpose, Stream};
use flowrl_cuda::{CudaBackend, EmulatorOptions, Error, Precision, Schedule};

/// A seeded standard normal number for each index.
pub(crate) fn normals(seed: u64, len: usize) -> Vec<f32> {
    let stream = Stream::new(seed, Purpose::Init);
    (0..len as u32).map(|i| stream.normal(0, 0, i) as f32).collect()
}

/// The emulator in one order of threads.
pub(crate) fn emulated(precision: Precision, schedule: Schedule) -> CudaBackend {
    CudaBackend::emulated(EmulatorOptions { schedule, threads: 1, flags: sanitizer() }, precision)
}

/// `-fsanitize=…` where the sanitizers' chore asks for it.
fn sanitizer() -> Vec<String> {
    std::env::var("FLOWRL_EMULATOR_FLAGS")
        .map_or(Vec::new(), |flags| flags.split_whitespace().map(Into::into).collect())
}

/// The first GPU, or why there is none.
pub(crate) fn gpu(precision: Precision) -> Result<CudaBackend, Error> {
    CudaBackend::new(0, precision)
}

/// Numbers on a device as it stores them, and what it stores: bf16 rounds.
pub(crate) fn stored<B: Backend<Real = f32>>(device: &B, role: Role, values: &[f32]) -> (B::Buffer, Vec<f64>) {
    let mut buffer = device.zeros_for(role, values.len()).unwrap();
    device.write(&mut buffer, 0, values).unwrap();
    // What a product reads of a weight is rounded; what `read` gives is its master copy.
    let mut plain = device.zeros_for(Role::Activation, values.len()).unwrap();
    device.write(&mut plain, 0, values).unwrap();
    let kept = numbers(device, &plain);
    (buffer, kept)
}

/// All elements, as f64.
pub(crate) fn numbers<B: Backend<Real = f32>>(device: &B, buffer: &B::Buffer) -> Vec<f64> {
    let mut out = vec![0.0; device.len(buffer)];
    device.read(buffer, 0, &mut out).unwrap();
    out.into_iter().map(f64::from).collect()
}

/// All elements' bits.
pub(crate) fn bits<B: Backend<Real = f32>>(device: &B, buffer: &B::Buffer) -> Vec<u32> {
    let mut out = vec![0.0_f32; device.len(buffer)];
    device.read(buffer, 0, &mut out).unwrap();
    out.into_iter().map(f32::to_bits).collect()
}

/// How far a result may be from the truth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    /// Times the largest magnitude of the true result.
    pub(crate) relative: f64,
    /// Whether results are stored as bf16, which rounds by up to 2⁻⁹ of each.
    pub(crate) bf16: bool,
}

impl Tolerance {
    /// f32 against the CPU: 1e-5 of the largest element.
    pub(crate) const F32: Self = Self { relative: 1e-5, bf16: false };
    /// bf16: what rounding the exact result loses, and as much as f32 may lose.
    pub(crate) const BF16: Self = Self { relative: 1e-5, bf16: true };
}

/// Asserts that every element of `got` is near `want`. For bf16, the rule |exact − kernel| ≤ |exact − naive| + tolerance with the exact
/// result rounded once as the naive one, and one unit in the last place for a tie that falls the other way.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: Tolerance) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    let largest = want.iter().filter(|x| x.is_finite()).fold(0.0, |m: f64, x| m.max(x.abs()));
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let rounding = if tolerance.bf16 { want.abs() / 256.0 } else { 0.0 };
        let allowed = tolerance.relative * largest.max(1e-30) + rounding;
        let same = got == want || (got - want).abs() <= allowed;
        assert!(same, "{what}[{i}]: got {got}, want {want}, allowed {allowed}");
    }
}

/// Makes a module of tests for each device out of bodies `fn body<B: TransformerBackend<Real = f32>>(device: &B, tolerance: Tolerance)`.
#[macro_export]
macro_rules! on_every_device {
    ($($body:ident),* $(,)?) => {
        mod on_cpu {
            $(#[test] fn $body() {
                super::$body(&flowrl_core::backend::CpuBackend::<f32>::new(1), $crate::common::Tolerance::F32);
            })*
        }
        mod on_emulated_f32 {
            $(#[test] fn $body() {
                for schedule in [flowrl_cuda::Schedule::Forward, flowrl_cuda::Schedule::Reverse, flowrl_cuda::Schedule::Random(7)] {
                    let device = $crate::common::emulated(flowrl_cuda::Precision::F32, schedule);
                    super::$body(&device, $crate::common::Tolerance::F32);
                }
            })*
        }
        mod on_emulated_bf16 {
            $(#[test] fn $body() {
                let device = $crate::common::emulated(flowrl_cuda::Precision::Bf16, flowrl_cuda::Schedule::Random(3));
                super::$body(&device, $crate::common::Tolerance::BF16);
            })*
        }
        mod on_gpu {
            $(#[test] fn $body() {
                use flowrl_cuda::Precision::{Bf16, F32};
                for (precision, tolerance) in [(F32, $crate::common::Tolerance::F32), (Bf16, $crate::common::Tolerance::BF16)] {
                    match $crate::common::gpu(precision) {
                        Ok(device) => super::$body(&device, tolerance),
                        Err(error) => println!("skipped, no GPU: {error}"),
                    }
                }
            })*
        }
    };
}
