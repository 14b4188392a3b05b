//! FlowRL in burn: the objective's gradient becomes a surrogate loss that burn differentiates. `cargo xtask examples
//! with_burn` runs it.
//!
//! With d = ∂loss/∂log π held constant, Σ d·log π has the same gradient as the loss. The same holds for log Z.

#[path = "../../shared/batch.rs"]
mod batch;

use std::error::Error;

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use batch::{HIDDEN, PROMPTS, TOKENS};

/// Computes the loss and its gradient. The model predicts a token from the one before it, or from the prompt:
/// logits = tanh(E[before])·U. The parameters are E, U and log Z of each prompt.
fn loss_and_gradient(parameters: &[f64]) -> Result<(f64, Vec<f64>), Box<dyn Error>> {
    let device = Device::flex().autodiff();
    let (embed, rest) = parameters.split_at(TOKENS * HIDDEN);
    let (unembed, log_z) = rest.split_at(HIDDEN * TOKENS);
    let embed = float(embed, [TOKENS, HIDDEN], &device).require_grad();
    let unembed = float(unembed, [HIDDEN, TOKENS], &device).require_grad();
    let log_z = float(log_z, [PROMPTS], &device).require_grad();
    let (before, tokens) = batch::positions(|i| i as i64);
    let prompts = batch::prompts(|i| i as i64);

    // The forward pass in burn computes log π of every token, (N).
    let logits = embed.clone().select(0, whole(&before, &device)).tanh().matmul(unembed.clone());
    let log_probs = log_softmax(logits, 1).gather(1, whole(&tokens, &device).unsqueeze_dim(1)).squeeze_dim::<1>(1);

    // The objective runs outside burn, with slices as input and output.
    let result = batch::flowrl(&numbers(log_probs.clone())?, &numbers(log_z.clone())?)?;

    // The surrogate treats d as a constant, since new tensors have no history.
    let log_z_of = log_z.clone().select(0, whole(&prompts, &device));
    let surrogate = (log_probs * float(&result.d_log_probs, [result.d_log_probs.len()], &device)).sum()
        + (log_z_of * float(&result.d_log_z, [prompts.len()], &device)).sum();
    let gradients = surrogate.backward();

    let missing = "a parameter has no gradient";
    let mut gradient = numbers(embed.grad(&gradients).ok_or(missing)?)?;
    gradient.extend(numbers(unembed.grad(&gradients).ok_or(missing)?)?);
    gradient.extend(numbers(log_z.grad(&gradients).ok_or(missing)?)?);
    Ok((result.loss, gradient))
}

fn float<const R: usize>(values: &[f64], shape: [usize; R], device: &Device) -> Tensor<R> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, DType::F64))
}

fn whole(values: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

fn numbers<const R: usize>(tensor: Tensor<R>) -> Result<Vec<f64>, Box<dyn Error>> {
    tensor.into_data().try_to_vec().map_err(|why| format!("{why:?}").into())
}

fn main() -> Result<(), Box<dyn Error>> {
    batch::run(loss_and_gradient)
}
