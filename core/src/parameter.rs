//! A trainable tensor with its gradient and its optimiser state.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::backend::Backend;
use crate::optim::AdamWStep;

/// A trainable tensor, its gradient, and AdamW's two moments, all on one device.
pub struct Parameter<B: Backend> {
    /// Its name in a checkpoint.
    pub name: String,
    /// Elements.
    pub len: usize,
    /// The value.
    pub value: B::Buffer,
    /// ∂loss/∂value, accumulated until [`Parameter::zero_grad`].
    pub grad: B::Buffer,
    first_moment: B::Buffer,
    second_moment: B::Buffer,
}

impl<B: Backend> core::fmt::Debug for Parameter<B> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Parameter").field("name", &self.name).field("len", &self.len).finish_non_exhaustive()
    }
}

/// What is stored of a parameter, in the order of [`Parameter::state`].
pub const STATE: [&str; 3] = ["value", "first_moment", "second_moment"];

impl<B: Backend> Parameter<B> {
    /// A parameter with this value and a fresh optimiser state.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn new(backend: &B, name: String, value: &[B::Real]) -> Result<Self, B::Error> {
        let len = value.len();
        Ok(Self {
            name,
            len,
            value: backend.upload(value)?,
            grad: backend.zeros(len)?,
            first_moment: backend.zeros(len)?,
            second_moment: backend.zeros(len)?,
        })
    }

    /// Sets the gradient to 0.
    ///
    /// # Errors
    /// Where the device failed.
    pub fn zero_grad(&mut self, backend: &B) -> Result<(), B::Error> {
        backend.fill(&mut self.grad, num_traits::Zero::zero(), self.len)
    }

    /// ‖grad‖².
    ///
    /// # Errors
    /// Where the device failed.
    pub fn grad_squares(&self, backend: &B) -> Result<f64, B::Error> {
        backend.sum_squares(&self.grad, self.len)
    }

    /// One AdamW step.
    ///
    /// # Errors
    /// Where the device failed.
    pub fn adamw(&mut self, backend: &B, step: &AdamWStep) -> Result<(), B::Error> {
        backend.adamw(&mut self.value, &self.grad, &mut self.first_moment, &mut self.second_moment, self.len, step)
    }

    /// The value and the two moments, for a checkpoint; see [`STATE`].
    ///
    /// # Errors
    /// Where the device failed.
    pub fn state(&self, backend: &B) -> Result<[Vec<B::Real>; 3], B::Error> {
        let read = |buffer| {
            let mut out = vec![num_traits::Zero::zero(); self.len];
            backend.read(buffer, 0, &mut out).map(|()| out)
        };
        Ok([read(&self.value)?, read(&self.first_moment)?, read(&self.second_moment)?])
    }

    /// Restores what [`Parameter::state`] gave.
    ///
    /// # Errors
    /// Where a length does not fit.
    pub fn restore(&mut self, backend: &B, state: [&[B::Real]; 3]) -> Result<(), B::Error> {
        backend.write(&mut self.value, 0, state[0])?;
        backend.write(&mut self.first_moment, 0, state[1])?;
        backend.write(&mut self.second_moment, 0, state[2])
    }
}
