//! Cases of one operation: the partition network, and the log-prob of the chosen token.

use flowrl_core::backend::Backend;
use flowrl_core::partition::{PartitionNetwork, PartitionOptions};

use crate::{Cpu, Outcome, serve, timed, uniform};

const PROMPTS: usize = 64;
const TOKENS: usize = 512;
const VOCAB: usize = 32_000;

/// The partition network on 64 prompts, forward and backward: gradients of weights, biases and input.
pub(crate) fn partition(cpu: &Cpu, width: &str) -> Outcome {
    let width: usize = width.parse().map_err(|_| format!("WIDTH: got `{width}`, wanted a whole number"))?;
    let options = PartitionOptions { zero_init: false, ..PartitionOptions::default() };
    let mut network = PartitionNetwork::new(cpu, "partition", width, options, 0)?;
    let hidden = uniform(0, PROMPTS * width, -1.0, 1.0);
    let upstream = uniform(1, PROMPTS, -1.0, 1.0);
    let mut d_hidden = cpu.zeros(hidden.len())?;
    serve(|| {
        timed(|| {
            network.zero_grad(cpu)?;
            network.forward(cpu, &hidden, PROMPTS, None)?;
            Ok(network.backward(cpu, &hidden, &upstream, Some(&mut d_hidden))?)
        })
    })
}

/// Log-prob of the chosen token over (512, 32000) logits, and the gradient of the logits.
///
/// The gradient takes the place of the logits, so they are put back before the clock starts: in a model, the head writes
/// them anew each time.
pub(crate) fn logprob(cpu: &Cpu) -> Outcome {
    let source = uniform(0, TOKENS * VOCAB, -2.0, 2.0);
    let chosen: Vec<u32> = uniform(1, TOKENS, 0.0, VOCAB as f64 - 1.0).iter().map(|&x| x as u32).collect();
    let chosen = cpu.index(&chosen)?;
    let upstream = uniform(2, TOKENS, -1.0, 1.0);
    let mut logits = source.clone();
    let [mut log_prob, mut log_sum_exp, mut entropy] = [(); 3].map(|()| vec![0.0; TOKENS]);
    let shape = (TOKENS, VOCAB);
    serve(|| {
        logits.copy_from_slice(&source);
        timed(|| {
            cpu.log_prob(&logits, &chosen, shape, 1.0, &mut log_prob, &mut log_sum_exp, &mut entropy)?;
            Ok(cpu.log_prob_backward(&mut logits, &chosen, shape, 1.0, &log_sum_exp, &upstream)?)
        })
    })
}
