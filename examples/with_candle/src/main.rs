//! FlowRL in candle: the objective's gradient becomes a surrogate loss that candle differentiates. `cargo xtask
//! examples with_candle` runs it.
//!
//! With d = ∂loss/∂log π held constant, Σ d·log π has the same gradient as the loss. The same holds for log Z.

#[path = "../../shared/batch.rs"]
mod batch;

use std::error::Error;

use candle_core::{D, Device, Tensor, Var};

use batch::{HIDDEN, PROMPTS, TOKENS};

/// Computes the loss and its gradient. The model predicts a token from the one before it, or from the prompt:
/// logits = tanh(E[before])·U. The parameters are E, U and log Z of each prompt.
fn loss_and_gradient(parameters: &[f64]) -> Result<(f64, Vec<f64>), Box<dyn Error>> {
    let device = &Device::Cpu;
    let (embed, rest) = parameters.split_at(TOKENS * HIDDEN);
    let (unembed, log_z) = rest.split_at(HIDDEN * TOKENS);
    let embed = Var::from_slice(embed, (TOKENS, HIDDEN), device)?;
    let unembed = Var::from_slice(unembed, (HIDDEN, TOKENS), device)?;
    let log_z = Var::from_slice(log_z, PROMPTS, device)?;
    let (before, tokens) = batch::positions(|i| i as u32);
    let prompts = batch::prompts(|i| i as u32);

    // The forward pass in candle computes log π of every token, (N).
    let logits = embed.index_select(&Tensor::new(before, device)?, 0)?.tanh()?.matmul(&unembed)?;
    let log_probs = logits.broadcast_sub(&logits.exp()?.sum_keepdim(D::Minus1)?.log()?)?;
    let log_probs = log_probs.gather(&Tensor::new(tokens, device)?.unsqueeze(1)?, 1)?.squeeze(1)?;

    // The objective runs outside candle, with slices as input and output.
    let result = batch::flowrl(&log_probs.to_vec1()?, &log_z.to_vec1()?)?;

    // The surrogate treats d as a constant, since new tensors have no history.
    let log_z_of = log_z.index_select(&Tensor::new(prompts, device)?, 0)?;
    let surrogate = ((log_probs * Tensor::new(result.d_log_probs, device)?)?.sum_all()?
        + (log_z_of * Tensor::new(result.d_log_z, device)?)?.sum_all()?)?;
    let gradients = surrogate.backward()?;

    let mut gradient = Vec::new();
    for parameter in [&embed, &unembed, &log_z] {
        let of = gradients.get(parameter).ok_or("a parameter has no gradient")?;
        gradient.extend(of.flatten_all()?.to_vec1::<f64>()?);
    }
    Ok((result.loss, gradient))
}

fn main() -> Result<(), Box<dyn Error>> {
    batch::run(loss_and_gradient)
}
