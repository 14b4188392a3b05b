//! Implements [`flowrl_core::backend::Backend`] on a GPU and in the emulator.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream};
use flowrl_core::backend::{
    Backend, CpuError, Drawn, DropoutMask, EntropyGradient, LinearShape, ObjectiveError, Role, SampleKeys, Sampler,
    check_len,
};
use flowrl_core::objective::{Batch, Diagnostics, Gradients, Objective, Totals};
use flowrl_core::optim::AdamWStep;

use crate::buffer::{Buffer, Gradient, Index};
use crate::emulated::EmulatorOptions;
use crate::error::Error;
use crate::launch::{self, Device};
use crate::libraries::Library;
use crate::product::Product;
use crate::transformer::AttentionLists;
use crate::unit::Storage;

/// Storage type of activations and weights. In either case, sums, statistics, weight gradients, the optimiser's moments
/// and its copy of the weights are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// bfloat16, which halves memory use and reaches the tensor cores' full speed.
    #[default]
    Bf16,
    /// f32 throughout, including matrix products; results agree with the CPU's to within rounding.
    F32,
}

/// A GPU or the emulator as a device. Clones share the same device.
///
/// ```no_run
/// use flowrl_core::backend::Backend;
/// use flowrl_cuda::{CudaBackend, EmulatorOptions, Precision};
/// let gpu = CudaBackend::emulated(EmulatorOptions::default(), Precision::F32);
/// let x = gpu.upload(&[1.0, -1.0])?;
/// let mut y = gpu.zeros(2)?;
/// gpu.gelu(&x, &mut y, 2)?;
/// # Ok::<(), flowrl_cuda::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CudaBackend {
    pub(crate) device: Arc<Device>,
    pub(crate) precision: Precision,
    /// Whether logits are f32 although activations are bf16.
    pub(crate) wide_logits: bool,
    pub(crate) limits: Limits,
    pub(crate) lists: Arc<AttentionLists>,
}

/// Upper limits on the number of elements in memory at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Elements of logits.
    pub(crate) logits: usize,
    /// Elements of cached keys and values.
    pub(crate) cache: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { logits: flowrl_lm::backend::LOGITS, cache: flowrl_lm::backend::CACHE }
    }
}

impl Limits {
    /// Returns the limits for a device with `memory` free bytes: an eighth for logits and an eighth for cached keys and
    /// values. An element takes `of_logit` or `of_key` bytes. Neither limit falls below its default.
    fn of(memory: usize, of_logit: usize, of_key: usize) -> Self {
        let (eighth, least) = (memory / 8, Self::default());
        // Libraries are not tested on matrices of more than 2³¹ elements.
        let logits = (eighth / of_logit).clamp(least.logits, i32::MAX as usize);
        Self { logits, cache: (eighth / of_key).max(least.cache) }
    }
}

/// The first compute capability with bf16 tensor cores and asynchronous copies.
const OLDEST: (i32, i32) = (8, 0);

impl CudaBackend {
    /// Opens the GPU with this number, counted from 0, on a stream of its own.
    ///
    /// # Errors
    /// Returns [`Error::NoCuda`] if a library is missing and [`Error::Driver`] if there is no such device.
    pub fn new(ordinal: usize, precision: Precision) -> Result<Self, Error> {
        probe()?;
        let open = |error| Error::Driver { operation: format!("open GPU {ordinal}"), message: format!("{error:?}") };
        let context = CudaContext::new(ordinal).map_err(open)?;
        launch::keep_freed_memory(&context);
        Self::with_stream(context.new_stream().map_err(open)?, precision)
    }

    /// Uses a GPU through a stream that the caller owns. The backend's operations and the caller's run in the order in
    /// which they were put on that stream.
    ///
    /// This disables `cudarc`'s event tracking for the stream's context because a single stream needs none. A caller
    /// with several streams must order them with its own events.
    ///
    /// # Errors
    /// Returns [`Error::NoCuda`] if a library is missing and [`Error::Driver`] if the GPU is older than Ampere.
    pub fn with_stream(stream: Arc<CudaStream>, precision: Precision) -> Result<Self, Error> {
        probe()?;
        let capability = stream.context().compute_capability().unwrap_or_default();
        if capability < OLDEST {
            let ((major, minor), (least, _)) = (capability, OLDEST);
            let message = format!("its compute capability is {major}.{minor}, but must be {least}.0 or more (Ampere)");
            return Err(Error::Driver { operation: "use this GPU".to_owned(), message });
        }
        let device = Arc::new(Device::nvidia(stream)?);
        let bytes = precision.storage().bytes();
        let limits = Limits::of(device.memory().unwrap_or(0), bytes, bytes);
        Ok(Self { device, precision, wide_logits: false, limits, lists: Arc::default() })
    }

    /// Creates the emulator, which runs the same kernels on the CPU, slowly, and checks for errors that a GPU does not
    /// report. It compiles kernels on first use with the system's C++ compiler.
    pub fn emulated(options: EmulatorOptions, precision: Precision) -> Self {
        let device = Arc::new(Device::emulated(options));
        Self { device, precision, wide_logits: false, limits: Limits::default(), lists: Arc::default() }
    }

    /// Stores logits as f32 although activations are bf16, together with a separate bf16 gradient, so that each logit
    /// takes six bytes instead of two. bf16 rounds a logit near 20 to a multiple of 0.125. This noise enters every
    /// log-probability, and its sum over a long completion makes importance weights noisy. The setting applies to
    /// buffers allocated after this call.
    pub fn with_f32_logits(mut self) -> Self {
        if let Precision::Bf16 = self.precision {
            self.wide_logits = true;
            let (narrow, wide) = (Storage::Bf16.bytes(), Storage::F32.bytes());
            self.limits = Limits::of(self.memory().unwrap_or(0), narrow + wide, narrow);
        }
        self
    }

    /// Returns the storage type of activations and weights.
    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns the number of free bytes of GPU memory, or `None` for the emulator.
    pub fn memory(&self) -> Option<usize> {
        self.device.memory()
    }

    /// Wraps another program's f32 numbers on the same GPU as a buffer, without a copy. Work already queued on the
    /// slice's stream finishes first.
    ///
    /// ```no_run
    /// use cudarc::driver::CudaContext;
    /// use flowrl_core::backend::Backend;
    /// use flowrl_cuda::{CudaBackend, Precision};
    /// let stream = CudaContext::new(0)?.new_stream()?;
    /// let gpu = CudaBackend::with_stream(stream.clone(), Precision::F32)?;
    /// let buffer = gpu.adopt(stream.clone_htod(&[3.0, 4.0])?)?;
    /// assert_eq!(gpu.sum_squares(&buffer, 2)?, 25.0);
    /// let numbers = stream.clone_dtoh(&gpu.release(buffer)?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns [`Error::Driver`] on the emulator, if the slice belongs to another context, or if it does not start on a
    /// 256-byte boundary.
    pub fn adopt(&self, slice: CudaSlice<f32>) -> Result<Buffer, Error> {
        let len = slice.len();
        Ok(Buffer { memory: self.device.adopt(slice)?, storage: Storage::F32, len, master: None, gradient: None })
    }

    /// Converts an f32 buffer back to a [`cudarc`] slice, without a copy. This is the inverse of
    /// [`CudaBackend::adopt`].
    ///
    /// # Errors
    /// Returns [`Error::Driver`] on the emulator and [`Error::Storage`] if the buffer is not f32.
    pub fn release(&self, buffer: Buffer) -> Result<CudaSlice<f32>, Error> {
        if buffer.storage != Storage::F32 {
            return Err(Error::Storage { argument: "buffer", got: buffer.storage.name(), wanted: "f32" });
        }
        self.device.release(buffer.memory, buffer.len)
    }

    /// Waits until all queued work is done.
    ///
    /// # Errors
    /// Returns an error if an earlier operation failed on the device.
    pub fn synchronize(&self) -> Result<(), Error> {
        self.device.synchronize()
    }

    pub(crate) fn allocate(&self, storage: Storage, len: usize) -> Result<Buffer, Error> {
        let memory = self.device.zeros(len * storage.bytes())?;
        Ok(Buffer { memory, storage, len, master: None, gradient: None })
    }

    /// Allocates f32 scratch memory that a kernel must write before another reads it.
    pub(crate) fn scratch(&self, len: usize) -> Result<Buffer, Error> {
        let storage = Storage::F32;
        let memory = self.device.scratch(len * storage.bytes())?;
        Ok(Buffer { memory, storage, len, master: None, gradient: None })
    }

    /// Reads an f64 result buffer back to the host.
    pub(crate) fn read_f64(&self, buffer: &Buffer) -> Result<Vec<f64>, Error> {
        let mut bytes = vec![0; buffer.len * 8];
        self.device.read(&buffer.memory, 0, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| f64::from_ne_bytes(*word)).collect())
    }
}

impl Precision {
    pub(crate) const fn storage(self) -> Storage {
        match self {
            Self::Bf16 => Storage::Bf16,
            Self::F32 => Storage::F32,
        }
    }
}

/// Checks that the CUDA libraries [`CudaBackend::new`] needs are present. It is safe to call without CUDA.
///
/// # Errors
/// Returns [`Error::NoCuda`] with the first missing library and where to get it.
pub fn probe() -> Result<(), Error> {
    Library::ALL.into_iter().try_for_each(Library::require)
}

/// Checks that the first `len` indices exist and are below `below`.
pub(crate) fn check_index(name: &'static str, index: &Index, len: usize, below: usize) -> Result<(), Error> {
    check_len(name, index.host.len(), len)?;
    match index.host[..len].iter().find(|&&i| i as usize >= below) {
        Some(&got) => Err(CpuError::Index { argument: name, got: got as usize, below }.into()),
        None => Ok(()),
    }
}

/// Returns the number of threads for a block that works on one row of this many elements.
pub(crate) fn row_threads(columns: usize) -> u32 {
    match columns {
        0..=64 => 32,
        65..=512 => 128,
        513..=8192 => 256,
        _ => 512,
    }
}

impl Backend for CudaBackend {
    type Real = f32;
    type Buffer = Buffer;
    type Index = Index;
    type Error = Error;

    fn zeros(&self, len: usize) -> Result<Buffer, Error> {
        self.allocate(Storage::F32, len)
    }

    fn zeros_for(&self, role: Role, len: usize) -> Result<Buffer, Error> {
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

    fn index(&self, indices: &[u32]) -> Result<Index, Error> {
        let bytes: Vec<u8> = indices.iter().flat_map(|i| i.to_ne_bytes()).collect();
        let mut memory = self.device.scratch(bytes.len())?;
        self.device.write(&mut memory, 0, &bytes)?;
        Ok(Index { memory, host: indices.to_vec() })
    }

    fn len(&self, buffer: &Buffer) -> usize {
        buffer.len
    }

    fn write(&self, target: &mut Buffer, offset: usize, source: &[f32]) -> Result<(), Error> {
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

    fn read(&self, source: &Buffer, offset: usize, target: &mut [f32]) -> Result<(), Error> {
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

    fn copy(&self, target: &mut Buffer, source: &Buffer, len: usize) -> Result<(), Error> {
        check_len("target", target.len, len)?;
        check_len("source", source.len, len)?;
        let (target, source) = (target.renewed(), source.current());
        if target.storage != source.storage {
            let (got, wanted) = (source.storage.name(), target.storage.name());
            return Err(Error::Storage { argument: "source", got, wanted });
        }
        self.device.copy(&mut target.memory, &source.memory, len * source.storage.bytes())?;
        match (&mut target.master, &source.master) {
            (Some(target), Some(source)) => self.copy(target, source, len),
            (Some(_), None) => {
                Err(Error::Storage { argument: "source", got: "bf16 alone", wanted: "bf16 with a master copy" })
            }
            (None, _) => Ok(()),
        }
    }

    fn fill(&self, target: &mut Buffer, value: f32, len: usize) -> Result<(), Error> {
        check_len("target", target.len, len)?;
        let target = target.renewed();
        if value.to_bits() == 0 {
            self.device.clear(&mut target.memory, len * target.storage.bytes())?;
        } else {
            launch::fill(&self.device, target, len, value)?;
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
    ) -> Result<(), Error> {
        self.device.multiply(&Product::forward(shape, bias.is_some(), accumulate), w, x, bias, y.renewed())
    }

    fn linear_backward_input(
        &self,
        dy: &Buffer,
        w: &Buffer,
        dx: &mut Buffer,
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<(), Error> {
        self.device.multiply(&Product::backward_input(shape, accumulate), w, dy.current(), None, dx)
    }

    fn linear_backward_weight(
        &self,
        dy: &Buffer,
        x: &Buffer,
        dw: &mut Buffer,
        db: Option<&mut Buffer>,
        shape: LinearShape,
    ) -> Result<(), Error> {
        let dy = dy.current();
        self.device.multiply(&Product::backward_weight(shape), x, dy, None, dw)?;
        match db {
            Some(db) => self.add_column_sum(dy, db, shape.rows, shape.outputs),
            None => Ok(()),
        }
    }

    fn gelu(&self, x: &Buffer, y: &mut Buffer, len: usize) -> Result<(), Error> {
        launch::gelu(&self.device, x, y, len)
    }

    fn gelu_backward(&self, x: &Buffer, dy: &mut Buffer, len: usize) -> Result<(), Error> {
        launch::gelu_backward(&self.device, x, dy, len)
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
    ) -> Result<(), Error> {
        launch::layer_norm(&self.device, x, gamma, beta, y, mean, inv_std, rows, columns, eps as f32)
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
    ) -> Result<(), Error> {
        let device = &self.device;
        launch::layer_norm_backward_weight(device, x, mean, inv_std, dy, d_gamma, d_beta, rows, columns)?;
        launch::layer_norm_backward_input(device, x, gamma, mean, inv_std, dy, rows, columns)
    }

    fn dropout(&self, x: &mut Buffer, (rows, columns): (usize, usize), mask: DropoutMask) -> Result<(), Error> {
        let DropoutMask { rate, stream, step, first_row } = mask;
        let keep = (1.0 / (1.0 - rate)) as f32;
        let ([low, high], purpose) = stream.words();
        let [low, high, purpose, step, first_row] = [low, high, purpose, step, first_row].map(|word| word as usize);
        launch::dropout(&self.device, x, rows, columns, rate, keep, low, high, purpose, step, first_row)
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
    ) -> Result<(), Error> {
        check_index("targets", targets, rows, vocab)?;
        let scale = (1.0 / temperature) as f32;
        launch::log_prob(&self.device, logits, targets, log_prob, log_sum_exp, entropy, rows, vocab, scale)
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
    ) -> Result<(), Error> {
        check_index("targets", targets, rows, vocab)?;
        let scale = (1.0 / temperature) as f32;
        let (device, total) = (&self.device, log_sum_exp);
        let (h, d_h) = entropy.map(|EntropyGradient { entropy, d_entropy }| (entropy, d_entropy)).unzip();
        let Some(mut gradient) = logits.gradient.take() else {
            return launch::log_prob_backward(device, logits, targets, total, d_log_prob, h, d_h, rows, vocab, scale);
        };
        let to = &mut gradient.buffer;
        let result =
            launch::log_prob_gradient(device, logits, targets, total, d_log_prob, h, d_h, to, rows, vocab, scale);
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
    ) -> Result<(), Error> {
        for (name, len) in [("keys.sequence", keys.sequence.len()), ("keys.token", keys.token.len())] {
            check_len(name, len, rows)?;
        }
        let written = [tokens.len(), log_prob.len(), entropy.len(), mass.len()];
        for (name, len) in ["tokens", "log_prob", "entropy", "drawn.excluded"].into_iter().zip(written) {
            check_len(name, len, rows)?;
        }
        // (sequence number, token number) of each row.
        let places: Vec<u32> = keys.sequence.iter().zip(keys.token).flat_map(|(&s, &t)| [s, t]).collect();
        let places = self.index(&places)?;
        let mut drawn = self.index(&vec![0; rows])?;
        // (log-probability, entropy, excluded mass) of each row.
        let mut values = self.zeros(3 * rows)?;
        let ([low, high], purpose) = keys.stream.words();
        let [low, high, purpose, step] = [low, high, purpose, keys.step].map(|word| word as usize);
        let greedy = usize::from(sampler.temperature == 0.0);
        let top_k = sampler.top_k.min(vocab);
        let (scale, top_p) = (sampler.scale() as f32, sampler.top_p);
        launch::sample(
            &self.device,
            logits,
            excluded,
            &places,
            &mut drawn,
            &mut values,
            rows,
            vocab,
            scale,
            greedy,
            top_k,
            top_p,
            low,
            high,
            purpose,
            step,
        )?;
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
    ) -> Result<(), Error> {
        let mut master = p.master.take();
        let (target, copy) = match &mut master {
            Some(master) => (&mut **master, Some(&mut *p)),
            None => (&mut *p, None),
        };
        let [b1, b2] = [step.beta1, step.beta2].map(|beta| beta as f32);
        let keep = (1.0 - step.learning_rate * step.weight_decay) as f32;
        let rate = (step.learning_rate / (1.0 - libm::pow(step.beta1, step.time as f64))) as f32;
        let root = (1.0 - libm::pow(step.beta2, step.time as f64)).sqrt() as f32;
        let (eps, scale) = (step.eps as f32, step.grad_scale as f32);
        let result = launch::adamw(&self.device, target, copy, g, m, v, len, b1, b2, keep, rate, root, eps, scale);
        p.master = master;
        result
    }

    fn sum_squares(&self, x: &Buffer, len: usize) -> Result<f64, Error> {
        /// Elements that one block sums. A constant, so that the order of the sum depends on the length alone.
        const PART: usize = 1 << 14;
        let parts = len.div_ceil(PART).max(1);
        let mut partial = self.allocate(Storage::F64, parts)?;
        launch::sum_squares(&self.device, x, &mut partial, len, parts, PART)?;
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
