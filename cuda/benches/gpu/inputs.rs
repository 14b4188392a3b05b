//! Inputs computed by a formula, so that both sides get the same numbers. `benches/peers/gpu/inputs.py` is the twin of
//! this file and describes the formula.

use flowrl_core::backend::{Backend, Role};
use flowrl_cuda::{Buffer, CudaBackend, Index};

use crate::Failure;

/// Number of elements after which a tensor repeats. It is prime, so that the rows of a matrix differ.
const PERIOD: usize = 65_521;
/// Number of leading elements of a tensor that its fingerprint covers.
const LEADING: usize = 1 << 22;

/// Returns one period of the elements of the tensor called `name`.
pub(crate) fn table(name: &str, scale: f64, offset: f32) -> Vec<f32> {
    let seed = name.bytes().fold(2_166_136_261_u32, |h, byte| (h ^ u32::from(byte)).wrapping_mul(16_777_619));
    let number = |i: usize| {
        let mut h = (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
        for (shift, factor) in [(15, 2_246_822_519), (13, 3_266_489_917)] {
            h = (h ^ (h >> shift)).wrapping_mul(factor);
        }
        let u = ((h ^ (h >> 16)) >> 8) as f32 / (1 << 24) as f32;
        (u - 0.5) * scale as f32 + offset
    };
    (0..PERIOD).map(number).collect()
}

/// Fills `target[start..start + len]` with repetitions of a period.
pub(crate) fn tile(
    gpu: &CudaBackend,
    target: &mut Buffer,
    start: usize,
    len: usize,
    period: &[f32],
) -> Result<(), Failure> {
    for piece in (0..len).step_by(PERIOD) {
        gpu.write(target, start + piece, &period[..PERIOD.min(len - piece)])?;
    }
    Ok(())
}

/// Returns a tensor whose elements lie within ±`scale` / 2.
pub(crate) fn numbers(gpu: &CudaBackend, role: Role, name: &str, len: usize, scale: f64) -> Result<Buffer, Failure> {
    let mut buffer = gpu.zeros_for(role, len)?;
    tile(gpu, &mut buffer, 0, len, &table(name, scale, 0.0))?;
    Ok(buffer)
}

/// Returns the target token of every row.
pub(crate) fn targets(gpu: &CudaBackend, rows: usize, vocab: usize) -> Result<Index, Failure> {
    Ok(gpu.index(&(0..rows).map(|row| (row * 7919 % vocab) as u32).collect::<Vec<_>>())?)
}

/// Returns [‖x‖, x · w] over the leading elements of x, with weights w within ±1 from the formula.
pub(crate) fn fingerprint(x: &[f32]) -> [f64; 2] {
    let weights = table("fingerprint", 2.0, 0.0);
    let pairs = x[..x.len().min(LEADING)].iter().map(|&x| f64::from(x)).zip(weights.iter().cycle());
    let [squares, product] =
        pairs.fold([0.0; 2], |[squares, product], (x, &w)| [squares + x * x, product + x * f64::from(w)]);
    [squares.sqrt(), product]
}

/// Returns the [`fingerprint`] of a buffer.
pub(crate) fn fingerprint_of(gpu: &CudaBackend, buffer: &Buffer) -> Result<[f64; 2], Failure> {
    let mut numbers = vec![0.0; gpu.len(buffer).min(LEADING)];
    gpu.read(buffer, 0, &mut numbers)?;
    Ok(fingerprint(&numbers))
}
