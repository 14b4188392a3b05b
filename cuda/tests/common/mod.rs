//! Test bodies that run on the CPU, in the emulator and, if there is one, on a GPU.

pub(crate) mod batches;

use flowrl_core::backend::{Backend, Role};
use flowrl_core::random::{Purpose, Stream};
use flowrl_cuda::{CudaBackend, EmulatorOptions, Error, Precision, Schedule};

/// Returns seeded standard normal numbers, one for each index.
pub(crate) fn normals(seed: u64, len: usize) -> Vec<f32> {
    let stream = Stream::new(seed, Purpose::Init);
    (0..len as u32).map(|i| stream.normal(0, 0, i) as f32).collect()
}

/// Creates the emulator with one schedule and one thread.
pub(crate) fn emulated(precision: Precision, schedule: Schedule) -> CudaBackend {
    CudaBackend::emulated(EmulatorOptions { schedule, threads: 1, flags: sanitizer() }, precision)
}

/// Returns the compiler flags `-fsanitize=…` if the sanitizers' chore sets them.
fn sanitizer() -> Vec<String> {
    std::env::var("FLOWRL_EMULATOR_FLAGS")
        .map_or(Vec::new(), |flags| flags.split_whitespace().map(Into::into).collect())
}

/// Opens the first GPU. Returns an error if there is none, and tests then skip.
pub(crate) fn gpu(precision: Precision) -> Result<CudaBackend, Error> {
    CudaBackend::new(0, precision)
}

/// Stores numbers on a device. Returns the buffer and the stored numbers, which are rounded if this device stores bf16.
pub(crate) fn stored<B: Backend<Real = f32>>(device: &B, role: Role, values: &[f32]) -> (B::Buffer, Vec<f64>) {
    let mut buffer = device.zeros_for(role, values.len()).unwrap();
    device.write(&mut buffer, 0, values).unwrap();
    // Products read a weight rounded, while `read` returns its f32 master copy.
    let mut plain = device.zeros_for(Role::Activation, values.len()).unwrap();
    device.write(&mut plain, 0, values).unwrap();
    let kept = numbers(device, &plain);
    (buffer, kept)
}

/// Returns all elements as f64.
pub(crate) fn numbers<B: Backend<Real = f32>>(device: &B, buffer: &B::Buffer) -> Vec<f64> {
    let mut out = vec![0.0; device.len(buffer)];
    device.read(buffer, 0, &mut out).unwrap();
    out.into_iter().map(f64::from).collect()
}

/// Returns the bits of all elements.
pub(crate) fn bits<B: Backend<Real = f32>>(device: &B, buffer: &B::Buffer) -> Vec<u32> {
    let mut out = vec![0.0_f32; device.len(buffer)];
    device.read(buffer, 0, &mut out).unwrap();
    out.into_iter().map(f32::to_bits).collect()
}

/// How far a result may be from the exact one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    /// Tolerance as a fraction of the largest magnitude of the exact result.
    pub(crate) relative: f64,
    /// Whether results are stored as bf16, which rounds by up to 2⁻⁹ of each.
    pub(crate) bf16: bool,
}

impl Tolerance {
    /// f32 results compared with the CPU: 1e-5 of the largest element.
    pub(crate) const F32: Self = Self { relative: 1e-5, bf16: false };
    /// bf16 results: the error of rounding the exact result, plus the tolerance of f32.
    pub(crate) const BF16: Self = Self { relative: 1e-5, bf16: true };
}

/// Asserts that every element of `got` is close to `wanted`. For bf16 this means |exact − kernel| ≤ |exact − naive| +
/// tolerance, with the exact result rounded once as the naive one, plus one unit in the last place for a tie that
/// rounds the other way.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f64], wanted: &[f64], tolerance: Tolerance) {
    assert_eq!(got.len(), wanted.len(), "{what}: lengths");
    let largest = wanted.iter().filter(|x| x.is_finite()).fold(0.0, |m: f64, x| m.max(x.abs()));
    for (i, (&got, &wanted)) in got.iter().zip(wanted).enumerate() {
        let rounding = if tolerance.bf16 { wanted.abs() / 256.0 } else { 0.0 };
        let allowed = tolerance.relative * largest.max(1e-30) + rounding;
        let same = got == wanted || (got - wanted).abs() <= allowed;
        assert!(same, "{what}[{i}]: got {got}, wanted {wanted}, allowed {allowed}");
    }
}

/// Generates a test module for each device from bodies of the form `fn body<B: TransformerBackend<Real = f32>>(device:
/// &B, tolerance: Tolerance)`.
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
