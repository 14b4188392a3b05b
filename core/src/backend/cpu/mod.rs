//! The CPU as a device: a plain reference, and a fast path with threads, SIMD and a library's matrix product. The
//! choice is a value, not a feature.

mod linear;
mod sample;

use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

use super::error::{check_lens, check_targets};
use super::pool::Pool;
use super::{Backend, CpuError, Drawn, DropoutMask, EntropyGradient, LinearShape, SampleKeys, Sampler, check_len};
use crate::Real;
use crate::kernel::{self, lanes};
use crate::optim::AdamWStep;
use crate::{vectorize, with_math};
use linear::Forward;

/// The CPU as a device, in `f32` or `f64`.
///
/// ```
/// use flowrl_core::backend::{Backend, CpuBackend};
/// let cpu = CpuBackend::<f32>::reference();
/// let x = cpu.upload(&[1.0, -1.0])?;
/// let mut y = cpu.zeros(2)?;
/// cpu.gelu(&x, &mut y, 2)?;
/// assert!((y[0] - 0.841_345).abs() < 1e-6);
/// # Ok::<(), flowrl_core::backend::CpuError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CpuBackend<T> {
    fast: bool,
    /// Whether packed products have the same bits as the others on this processor.
    #[cfg(feature = "fast")]
    packs: bool,
    pool: Pool,
    precision: PhantomData<T>,
}

impl<T: Real> CpuBackend<T> {
    /// Creates the reference: plain loops on one thread, with transcendental functions from libm. It gives the same
    /// bits on every platform.
    pub const fn reference() -> Self {
        Self {
            fast: false,
            #[cfg(feature = "fast")]
            packs: false,
            pool: Pool::serial(),
            precision: PhantomData,
        }
    }

    /// Creates the fast path: threads (0 means one for each processor), SIMD and vector polynomials. It is
    /// deterministic and gives the same bits for any number of threads.
    #[cfg(feature = "fast")]
    pub fn new(threads: usize) -> Self {
        Self { fast: true, packs: super::packed::agrees::<T>(), pool: Pool::new(threads), precision: PhantomData }
    }

    /// Returns a backend with the same arithmetic, and so the same bits, that uses the calling thread alone.
    pub const fn serial(&self) -> Self {
        Self { pool: Pool::serial(), ..*self }
    }

    /// Returns the threads of this backend.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Returns whether this is the fast path. Without the feature `fast` it never is, and the compiler then removes that path.
    pub const fn is_fast(&self) -> bool {
        cfg!(feature = "fast") && self.fast
    }

    /// Applies `work`, which costs a few operations per element, to blocks of x and y.
    fn map(&self, x: &[T], y: &mut [T], work: impl Fn(&[T], &mut [T]) + Sync + Send) {
        let block = y.len().div_ceil(self.pool.jobs(4 * y.len())).max(1);
        self.pool.run(x.chunks(block).zip(y.chunks_mut(block)), |(x, y)| work(x, y));
    }
}

impl<T: Real> Backend for CpuBackend<T> {
    type Real = T;
    type Buffer = Vec<T>;
    type Index = Vec<u32>;
    type Error = CpuError;

    fn zeros(&self, len: usize) -> Result<Vec<T>, CpuError> {
        Ok(vec![T::zero(); len])
    }

    fn index(&self, indices: &[u32]) -> Result<Vec<u32>, CpuError> {
        Ok(indices.to_vec())
    }

    fn len(&self, buffer: &Vec<T>) -> usize {
        buffer.len()
    }

    fn write(&self, target: &mut Vec<T>, offset: usize, source: &[T]) -> Result<(), CpuError> {
        check_len("target", target.len(), offset + source.len())?;
        target[offset..offset + source.len()].copy_from_slice(source);
        Ok(())
    }

    fn read(&self, source: &Vec<T>, offset: usize, target: &mut [T]) -> Result<(), CpuError> {
        check_len("source", source.len(), offset + target.len())?;
        target.copy_from_slice(&source[offset..offset + target.len()]);
        Ok(())
    }

    fn copy(&self, target: &mut Vec<T>, source: &Vec<T>, len: usize) -> Result<(), CpuError> {
        check_lens(len, [("target", target.len()), ("source", source.len())])?;
        target[..len].copy_from_slice(&source[..len]);
        Ok(())
    }

    fn fill(&self, target: &mut Vec<T>, value: T, len: usize) -> Result<(), CpuError> {
        check_len("target", target.len(), len)?;
        target[..len].fill(value);
        Ok(())
    }

    fn linear(
        &self,
        x: &Vec<T>,
        w: &Vec<T>,
        bias: Option<&Vec<T>>,
        y: &mut Vec<T>,
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<(), CpuError> {
        self.forward(Forward { x, w, bias: bias.map(Vec::as_slice), y, shape, accumulate })
    }

    #[cfg(feature = "fast")]
    fn prepare(&self, w: &Vec<T>, inputs: usize, outputs: usize) -> Result<Option<Vec<T>>, CpuError> {
        check_len("w", w.len(), outputs * inputs)?;
        Ok(if self.packs { super::packed::pack(&w[..outputs * inputs], inputs, outputs) } else { None })
    }

    #[cfg(feature = "fast")]
    fn linear_prepared(
        &self,
        x: &Vec<T>,
        w: &Vec<T>,
        bias: Option<&Vec<T>>,
        y: &mut Vec<T>,
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<(), CpuError> {
        let (true, Some(width)) = (self.packs, T::panel_width()) else {
            return self.linear(x, w, bias, y, shape, accumulate);
        };
        self.forward_prepared(width, Forward { x, w, bias: bias.map(Vec::as_slice), y, shape, accumulate })
    }

    fn linear_backward_input(
        &self,
        dy: &Vec<T>,
        w: &Vec<T>,
        dx: &mut Vec<T>,
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<(), CpuError> {
        self.backward_input(dy, w, dx, shape, accumulate)
    }

    fn linear_backward_weight(
        &self,
        dy: &Vec<T>,
        x: &Vec<T>,
        dw: &mut Vec<T>,
        db: Option<&mut Vec<T>>,
        shape: LinearShape,
    ) -> Result<(), CpuError> {
        self.backward_weight(dy, x, dw, db.map(Vec::as_mut_slice), shape)
    }

    fn gelu(&self, x: &Vec<T>, y: &mut Vec<T>, len: usize) -> Result<(), CpuError> {
        check_lens(len, [("x", x.len()), ("y", y.len())])?;
        let gelu = |x: &[T], y: &mut [T]| with_math!(self, M => kernel::gelu::forward::<T, M>(x, y));
        self.map(&x[..len], &mut y[..len], gelu);
        Ok(())
    }

    fn gelu_backward(&self, x: &Vec<T>, dy: &mut Vec<T>, len: usize) -> Result<(), CpuError> {
        check_lens(len, [("x", x.len()), ("dy", dy.len())])?;
        let gelu = |x: &[T], dy: &mut [T]| with_math!(self, M => kernel::gelu::backward::<T, M>(x, dy));
        self.map(&x[..len], &mut dy[..len], gelu);
        Ok(())
    }

    fn layer_norm(
        &self,
        x: &Vec<T>,
        gamma: &Vec<T>,
        beta: &Vec<T>,
        y: &mut Vec<T>,
        mean: &mut Vec<T>,
        inv_std: &mut Vec<T>,
        (rows, columns): (usize, usize),
        eps: f64,
    ) -> Result<(), CpuError> {
        check_lens(rows * columns, [("x", x.len()), ("y", y.len())])?;
        check_lens(columns, [("gamma", gamma.len()), ("beta", beta.len())])?;
        check_lens(rows, [("mean", mean.len()), ("inv_std", inv_std.len())])?;
        let (x, y) = (&x[..rows * columns], &mut y[..rows * columns]);
        vectorize!(kernel::norm::layer_norm(x, &gamma[..columns], &beta[..columns], eps, y, mean, inv_std));
        Ok(())
    }

    fn layer_norm_backward(
        &self,
        x: &Vec<T>,
        gamma: &Vec<T>,
        mean: &Vec<T>,
        inv_std: &Vec<T>,
        dy: &mut Vec<T>,
        d_gamma: &mut Vec<T>,
        d_beta: &mut Vec<T>,
        (rows, columns): (usize, usize),
    ) -> Result<(), CpuError> {
        check_lens(rows * columns, [("x", x.len()), ("dy", dy.len())])?;
        check_lens(columns, [("gamma", gamma.len()), ("d_gamma", d_gamma.len()), ("d_beta", d_beta.len())])?;
        check_lens(rows, [("mean", mean.len()), ("inv_std", inv_std.len())])?;
        let (x, dy) = (&x[..rows * columns], &mut dy[..rows * columns]);
        vectorize!({
            let (d_gamma, d_beta) = (&mut d_gamma[..columns], &mut d_beta[..columns]);
            kernel::norm::layer_norm_backward_weight(x, mean, inv_std, dy, d_gamma, d_beta);
            kernel::norm::layer_norm_backward_input(x, &gamma[..columns], mean, inv_std, dy);
        });
        Ok(())
    }

    fn dropout(&self, x: &mut Vec<T>, (rows, columns): (usize, usize), mask: DropoutMask) -> Result<(), CpuError> {
        check_len("x", x.len(), rows * columns)?;
        let DropoutMask { rate, stream, step, first_row } = mask;
        let keep = T::of(1.0 / (1.0 - rate));
        for (r, row) in (first_row..).zip(x[..rows * columns].chunks_exact_mut(columns.max(1))) {
            for (c, x) in row.iter_mut().enumerate() {
                *x *= if stream.uniform(step, r, c as u32) < rate { T::zero() } else { keep };
            }
        }
        Ok(())
    }

    fn log_prob(
        &self,
        logits: &Vec<T>,
        targets: &Vec<u32>,
        (rows, vocab): (usize, usize),
        temperature: f64,
        log_prob: &mut Vec<T>,
        log_sum_exp: &mut Vec<T>,
        entropy: &mut Vec<T>,
    ) -> Result<(), CpuError> {
        check_len("logits", logits.len(), rows * vocab)?;
        check_targets(targets, rows, vocab)?;
        let outputs = [("log_prob", log_prob.len()), ("log_sum_exp", log_sum_exp.len()), ("entropy", entropy.len())];
        check_lens(rows, outputs)?;
        let scale = T::of(1.0 / temperature);
        let block = rows.div_ceil(self.pool.jobs(rows * vocab * 4)).max(1);
        let jobs = logits[..rows * vocab]
            .chunks(block * vocab)
            .zip(targets[..rows].chunks(block))
            .zip(log_prob[..rows].chunks_mut(block))
            .zip(log_sum_exp[..rows].chunks_mut(block))
            .zip(entropy[..rows].chunks_mut(block));
        self.pool.run(jobs, |((((logits, targets), log_prob), log_sum_exp), entropy)| {
            with_math!(self, M => for (r, row) in logits.chunks_exact(vocab).enumerate() {
                let summary = kernel::softmax::summarize::<T, M>(row, scale);
                log_prob[r] = summary.log_prob(row[targets[r] as usize] * scale);
                log_sum_exp[r] = summary.log_sum_exp();
                entropy[r] = summary.entropy;
            });
        });
        Ok(())
    }

    fn log_prob_backward(
        &self,
        logits: &mut Vec<T>,
        targets: &Vec<u32>,
        (rows, vocab): (usize, usize),
        temperature: f64,
        log_sum_exp: &Vec<T>,
        d_log_prob: &Vec<T>,
        entropy: Option<EntropyGradient<'_, Vec<T>>>,
    ) -> Result<(), CpuError> {
        check_len("logits", logits.len(), rows * vocab)?;
        check_targets(targets, rows, vocab)?;
        check_lens(rows, [("log_sum_exp", log_sum_exp.len()), ("d_log_prob", d_log_prob.len())])?;
        if let Some(EntropyGradient { entropy, d_entropy }) = entropy {
            check_lens(rows, [("entropy", entropy.len()), ("d_entropy", d_entropy.len())])?;
        }
        let scale = T::of(1.0 / temperature);
        let block = rows.div_ceil(self.pool.jobs(rows * vocab * 4)).max(1);
        let jobs = logits[..rows * vocab]
            .chunks_mut(block * vocab)
            .zip(targets[..rows].chunks(block))
            .zip(log_sum_exp[..rows].chunks(block))
            .zip(d_log_prob[..rows].chunks(block))
            .enumerate();
        self.pool.run(jobs, |(index, (((logits, targets), log_sum_exp), d_log_prob))| {
            let Some(EntropyGradient { entropy, d_entropy }) = entropy else {
                with_math!(self, M => for (r, row) in logits.chunks_exact_mut(vocab).enumerate() {
                    kernel::softmax::backward::<T, M>(row, targets[r] as usize, log_sum_exp[r], scale, d_log_prob[r]);
                });
                return;
            };
            let at = (&entropy[index * block..], &d_entropy[index * block..]);
            with_math!(self, M => for (r, row) in logits.chunks_exact_mut(vocab).enumerate() {
                let (target, at) = (targets[r] as usize, (at.0[r], at.1[r]));
                kernel::softmax::backward_with_entropy::<T, M>(row, target, log_sum_exp[r], scale, d_log_prob[r], at);
            });
        });
        Ok(())
    }

    fn sample(
        &self,
        logits: &Vec<T>,
        (rows, vocab): (usize, usize),
        sampler: &Sampler,
        excluded: Option<&Vec<u32>>,
        keys: SampleKeys<'_>,
        Drawn { tokens, log_prob, entropy, excluded: mass }: Drawn<'_, T>,
    ) -> Result<(), CpuError> {
        check_len("logits", logits.len(), rows * vocab)?;
        if let Some(mask) = excluded {
            check_len("excluded", mask.len(), vocab.div_ceil(32))?;
        }
        check_lens(rows, [("keys.sequence", keys.sequence.len()), ("keys.token", keys.token.len())])?;
        check_lens(rows, [("tokens", tokens.len()), ("log_prob", log_prob.len()), ("entropy", entropy.len())])?;
        check_len("drawn.excluded", mass.len(), rows)?;
        let block = rows.div_ceil(self.pool.jobs(rows * vocab * 6)).max(1);
        let jobs = logits[..rows * vocab]
            .chunks(block * vocab)
            .zip(tokens[..rows].chunks_mut(block))
            .zip(log_prob[..rows].chunks_mut(block))
            .zip(entropy[..rows].chunks_mut(block))
            .zip(mass[..rows].chunks_mut(block))
            .enumerate();
        self.pool.run(jobs, |(index, ((((logits, tokens), log_prob), entropy), mass))| {
            for (r, row) in logits.chunks_exact(vocab).enumerate() {
                let at = index * block + r;
                let u = keys.stream.uniform(keys.step, keys.sequence[at], keys.token[at]);
                (tokens[r], log_prob[r], entropy[r], mass[r]) =
                    with_math!(self, M => sample::draw::<T, M>(row, excluded, sampler, u));
            }
        });
        Ok(())
    }

    fn adamw(
        &self,
        p: &mut Vec<T>,
        g: &Vec<T>,
        m: &mut Vec<T>,
        v: &mut Vec<T>,
        len: usize,
        step: &AdamWStep,
    ) -> Result<(), CpuError> {
        check_lens(len, [("p", p.len()), ("g", g.len()), ("m", m.len()), ("v", v.len())])?;
        let block = len.div_ceil(self.pool.jobs(len)).max(1);
        let jobs = p[..len]
            .chunks_mut(block)
            .zip(g[..len].chunks(block))
            .zip(m[..len].chunks_mut(block))
            .zip(v[..len].chunks_mut(block));
        self.pool.run(jobs, |(((p, g), m), v)| vectorize!(kernel::optim::adamw(p, g, m, v, step)));
        Ok(())
    }

    fn sum_squares(&self, x: &Vec<T>, len: usize) -> Result<f64, CpuError> {
        check_len("x", x.len(), len)?;
        let square = |v: T| v.f64() * v.f64();
        Ok(vectorize!(lanes::reduce(&x[..len], 0.0, square, |a, b| a + b)))
    }
}
