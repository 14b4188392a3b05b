//! Conversion between f32 and the bytes on disk.

use half::{bf16, f16};
use safetensors::Dtype as Stored;

use crate::config::Dtype;

/// The types of safetensors that can be read and written.
const STORED: [(Dtype, Stored); 3] =
    [(Dtype::F32, Stored::F32), (Dtype::F16, Stored::F16), (Dtype::Bf16, Stored::BF16)];

impl Dtype {
    /// Returns the type of safetensors for this one.
    pub(super) fn stored(self) -> Stored {
        STORED[self as usize].1
    }

    /// Returns the type for one of safetensors, if it can be read.
    pub(super) fn of_stored(stored: Stored) -> Option<Self> {
        STORED.into_iter().find(|(_, other)| *other == stored).map(|(dtype, _)| dtype)
    }
}

/// Converts little-endian `bytes` of type `dtype` to f32, exactly. `bytes` holds `out.len()` elements.
pub(super) fn decode(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        Dtype::F32 => each(bytes, out, f32::from_le_bytes),
        Dtype::F16 => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::Bf16 => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    let (chunks, _) = bytes.as_chunks::<N>();
    for (out, chunk) in out.iter_mut().zip(chunks) {
        *out = convert(*chunk);
    }
}

/// Converts `values` to little-endian bytes of type `dtype`, rounding to the nearest with ties to even.
pub(super) fn encode(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    match dtype {
        Dtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        Dtype::Bf16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(dtype: Dtype, x: f32) -> f32 {
        let mut out = [0.0];
        decode(dtype, &encode(dtype, &[x]), &mut out);
        out[0]
    }

    #[test]
    fn bf16_rounds_to_nearest_even() {
        // One bf16 step above 1 is 2⁻⁷; halfway points are rounded to the even neighbour.
        let step = 1.0 / 128.0;
        assert_eq!(through(Dtype::Bf16, 1.0 + 0.5 * step), 1.0);
        assert_eq!(through(Dtype::Bf16, 1.0 + 1.5 * step), 1.0 + 2.0 * step);
        assert_eq!(through(Dtype::Bf16, 1.0 + 0.51 * step), 1.0 + step);
        assert_eq!(through(Dtype::Bf16, -1.0 - 1.5 * step), -1.0 - 2.0 * step);
        assert_eq!(through(Dtype::Bf16, f32::MAX), f32::INFINITY);
        assert!(through(Dtype::Bf16, f32::NAN).is_nan());
    }

    #[test]
    fn every_half_comes_back() {
        for bits in 0..=u16::MAX {
            let (x, y) = (f16::from_bits(bits).to_f32(), bf16::from_bits(bits).to_f32());
            assert!(x.is_nan() || through(Dtype::F16, x).to_bits() == x.to_bits());
            assert!(y.is_nan() || through(Dtype::Bf16, y).to_bits() == y.to_bits());
        }
    }
}
