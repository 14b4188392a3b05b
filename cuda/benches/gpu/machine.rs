//! The machine: what it is, and what it can do.

use std::fmt;
use std::process::Command;
use std::time::Instant;

use flowrl_core::backend::{Backend, LinearShape, Role};
use flowrl_cuda::{Buffer, CudaBackend};

use crate::Failure;
use crate::inputs::numbers;
use crate::peer::Peers;
use crate::report::quartiles;
use crate::sizes::Sizes;

/// What the figures belong to.
pub(crate) fn describe(smoke: bool, peers: Option<&Peers>) -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let date = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output().ok();
    let date = date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let mut facts = vec![("date", date.unwrap_or_else(unknown))];
    let report = flowrl_cuda::doctor();
    if smoke {
        facts.push(("device", "the emulator, tiny shapes: the times mean nothing".to_owned()));
    } else {
        let device = report.devices.first().map(|gpu| {
            format!(
                "{}, compute capability {}, {:.0} GiB",
                gpu.name,
                gpu.capability,
                gpu.memory_total as f64 / f64::from(1 << 30)
            )
        });
        facts.push(("device", device.unwrap_or_else(unknown)));
        let (driver, cuda) = (report.driver.unwrap_or_else(unknown), report.driver_cuda.unwrap_or_else(unknown));
        facts.push(("driver", format!("{driver}, CUDA up to {cuda}")));
        let libraries = report
            .libraries
            .iter()
            .filter_map(|library| library.version.as_ref().map(|version| format!("{} {version}", library.name)));
        facts.push(("ours", libraries.collect::<Vec<_>>().join("  ")));
    }
    facts.push(("peers", peers.map_or_else(|| "none: --peers PYTHON adds them".to_owned(), Peers::versions)));
    facts
}

/// What everything else is compared with.
pub(crate) struct Rates {
    /// Bytes a second, read and written, of a copy of the logits.
    pub(crate) copy: f64,
    /// FLOP/s of the three products of the model's head, forward and backward.
    pub(crate) products: f64,
    shape: LinearShape,
}

impl Rates {
    /// With elements of `width` bytes.
    pub(crate) fn measure(gpu: &CudaBackend, width: f64, sizes: &Sizes) -> Result<Self, Failure> {
        let ((rows, vocab), d) = (sizes.logits, sizes.model.hidden);
        let shape = LinearShape { rows, inputs: d, outputs: vocab };
        let mut logits = numbers(gpu, Role::Activation, "logits", rows * vocab, 8.0)?;
        let mut other = gpu.zeros_for(Role::Activation, rows * vocab)?;
        let copy = seconds(gpu, sizes.turns, || Ok(gpu.copy(&mut other, &logits, rows * vocab)?))?;
        drop(other);
        let mut products = Products::new(gpu, shape, Role::Activation)?;
        let products = seconds(gpu, sizes.turns, || products.run(gpu, &mut logits))?;
        let bytes = 2.0 * width * (rows * vocab) as f64;
        Ok(Self { copy: bytes / copy, products: flops(shape) / products, shape })
    }

    /// Seconds that so many FLOP of products and bytes of copies need.
    pub(crate) fn light(&self, flops: f64, bytes: f64) -> f64 {
        flops / self.products + bytes / self.copy
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LinearShape { rows, inputs, outputs } = self.shape;
        let (copy, products) = (self.copy / 1e9, self.products / 1e12);
        write!(
            f,
            "its own rates: a copy of [{rows} x {outputs}] {copy:.0} GB/s; the products [{rows} x {inputs}] [{inputs} x {outputs}], \
             forward and backward, {products:.1} TFLOP/s\n\
             of light: the share of these, or the time that a row's products and memory traffic need at these rates over its own"
        )
    }
}

/// The three matrix products of a linear layer, forward and backward, and nothing else.
pub(crate) struct Products {
    shape: LinearShape,
    /// (rows, inputs).
    pub(crate) input: Buffer,
    /// (outputs, inputs).
    pub(crate) weight: Buffer,
    pub(crate) d_input: Buffer,
    /// In f32, added to.
    pub(crate) d_weight: Buffer,
}

impl Products {
    /// `role` says in which precision.
    pub(crate) fn new(gpu: &CudaBackend, shape: LinearShape, role: Role) -> Result<Self, Failure> {
        let LinearShape { rows, inputs, outputs } = shape;
        Ok(Self {
            shape,
            input: numbers(gpu, role, "hidden", rows * inputs, 4.0)?,
            weight: numbers(gpu, role, "head", outputs * inputs, 0.25)?,
            d_input: gpu.zeros_for(role, rows * inputs)?,
            d_weight: gpu.zeros(outputs * inputs)?,
        })
    }

    /// `output` (rows, outputs) is written, and then taken for its own gradient.
    pub(crate) fn run(&mut self, gpu: &CudaBackend, output: &mut Buffer) -> Result<(), Failure> {
        self.forward(gpu, output)?;
        self.backward(gpu, output)
    }

    pub(crate) fn forward(&self, gpu: &CudaBackend, output: &mut Buffer) -> Result<(), Failure> {
        Ok(gpu.linear(&self.input, &self.weight, None, output, self.shape, false)?)
    }

    pub(crate) fn backward(&mut self, gpu: &CudaBackend, d_output: &Buffer) -> Result<(), Failure> {
        gpu.linear_backward_weight(d_output, &self.input, &mut self.d_weight, None, self.shape)?;
        Ok(gpu.linear_backward_input(d_output, &self.weight, &mut self.d_input, self.shape, false)?)
    }
}

/// FLOP of the three.
pub(crate) fn flops(shape: LinearShape) -> f64 {
    6.0 * shape.rows as f64 * shape.inputs as f64 * shape.outputs as f64
}

/// Median seconds of a call, after one that does not count.
fn seconds(gpu: &CudaBackend, turns: usize, mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut times = Vec::with_capacity(turns);
    for turn in 0..=turns {
        gpu.synchronize()?;
        let start = Instant::now();
        work()?;
        gpu.synchronize()?;
        if turn > 0 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(quartiles(&times)[1])
}
