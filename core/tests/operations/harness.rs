//! Shared code for the operation tests of any backend, with inputs and outputs in double precision.

use flowrl_core::Real;
use flowrl_core::backend::{Backend, CpuBackend};
use flowrl_core::random::{Purpose, Stream};

/// Largest allowed deviation from the double-precision reference, relative to 1 + |value|.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance(pub(crate) f64);

/// Tolerance in double precision, for the error of finite differences and a little rounding.
pub(crate) const DOUBLE: Tolerance = Tolerance(1e-8);
/// Tolerance in single precision, fast or not.
pub(crate) const SINGLE: Tolerance = Tolerance(2e-5);

/// Returns the double-precision reference that every backend is compared with.
pub(crate) const fn reference() -> CpuBackend<f64> {
    CpuBackend::reference()
}

/// Draws standard normal numbers that single precision represents exactly.
pub(crate) fn numbers(seed: u32, count: usize) -> Vec<f64> {
    let stream = Stream::new(11, Purpose::Init);
    (0..count).map(|i| f64::from(stream.normal(seed, 0, i as u32) as f32)).collect()
}

pub(crate) fn upload<B: Backend>(b: &B, x: &[f64]) -> B::Buffer {
    b.upload(&x.iter().map(|&v| B::Real::of(v)).collect::<Vec<_>>()).expect("memory")
}

pub(crate) fn read<B: Backend>(b: &B, x: &B::Buffer) -> Vec<f64> {
    let mut out = vec![B::Real::of(0.0); b.len(x)];
    b.read(x, 0, &mut out).expect("the whole buffer");
    out.into_iter().map(Real::f64).collect()
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f64], wanted: &[f64], Tolerance(tolerance): Tolerance) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!(
            (got - wanted).abs() <= tolerance * (1.0 + wanted.abs()),
            "{what}[{i}]: got {got:e}, wanted {wanted:e}"
        );
    }
}

/// Compares a gradient with central differences of `loss` around `x`, at no more than 80 evenly spaced elements.
#[track_caller]
pub(crate) fn assert_gradient(
    what: &str,
    gradient: &[f64],
    x: &[f64],
    tolerance: Tolerance,
    loss: impl Fn(&[f64]) -> f64,
) {
    assert_eq!(gradient.len(), x.len(), "{what}");
    for i in (0..x.len()).step_by((x.len() / 40).max(1)) {
        // This is Richardson's extrapolation of two central differences, with an error of the order h⁴.
        let central = |h: f64| {
            let at = |shift: f64| {
                let mut moved = x.to_vec();
                moved[i] += shift;
                loss(&moved)
            };
            (at(h) - at(-h)) / (2.0 * h)
        };
        let wanted = (4.0 * central(5e-4) - central(1e-3)) / 3.0;
        assert_close(&format!("{what}, element {i}"), &gradient[i..=i], &[wanted], tolerance);
    }
}

/// Runs test bodies `fn body<B: Backend>(backend: &B, tolerance: Tolerance)` on every CPU backend. To test another
/// device, call the same bodies with its backend.
macro_rules! on_every_cpu_backend {
    ($($body:path => $name:ident,)*) => { $(
        #[test]
        fn $name() {
            use flowrl_core::backend::CpuBackend;
            $body(&CpuBackend::<f64>::reference(), harness::DOUBLE);
            $body(&CpuBackend::<f32>::reference(), harness::SINGLE);
            for threads in 1..=3 {
                $body(&CpuBackend::<f64>::new(threads), harness::DOUBLE);
                $body(&CpuBackend::<f32>::new(threads), harness::SINGLE);
            }
        }
    )* };
}
pub(crate) use on_every_cpu_backend;
