//! Cases of one operation: the partition network, and the log-probability of the chosen token.

use flowrl_core::backend::Backend;
use flowrl_core::parameter;
use flowrl_core::partition::{PartitionNetwork, PartitionOptions};

use crate::{Cpu, Failure, tokens, uniform};

/// The partition network, forward and backward.
#[derive(Debug)]
pub struct PartitionCase {
    network: PartitionNetwork<Cpu>,
    prompts: usize,
    hidden: Vec<f32>,
    upstream: Vec<f32>,
    d_hidden: Vec<f32>,
}

impl PartitionCase {
    /// Creates a network for hidden states of `width` elements, and `prompts` of these.
    pub fn new(cpu: &Cpu, prompts: usize, width: usize) -> Result<Self, Failure> {
        let options = PartitionOptions { zero_init: false, ..PartitionOptions::default() };
        Ok(Self {
            network: PartitionNetwork::new(cpu, "partition", width, options, 0)?,
            prompts,
            hidden: uniform(0, prompts * width, -1.0, 1.0),
            upstream: uniform(1, prompts, -1.0, 1.0),
            d_hidden: cpu.zeros(prompts * width)?,
        })
    }

    /// Computes log Z of every prompt, and the gradients of weights, biases and input.
    pub fn run(&mut self, cpu: &Cpu) -> Result<(), Failure> {
        parameter::zero_grad(cpu, self.network.parameters_mut())?;
        self.network.forward(cpu, &self.hidden, self.prompts, None)?;
        Ok(self.network.backward(cpu, &self.hidden, &self.upstream, Some(&mut self.d_hidden))?)
    }
}

/// The log-probability of the chosen token over (rows, vocab) logits, and the gradient of the logits, which replaces
/// them.
#[derive(Debug)]
pub struct LogProbCase {
    shape: (usize, usize),
    source: Vec<f32>,
    logits: Vec<f32>,
    chosen: Vec<u32>,
    upstream: Vec<f32>,
    /// Log-probability, log Σ exp and entropy, (rows) each.
    out: [Vec<f32>; 3],
}

impl LogProbCase {
    /// Creates logits (rows, vocab), and one chosen token and one upstream gradient per row.
    pub fn new(rows: usize, vocab: usize) -> Self {
        let source = uniform(0, rows * vocab, -2.0, 2.0);
        Self {
            shape: (rows, vocab),
            logits: source.clone(),
            source,
            chosen: tokens(1, rows, vocab),
            upstream: uniform(2, rows, -1.0, 1.0),
            out: [(); 3].map(|()| vec![0.0; rows]),
        }
    }

    /// Restores the logits. In a model the head writes them each time, so this is not part of the measured time.
    pub fn restore(&mut self) {
        self.logits.copy_from_slice(&self.source);
    }

    /// Runs the forward pass, and the backward pass in place.
    pub fn run(&mut self, cpu: &Cpu) -> Result<(), Failure> {
        let Self { shape, logits, upstream, out: [log_prob, log_sum_exp, entropy], .. } = self;
        let chosen = cpu.index(&self.chosen)?;
        cpu.log_prob(logits, &chosen, *shape, 1.0, log_prob, log_sum_exp, entropy)?;
        Ok(cpu.log_prob_backward(logits, &chosen, *shape, 1.0, log_sum_exp, upstream, None)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_runs_repeat() {
        let cpu = Cpu::new(1);
        let mut case = PartitionCase::new(&cpu, 3, 8).unwrap();
        case.run(&cpu).unwrap();
        let first = (case.d_hidden.clone(), parameter::grad_norm(&cpu, case.network.parameters()).unwrap());
        case.run(&cpu).unwrap();
        assert!(first.1 > 0.0 && first.0.iter().any(|&d| d != 0.0));
        assert_eq!(first, (case.d_hidden.clone(), parameter::grad_norm(&cpu, case.network.parameters()).unwrap()));
    }

    #[test]
    fn the_gradient_of_a_row_of_logits_sums_to_zero() {
        let cpu = Cpu::new(1);
        let mut case = LogProbCase::new(4, 64);
        let [first, second] = [(); 2].map(|()| {
            case.restore();
            case.run(&cpu).unwrap();
            case.logits.clone()
        });
        for (row, &chosen) in first.chunks(64).zip(&case.chosen) {
            assert!(row.iter().sum::<f32>().abs() < 1e-5 && row[chosen as usize] != 0.0);
        }
        assert_eq!(first, second);
    }
}
