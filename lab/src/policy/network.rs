//! Networks that turn states into logits.

use alloc::boxed::Box;
use alloc::vec::Vec;

use flowrl_core::Real;
use flowrl_core::backend::{CpuBackend, CpuError};
use flowrl_core::parameter::Parameter;

/// A batch of n states, as the input of a network, and the device that evaluates it.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, T: Real> {
    /// The device.
    pub backend: &'a CpuBackend<T>,
    /// Numbers of the states, (n).
    pub states: &'a [u32],
    /// Indices of the ones in their descriptions, (n, `ones_each`).
    pub ones: &'a [u32],
    /// Number of ones per state.
    pub ones_each: usize,
}

impl<'a, T: Real> Inputs<'a, T> {
    /// Iterates over the indices of the ones of each state.
    pub fn ones(&self) -> impl Iterator<Item = &'a [u32]> + use<'a, T> {
        let Inputs { ones, ones_each, states, .. } = *self;
        (0..states.len()).map(move |i| &ones[i * ones_each..(i + 1) * ones_each])
    }
}

/// A trainable function from states to logits. Row i of every output depends on state i alone.
///
/// The outputs are the logits of the actions, then those of the parents if P_B is learned, then the log-flow if flows
/// are learned.
///
/// The methods return an error if the device fails.
pub trait Network<T: Real> {
    /// Computes the logits (n, outputs) of some states, and writes into `hidden` the matrices of n rows that the
    /// backward pass needs. Both are written from the start and may be longer.
    fn forward(&self, inputs: &Inputs<'_, T>, hidden: &mut Vec<Vec<T>>, logits: &mut Vec<T>) -> Result<(), CpuError>;

    /// Adds to the gradients, from ∂loss/∂logits (n, outputs), the same inputs and the `hidden` of their forward pass.
    /// `hidden` and `d_logits` may be longer.
    #[allow(clippy::ptr_arg, reason = "the backend's buffers are vectors")]
    fn backward(&mut self, inputs: &Inputs<'_, T>, hidden: &[Vec<T>], d_logits: &Vec<T>) -> Result<(), CpuError>;

    /// Returns the number of columns of each matrix in `hidden`.
    fn hidden_widths(&self) -> &[usize];
    /// Returns the trained tensors.
    fn parameters(&self) -> &[Parameter<CpuBackend<T>>];
    /// Returns mutable access to the trained tensors.
    fn parameters_mut(&mut self) -> &mut [Parameter<CpuBackend<T>>];
}

/// Extends a buffer to at least `len` elements.
pub(super) fn reserve<T: Real>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, T::zero());
    }
}

/// Implements [`Network`] for boxes, so that the kind of network can be chosen at run time.
impl<T: Real, N: Network<T> + ?Sized> Network<T> for Box<N> {
    fn forward(&self, inputs: &Inputs<'_, T>, hidden: &mut Vec<Vec<T>>, logits: &mut Vec<T>) -> Result<(), CpuError> {
        (**self).forward(inputs, hidden, logits)
    }

    fn backward(&mut self, inputs: &Inputs<'_, T>, hidden: &[Vec<T>], d_logits: &Vec<T>) -> Result<(), CpuError> {
        (**self).backward(inputs, hidden, d_logits)
    }

    fn hidden_widths(&self) -> &[usize] {
        (**self).hidden_widths()
    }

    fn parameters(&self) -> &[Parameter<CpuBackend<T>>] {
        (**self).parameters()
    }

    fn parameters_mut(&mut self) -> &mut [Parameter<CpuBackend<T>>] {
        (**self).parameters_mut()
    }
}
