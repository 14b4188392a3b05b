//! A trainable tensor with its gradient and its optimiser state. The methods fail only if the device does.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::backend::Backend;
use crate::optim::AdamWStep;

/// A trainable tensor, its gradient and AdamW's two moments, all on one device.
pub struct Parameter<B: Backend> {
    /// Name of the tensor in a checkpoint.
    pub name: String,
    /// Number of elements.
    pub len: usize,
    /// The trainable values.
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

/// Names of the vectors that a checkpoint stores for each parameter.
const STATE: [&str; 3] = ["value", "first_moment", "second_moment"];

impl<B: Backend> Parameter<B> {
    /// Creates a parameter with this value and a fresh optimiser state.
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
    pub fn zero_grad(&mut self, backend: &B) -> Result<(), B::Error> {
        backend.fill(&mut self.grad, num_traits::Zero::zero(), self.len)
    }

    /// Returns ‖grad‖², the squared norm of the gradient.
    pub fn grad_squares(&self, backend: &B) -> Result<f64, B::Error> {
        backend.sum_squares(&self.grad, self.len)
    }

    /// Applies one AdamW step.
    pub fn adamw(&mut self, backend: &B, step: &AdamWStep) -> Result<(), B::Error> {
        backend.adamw(&mut self.value, &self.grad, &mut self.first_moment, &mut self.second_moment, self.len, step)
    }
}

/// Vectors of a checkpoint, by name.
pub type NamedState<T> = Vec<(String, Vec<T>)>;

/// Returns the norm of the gradient over all these tensors.
pub fn grad_norm<B: Backend>(backend: &B, parameters: &[Parameter<B>]) -> Result<f64, B::Error> {
    let squares = parameters.iter().map(|parameter| parameter.grad_squares(backend));
    Ok(libm::sqrt(squares.sum::<Result<f64, B::Error>>()?))
}

/// Applies one AdamW step to each tensor and sets the gradients to 0.
pub fn update<B: Backend>(backend: &B, parameters: &mut [Parameter<B>], step: &AdamWStep) -> Result<(), B::Error> {
    parameters.iter_mut().try_for_each(|parameter| parameter.adamw(backend, step))?;
    zero_grad(backend, parameters)
}

/// Sets the gradient of each tensor to 0.
pub fn zero_grad<B: Backend>(backend: &B, parameters: &mut [Parameter<B>]) -> Result<(), B::Error> {
    parameters.iter_mut().try_for_each(|parameter| parameter.zero_grad(backend))
}

/// Returns every vector of these tensors that a checkpoint needs, by name.
pub fn state<B: Backend>(backend: &B, parameters: &[Parameter<B>]) -> Result<NamedState<B::Real>, B::Error> {
    let mut out = Vec::new();
    for Parameter { name, len, value, first_moment, second_moment, .. } in parameters {
        for (kind, buffer) in STATE.iter().zip([value, first_moment, second_moment]) {
            let mut values = vec![num_traits::Zero::zero(); *len];
            backend.read(buffer, 0, &mut values)?;
            out.push((format!("{name}.{kind}"), values));
        }
    }
    Ok(out)
}

/// Restores what [`state`] returned; `get` finds vectors by name. If one is missing or has another length, nothing
/// changes, and the inner error is its name and that length.
pub fn restore<B: Backend>(
    backend: &B,
    parameters: &mut [Parameter<B>],
    mut get: impl FnMut(&str) -> Option<Vec<B::Real>>,
) -> Result<Result<(), (String, usize)>, B::Error> {
    let mut all = Vec::new();
    for Parameter { name, len, .. } in &*parameters {
        for kind in STATE {
            let name = format!("{name}.{kind}");
            match get(&name).filter(|values| values.len() == *len) {
                Some(values) => all.push(values),
                None => return Ok(Err((name, *len))),
            }
        }
    }
    for (parameter, values) in parameters.iter_mut().zip(all.chunks_exact(STATE.len())) {
        let Parameter { value, first_moment, second_moment, .. } = parameter;
        for (buffer, values) in [value, first_moment, second_moment].into_iter().zip(values) {
            backend.write(buffer, 0, values)?;
        }
    }
    Ok(Ok(()))
}
