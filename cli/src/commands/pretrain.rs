//! `pretrain`: trains a small model from scratch, by maximum likelihood on random solutions of Countdown problems.

use std::path::PathBuf;

use anyhow::{Context, Result};
use flowrl_core::Real;
use flowrl_core::backend::{Backend, CpuBackend};
use flowrl_core::optim::{AdamW, Decay, Schedule, clip_scale};
use flowrl_core::policy::{Policy, Sequences};
use flowrl_core::random::{Purpose, Stream};
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::config::ModelConfig;
use flowrl_lm::countdown::{self, ProblemSpec, Problems};
use flowrl_lm::model::{Dimensions, Part, Weights};
use flowrl_lm::tokenizer::{Tokenizer, char_level, char_level_config};
use flowrl_lm::{TransformerPolicy, load_policy, save_policy};

use super::export::{DtypeName, nothing_there};
use crate::{note, progress, say, signals};

/// Train the small built-in model from scratch on Countdown problems.
///
/// `flowrl-cli pretrain --out cli/model` rebuilds the folder of the model that is built into the program.
#[derive(Clone, Debug, clap::Args)]
pub struct PretrainArgs {
    /// Folder for the model, in Hugging Face format
    #[arg(long, default_value = "model")]
    pub out: PathBuf,
    /// Optimiser steps
    #[arg(long, default_value_t = 1500)]
    pub steps: u64,
    /// Problems per step
    #[arg(long, default_value_t = 256)]
    pub batch: usize,
    /// Peak learning rate, between a warm-up of 100 steps and a cosine decay
    #[arg(long, default_value_t = 3e-3)]
    pub learning_rate: f64,
    /// Width of the hidden states
    #[arg(long, default_value_t = 128)]
    pub hidden: usize,
    /// Number of layers
    #[arg(long, default_value_t = 4)]
    pub layers: usize,
    /// Counts of numbers that a problem may have
    #[arg(long, value_delimiter = ',', default_values_t = [3])]
    pub numbers: Vec<usize>,
    /// Largest number
    #[arg(long, default_value_t = 25)]
    pub max_number: u32,
    /// Largest target
    #[arg(long, default_value_t = 100)]
    pub max_target: i64,
    /// Seed of the weights and of the order of problems
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads; 0 means one per processor
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
    /// Number format of the written weights
    #[arg(long, default_value = "bf16")]
    pub dtype: DtypeName,
}

const EOS: &str = "<|endoftext|>";

/// Runs the command.
pub fn run(args: &PretrainArgs, json: bool) -> Result<()> {
    nothing_there(&args.out)?;
    let tokenizer_json = char_level(countdown::ALPHABET, EOS)?;
    let tokenizer = Tokenizer::from_bytes(tokenizer_json.as_bytes())?;
    let eos = tokenizer.token_id(EOS).context("the tokenizer lost its end token")?;
    let vocab = tokenizer.vocab_size();
    let config = ModelConfig::qwen2(vocab, args.hidden, args.hidden * 3, args.layers, 4, 2, 256, eos)?;
    let spec = ProblemSpec {
        counts: args.numbers.clone(),
        max_number: args.max_number,
        targets: 1..=args.max_target,
        seed: args.seed,
    };
    let problems = Problems::generate(&spec)?;
    note!(
        "{} parameters, {} training problems, {} held out",
        config.parameter_count(),
        problems.train_len(),
        problems.held_out_len()
    );
    let backend = CpuBackend::<f32>::new(args.threads);
    let pool = backend.pool().clone();
    let policy = pool.enter(|| train(args, backend, &config, &problems, &tokenizer, eos))?;
    let side_files = [
        ("tokenizer.json".to_owned(), tokenizer_json.clone().into_bytes().into()),
        ("tokenizer_config.json".to_owned(), char_level_config(EOS).into_bytes().into()),
    ];
    let origin = Checkpoint::new(config, side_files.to_vec());
    save_policy(&args.out, &policy, &origin, args.dtype.into())?;
    // Measure the written weights, because writing rounds them.
    let saved = Checkpoint::open(&args.out)?;
    let policy = load_policy(CpuBackend::<f32>::new(args.threads), &saved)?;
    let success = held_out_success(policy, &problems, &tokenizer, eos, args.seed)?;
    if json {
        say!("{}", serde_json::json!({"out": args.out, "held_out_success": success}));
    } else {
        say!("{}: {:.1} % of sampled answers to held-out problems are correct", args.out.display(), success * 100.0);
    }
    Ok(())
}

type CpuPolicy = TransformerPolicy<CpuBackend<f32>>;

fn train(
    args: &PretrainArgs,
    backend: CpuBackend<f32>,
    config: &ModelConfig,
    problems: &Problems,
    tokenizer: &Tokenizer,
    eos: u32,
) -> Result<CpuPolicy> {
    let weights = initial_weights(&backend, &config.dims, args.seed)?;
    let mut policy = TransformerPolicy::new(backend, config.dims.clone(), weights, vec![eos])?;
    policy.drop_reference();
    let schedule = Schedule { peak: args.learning_rate, warmup: 100, total: args.steps, decay: Decay::Cosine };
    let optimizer = AdamW { beta2: 0.99, weight_decay: 0.1, ..AdamW::default() };
    let stream = Stream::new(args.seed, Purpose::Task);
    let bar = progress::bar(args.steps, "pretrain");
    signals::watch();
    for step in 0..args.steps {
        let mut prompts = Vec::with_capacity(args.batch);
        let mut completions = Vec::with_capacity(args.batch);
        for i in 0..args.batch {
            // The last coordinate separates this stream of solutions from that of the order of problems.
            let problem = problems.train((step * args.batch as u64 + i as u64) as usize);
            let solution = problem.random_solution(&stream, step as u32, i as u32, u32::MAX)?;
            let mut completion = tokenizer.encode(&solution.context("every problem has a solution")?, false)?;
            completion.push(eos);
            prompts.push(tokenizer.encode(&problem.prompt(), false)?);
            completions.push(completion);
        }
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let completions: Vec<&[u32]> = completions.iter().map(Vec::as_slice).collect();
        let prompt_of: Vec<usize> = (0..args.batch).collect();
        let sequences = Sequences { prompts: &prompts, completions: &completions, prompt_of: &prompt_of };
        let n = sequences.tokens();
        let log_probs = policy.forward(&sequences, 1.0, None)?.log_probs;
        policy.backward(&vec![-1.0 / n as f32; n], None, None)?;
        let norm = policy.grad_norm()?;
        policy.update(&optimizer.step(schedule.at(step), step + 1, clip_scale(norm, Some(1.0))))?;
        let loss = -log_probs.iter().map(|l| l.f64()).sum::<f64>() / n as f64;
        bar.set_message(format!("loss {loss:.4}"));
        bar.inc(1);
        if (step + 1) % 250 == 0 && bar.is_hidden() {
            note!("step {}: loss {loss:.4}", step + 1);
        }
        if signals::stop().is_some() {
            bar.abandon();
            note!("stopped after {} steps; the model so far is written", step + 1);
            break;
        }
    }
    bar.finish_and_clear();
    Ok(policy)
}

/// Returns normal weights with standard deviation 0.02, which is divided by √(2·layers) for the projections into the
/// residual stream. Weights of norms are 1 and biases are 0.
fn initial_weights(backend: &CpuBackend<f32>, dims: &Dimensions, seed: u64) -> Result<Weights<Vec<f32>>> {
    let stream = Stream::new(seed, Purpose::Init);
    Ok(Weights::build(dims, |parts| {
        let mut values = vec![0.0; Part::total(parts)];
        for part in parts {
            let residual = part.name.ends_with("o_proj.weight") || part.name.ends_with("down_proj.weight");
            let scale = if residual { 0.02 / ((2 * dims.layers) as f64).sqrt() } else { 0.02 };
            for (i, value) in values[part.offset..][..part.elements()].iter_mut().enumerate() {
                *value = if part.name.ends_with("norm.weight") {
                    1.0
                } else if part.name.ends_with("bias") {
                    0.0
                } else {
                    (scale * stream.normal(part.tensor as u32, part.offset as u32, i as u32)) as f32
                };
            }
        }
        backend.upload(&values)
    })?)
}

/// Samples 4 answers to each of up to 256 held-out problems, and returns the fraction that is correct.
fn held_out_success(
    mut policy: CpuPolicy,
    problems: &Problems,
    tokenizer: &Tokenizer,
    eos: u32,
    seed: u64,
) -> Result<f64> {
    use flowrl_core::backend::Sampler;
    use flowrl_core::policy::SampleRequest;
    let count = problems.held_out_len().min(256);
    let problems: Vec<_> = (0..count).map(|i| problems.held_out(i)).collect();
    let prompts = problems.iter().map(|p| tokenizer.encode(&p.prompt(), false)).collect::<Result<Vec<_>, _>>()?;
    let slices: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let drawn = policy.sample(&SampleRequest {
        prompts: &slices,
        samples: 4,
        max_tokens: 24,
        sampler: Sampler::default(),
        stream: Stream::new(seed, Purpose::Evaluate),
        step: 0,
    })?;
    let mut correct = 0;
    for i in 0..drawn.len() {
        let tokens: Vec<u32> = drawn.get(i).iter().copied().filter(|&t| t != eos).collect();
        let text = tokenizer.decode(&tokens, false)?;
        correct += usize::from(problems[drawn.prompt_of[i]].judge(&text, drawn.ended[i]).is_success());
    }
    Ok(correct as f64 / drawn.len() as f64)
}
