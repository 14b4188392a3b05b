//! FlowRL with a model written in ndarray and a backward pass by hand: `cargo xtask examples with_ndarray`
//!
//! The objective returns d = ∂loss/∂log π of every token. The rest is the chain rule for Σ d·log π, with d held
//! constant.

#[path = "../../shared/batch.rs"]
mod batch;

use std::error::Error;

use ndarray::{Array2, ArrayView2, Axis};

use batch::{HIDDEN, PROMPTS, TOKENS};

/// Computes the loss and its gradient. The model predicts a token from the one before it, or from the prompt:
/// logits = tanh(E[before])·U. The parameters are E, U and log Z of each prompt.
fn loss_and_gradient(parameters: &[f64]) -> Result<(f64, Vec<f64>), Box<dyn Error>> {
    let (embed, rest) = parameters.split_at(TOKENS * HIDDEN);
    let (unembed, log_z) = rest.split_at(HIDDEN * TOKENS);
    let embed = ArrayView2::from_shape((TOKENS, HIDDEN), embed)?;
    let unembed = ArrayView2::from_shape((HIDDEN, TOKENS), unembed)?;
    let (before, tokens) = batch::positions(|i| i);

    // The forward pass computes (N, HIDDEN), then log π of every token at every position, (N, TOKENS).
    let hidden = embed.select(Axis(0), &before).mapv(f64::tanh);
    let mut log_probs = hidden.dot(&unembed);
    for mut row in log_probs.rows_mut() {
        let normaliser = row.mapv(f64::exp).sum().ln();
        row -= normaliser;
    }
    let chosen: Vec<f64> = tokens.iter().enumerate().map(|(t, &token)| log_probs[[t, token]]).collect();

    let result = batch::flowrl(&chosen, log_z)?;

    // The backward pass starts with ∂log π(token)/∂logit_j = [j = token] − π_j and continues through the two matrices.
    let mut d_logits = log_probs.mapv(|l| -l.exp());
    for (t, mut row) in d_logits.rows_mut().into_iter().enumerate() {
        row[tokens[t]] += 1.0;
        row *= result.d_log_probs[t];
    }
    let d_unembed = hidden.t().dot(&d_logits);
    let d_hidden = d_logits.dot(&unembed.t()) * hidden.mapv(|h| 1.0 - h * h);
    let mut d_embed = Array2::<f64>::zeros((TOKENS, HIDDEN));
    for (&token, row) in before.iter().zip(d_hidden.rows()) {
        d_embed.row_mut(token).scaled_add(1.0, &row);
    }
    let mut d_log_z = [0.0; PROMPTS];
    batch::prompts(|i| i).into_iter().zip(&result.d_log_z).for_each(|(prompt, d)| d_log_z[prompt] += d);

    let gradient = d_embed.iter().chain(d_unembed.iter()).chain(&d_log_z).copied().collect();
    Ok((result.loss, gradient))
}

fn main() -> Result<(), Box<dyn Error>> {
    batch::run(loss_and_gradient)
}
