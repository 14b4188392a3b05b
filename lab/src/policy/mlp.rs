//! A multilayer perceptron on the description of a state.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use flowrl_core::Real;
use flowrl_core::backend::{Backend, CpuBackend, CpuError, LinearShape};
use flowrl_core::kernel::{lanes, matmul};
use flowrl_core::parameter::Parameter;
use flowrl_core::random::{Purpose, Stream};
use flowrl_core::vectorize;

use super::error::PolicyError;
use super::network::{Inputs, Network, reserve};
use crate::error::ensure;

/// The shape of an [`Mlp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct MlpOptions {
    /// Width of a hidden layer. Default 256.
    pub width: usize,
    /// Number of hidden layers; with 0 the policy is linear. Default 2.
    pub layers: usize,
}

impl Default for MlpOptions {
    fn default() -> Self {
        Self { width: 256, layers: 2 }
    }
}

/// Linear layers with ReLU between them. Weights and biases are drawn as in PyTorch's `Linear`, uniformly in
/// ±1/√inputs.
///
/// Weights are stored as (inputs, outputs). With this layout the first layer, whose input is a description of ones and
/// zeros, adds a few contiguous rows, and the products of the other layers read their weights in the order of storage.
#[derive(Debug)]
pub struct Mlp<T: Real> {
    /// Number of inputs and outputs of each linear layer.
    shapes: Vec<(usize, usize)>,
    /// Width of each hidden layer.
    widths: Vec<usize>,
    /// Weight (inputs, outputs) and bias (outputs) of each linear layer, alternating.
    parameters: Vec<Parameter<CpuBackend<T>>>,
    /// ∂loss/∂output of a layer, and of the layer below it.
    deltas: [Vec<T>; 2],
}

impl<T: Real> Mlp<T> {
    /// Creates a network from `features` inputs to `outputs`, with weights drawn from `seed`.
    ///
    /// # Errors
    /// Returns [`PolicyError::Input`] if the width is 0.
    pub fn new(
        backend: &CpuBackend<T>,
        features: usize,
        outputs: usize,
        options: MlpOptions,
        seed: u64,
    ) -> Result<Self, PolicyError> {
        let MlpOptions { width, layers } = options;
        ensure(width > 0 || layers == 0, "width", 0.0, "at least 1")?;
        let widths = vec![width; layers];
        let ends = || widths.iter().copied();
        let shapes: Vec<_> = core::iter::once(features).chain(ends()).zip(ends().chain([outputs])).collect();
        let stream = Stream::new(seed, Purpose::Init);
        let mut parameters = Vec::with_capacity(2 * shapes.len());
        for (i, &(inputs, outputs)) in shapes.iter().enumerate() {
            let bound = 1.0 / libm::sqrt(inputs as f64);
            for (kind, (name, len)) in [("weight", inputs * outputs), ("bias", outputs)].into_iter().enumerate() {
                let draw = |j| T::of(bound * (2.0 * stream.uniform(i as u32, kind as u32, j) - 1.0));
                let value: Vec<T> = (0..len as u32).map(draw).collect();
                parameters.push(Parameter::new(backend, format!("layers.{i}.{name}"), &value)?);
            }
        }
        Ok(Self { shapes, widths, parameters, deltas: [Vec::new(), Vec::new()] })
    }

    /// Computes the first layer: the bias plus the weights of the ones, in their order.
    fn first_layer(&self, inputs: &Inputs<'_, T>, out: &mut Vec<T>) {
        let width = self.shapes[0].1;
        reserve(out, inputs.states.len() * width);
        let (weight, bias) = (&self.parameters[0].value, &self.parameters[1].value);
        vectorize!(for (row, ones) in out.chunks_exact_mut(width).zip(inputs.ones()) {
            row.copy_from_slice(bias);
            for &one in ones {
                lanes::axpy(T::one(), &weight[one as usize * width..][..width], row);
            }
        });
    }
}

impl<T: Real> Network<T> for Mlp<T> {
    fn forward(&self, inputs: &Inputs<'_, T>, hidden: &mut Vec<Vec<T>>, logits: &mut Vec<T>) -> Result<(), CpuError> {
        let rows = inputs.states.len();
        hidden.resize(self.widths.len(), Vec::new());
        for (i, &(width, outputs)) in self.shapes.iter().enumerate() {
            let (below, above) = hidden.split_at_mut(i);
            let last = above.is_empty();
            let out = above.first_mut().unwrap_or(logits);
            match below.last() {
                None => self.first_layer(inputs, out),
                Some(x) => {
                    reserve(out, rows * outputs);
                    let (weight, bias) = (&self.parameters[2 * i].value, &self.parameters[2 * i + 1].value);
                    out[..rows * outputs].chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
                    // This is x·W with W as stored, which `linear_backward_input` computes with inputs and outputs
                    // exchanged.
                    let shape = LinearShape { rows, inputs: outputs, outputs: width };
                    inputs.backend.linear_backward_input(x, weight, out, shape, true)?;
                }
            }
            if !last {
                relu(&mut out[..rows * outputs]);
            }
        }
        Ok(())
    }

    fn backward(&mut self, inputs: &Inputs<'_, T>, hidden: &[Vec<T>], d_logits: &Vec<T>) -> Result<(), CpuError> {
        let rows = inputs.states.len();
        let [upstream, downstream] = &mut self.deltas;
        let (mut upstream, mut downstream) = (upstream, downstream);
        for (i, &(width, outputs)) in self.shapes.iter().enumerate().rev() {
            let last = i == hidden.len();
            let delta = if last { d_logits } else { &*upstream };
            let [weight, bias] = &mut self.parameters[2 * i..2 * i + 2] else { unreachable!("two for each layer") };
            let delta_rows = &delta[..rows * outputs];
            vectorize!(matmul::column_sums(delta_rows, &mut bias.grad));
            let Some(x) = i.checked_sub(1).map(|below| &hidden[below]) else {
                vectorize!(for (row, ones) in delta_rows.chunks_exact(outputs).zip(inputs.ones()) {
                    for &one in ones {
                        lanes::axpy(T::one(), row, &mut weight.grad[one as usize * outputs..][..outputs]);
                    }
                });
                break;
            };
            // dW += xᵀ·delta and dx = delta·Wᵀ, for a W stored as (inputs, outputs).
            let shape = LinearShape { rows, inputs: outputs, outputs: width };
            inputs.backend.linear_backward_weight(x, delta, &mut weight.grad, None, shape)?;
            reserve(downstream, rows * width);
            inputs.backend.linear(delta, &weight.value, None, downstream, shape, false)?;
            relu_backward(&x[..rows * width], &mut downstream[..rows * width]);
            (upstream, downstream) = (downstream, upstream);
        }
        Ok(())
    }

    fn hidden_widths(&self) -> &[usize] {
        &self.widths
    }

    fn parameters(&self) -> &[Parameter<CpuBackend<T>>] {
        &self.parameters
    }

    fn parameters_mut(&mut self) -> &mut [Parameter<CpuBackend<T>>] {
        &mut self.parameters
    }
}

/// Replaces x by max(x, 0). NaN stays NaN, so that a broken network is noticed.
fn relu<T: Real>(x: &mut [T]) {
    vectorize!(x.iter_mut().for_each(|x| *x = if *x < T::zero() { T::zero() } else { *x }));
}

/// Zeroes the gradient of elements with an output that is not above 0.
fn relu_backward<T: Real>(out: &[T], delta: &mut [T]) {
    vectorize!(delta.iter_mut().zip(out).for_each(|(d, &y)| *d = if y > T::zero() { *d } else { T::zero() }));
}
