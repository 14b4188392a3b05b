//! Products with the panels of a packed matrix, in one function for each type and width of vectors. `backend::packed`
//! describes the panels.

/// Number of inputs that are summed in registers before the sum is added to y.
pub(crate) const DEPTH: usize = 256;

/// A product of rows with a packed W: y (rows, outputs) = x (rows, inputs)·Wᵀ, or += if `accumulate` is set.
#[derive(Debug)]
pub struct Product<'a, T> {
    pub(crate) x: &'a [T],
    pub(crate) w: &'a [T],
    pub(crate) y: &'a mut [T],
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) accumulate: bool,
}

macro_rules! product {
    ($real:ident, $lanes:ident, $vectors:ident, $splat:ident, $add:ident, $mul_add:ident, $cast:ident, $cast_mut:ident) => {
        pub(crate) mod $real {
            use super::{DEPTH, Product};
            use pulp::{Arch, Simd, WithSimd};

            struct Width;

            impl WithSimd for Width {
                type Output = Option<usize>;
                #[inline(always)]
                fn with_simd<S: Simd>(self, _: S) -> Option<usize> {
                    let fused = cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) && S::$lanes > 1;
                    fused.then_some(2 * S::$lanes)
                }
            }

            pub(crate) fn panel_width() -> Option<usize> {
                Arch::new().dispatch(Width)
            }

            pub(crate) fn multiply(product: Product<'_, $real>) {
                Arch::new().dispatch(product);
            }

            impl WithSimd for Product<'_, $real> {
                type Output = ();
                #[inline(always)]
                fn with_simd<S: Simd>(self, simd: S) {
                    let Product { x, w, y, inputs, outputs, accumulate } = self;
                    let width = 2 * S::$lanes;
                    for (panel, first) in w.chunks_exact(width * inputs).zip((0..outputs).step_by(width)) {
                        let columns = width.min(outputs - first);
                        for (w, depth) in panel.chunks(width * DEPTH).zip((0..inputs).step_by(DEPTH)) {
                            let w = S::$cast(w).0.as_chunks::<2>().0;
                            let add = accumulate || depth > 0;
                            let (mut x, mut y) = (&x[depth..], &mut y[first..]);
                            let mut rows = y.len().div_ceil(outputs);
                            macro_rules! tiles {
                                ($size:literal) => {
                                    while rows >= $size {
                                        tile::<S, $size>(simd, x, inputs, w, y, outputs, columns, add);
                                        rows -= $size;
                                        x = x.get($size * inputs..).unwrap_or_default();
                                        y = y.get_mut($size * outputs..).unwrap_or_default();
                                    }
                                };
                            }
                            // Use as many sums as there are registers.
                            if S::REGISTER_COUNT > 16 {
                                tiles!(8);
                            }
                            tiles!(4);
                            tiles!(2);
                            tiles!(1);
                        }
                    }
                }
            }

            /// Computes the sums of `ROWS` rows with two vectors of outputs.
            #[inline(always)]
            fn tile<S: Simd, const ROWS: usize>(
                simd: S,
                x: &[$real],
                inputs: usize,
                w: &[[S::$vectors; 2]],
                y: &mut [$real],
                outputs: usize,
                columns: usize,
                add: bool,
            ) {
                let x: [&[$real]; ROWS] = core::array::from_fn(|r| &x[r * inputs..][..w.len()]);
                let mut sums = [[simd.$splat(0.0); 2]; ROWS];
                for (i, w) in w.iter().enumerate() {
                    for r in 0..ROWS {
                        let x = simd.$splat(x[r][i]);
                        for v in 0..2 {
                            sums[r][v] = simd.$mul_add(x, w[v], sums[r][v]);
                        }
                    }
                }
                for (sums, y) in sums.into_iter().zip(y.chunks_mut(outputs)) {
                    let y = &mut y[..columns];
                    if let ([low, high], []) = S::$cast_mut(y) {
                        *low = if add { simd.$add(*low, sums[0]) } else { sums[0] };
                        *high = if add { simd.$add(*high, sums[1]) } else { sums[1] };
                    } else {
                        let mut row = [0.0; 64];
                        let vectors = S::$cast_mut(&mut row).0;
                        (vectors[0], vectors[1]) = (sums[0], sums[1]);
                        for (y, sum) in y.iter_mut().zip(row) {
                            *y = if add { *y + sum } else { sum };
                        }
                    }
                }
            }
        }
    };
}

product!(f32, F32_LANES, f32s, splat_f32s, add_f32s, mul_add_f32s, as_simd_f32s, as_mut_simd_f32s);
product!(f64, F64_LANES, f64s, splat_f64s, add_f64s, mul_add_f64s, as_simd_f64s, as_mut_simd_f64s);
