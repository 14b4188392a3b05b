//! The kernels of the CPU: plain functions over slices. The reference and the fast path share their bodies.
//!
//! The result of a kernel never depends on the number of rows: row r of the output is a function of row r of the input,
//! summed in a fixed order, so a sequence's score has the same bits in any batch and on any number of threads. Products
//! are never contracted to fused multiply-adds here, so the vector width and the instruction set change no bit either.
//!
//! The two paths differ in the exponential ([`Math`]), in the matrix product, and in whether rows are spread over
//! threads.

pub mod gelu;
pub mod lanes;
mod math;
pub mod matmul;
pub mod norm;
pub mod optim;
#[cfg(feature = "fast")]
pub(crate) mod panel;
pub mod softmax;

pub use math::{Fast, Math, Precise};
pub(crate) use math::{exp_f32, normal_f32};

/// Runs `f` with the widest vector instructions of this machine. Without the feature `fast` this just runs
/// `f`.
///
/// `f` and everything that it calls should be `#[inline(always)]`; otherwise it is compiled for the target's baseline.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(feature = "fast")]
    {
        struct Op<F>(F);
        impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Op<F> {
            type Output = R;
            #[inline(always)]
            fn call(self) -> R {
                (self.0)()
            }
        }
        pulp::Arch::new().dispatch(Op(f))
    }
    #[cfg(not(feature = "fast"))]
    f()
}

/// Evaluates an expression by [`vectorized`](crate::kernel::vectorized).
#[macro_export]
#[doc(hidden)]
macro_rules! vectorize {
    ($call:expr) => {
        $crate::kernel::vectorized(
            #[inline(always)]
            || $call,
        )
    };
}

/// Calls a kernel that is generic over [`Math`] with the arithmetic of this backend: vectorised on the fast path, plain
/// on the reference. The reference need not be fast, so it is not compiled for every instruction set.
#[macro_export]
#[doc(hidden)]
macro_rules! with_math {
    ($backend:expr, $math:ident => $call:expr) => {
        if $backend.is_fast() {
            type $math = $crate::kernel::Fast;
            $crate::vectorize!($call)
        } else {
            type $math = $crate::kernel::Precise;
            $call
        }
    };
}
