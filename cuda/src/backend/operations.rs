//! Implements [`flowrl_core::backend::Backend`] on a GPU and in the emulator.

use flowrl_core::backend::{
    Backend, Drawn, DropoutMask, EntropyGradient, LinearShape, ObjectiveError, Role, SampleKeys, Sampler, check_len,
};
use flowrl_core::objective::{Batch, Diagnostics, Gradients, Objective, Totals};
use flowrl_core::optim::AdamWStep;

use super::CudaBackend;
use crate::buffer::{Buffer, Gradient, Index};
use crate::error::{Error, Result};
use crate::kernels;
use crate::product::Product;
use crate::unit::Storage;

impl Backend for CudaBackend {
    type Real = f32;
    type Buffer = Buffer;
    type Index = Index;
    type Error = Error;

    fn zeros(&self, len: usize) -> Result<Buffer> {
        self.allocate(Storage::F32, len)
    }

    fn zeros_for(&self, role: Role, len: usize) -> Result<Buffer> {
        let is_wide = role == Role::Logits && self.wide_logits;
        let storage = if role == Role::State || is_wide { Storage::F32 } else { self.precision.storage() };
        let mut buffer = self.allocate(storage, len)?;
        if is_wide {
            let gradient = Gradient { buffer: self.allocate(self.precision.storage(), len)?, is_current: false };
            buffer.gradient = Some(Box::new(gradient));
        }
        if role == Role::Weight && storage != Storage::F32 {
            buffer.master = Some(Box::new(self.allocate(Storage::F32, len)?));
        }
        Ok(buffer)
    }

    fn index(&self, indices: &[u32]) -> Result<Index> {
        Index::new(&self.device, indices.to_vec())
    }

    fn len(&self, buffer: &Buffer) -> usize {
        buffer.len
    }

    fn write(&self, target: &mut Buffer, offset: usize, source: &[f32]) -> Result<()> {
        check_len("target", target.len, offset + source.len())?;
        let target = target.renewed();
        let width = target.storage.bytes();
        let mut bytes = vec![0; source.len() * width];
        for (x, bytes) in source.iter().zip(bytes.chunks_exact_mut(width)) {
            target.storage.encode(*x, bytes);
        }
        self.device.write(&mut target.memory, offset * width, &bytes)?;
        match &mut target.master {
            Some(master) => self.write(master, offset, source),
            None => Ok(()),
        }
    }

    fn read(&self, source: &Buffer, offset: usize, target: &mut [f32]) -> Result<()> {
        check_len("source", source.len, offset + target.len())?;
        if let Some(master) = &source.master {
            return self.read(master, offset, target);
        }
        let source = source.current();
        let width = source.storage.bytes();
        let mut bytes = vec![0; target.len() * width];
        self.device.read(&source.memory, offset * width, &mut bytes)?;
        for (x, bytes) in target.iter_mut().zip(bytes.chunks_exact(width)) {
            *x = source.storage.decode(bytes);
        }
        Ok(())
    }

    fn copy(&self, target: &mut Buffer, source: &Buffer, len: usize) -> Result<()> {
        check_len("target", target.len, len)?;
        check_len("source", source.len, len)?;
        let (target, source) = (target.renewed(), source.current());
        source.check_storage("source", target.storage)?;
        self.device.copy(&mut target.memory, &source.memory, len * source.storage.bytes())?;
        match (&mut target.master, &source.master) {
            (Some(target), Some(source)) => self.copy(target, source, len),
            (Some(_), None) => {
                Err(Error::Storage { argument: "source", got: "bf16 alone", wanted: "bf16 with a master copy" })
            }
            (None, _) => Ok(()),
        }
    }

    fn fill(&self, target: &mut Buffer, value: f32, len: usize) -> Result<()> {
        check_len("target", target.len, len)?;
        let target = target.renewed();
        if value.to_bits() == 0 {
            self.device.clear(&mut target.memory, len * target.storage.bytes())?;
        } else {
            kernels::fill(&self.device, &mut *target, (len, value))?;
        }
        match &mut target.master {
            Some(master) => self.fill(master, value, len),
            None => Ok(()),
        }
    }

    fn linear(
        &self,
        x: &Buffer,
        w: &Buffer,
        bias: Option<&Buffer>,
        y: &mut Buffer,
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<()> {
        let product = Product::forward(shape, [w.storage, y.storage], bias.is_some(), accumulate);
        self.multiply(&product, w, x, bias, y.renewed())
    }

    fn linear_backward_input(
        &self,
        dy: &Buffer,
        w: &Buffer,
        dx: &mut Buffer,
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<()> {
        self.multiply(&Product::backward_input(shape, [w.storage, dx.storage], accumulate), w, dy.current(), None, dx)
    }

    fn linear_backward_weight(
        &self,
        dy: &Buffer,
        x: &Buffer,
        dw: &mut Buffer,
        db: Option<&mut Buffer>,
        shape: LinearShape,
    ) -> Result<()> {
        let dy = dy.current();
        self.multiply(&Product::backward_weight(shape, [x.storage, dw.storage]), x, dy, None, dw)?;
        match db {
            Some(db) => self.add_column_sum(dy, db, shape.rows, shape.outputs),
            None => Ok(()),
        }
    }

    fn gelu(&self, x: &Buffer, y: &mut Buffer, len: usize) -> Result<()> {
        kernels::gelu(&self.device, (x, y), len)
    }

    fn gelu_backward(&self, x: &Buffer, dy: &mut Buffer, len: usize) -> Result<()> {
        kernels::gelu_backward(&self.device, (x, dy), len)
    }

    fn layer_norm(
        &self,
        x: &Buffer,
        gamma: &Buffer,
        beta: &Buffer,
        y: &mut Buffer,
        mean: &mut Buffer,
        inv_std: &mut Buffer,
        (rows, columns): (usize, usize),
        eps: f64,
    ) -> Result<()> {
        kernels::layer_norm(&self.device, (x, gamma, beta, y, mean, inv_std), (rows, columns, eps as f32))
    }

    fn layer_norm_backward(
        &self,
        x: &Buffer,
        gamma: &Buffer,
        mean: &Buffer,
        inv_std: &Buffer,
        dy: &mut Buffer,
        d_gamma: &mut Buffer,
        d_beta: &mut Buffer,
        (rows, columns): (usize, usize),
    ) -> Result<()> {
        let (device, shape) = (&self.device, (rows, columns));
        kernels::layer_norm_backward_weight(device, (x, mean, inv_std, &*dy, d_gamma, d_beta), shape)?;
        kernels::layer_norm_backward_input(device, (x, gamma, mean, inv_std, dy), shape)
    }

    fn dropout(&self, x: &mut Buffer, (rows, columns): (usize, usize), mask: DropoutMask) -> Result<()> {
        let DropoutMask { rate, stream, step, first_row } = mask;
        let keep = (1.0 / (1.0 - rate)) as f32;
        let ([low, high], purpose) = stream.words();
        let key = [low, high, purpose, step, first_row].map(|word| word as usize);
        kernels::dropout(&self.device, x, (rows, columns, rate, keep, key))
    }

    fn log_prob(
        &self,
        logits: &Buffer,
        targets: &Index,
        (rows, vocab): (usize, usize),
        temperature: f64,
        log_prob: &mut Buffer,
        log_sum_exp: &mut Buffer,
        entropy: &mut Buffer,
    ) -> Result<()> {
        targets.check("targets", rows, vocab)?;
        let scale = (1.0 / temperature) as f32;
        kernels::log_prob(&self.device, (logits, targets, log_prob, log_sum_exp, entropy), (rows, vocab, scale))
    }

    fn log_prob_backward(
        &self,
        logits: &mut Buffer,
        targets: &Index,
        (rows, vocab): (usize, usize),
        temperature: f64,
        log_sum_exp: &Buffer,
        d_log_prob: &Buffer,
        entropy: Option<EntropyGradient<'_, Buffer>>,
    ) -> Result<()> {
        targets.check("targets", rows, vocab)?;
        let scale = (1.0 / temperature) as f32;
        let (device, sizes) = (&self.device, (rows, vocab, scale));
        let (h, d_h) = entropy.map(|EntropyGradient { entropy, d_entropy }| (entropy, d_entropy)).unzip();
        let Some(mut gradient) = logits.gradient.take() else {
            return kernels::log_prob_backward(device, (logits, targets, log_sum_exp, d_log_prob, h, d_h), sizes);
        };
        let pointers = (&*logits, targets, log_sum_exp, d_log_prob, h, d_h, &mut gradient.buffer);
        let result = kernels::log_prob_gradient(device, pointers, sizes);
        gradient.is_current = result.is_ok();
        logits.gradient = Some(gradient);
        result
    }

    fn sample(
        &self,
        logits: &Buffer,
        (rows, vocab): (usize, usize),
        sampler: &Sampler,
        excluded: Option<&Index>,
        keys: SampleKeys<'_>,
        Drawn { tokens, log_prob, entropy, excluded: mass }: Drawn<'_, f32>,
    ) -> Result<()> {
        for (name, len) in [("keys.sequence", keys.sequence.len()), ("keys.token", keys.token.len())] {
            check_len(name, len, rows)?;
        }
        let written = [tokens.len(), log_prob.len(), entropy.len(), mass.len()];
        for (name, len) in ["tokens", "log_prob", "entropy", "drawn.excluded"].into_iter().zip(written) {
            check_len(name, len, rows)?;
        }
        // (sequence number, token number) of each row.
        let places = keys.sequence.iter().zip(keys.token).flat_map(|(&s, &t)| [s, t]).collect();
        let places = Index::new(&self.device, places)?;
        let mut drawn = Index::new(&self.device, vec![0; rows])?;
        // (log-probability, entropy, excluded mass) of each row.
        let mut values = self.zeros(3 * rows)?;
        let ([low, high], purpose) = keys.stream.words();
        let key = [low, high, purpose, keys.step].map(|word| word as usize);
        let (greedy, top_k) = (usize::from(sampler.temperature == 0.0), sampler.top_k.min(vocab));
        let sizes = (rows, vocab, sampler.scale() as f32, greedy, top_k, sampler.top_p, key);
        kernels::sample(&self.device, (logits, excluded, &places, &mut drawn, &mut values), sizes)?;
        let mut bytes = vec![0; rows * 4];
        self.device.read(&drawn.memory, 0, &mut bytes)?;
        for (token, bytes) in tokens.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *token = u32::from_ne_bytes(*bytes);
        }
        let mut triples = vec![0.0; 3 * rows];
        self.read(&values, 0, &mut triples)?;
        for (r, triple) in triples.as_chunks::<3>().0.iter().enumerate() {
            [log_prob[r], entropy[r], mass[r]] = *triple;
        }
        Ok(())
    }

    fn adamw(
        &self,
        p: &mut Buffer,
        g: &Buffer,
        m: &mut Buffer,
        v: &mut Buffer,
        len: usize,
        step: &AdamWStep,
    ) -> Result<()> {
        let mut master = p.master.take();
        let (target, copy) = match &mut master {
            Some(master) => (&mut **master, Some(&mut *p)),
            None => (&mut *p, None),
        };
        let [b1, b2] = [step.options.beta1, step.options.beta2].map(|beta| beta as f32);
        let keep = (1.0 - step.learning_rate * step.options.weight_decay) as f32;
        let rate = (step.learning_rate / (1.0 - libm::pow(step.options.beta1, step.time as f64))) as f32;
        let root = (1.0 - libm::pow(step.options.beta2, step.time as f64)).sqrt() as f32;
        let numbers = [b1, b2, keep, rate, root, step.options.eps as f32, step.grad_scale as f32];
        let result = kernels::adamw(&self.device, (target, copy, g, m, v), (len, numbers));
        p.master = master;
        result
    }

    fn sum_squares(&self, x: &Buffer, len: usize) -> Result<f64> {
        /// Elements that one block sums. A constant, so that the order of the sum depends on the length alone.
        const PART: usize = 1 << 14;
        let parts = len.div_ceil(PART).max(1);
        let mut partial = self.allocate(Storage::F64, parts)?;
        kernels::sum_squares(&self.device, (x, &mut partial), (len, parts, PART))?;
        Ok(self.read_f64(&partial)?.iter().sum())
    }

    fn evaluate(
        &self,
        objective: &Objective,
        batch: &Batch<'_, f32>,
        totals: Totals,
        order: &mut [usize],
        out: &mut Gradients<'_, f32>,
    ) -> Result<Diagnostics, ObjectiveError<Error>> {
        self.host_evaluate(objective, batch, totals, order, out)
    }

    fn value_loss(
        &self,
        rewards: &[f32],
        values: &[f32],
        sequences: usize,
        d_values: &mut [f32],
    ) -> Result<f64, ObjectiveError<Error>> {
        self.host_value_loss(rewards, values, sequences, d_values)
    }
}
