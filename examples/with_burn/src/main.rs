//! FlowRL in burn: the objective's gradient becomes a surrogate loss that burn differentiates. `cargo xtask examples
//! with_burn` runs it.
//!
//! With d = ∂loss/∂log π held constant, Σ d·log π has the same gradient as the loss. The same holds for log Z.

use std::error::Error;

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use flowrl_core::objective::{Evaluation, Objective, Preset, Sequence};
use flowrl_core::random::{Purpose, Stream};

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
    let device = Device::flex().autodiff();
    let (embed, rest) = parameters.split_at(TOKENS * HIDDEN);
    let (unembed, log_z) = rest.split_at(HIDDEN * TOKENS);
    let embed = float(embed, [TOKENS, HIDDEN], &device).require_grad();
    let unembed = float(unembed, [HIDDEN, TOKENS], &device).require_grad();
    let log_z = float(log_z, [PROMPTS], &device).require_grad();
    let (before, tokens) = positions();
    let prompts: Vec<i64> = BATCH.iter().map(|(prompt, ..)| *prompt as i64).collect();

    // The forward pass in burn computes log π of every token, (N).
    let logits = embed.clone().select(0, whole(&before, &device)).tanh().matmul(unembed.clone());
    let log_probs = log_softmax(logits, 1).gather(1, whole(&tokens, &device).unsqueeze_dim(1)).squeeze_dim::<1>(1);

    // The objective runs outside burn, with slices as input and output.
    let result = flowrl(&numbers(log_probs.clone())?, &numbers(log_z.clone())?)?;
    let d_log_probs: Vec<f64> = (0..BATCH.len()).flat_map(|i| result.d_log_probs(i).to_vec()).collect();

    // The surrogate treats d as a constant, since new tensors have no history.
    let log_z_of = log_z.clone().select(0, whole(&prompts, &device));
    let surrogate = (log_probs * float(&d_log_probs, [d_log_probs.len()], &device)).sum()
        + (log_z_of * float(&result.d_log_z, [BATCH.len()], &device)).sum();
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

/// Returns the token before each token of the batch (for the first one, the prompt's number), and the token itself.
fn positions() -> (Vec<i64>, Vec<i64>) {
    let pairs = |&(prompt, _, tokens): &(usize, f64, &'static [usize])| {
        std::iter::once(prompt).chain(tokens.iter().copied()).zip(tokens).map(|(b, &t)| (b as i64, t as i64))
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
