//! Describes the machine and measures its peak rates.

use std::fmt;
use std::process::Command;

use flowrl_benches::paired::quantile;
use flowrl_benches::report::printed;
use flowrl_core::backend::{Backend, LinearShape, Role};
use flowrl_cuda::{Buffer, CudaBackend};

use crate::Failure;
use crate::group::{Amount, Row};
use crate::inputs::numbers;
use crate::peer::Peers;
use crate::sizes::Sizes;

/// Returns the facts that the measurements depend on: date, device, driver, libraries and peers.
pub(crate) fn describe(smoke: bool, peers: Option<&Peers>) -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let mut date = Command::new("date");
    date.args(["-u", "+%Y-%m-%d %H:%M UTC"]);
    let mut facts = vec![("date", printed(date).unwrap_or_else(|_| unknown()))];
    let report = flowrl_cuda::doctor();
    if smoke {
        facts.push(("device", "the emulator with tiny shapes, so the times mean nothing".to_owned()));
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

/// The machine's own rates, from which the speed of light of each row follows.
pub(crate) struct Rates {
    /// Bytes read and written per second by a copy of the logits.
    pub(crate) copy: f64,
    /// FLOP/s of the three products of the model's head, forward and backward.
    pub(crate) products: f64,
    shape: LinearShape,
}

impl Rates {
    /// Measures the rates with elements of `width` bytes.
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

    /// Returns the seconds that `flops` of products and `bytes` of copies need at these rates.
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
            "the machine's own rates: copy of [{rows} x {outputs}] {copy:.0} GB/s; products [{rows} x {inputs}] \
             [{inputs} x {outputs}], forward and backward, {products:.1} TFLOP/s\n\
             of light: a row's share of these rates, or the time that its products and memory traffic need at these \
             rates divided by its own time"
        )
    }
}

/// The three matrix products of the forward and backward pass of a linear layer, without any other work.
pub(crate) struct Products {
    shape: LinearShape,
    /// Input of shape (rows, inputs).
    pub(crate) input: Buffer,
    /// Weight of shape (outputs, inputs).
    pub(crate) weight: Buffer,
    /// Gradient with respect to the input.
    pub(crate) d_input: Buffer,
    /// Gradient with respect to the weight, accumulated in f32.
    pub(crate) d_weight: Buffer,
}

impl Products {
    /// Creates inputs and buffers. `role` decides their precision.
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

    /// Runs all three products. `output` (rows, outputs) is written, and then serves as its own gradient.
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

/// Returns the FLOP of the three [`Products`] of this shape.
pub(crate) fn flops(shape: LinearShape) -> f64 {
    6.0 * shape.rows as f64 * shape.inputs as f64 * shape.outputs as f64
}

/// Returns the median seconds of a call, after one warm-up call.
fn seconds(gpu: &CudaBackend, turns: usize, work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut row = Row::new(String::new(), Amount::Bytes(0.0), work);
    row.time(gpu)?;
    let times = (0..turns).map(|_| row.time(gpu)).collect::<Result<Vec<_>, _>>()?;
    Ok(quantile(&times, 0.5))
}
