//! The partition network Z_φ: computes log Z(x), or a value V(x), from the mean hidden state of a prompt (FlowRL paper
//! §3.2).

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::Real;
use crate::backend::{Backend, DropoutMask, LinearShape};
use crate::parameter::Parameter;
use crate::random::{Purpose, Stream};

/// Shape of the network: `layers` linear layers with GELU between them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct PartitionOptions {
    /// Number of linear layers, of which the last has a single output.
    pub layers: usize,
    /// Whether a layer normalisation follows each GELU.
    pub layer_norm: bool,
    /// Dropout rate after each GELU, in [0, 1).
    pub dropout: f64,
    /// Whether the last layer starts at 0, so that log Z starts at 0.
    pub zero_init: bool,
}

impl Default for PartitionOptions {
    fn default() -> Self {
        Self { layers: 3, layer_norm: false, dropout: 0.0, zero_init: true }
    }
}

impl PartitionOptions {
    /// The options of the code released with the paper.
    pub const RELEASED: Self = Self { layers: 3, layer_norm: true, dropout: 0.1, zero_init: false };

    /// Checks that every option is in range.
    ///
    /// # Errors
    /// Returns a message that names the option and its range.
    pub fn validate(&self) -> Result<(), &'static str> {
        if self.layers == 0 {
            return Err("layers must be at least 1");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err("dropout must be at least 0 and below 1");
        }
        Ok(())
    }
}

/// The results of one hidden layer's forward pass that the backward pass reads.
struct Activation<B: Backend> {
    pre: B::Buffer,
    /// GELU's output, if a layer normalisation follows it; otherwise empty.
    gelu: B::Buffer,
    out: B::Buffer,
    mean: B::Buffer,
    inv_std: B::Buffer,
}

/// The network with its gradients and its optimiser state, on one device. Forward and backward passes are written by
/// hand.
///
/// ```
/// use flowrl_core::backend::CpuBackend;
/// use flowrl_core::partition::{PartitionNetwork, PartitionOptions};
/// let cpu = CpuBackend::<f64>::reference();
/// let mut network = PartitionNetwork::new(&cpu, "log_z", 4, PartitionOptions::default(), 7)?;
/// let hidden = vec![0.5; 2 * 4]; // two prompts, d = 4
/// assert_eq!(network.forward(&cpu, &hidden, 2, None)?, [0.0, 0.0]); // the last layer starts at 0
/// network.backward(&cpu, &hidden, &[1.0, -1.0], None)?;
/// # Ok::<(), flowrl_core::backend::CpuError>(())
/// ```
pub struct PartitionNetwork<B: Backend> {
    name: String,
    width: usize,
    options: PartitionOptions,
    /// Weight and bias of each layer, followed by γ and β of its normalisation if there is one.
    parameters: Vec<Parameter<B>>,
    activations: Vec<Activation<B>>,
    delta: [B::Buffer; 2],
    output: B::Buffer,
    capacity: usize,
    /// The dropout mask of the last forward pass, if it had one.
    dropout: Option<DropoutMask>,
    stream: Stream,
}

impl<B: Backend> core::fmt::Debug for PartitionNetwork<B> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PartitionNetwork")
            .field("name", &self.name)
            .field("width", &self.width)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

const NORM_EPS: f64 = 1e-5;

impl<B: Backend> PartitionNetwork<B> {
    /// Creates a network for hidden states of `width` elements. Its weights are drawn from `seed`, uniform in ±1/√width
    /// as in PyTorch's `Linear`.
    pub fn new(backend: &B, name: &str, width: usize, options: PartitionOptions, seed: u64) -> Result<Self, B::Error> {
        let stream = Stream::new(seed, Purpose::Init);
        let bound = 1.0 / libm::sqrt(width as f64);
        let count = options.layers.max(1);
        let mut parameters = Vec::new();
        for i in 0..count {
            let last = i + 1 == count;
            let outputs = if last { 1 } else { width };
            let draw = |row: usize, len: usize| -> Vec<B::Real> {
                if last && options.zero_init {
                    return vec![B::Real::of(0.0); len];
                }
                let value = |j: usize| bound * (2.0 * stream.uniform(i as u32, row as u32, j as u32) - 1.0);
                (0..len).map(|j| B::Real::of(value(j))).collect()
            };
            let mut add = |what: &str, value: &[B::Real]| -> Result<(), B::Error> {
                parameters.push(Parameter::new(backend, format!("{name}.{i}.{what}"), value)?);
                Ok(())
            };
            add("weight", &draw(0, outputs * width))?;
            add("bias", &draw(1, outputs))?;
            if options.layer_norm && !last {
                add("norm.weight", &vec![B::Real::of(1.0); width])?;
                add("norm.bias", &vec![B::Real::of(0.0); width])?;
            }
        }
        Ok(Self {
            name: name.into(),
            width,
            options,
            parameters,
            activations: Vec::new(),
            delta: [backend.zeros(0)?, backend.zeros(0)?],
            output: backend.zeros(0)?,
            capacity: 0,
            dropout: None,
            stream: Stream::new(seed, Purpose::Dropout),
        })
    }

    /// Returns the number of elements of a hidden state that this network takes.
    pub const fn width(&self) -> usize {
        self.width
    }

    fn layers(&self) -> usize {
        self.parameters.len().div_ceil(self.stride())
    }

    /// Number of tensors in a layer. The last layer has no normalisation.
    const fn stride(&self) -> usize {
        if self.options.layer_norm { 4 } else { 2 }
    }

    fn reserve(&mut self, backend: &B, prompts: usize) -> Result<(), B::Error> {
        if prompts <= self.capacity {
            return Ok(());
        }
        let size = prompts * self.width;
        self.activations.clear();
        for _ in 1..self.layers() {
            let (normed, rows) = if self.options.layer_norm { (size, prompts) } else { (0, 0) };
            self.activations.push(Activation {
                pre: backend.zeros(size)?,
                gelu: backend.zeros(normed)?,
                out: backend.zeros(size)?,
                mean: backend.zeros(rows)?,
                inv_std: backend.zeros(rows)?,
            });
        }
        self.delta = [backend.zeros(size)?, backend.zeros(size)?];
        self.output = backend.zeros(prompts)?;
        self.capacity = prompts;
        Ok(())
    }

    /// Computes log Z (prompts) from `hidden` (prompts, width). `training` holds the step and the number of the first
    /// prompt in its batch; if it is given, dropout is on.
    ///
    /// # Errors
    /// Returns an error if `hidden` is too short or the device fails.
    pub fn forward(
        &mut self,
        backend: &B,
        hidden: &B::Buffer,
        prompts: usize,
        training: Option<(u32, u32)>,
    ) -> Result<Vec<B::Real>, B::Error> {
        self.reserve(backend, prompts)?;
        let stride = self.stride();
        let Self { parameters, activations, width, options, output, stream, .. } = self;
        let mask = |(step, first_row)| DropoutMask { rate: options.dropout, stream: *stream, step, first_row };
        self.dropout = training.filter(|_| options.dropout > 0.0).map(mask);
        let shape = (prompts, *width);
        for (i, layer) in parameters.chunks(stride).enumerate() {
            let [weight, bias, norm @ ..] = layer else { unreachable!("a layer has a weight and a bias") };
            let (before, rest) = activations.split_at_mut(i);
            let input = before.last().map_or(hidden, |a| &a.out);
            let linear = |y: &mut B::Buffer, outputs: usize| {
                let shape = LinearShape { rows: prompts, inputs: *width, outputs };
                backend.linear(input, &weight.value, Some(&bias.value), y, shape, false)
            };
            let Some(a) = rest.first_mut() else {
                linear(output, 1)?;
                break;
            };
            linear(&mut a.pre, *width)?;
            if let [gamma, beta] = norm {
                backend.gelu(&a.pre, &mut a.gelu, prompts * *width)?;
                let (mean, inv_std) = (&mut a.mean, &mut a.inv_std);
                backend.layer_norm(&a.gelu, &gamma.value, &beta.value, &mut a.out, mean, inv_std, shape, NORM_EPS)?;
            } else {
                backend.gelu(&a.pre, &mut a.out, prompts * *width)?;
            }
            if let Some(mask) = self.dropout {
                backend.dropout(&mut a.out, shape, of_layer(mask, i))?;
            }
        }
        let mut log_z = vec![B::Real::of(0.0); prompts];
        backend.read(output, 0, &mut log_z)?;
        Ok(log_z)
    }

    /// Adds to the gradients, given `d_log_z` (prompts) and the `hidden` of the last forward pass. If `d_hidden` is
    /// given, this also writes ∂loss/∂hidden (prompts, width) to it.
    ///
    /// # Errors
    /// Returns an error if a length does not fit or the device fails.
    pub fn backward(
        &mut self,
        backend: &B,
        hidden: &B::Buffer,
        d_log_z: &[B::Real],
        d_hidden: Option<&mut B::Buffer>,
    ) -> Result<(), B::Error> {
        let prompts = d_log_z.len();
        let (width, stride, layers) = (self.width, self.stride(), self.layers());
        let shape = (prompts, width);
        backend.write(&mut self.output, 0, d_log_z)?;
        let [upstream, downstream] = &mut self.delta;
        let (mut upstream, mut downstream) = (upstream, downstream);
        for i in (0..layers).rev() {
            let (before, rest) = self.parameters.split_at_mut(i * stride);
            let [weight, bias, ..] = rest else { unreachable!("a layer has a weight and a bias") };
            let last = i == self.activations.len();
            let linear = LinearShape { rows: prompts, inputs: width, outputs: if last { 1 } else { width } };
            let input = if i == 0 { hidden } else { &self.activations[i - 1].out };
            let dy = if last { &self.output } else { &*upstream };
            backend.linear_backward_weight(dy, input, &mut weight.grad, Some(&mut bias.grad), linear)?;
            if i == 0 {
                if let Some(d_hidden) = d_hidden {
                    backend.linear_backward_input(dy, &weight.value, d_hidden, linear, false)?;
                }
                break;
            }
            backend.linear_backward_input(dy, &weight.value, downstream, linear, false)?;
            (upstream, downstream) = (downstream, upstream);
            let a = &self.activations[i - 1];
            if let Some(mask) = self.dropout {
                backend.dropout(upstream, shape, of_layer(mask, i - 1))?;
            }
            if let [_, _, gamma, beta] = &mut before[(i - 1) * stride..] {
                let (dg, db) = (&mut gamma.grad, &mut beta.grad);
                backend.layer_norm_backward(&a.gelu, &gamma.value, &a.mean, &a.inv_std, upstream, dg, db, shape)?;
            }
            backend.gelu_backward(&a.pre, upstream, prompts * width)?;
        }
        Ok(())
    }

    /// Returns every tensor, in a fixed order.
    pub fn parameters(&self) -> &[Parameter<B>] {
        &self.parameters
    }

    /// Returns mutable access to every tensor, in the order of [`parameters`](Self::parameters).
    pub fn parameters_mut(&mut self) -> &mut [Parameter<B>] {
        &mut self.parameters
    }
}

/// Returns the mask of one layer. Masks of different layers differ.
const fn of_layer(mask: DropoutMask, layer: usize) -> DropoutMask {
    DropoutMask { step: mask.step.wrapping_mul(64).wrapping_add(layer as u32), ..mask }
}
