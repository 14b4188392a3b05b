//! Rotary position embedding in the halves convention: (a, b) → (a·cos − b·sin, b·cos + a·sin) for the elements
//! i and i + d/2 (Su et al., arXiv 2104.09864).

use flowrl_core::Real;

/// Rotates one head in place; `cos` and `sin` are (head_dim/2). The backward pass is the rotation by the
/// opposite angle.
#[inline(always)]
pub fn head<T: Real>(x: &mut [T], cos: &[T], sin: &[T], backward: bool) {
    let (low, high) = x.split_at_mut(cos.len());
    for (((a, b), &c), &s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
        let s = if backward { -s } else { s };
        (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
    }
}

/// Returns cos and sin of position·frequency, (positions, frequencies) each, computed in double precision.
pub fn table<T: Real>(positions: usize, frequencies: &[f64]) -> (Vec<T>, Vec<T>) {
    let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f64 * f));
    angles.map(|angle| (T::of(angle.cos()), T::of(angle.sin()))).unzip()
}
