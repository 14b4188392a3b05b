//! FlowRL with a model written in ndarray and a backward pass by hand: `cargo xtask examples with_ndarray`
//!
//! The objective returns d = ∂loss/∂log π of every token. The rest is the chain rule for Σ d·log π, with d held
//! constant.

use std::error::Error;

use flowrl_core::objective::{Evaluation, Objective, Preset, Sequence};
use flowrl_core::random::{Purpose, Stream};
use ndarray::{Array2, ArrayView2, Axis};

/// Completions of two prompts over four tokens, of which 0 is the end. Each entry is the prompt, the raw reward and the
/// tokens.
const BATCH: [(usize, f64, &[usize]); 4] =
    [(0, 1.0, &[1, 2, 0]), (0, 0.0, &[3, 0]), (1, 0.5, &[2, 2, 1, 0]), (1, 1.0, &[0])];
const TOKENS: usize = 4;
const HIDDEN: usize = 3;
const PROMPTS: usize = 2;
/// The reference is uniform: log ¼ for every token.
const REFERENCE: [f64; TOKENS] = [-2.0 * std::f64::consts::LN_2; TOKENS];

/// Computes the loss and its gradient. The model predicts a token from the one before it, or from the prompt:
/// logits = tanh(E[before])·U. The parameters are E, U and log Z of each prompt.
fn loss_and_gradient(parameters: &[f64]) -> Result<(f64, Vec<f64>), Box<dyn Error>> {
    let (embed, rest) = parameters.split_at(TOKENS * HIDDEN);
    let (unembed, log_z) = rest.split_at(HIDDEN * TOKENS);
    let embed = ArrayView2::from_shape((TOKENS, HIDDEN), embed)?;
    let unembed = ArrayView2::from_shape((HIDDEN, TOKENS), unembed)?;
    let (before, tokens) = positions();

    // The forward pass computes (N, HIDDEN), then log π of every token at every position, (N, TOKENS).
    let hidden = embed.select(Axis(0), &before).mapv(f64::tanh);
    let mut log_probs = hidden.dot(&unembed);
    for mut row in log_probs.rows_mut() {
        let normaliser = row.mapv(f64::exp).sum().ln();
        row -= normaliser;
    }
    let chosen: Vec<f64> = tokens.iter().enumerate().map(|(t, &token)| log_probs[[t, token]]).collect();

    let result = flowrl(&chosen, log_z)?;
    let d_chosen: Vec<f64> = (0..BATCH.len()).flat_map(|i| result.d_log_probs(i).to_vec()).collect();

    // The backward pass starts with ∂log π(token)/∂logit_j = [j = token] − π_j and continues through the two matrices.
    let mut d_logits = log_probs.mapv(|l| -l.exp());
    for (t, mut row) in d_logits.rows_mut().into_iter().enumerate() {
        row[tokens[t]] += 1.0;
        row *= d_chosen[t];
    }
    let d_unembed = hidden.t().dot(&d_logits);
    let d_hidden = d_logits.dot(&unembed.t()) * hidden.mapv(|h| 1.0 - h * h);
    let mut d_embed = Array2::<f64>::zeros((TOKENS, HIDDEN));
    for (&token, row) in before.iter().zip(d_hidden.rows()) {
        d_embed.row_mut(token).scaled_add(1.0, &row);
    }
    let mut d_log_z = [0.0; PROMPTS];
    BATCH.iter().zip(&result.d_log_z).for_each(|((prompt, ..), d)| d_log_z[*prompt] += d);

    let gradient = d_embed.iter().chain(d_unembed.iter()).chain(&d_log_z).copied().collect();
    Ok((result.loss, gradient))
}

/// Returns the token before each token of the batch (for the first one, the prompt's number), and the token itself.
fn positions() -> (Vec<usize>, Vec<usize>) {
    let pairs = |&(prompt, _, tokens): &(usize, f64, &'static [usize])| {
        std::iter::once(prompt).chain(tokens.iter().copied()).zip(tokens.iter().copied())
    };
    BATCH.iter().flat_map(pairs).unzip()
}

/// Computes loss and gradients of FlowRL with the paper's options, from the packed log π of every token and log Z of
/// every prompt.
fn flowrl(log_probs: &[f64], log_z: &[f64]) -> Result<Evaluation<f64>, flowrl_core::objective::Error> {
    let mut start = 0;
    let sequences = BATCH.map(|(prompt, reward, tokens)| {
        let log_probs = &log_probs[start..start + tokens.len()];
        start += tokens.len();
        let ref_log_probs = Some(&REFERENCE[..tokens.len()]);
        Sequence { group: prompt, reward, log_probs, ref_log_probs, log_z: Some(log_z[prompt]), ..Sequence::default() }
    });
    Objective::preset(Preset::Paper).compute(&sequences)
}

fn main() -> Result<(), Box<dyn Error>> {
    let stream = Stream::new(0, Purpose::Init);
    let count = TOKENS * HIDDEN + HIDDEN * TOKENS + PROMPTS;
    let mut parameters: Vec<f64> = (0..count).map(|i| 0.5 * stream.normal(0, 0, i as u32)).collect();

    // This check compares the gradient with central differences of the loss, and fails if they differ.
    let (_, gradient) = loss_and_gradient(&parameters)?;
    let mut worst = 0.0_f64;
    for i in 0..count {
        let loss_at = |offset: f64| {
            let mut moved = parameters.clone();
            moved[i] += offset;
            loss_and_gradient(&moved).map(|(loss, _)| loss)
        };
        let difference = (loss_at(1e-5)? - loss_at(-1e-5)?) / 2e-5;
        worst = worst.max((gradient[i] - difference).abs());
    }
    println!("{count} parameters, gradient and finite differences within {worst:.1e}");
    if worst.is_nan() || worst > 1e-6 {
        return Err("the gradient differs from finite differences of the loss".into());
    }

    for step in 0..=200 {
        let (loss, gradient) = loss_and_gradient(&parameters)?;
        if step % 50 == 0 {
            println!("step {step:3}  loss {loss:9.4}");
        }
        parameters.iter_mut().zip(&gradient).for_each(|(p, g)| *p -= 0.05 * g);
    }
    Ok(())
}
