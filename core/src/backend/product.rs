//! Matrix products of the fast path, through ndarray's safe interface to `matrixmultiply`, which sums every element in
//! an order that does not depend on the number of rows. Threads share the rows or the columns of the result, never the
//! terms of a sum.

use alloc::vec::Vec;

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, Axis};

use crate::Real;
use crate::backend::Pool;

/// Computes c (m, n) = a (m, k)·b (k, n) + beta·c.
pub(super) fn product<T: Real>(
    pool: &Pool,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    beta: T,
    mut c: ArrayViewMut2<'_, T>,
) {
    let (m, n) = c.dim();
    let jobs = pool.jobs(m * n * a.ncols() / 8);
    if jobs == 1 {
        return general_mat_mul(T::one(), &a, &b, beta, &mut c);
    }
    // Blocks of 16 fit the kernels of every instruction set.
    let block = |n: usize| n.div_ceil(jobs).next_multiple_of(16);
    if m >= n {
        let size = block(m);
        let jobs: Vec<_> = a.axis_chunks_iter(Axis(0), size).zip(c.axis_chunks_iter_mut(Axis(0), size)).collect();
        pool.run(jobs, |(a, mut c)| general_mat_mul(T::one(), &a, &b, beta, &mut c));
    } else {
        let size = block(n);
        let jobs: Vec<_> = b.axis_chunks_iter(Axis(1), size).zip(c.axis_chunks_iter_mut(Axis(1), size)).collect();
        pool.run(jobs, |(b, mut c)| general_mat_mul(T::one(), &a, &b, beta, &mut c));
    }
}

/// Returns a row-major (rows, columns) view of the first elements of `x`. The caller has checked its length.
pub(super) fn view<T>(x: &[T], rows: usize, columns: usize) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((rows, columns), &x[..rows * columns]).expect("the slice has rows × columns elements")
}

/// Returns a mutable view like that of [`view`].
pub(super) fn view_mut<T>(x: &mut [T], rows: usize, columns: usize) -> ArrayViewMut2<'_, T> {
    ArrayViewMut2::from_shape((rows, columns), &mut x[..rows * columns]).expect("the slice has rows × columns elements")
}
