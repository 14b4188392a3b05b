//! Hashes many numbers into one by FNV-1a over their bits. If a single bit changes, so does this hash.

use flowrl_core::Real;

/// Returns the digest of some numbers.
pub(crate) fn digest<T: Real>(values: &[T]) -> String {
    // The conversion from T to f64 is exact, so these bits identify the value.
    let bytes = values.iter().flat_map(|value| value.f64().to_bits().to_le_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
