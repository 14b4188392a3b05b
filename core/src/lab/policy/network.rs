//! What turns a state into logits.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::Real;
use crate::backend::{CpuBackend, CpuError};
use crate::parameter::Parameter;

/// Some states, as a network sees them.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// (n) their numbers.
    pub states: &'a [u32],
    /// (n, `ones_each`) the places of the ones in their descriptions.
    pub ones: &'a [u32],
    /// Ones of a state.
    pub ones_each: usize,
}

impl<'a> Inputs<'a> {
    /// Number of states.
    #[must_use]
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The ones of each state.
    pub fn ones(&self) -> impl Iterator<Item = &'a [u32]> + use<'a> {
        let Inputs { ones, ones_each, states } = *self;
        (0..states.len()).map(move |i| &ones[i * ones_each..(i + 1) * ones_each])
    }
}

/// A function from states to logits that can be trained. Row i of every output depends on state i alone.
///
/// The first outputs are the logits of the actions, then those of the parents where P_B is learned, then the log-flow.
pub trait Network<T: Real> {
    /// Logits (n, outputs) of some states, and in `hidden` what the backward pass needs of each: matrices of n rows. Both are
    /// written from the start and may be longer.
    ///
    /// # Errors
    /// Where the device failed.
    fn forward(
        &self,
        backend: &CpuBackend<T>,
        inputs: &Inputs<'_>,
        hidden: &mut Vec<Vec<T>>,
        logits: &mut Vec<T>,
    ) -> Result<(), CpuError>;

    /// Adds to the gradients, from ∂loss/∂logits (n, outputs), for the states and the `hidden` of a forward pass. Both may be longer.
    ///
    /// # Errors
    /// Where the device failed.
    #[allow(clippy::ptr_arg, reason = "the backend's buffers are vectors")]
    fn backward(
        &mut self,
        backend: &CpuBackend<T>,
        inputs: &Inputs<'_>,
        hidden: &[Vec<T>],
        d_logits: &Vec<T>,
    ) -> Result<(), CpuError>;

    /// Columns of each matrix in `hidden`.
    fn hidden_widths(&self) -> &[usize];
    /// The trained tensors.
    fn parameters(&self) -> &[Parameter<CpuBackend<T>>];
    /// The same, mutable.
    fn parameters_mut(&mut self) -> &mut [Parameter<CpuBackend<T>>];
}

/// Makes a buffer at least `len` long.
pub(super) fn reserve<T: Real>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, T::zero());
    }
}

/// A boxed network is one too, so that its kind can be chosen at run time.
impl<T: Real, N: Network<T> + ?Sized> Network<T> for Box<N> {
    fn forward(
        &self,
        backend: &CpuBackend<T>,
        inputs: &Inputs<'_>,
        hidden: &mut Vec<Vec<T>>,
        logits: &mut Vec<T>,
    ) -> Result<(), CpuError> {
        (**self).forward(backend, inputs, hidden, logits)
    }

    fn backward(
        &mut self,
        backend: &CpuBackend<T>,
        inputs: &Inputs<'_>,
        hidden: &[Vec<T>],
        d_logits: &Vec<T>,
    ) -> Result<(), CpuError> {
        (**self).backward(backend, inputs, hidden, d_logits)
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
