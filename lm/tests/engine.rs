//! Tests of the whole model: gradients against finite differences, and reproducibility of bits.

use std::sync::{Arc, Mutex};

use flowrl_core::backend::{CpuBackend, Sampler};
use flowrl_core::optim::AdamW;
use flowrl_core::policy::{Model, Policy, SampleRequest, Scores, Sequences};
use flowrl_core::random::{Purpose, Stream};
use flowrl_lm::Wave;
use flowrl_lm::model::{Dimensions, Keep, Packed, Transformer};

use crate::common::{COMPLETIONS, FLAGS, PROMPT_OF, PROMPTS, dims, policy, weights};

const SEQUENCES: Sequences<'static> = Sequences { prompts: &PROMPTS, completions: &COMPLETIONS, prompt_of: &PROMPT_OF };
const TEMPERATURE: f64 = 0.8;

/// Checks the hand-written gradient of Σ c·log p + Σ d·entropy + Σ e·(mean hidden), with fixed coefficients,
/// against finite differences in every tensor.
fn check_gradient(flags: (bool, bool, bool, bool), backend: CpuBackend<f64>, keep: Keep) {
    let dims = dims(flags);
    let stream = Stream::new(8, Purpose::Init);
    let packed = Packed::new(&PROMPTS, &COMPLETIONS, &PROMPT_OF);
    let n = packed.targets.len();
    let c: Vec<f64> = (0..n).map(|i| stream.normal(1, 0, i as u32)).collect();
    let d: Vec<f64> = (0..n).map(|i| stream.normal(3, 0, i as u32)).collect();
    let e: Vec<f64> = (0..PROMPTS.len() * dims.hidden).map(|i| stream.normal(2, 0, i as u32)).collect();
    let mut w = weights(&backend, &dims);
    let mut model = Transformer::new(backend.clone(), dims.clone()).unwrap();
    let loss = |model: &mut Transformer<CpuBackend<f64>>, w: &_| -> f64 {
        let mut mean = vec![0.0; e.len()];
        let scores = model.log_probs(w, &packed, TEMPERATURE, keep).unwrap();
        model.mean_hidden(&packed.prompts, &mut mean).unwrap();
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        dot(&scores.log_probs, &c) + dot(&scores.entropies, &d) + dot(&mean, &e)
    };
    loss(&mut model, &w);
    let mut grads = flowrl_lm::model::Weights::zeros(&backend, &dims).unwrap();
    model.backward(&w, &mut grads, &packed, TEMPERATURE, &c, Some(&d), Some(&e)).unwrap();
    let count = w.tensors().count();
    for tensor in 0..count {
        let len = w.tensors().nth(tensor).unwrap().len();
        for i in (0..len).step_by(len.div_ceil(12)) {
            let h = 1e-5;
            let mut at = |shift: f64| {
                w.tensors_mut().nth(tensor).unwrap()[i] += shift;
                let value = loss(&mut model, &w);
                w.tensors_mut().nth(tensor).unwrap()[i] -= shift;
                value
            };
            let want = (at(h) - at(-h)) / (2.0 * h);
            let got = grads.tensors().nth(tensor).unwrap()[i];
            assert!(
                (want - got).abs() < 2e-6 * want.abs().max(1.0),
                "{flags:?} tensor {tensor}[{i}]: {got}, want {want}"
            );
        }
    }
}

#[test]
fn gradient_matches_finite_differences() {
    for flags in FLAGS {
        check_gradient(flags, CpuBackend::reference(), Keep::Everything);
    }
}

#[test]
fn gradient_of_the_fast_path_and_of_recomputation_match_too() {
    check_gradient(FLAGS[1], CpuBackend::new(2), Keep::Everything);
    check_gradient(FLAGS[3], CpuBackend::new(2), Keep::Inputs);
    check_gradient(FLAGS[0], CpuBackend::reference(), Keep::Inputs);
}

fn scores(backend: CpuBackend<f32>, flags: (bool, bool, bool, bool), sequences: &Sequences<'_>) -> Vec<f32> {
    policy(backend, dims(flags)).score(sequences, Model::Policy, TEMPERATURE).unwrap().log_probs
}

#[test]
fn a_sequence_scores_to_the_same_bits_in_any_batch() {
    for flags in FLAGS {
        for backend in [CpuBackend::reference(), CpuBackend::new(1), CpuBackend::new(2)] {
            let together = scores(backend.clone(), flags, &SEQUENCES);
            let mut alone = Vec::new();
            for (completion, &p) in COMPLETIONS.iter().zip(&PROMPT_OF) {
                let one = Sequences { prompts: &[PROMPTS[p]], completions: &[completion], prompt_of: &[0] };
                alone.extend(scores(backend.clone(), flags, &one));
            }
            assert_eq!(together, alone);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let long: Vec<u32> = (0..150).map(|i| i % 19).collect();
    let sequences = Sequences { prompts: &[PROMPTS[0], &long], completions: &[&long, &long], prompt_of: &[0, 1] };
    let run = |threads| {
        let mut policy = policy(CpuBackend::<f32>::new(threads), dims(FLAGS[1]));
        let mut scores = Scores::default();
        for step in 1..3 {
            scores = policy.forward(&sequences, 1.0, None).unwrap();
            policy.backward(&[-0.01; 300], None, None).unwrap();
            policy.update(&AdamW::default().step(1e-3, step, 1.0)).unwrap();
        }
        (scores, policy.weights().tensors().cloned().collect::<Vec<_>>())
    };
    let alone = run(1);
    assert_eq!(alone, run(2));
    assert_eq!(alone, run(3));
}

#[test]
fn the_fast_path_agrees_with_the_reference() {
    for flags in FLAGS {
        let fast = scores(CpuBackend::new(2), flags, &SEQUENCES);
        let reference = scores(CpuBackend::reference(), flags, &SEQUENCES);
        for (a, b) in fast.iter().zip(&reference) {
            assert!((a - b).abs() < 2e-5, "{a} {b}");
        }
    }
}

fn request(sampler: Sampler) -> SampleRequest<'static> {
    SampleRequest {
        prompts: &PROMPTS,
        samples: 5,
        max_tokens: 12,
        sampler,
        stream: Stream::new(1, Purpose::Sample),
        step: 4,
    }
}

#[test]
fn sampling_and_scoring_agree_bit_for_bit() {
    for flags in FLAGS {
        for backend in [CpuBackend::<f32>::reference(), CpuBackend::new(2)] {
            let mut policy = policy(backend, dims(flags));
            let sampler = Sampler { temperature: TEMPERATURE, ..Sampler::default() };
            let drawn = policy.sample(&request(sampler)).unwrap();
            assert_eq!(drawn.len(), 15);
            assert!(drawn.offsets.windows(2).any(|w| w[1] - w[0] < 12), "some completion ends by itself");
            let completions = drawn.slices();
            let sequences = Sequences { prompts: &PROMPTS, completions: &completions, prompt_of: &drawn.prompt_of };
            let scores = policy.score(&sequences, Model::Policy, TEMPERATURE).unwrap();
            assert_eq!(scores.log_probs, drawn.log_probs);
            assert_eq!(scores.entropies, drawn.entropies);
            assert_eq!(policy.forward(&sequences, TEMPERATURE, None).unwrap(), scores);
        }
    }
}

#[test]
fn a_prompt_draws_the_same_completions_whoever_else_is_in_the_batch() {
    let mut policy = policy(CpuBackend::<f32>::new(2), dims(FLAGS[0]));
    let together = policy.sample(&request(Sampler::default())).unwrap();
    let first = policy.sample(&SampleRequest { prompts: &PROMPTS[..1], ..request(Sampler::default()) }).unwrap();
    for i in 0..5 {
        assert_eq!(together.get(i), first.get(i));
    }
}

#[test]
fn lanes_do_not_change_a_bit() {
    let draw = |threads, request: &SampleRequest<'_>| {
        policy(CpuBackend::<f32>::new(threads), dims(FLAGS[0])).sample(request).unwrap()
    };
    // There are more prompts than lanes, as many, and fewer, in which case the samples of one prompt are divided.
    for (prompts, samples) in [(&PROMPTS[..], 16), (&PROMPTS[..], 20), (&PROMPTS[..2], 24), (&PROMPTS[..1], 49)] {
        let request = SampleRequest { prompts, samples, ..request(Sampler::default()) };
        let alone = draw(1, &request);
        assert_eq!(alone.prompt_of, (0..prompts.len() * samples).map(|i| i / samples).collect::<Vec<_>>());
        for threads in [2, 3, 8] {
            assert_eq!(draw(threads, &request), alone);
        }
    }
}

/// Results do not depend on the size of waves, and no wave is larger than its limit.
#[test]
fn waves_do_not_change_a_bit() {
    let request = SampleRequest { samples: 16, ..request(Sampler::default()) };
    let alone = policy(CpuBackend::<f32>::new(1), dims(FLAGS[0])).sample(&request).unwrap();
    for (threads, wave) in [(1, 1), (1, 7), (2, 1), (2, 7), (3, 32)] {
        let mut policy = policy(CpuBackend::<f32>::new(threads), dims(FLAGS[0]));
        policy.limits.wave = wave;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&seen);
        policy.limits.listener = Some(Arc::new(move |wave: Wave| to.lock().unwrap().push(wave.completions)));
        assert_eq!(policy.sample(&request).unwrap(), alone, "{wave} on {threads}");
        let seen = seen.lock().unwrap();
        assert!(seen.len() >= alone.len() / wave && seen.iter().all(|&n| n <= wave), "{wave} on {threads}: {seen:?}");
    }
}

#[test]
fn nothing_to_sample_is_no_error() {
    for threads in 1..=3 {
        let mut policy = policy(CpuBackend::<f32>::new(threads), dims(FLAGS[0]));
        let request = request(Sampler::default());
        let none = policy.sample(&SampleRequest { prompts: &[], samples: 50, ..request }).unwrap();
        assert_eq!((none.len(), none.offsets), (0, vec![0]));
        assert_eq!(policy.sample(&SampleRequest { samples: 0, ..request }).unwrap().len(), 0);
        let empty = policy.sample(&SampleRequest { samples: 50, max_tokens: 0, ..request }).unwrap();
        assert_eq!((empty.len(), empty.tokens.len()), (150, 0));
    }
}

#[test]
fn truncated_sampling_records_the_distribution_that_was_sampled() {
    let mut policy = policy(CpuBackend::<f32>::new(1), dims(FLAGS[0]));
    let one = policy.sample(&request(Sampler { top_k: 1, ..Sampler::default() })).unwrap();
    assert!(one.log_probs.iter().all(|&l| l == 0.0), "one token is left: its probability is 1");
    let greedy = policy.sample(&request(Sampler::GREEDY)).unwrap();
    assert_eq!(one.tokens, greedy.tokens);
    let nucleus = policy.sample(&request(Sampler { top_p: 0.6, ..Sampler::default() })).unwrap();
    let sequences = Sequences { prompts: &PROMPTS, completions: &nucleus.slices(), prompt_of: &nucleus.prompt_of };
    let whole = policy.score(&sequences, Model::Policy, 1.0).unwrap().log_probs;
    for (truncated, full) in nucleus.log_probs.iter().zip(&whole) {
        let kept = (full - truncated).exp();
        assert!((0.6 - 1e-5..=1.0 + 1e-5).contains(&kept), "the nucleus holds {kept} of the mass");
    }
}

#[test]
fn policy_and_reference_part_at_the_first_update() {
    let mut policy = policy(CpuBackend::<f32>::new(1), dims(FLAGS[2]));
    let n = SEQUENCES.tokens();
    let before = policy.forward(&SEQUENCES, 1.0, None).unwrap().log_probs;
    policy.backward(&vec![-1.0; n], None, None).unwrap();
    assert!(policy.grad_norm().unwrap() > 0.0);
    policy.update(&AdamW::default().step(1e-3, 1, 1.0)).unwrap();
    assert_eq!(policy.grad_norm().unwrap(), 0.0);
    let after = policy.score(&SEQUENCES, Model::Policy, 1.0).unwrap().log_probs;
    let reference = policy.score(&SEQUENCES, Model::Reference, 1.0).unwrap().log_probs;
    assert_eq!(before, reference);
    assert!(after.iter().sum::<f32>() > before.iter().sum::<f32>(), "the step raised the likelihood");
}

#[test]
fn bad_tokens_and_empty_prompts_are_errors() {
    let mut policy = policy(CpuBackend::<f32>::new(1), dims(FLAGS[0]));
    let bad = Sequences { prompts: &[&[1]], completions: &[&[19]], prompt_of: &[0] };
    let error = policy.score(&bad, Model::Policy, 1.0).unwrap_err().to_string();
    assert!(error.contains("completion 0 holds token 19") && error.contains("19 tokens"), "{error}");
    let empty = Sequences { prompts: &[&[]], completions: &[&[1]], prompt_of: &[0] };
    let error = policy.score(&empty, Model::Policy, 1.0).unwrap_err().to_string();
    assert!(error.contains("prompt 0 has no tokens"), "{error}");
    let stray = Sequences { prompts: &[&[1]], completions: &[&[1]], prompt_of: &[1] };
    let error = policy.score(&stray, Model::Policy, 1.0).unwrap_err().to_string();
    assert!(error.contains("`prompt_of[0]` is 1, but there are 1 prompts"), "{error}");
    let good = Sequences { prompt_of: &[0], ..stray };
    policy.forward(&good, 1.0, None).unwrap();
    let error = policy.backward(&[], None, None).unwrap_err().to_string();
    assert!(error.contains("d_log_probs"), "{error}");
    policy.forward(&good, 1.0, None).unwrap();
    let error = policy.backward(&[0.0], Some(&[]), None).unwrap_err().to_string();
    assert!(error.contains("d_entropies"), "{error}");
    assert!(matches!(policy.backward(&[0.0], None, None), Err(flowrl_lm::PolicyError::NoForward)));
    let error = policy.restore_moments(&[[vec![], vec![]]]).unwrap_err().to_string();
    assert!(error.contains("`moments` has 1 entries"), "{error}");
}

#[test]
fn tensors_of_another_model_are_refused() {
    let cpu = CpuBackend::<f32>::new(1);
    let mut policy = policy(cpu.clone(), dims(FLAGS[0]));
    let narrow = Dimensions { hidden: 16, ..dims(FLAGS[0]) };
    for other in [narrow, dims(FLAGS[1])] {
        let error = policy.set_weights(weights(&cpu, &other)).unwrap_err().to_string();
        assert!(error.starts_with("`weights` has "), "{error}");
        let error = policy.set_reference(weights(&cpu, &other)).unwrap_err().to_string();
        assert!(error.starts_with("`reference` has "), "{error}");
    }
    policy.set_weights(weights(&cpu, policy.dims())).unwrap();

    let whole: Vec<[Vec<f32>; 2]> = policy.weights().tensors().map(|x| [x.clone(), x.clone()]).collect();
    for half in 0..2 {
        let mut moments = whole.clone();
        moments[1][half].pop();
        let error = policy.restore_moments(&moments).unwrap_err().to_string();
        assert!(error.starts_with("`moments` has "), "{error}");
        assert!(policy.moments().unwrap().is_empty(), "nothing is restored");
    }
    policy.restore_moments(&whole).unwrap();
    assert_eq!(policy.moments().unwrap(), whole);
}
