//! FlowRL inside your own trainer: you sample, score and take the optimizer step, and the objective returns loss and
//! gradients.
//!
//! The policy is one softmax over four answers. The exact target π_ref·exp(βr)/Z is therefore known, and this example
//! prints the distance to it: `cargo run -p flowrl-core --example own_trainer`

use flowrl_core::exact;
use flowrl_core::objective::{FlowRl, Objective, Sequence};
use flowrl_core::random::{Purpose, Stream};

const REWARDS: [f64; 4] = [1.0, 1.0, 0.0, 0.5];
const RATE: f64 = 0.2;

fn log_softmax(logits: &[f64; 4]) -> [f64; 4] {
    let normaliser = exact::log_sum_exp(logits);
    logits.map(|x| x - normaliser)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // This is plain trajectory balance with a learned log Z, at β = 2. `"paper".parse()` would return the paper's
    // objective.
    let objective = Objective::FlowRl(FlowRl::exact_tb().with_beta(2.0));
    let reference = log_softmax(&[0.0, -1.0, 1.0, 0.0]);
    let mut target = [0.0; 4];
    let true_log_z = exact::target(&reference, &REWARDS, 2.0, &mut target)?;

    let (mut logits, mut log_z) = (reference, 0.0);
    let stream = Stream::new(7, Purpose::Sample);
    for step in 0..=200 {
        // Sample answers. An answer has one token here, so a sequence has one log-probability.
        let log_probs = log_softmax(&logits);
        let draw = |k| {
            let mut u = stream.uniform(step, k as u32, 0);
            let below = |&a: &usize| {
                u -= log_probs[a].exp();
                u < 0.0
            };
            (0..3).find(below).unwrap_or(3)
        };
        let answers: Vec<usize> = (0..16).map(draw).collect();
        let sequence = |&a: &usize| Sequence {
            reward: REWARDS[a],
            log_probs: &log_probs[a..=a],
            ref_log_probs: Some(&reference[a..=a]),
            log_z: Some(log_z),
            ..Sequence::default()
        };
        let batch: Vec<_> = answers.iter().map(sequence).collect();
        let result = objective.compute(&batch)?;
        if step % 50 == 0 {
            let distance = exact::total_variation(&log_probs, &target)?;
            println!("step {step:3}  loss {:.6}  log Z {log_z:.4} of {true_log_z:.4}  TV {distance:.6}", result.loss);
        }
        // Backpropagate through the softmax, ∂l_a/∂logit_j = [a = j] − π_j, and take a step of gradient descent.
        for (i, &a) in answers.iter().enumerate() {
            let d = result.d_log_probs(i)[0];
            (0..4).for_each(|j| logits[j] -= RATE * d * (f64::from(a == j) - log_probs[j].exp()));
        }
        log_z -= RATE * result.d_log_z.iter().sum::<f64>();
    }
    Ok(())
}
