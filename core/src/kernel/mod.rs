//! The kernels of the CPU: plain functions over slices, the same body for the reference and for the fast path.
//!
//! A kernel never depends on how many rows it is given: row r of the result is a function of row r of the input, summed in a
//! fixed order, so that a sequence scores to the same bits in any batch and on any number of threads. Products are never
//! contracted to fused multiply-adds here, so vector width and instruction set do not change a bit either.
//!
//! What differs between the two paths is the exponential ([`Math`]), the matrix product, and whether rows are spread over threads.

pub mod gelu;
pub mod lanes;
mod math;
pub mod matmul;
pub mod norm;
pub mod optim;
pub mod softmax;

pub use math::{Fast, Math, Precise};
pub(crate) use math::{exp_f32, normal_f32};

/// Runs `f` with the widest vector instructions of this machine. Without `std` it just runs `f`.
///
/// `f` and everything that it calls should be `#[inline(always)]`, or it is compiled for the baseline of the target.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(feature = "std")]
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
    #[cfg(not(feature = "std"))]
    f()
}
