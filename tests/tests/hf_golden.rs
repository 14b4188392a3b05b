//! Compares the transformer with numbers from `transformers`, for a tiny random checkpoint of each family.

use std::path::PathBuf;

use flowrl_core::backend::{CpuBackend, Sampler};
use flowrl_core::objective::{Objective, Preset};
use flowrl_core::optim::AdamW;
use flowrl_core::policy::{Completions, Model, Policy, SampleRequest, Scores, Sequences};
use flowrl_core::random::{Purpose, Stream};
use flowrl_core::task::Judgement;
use flowrl_core::train::{Metrics, Rollouts, TrainOptions, Trainer};
use flowrl_cuda::{CudaBackend, EmulatorOptions, Precision};
use flowrl_lm::backend::TransformerBackend;
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::config::Dtype;
use flowrl_lm::model::Weights;
use flowrl_lm::{TransformerPolicy, load_policy, save_policy};
use serde_json::Value;

const NAMES: [&str; 3] = ["qwen2-tied", "qwen3-qk-norm", "llama3-rope-scaled"];

struct Golden {
    checkpoint: Checkpoint,
    expected: Value,
}

struct Row {
    prompt: Vec<u32>,
    completion: Vec<u32>,
    expected: Value,
}

fn golden(name: &str) -> Golden {
    // Cargo sets this variable when it runs the test, which may have been built in another folder.
    let path = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("golden/hf").join(name);
    let expected = std::fs::read(path.join("expected.json")).unwrap();
    Golden { checkpoint: Checkpoint::open(&path).unwrap(), expected: serde_json::from_slice(&expected).unwrap() }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn rows(golden: &Golden) -> Vec<Row> {
    let row = |expected: &Value| {
        let ids: Vec<u32> = numbers(&expected["ids"]).iter().map(|&x| x as u32).collect();
        let (prompt, completion) = ids.split_at(expected["prompt_len"].as_u64().unwrap() as usize);
        Row { prompt: prompt.to_vec(), completion: completion.to_vec(), expected: expected.clone() }
    };
    golden.expected["sequences"].as_array().unwrap().iter().map(row).collect()
}

/// Largest allowed deviation of a device's results from those in float64.
#[derive(Clone, Copy)]
struct Tolerance {
    /// Absolute, for log-probabilities, entropies and hidden states.
    value: f64,
    /// Relative, for the norms of the gradient.
    gradient: f64,
    /// Relative, for the norm of a weight tensor after a step.
    step: f64,
}

const F32: Tolerance = Tolerance { value: 1e-4, gradient: 1e-3, step: 1e-4 };
/// Activations have eight bits, and the logits of these checkpoints are of order 1.
const BF16: Tolerance = Tolerance { value: 5e-2, gradient: 5e-2, step: 2e-3 };

/// Creates a module of tests for each kind of device from bodies `fn body<B: TransformerBackend<Real = f32>>(&Golden,
/// TransformerPolicy<B>, Tolerance)`: the CPU's reference, its fast path with one and two threads, the emulator in both
/// precisions, and a GPU if there is one.
macro_rules! on_every_device {
    ($($body:ident),* $(,)?) => {
        mod on_cpu {
            use super::*;
            $(#[test] fn $body() {
                for golden in NAMES.map(golden) {
                    for device in [CpuBackend::<f32>::reference(), CpuBackend::new(1), CpuBackend::new(2)] {
                        super::$body(&golden, load_policy(device, &golden.checkpoint).unwrap(), F32);
                    }
                }
            })*
        }
        mod on_emulated {
            use super::*;
            $(#[test] fn $body() {
                for (precision, tolerance) in [(Precision::F32, F32), (Precision::Bf16, BF16)] {
                    for golden in NAMES.map(golden) {
                        let device = CudaBackend::emulated(EmulatorOptions::default(), precision);
                        super::$body(&golden, load_policy(device, &golden.checkpoint).unwrap(), tolerance);
                    }
                }
            })*
        }
        mod on_gpu {
            use super::*;
            $(#[test] fn $body() {
                for (precision, tolerance) in [(Precision::F32, F32), (Precision::Bf16, BF16)] {
                    for golden in NAMES.map(golden) {
                        match CudaBackend::new(0, precision) {
                            Ok(device) => super::$body(&golden, load_policy(device, &golden.checkpoint).unwrap(), tolerance),
                            Err(error) => println!("skipped, no GPU: {error}"),
                        }
                    }
                }
            })*
        }
    };
}

fn with_sequences<R>(rows: &[Row], work: impl FnOnce(&Sequences<'_>) -> R) -> R {
    let prompts: Vec<&[u32]> = rows.iter().map(|r| r.prompt.as_slice()).collect();
    let completions: Vec<&[u32]> = rows.iter().map(|r| r.completion.as_slice()).collect();
    let prompt_of: Vec<usize> = (0..rows.len()).collect();
    work(&Sequences { prompts: &prompts, completions: &completions, prompt_of: &prompt_of })
}

fn assert_close(what: &str, got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance, "{what}: {got}, want {want}");
}

fn log_probs_entropies_and_hidden_states<B: TransformerBackend<Real = f32>>(
    golden: &Golden,
    mut policy: TransformerPolicy<B>,
    near: Tolerance,
) {
    let rows = rows(golden);
    let Scores { log_probs, entropies } = with_sequences(&rows, |s| policy.score(s, Model::Policy, 1.0).unwrap());
    let n = log_probs.len();
    let want: Vec<f64> = rows.iter().flat_map(|r| numbers(&r.expected["logp"])).collect();
    let want_h: Vec<f64> = rows.iter().flat_map(|r| numbers(&r.expected["entropy"])).collect();
    assert_eq!(n, want.len());
    for i in 0..n {
        assert_close("log-prob", f64::from(log_probs[i]), want[i], near.value);
        assert_close("entropy", f64::from(entropies[i]), want_h[i], near.value);
    }
    let prompts: Vec<&[u32]> = rows.iter().map(|r| r.prompt.as_slice()).collect();
    let mut hidden = policy.backend().zeros(rows.len() * policy.width()).unwrap();
    policy.represent(&prompts, &mut hidden).unwrap();
    let want: Vec<f64> = rows.iter().flat_map(|r| numbers(&r.expected["prompt_hidden_mean"])).collect();
    let mut got = vec![0.0; want.len()];
    policy.backend().read(&hidden, 0, &mut got).unwrap();
    for (got, want) in got.iter().zip(want) {
        assert_close("mean hidden state", f64::from(*got), want, near.value);
    }
}

fn greedy_continuation<B: TransformerBackend<Real = f32>>(
    golden: &Golden,
    mut policy: TransformerPolicy<B>,
    near: Tolerance,
) {
    if near.value > F32.value {
        // After rounding to eight bits, two tokens of a random model may change places.
        return;
    }
    let want: Vec<u32> = numbers(&golden.expected["greedy"]).iter().map(|&x| x as u32).collect();
    let rows = rows(golden);
    let drawn = policy
        .sample(&SampleRequest {
            prompts: &[&rows[0].prompt],
            samples: 1,
            max_tokens: want.len(),
            sampler: Sampler::GREEDY,
            stream: Stream::new(0, Purpose::Sample),
            step: 0,
        })
        .unwrap();
    assert_eq!(drawn.get(0), want);
}

fn gradient_norms_and_one_adamw_step<B: TransformerBackend<Real = f32>>(
    golden: &Golden,
    mut policy: TransformerPolicy<B>,
    near: Tolerance,
) {
    let rows = rows(golden);
    let d_log_probs: Vec<f32> =
        rows.iter().flat_map(|r| vec![r.expected["coef"].as_f64().unwrap() as f32; r.completion.len()]).collect();
    with_sequences(&rows, |s| policy.forward(s, 1.0, None)).unwrap();
    policy.backward(&d_log_probs, None, None).unwrap();
    let parts = Weights::parts(policy.dims());
    let norms = golden.expected["grad_norm"].as_object().unwrap();
    assert_eq!(parts.len(), norms.len());
    for part in &parts {
        let grad = policy.read_part(policy.grads().unwrap(), part).unwrap();
        let norm = grad.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let want = norms[&part.name].as_f64().unwrap();
        assert_close(&part.name, norm, want, near.gradient * want);
    }
    let adamw = &golden.expected["adamw"];
    let optimizer = AdamW { weight_decay: adamw["weight_decay"].as_f64().unwrap(), ..AdamW::default() };
    policy.update(&optimizer.step(adamw["lr"].as_f64().unwrap(), 1, 1.0)).unwrap();
    for part in &parts {
        let value = policy.read_part(policy.weights(), part).unwrap();
        let want = numbers(&adamw["checksums"][&part.name]);
        let sum: f64 = value.iter().map(|&x| f64::from(x)).sum();
        let l2 = value.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        // Adam's first step is lr·sign(g). If |g| is close to the rounding error, its sign may differ, which changes
        // the element by 2·lr.
        assert_close(&part.name, sum, want[0], 2e-3 + near.step * (part.elements() as f64).sqrt());
        assert_close(&part.name, l2, want[1], near.step * want[1]);
    }
}

/// Takes a step of the paper's FlowRL with its network for log Z. Returns the metrics, and the log-probabilities under
/// the new weights.
fn step<B: TransformerBackend<Real = f32>>(golden: &Golden, mut policy: TransformerPolicy<B>) -> (Metrics, Vec<f32>) {
    let rows = rows(golden);
    let mut offsets = vec![0];
    offsets.extend(rows.iter().scan(0, |end, row| {
        *end += row.completion.len();
        Some(*end)
    }));
    let tokens: Vec<u32> = rows.iter().flat_map(|row| row.completion.clone()).collect();
    let completions = Completions {
        prompt_of: (0..rows.len()).collect(),
        // These come from a slightly different policy, so that importance weights are not 1.
        log_probs: rows.iter().flat_map(|row| numbers(&row.expected["logp"])).map(|x| 0.99 * x as f32).collect(),
        entropies: vec![0.0; tokens.len()],
        ended: vec![true; rows.len()],
        offsets,
        tokens,
        excluded: Vec::new(),
    };
    let rollouts = Rollouts {
        prompt_numbers: (0..rows.len()).collect(),
        prompts: rows.iter().map(|row| row.prompt.clone()).collect(),
        judgements: (0..rows.len()).map(|i| Judgement::new(i as f64 / 2.0, "")).collect(),
        completions,
        ..Rollouts::default()
    };
    let objective = Objective::preset(Preset::Paper);
    let options = TrainOptions::default();
    let mut trainer = Trainer::new(&policy, objective, options).unwrap();
    let metrics = trainer.learn(&mut policy, &rollouts).unwrap();
    (metrics, with_sequences(&rows, |s| policy.score(s, Model::Policy, 1.0)).unwrap().log_probs)
}

fn a_training_step_is_that_of_the_cpu<B: TransformerBackend<Real = f32>>(
    golden: &Golden,
    policy: TransformerPolicy<B>,
    near: Tolerance,
) {
    let (metrics, log_probs) = step(golden, policy);
    let reference = load_policy(CpuBackend::<f32>::reference(), &golden.checkpoint).unwrap();
    let (wanted, want) = step(golden, reference);
    assert_eq!(metrics.len(), wanted.len());
    for ((name, got), (_, want)) in metrics.into_iter().zip(wanted) {
        assert_close(name, got, want, near.value + near.gradient * want.abs());
    }
    for (got, want) in log_probs.into_iter().zip(want) {
        assert_close("log-prob after the step", got.into(), want.into(), near.value);
    }
}

on_every_device!(
    log_probs_entropies_and_hidden_states,
    greedy_continuation,
    gradient_norms_and_one_adamw_step,
    a_training_step_is_that_of_the_cpu,
);

#[test]
fn a_saved_policy_loads_to_the_same_bits() {
    let directory = tempfile::tempdir().unwrap();
    for name in NAMES {
        let golden = golden(name);
        let policy = load_policy(CpuBackend::<f32>::new(1), &golden.checkpoint).unwrap();
        let path = directory.path().join(name);
        save_policy(&path, &policy, &golden.checkpoint, Dtype::F32).unwrap();
        let again = load_policy(CpuBackend::<f32>::new(1), &Checkpoint::open(&path).unwrap()).unwrap();
        assert!(policy.weights().tensors().eq(again.weights().tensors()));
    }
}
