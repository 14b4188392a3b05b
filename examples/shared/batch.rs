//! The batch, the objective and the training loop that the three `with_*` examples share.

use std::error::Error;

use flowrl_core::objective::{Objective, Preset, Sequence};
use flowrl_core::random::{Purpose, Stream};

pub const TOKENS: usize = 4;
pub const HIDDEN: usize = 3;
pub const PROMPTS: usize = 2;
/// Completions over four tokens, of which 0 is the end. Each entry is the prompt, the raw reward and the tokens.
const BATCH: [(usize, f64, &[usize]); 4] =
    [(0, 1.0, &[1, 2, 0]), (0, 0.0, &[3, 0]), (1, 0.5, &[2, 2, 1, 0]), (1, 1.0, &[0])];
/// The reference is uniform: log ¼ for every token.
const REFERENCE: [f64; TOKENS] = [-2.0 * std::f64::consts::LN_2; TOKENS];

/// Returns the token before each token of the batch (for the first one, the prompt's number), and the token itself.
pub fn positions<I>(index: impl Fn(usize) -> I) -> (Vec<I>, Vec<I>) {
    let pairs = |&(prompt, _, tokens): &(usize, f64, &'static [usize])| {
        std::iter::once(prompt).chain(tokens.iter().copied()).zip(tokens.iter().copied())
    };
    BATCH.iter().flat_map(pairs).map(|(before, token)| (index(before), index(token))).unzip()
}

/// Returns the prompt of each sequence.
pub fn prompts<I>(index: impl Fn(usize) -> I) -> Vec<I> {
    BATCH.iter().map(|(prompt, ..)| index(*prompt)).collect()
}

/// The loss and its gradients.
pub struct Loss {
    pub loss: f64,
    /// With respect to log π of every token, packed.
    pub d_log_probs: Vec<f64>,
    /// With respect to log Z, for every sequence.
    pub d_log_z: Vec<f64>,
}

/// Computes FlowRL with the paper's options, from the packed log π of every token and log Z of every prompt.
pub fn flowrl(log_probs: &[f64], log_z: &[f64]) -> Result<Loss, flowrl_core::objective::Error> {
    let mut start = 0;
    let sequences = BATCH.map(|(prompt, reward, tokens)| {
        let log_probs = &log_probs[start..start + tokens.len()];
        start += tokens.len();
        let ref_log_probs = Some(&REFERENCE[..tokens.len()]);
        Sequence { group: prompt, reward, log_probs, ref_log_probs, log_z: Some(log_z[prompt]), ..Sequence::default() }
    });
    let result = Objective::preset(Preset::Paper).compute(&sequences)?;
    let d_log_probs = (0..BATCH.len()).flat_map(|i| result.d_log_probs(i).to_vec()).collect();
    Ok(Loss { loss: result.loss, d_log_probs, d_log_z: result.d_log_z })
}

/// Compares the gradient with central differences of the loss, fails if they differ, and then trains.
pub fn run(
    loss_and_gradient: impl Fn(&[f64]) -> Result<(f64, Vec<f64>), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let stream = Stream::new(0, Purpose::Init);
    let count = TOKENS * HIDDEN + HIDDEN * TOKENS + PROMPTS;
    let mut parameters: Vec<f64> = (0..count).map(|i| 0.5 * stream.normal(0, 0, i as u32)).collect();

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
