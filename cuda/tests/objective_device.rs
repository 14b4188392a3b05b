//! Objectives on device buffers: the same bits as through host slices and in every schedule, and the errors.

use crate::common::batches::{Owned, evaluate};
use flowrl_core::backend::Backend;
use flowrl_core::objective::{Balance, Diagnostics, FlowRl, Objective, Preset, Totals};
use flowrl_cuda::objective::{DeviceBatch, DeviceGradients, DeviceSequences};
use flowrl_cuda::{CudaBackend, Precision, Schedule};

/// Returns the bits of all results.
fn bits_of(device: &CudaBackend, objective: &Objective, owned: &Owned) -> (Vec<Vec<u32>>, Vec<u64>) {
    let (numbers, diagnostics) = evaluate(device, objective, owned).unwrap();
    let numbers = numbers.iter().map(|(_, x)| x.iter().map(|x| x.to_bits()).collect()).collect();
    (numbers, diagnostics.metrics().map(|(_, x)| x.to_bits()).collect())
}

/// Sums have a fixed order, so their bits do not depend on the schedule.
#[test]
fn same_bits_in_every_schedule() {
    let owned = Owned::random(9, &[300, 0, 1030, 17, 5, 2], 2);
    for name in ["vargrad", "verl-pr3924", "grpo", "gspo"] {
        let objective = name.parse().unwrap();
        let run = |device: &CudaBackend| bits_of(device, &objective, &owned);
        let wanted = run(&crate::common::emulated(Precision::F32, Schedule::Forward));
        for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(1), Schedule::Random(2)] {
            assert!(run(&crate::common::emulated(Precision::Bf16, schedule)) == wanted, "{name}, {schedule:?}");
        }
    }
}

fn same_bits_twice(device: &CudaBackend) {
    let owned = Owned::random(9, &[300, 0, 1030, 17, 5, 2], 2);
    for name in ["vargrad", "verl-pr3924", "grpo", "gspo"] {
        let objective = name.parse().unwrap();
        assert!(bits_of(device, &objective, &owned) == bits_of(device, &objective, &owned), "{name}");
    }
}

/// A custom program may pass buffers that are longer than necessary and gradients of an earlier batch. This test puts
/// NaN after the used part.
fn buffers_of_ones_own(device: &CudaBackend) {
    let owned = Owned::random(10, &[30, 0, 7, 12], 2);
    let padded = |x: &[f32]| device.upload(&[x, &[f32::NAN; 5]].concat()).unwrap();
    let (log_probs, reference) = (padded(&owned.log_probs), padded(owned.ref_log_probs.as_ref().unwrap()));
    let (old, log_z) = (padded(owned.old_log_probs.as_ref().unwrap()), padded(owned.log_z.as_ref().unwrap()));
    let sequences = DeviceSequences::new(device, &owned.offsets, &owned.groups).unwrap();
    let larger = DeviceSequences::new(device, &[0, 20, 40, 60, 80, 100], &[0; 5]).unwrap();
    let mut gradients = DeviceGradients::new(device, &larger).unwrap();
    let entropies = padded(owned.entropies.as_ref().unwrap());
    let bonus = Preset::Grpo.policy_gradient().unwrap().with_entropy(0.3);
    let presets = ["paper", "vargrad", "ppo"].map(|name| (name, name.parse().unwrap()));
    for (name, objective) in presets.into_iter().chain([("entropy bonus", bonus.into())]) {
        let advantages = padded(&owned.advantages);
        let batch = DeviceBatch {
            sequences: &sequences,
            advantages: &advantages,
            log_probs: &log_probs,
            ref_log_probs: Some(&reference),
            old_log_probs: Some(&old),
            rollout_log_probs: None,
            entropies: Some(&entropies),
            log_z: Some(&log_z),
            masks: None,
        };
        let totals = Totals { sequences: 7, tokens: 69 };
        let diagnostics = device.device_evaluate(&objective, &batch, totals, &mut gradients).unwrap();

        let read = |buffer, len| crate::common::bits(device, buffer)[..len].to_vec();
        let (wanted, wanted_metrics) = bits_of(device, &objective, &owned);
        assert_eq!(read(&gradients.d_log_probs, 49), wanted[1], "{name}");
        let got = [&gradients.d_log_z, &gradients.log_z, &gradients.residuals, &gradients.weights];
        assert_eq!(got.map(|buffer| read(buffer, 4)).to_vec(), wanted[3..7], "{name}");
        let made = gradients.d_entropies.as_ref().map_or(Vec::new(), |buffer| read(buffer, 49));
        assert_eq!(made, wanted[7], "{name}");
        assert_eq!(diagnostics.metrics().map(|(_, x)| x.to_bits()).collect::<Vec<_>>(), wanted_metrics, "{name}");
    }
}

/// Computing the gradients of two batches before the metrics of the first gives the same bits as evaluating one batch
/// after the other. The second half reports non-finite numbers.
fn gradients_before_diagnostics(device: &CudaBackend) {
    let owned = [Owned::random(12, &[30, 0, 7, 12], 2), Owned::random(13, &[9, 4, 21], 1)];
    let sequences = owned.each_ref().map(|o| DeviceSequences::new(device, &o.offsets, &o.groups).unwrap());
    let upload = |x: &Vec<f32>| device.upload(x).unwrap();
    let given = owned.each_ref().map(|o| {
        let of = |x: &Option<Vec<f32>>| upload(x.as_ref().unwrap());
        let inputs = [upload(&o.advantages), upload(&o.log_probs), of(&o.ref_log_probs), of(&o.old_log_probs)];
        (inputs, of(&o.log_z))
    });
    let batch = |i: usize| {
        let ([advantages, log_probs, reference, old], log_z) = &given[i];
        DeviceBatch {
            sequences: &sequences[i],
            advantages,
            log_probs,
            ref_log_probs: Some(reference),
            old_log_probs: Some(old),
            rollout_log_probs: None,
            entropies: None,
            log_z: Some(log_z),
            masks: None,
        }
    };
    let gradients = || [0, 1].map(|i| DeviceGradients::new(device, &sequences[i]).unwrap());
    let numbers = |g: &DeviceGradients| {
        [&g.d_log_probs, &g.d_log_z, &g.log_z, &g.residuals, &g.weights].map(|x| crate::common::bits(device, x))
    };
    for name in ["paper", "vargrad", "grpo"] {
        let objective: Objective = name.parse().unwrap();
        let totals = Totals { sequences: 8, tokens: 90 };
        let (mut whole, mut halves) = (gradients(), gradients());
        let bits = |d: Diagnostics| d.metrics().map(|(name, x)| (name, x.to_bits())).collect::<Vec<_>>();
        let wanted = [0, 1].map(|i| device.device_evaluate(&objective, &batch(i), totals, &mut whole[i]).unwrap());
        let wanted = wanted.map(bits);
        for i in [0, 1] {
            device.device_gradients(&objective, &batch(i), totals, &mut halves[i]).unwrap();
        }
        for i in [0, 1] {
            assert_eq!(numbers(&halves[i]), numbers(&whole[i]), "{name}, batch {i}");
            let got = device.device_diagnostics(&objective, &batch(i), totals, &halves[i]).unwrap();
            assert_eq!(bits(got), wanted[i], "{name}, batch {i}");
        }
        assert_ne!(wanted[0], wanted[1], "{name}");

        let infinite = device.upload(&[f32::INFINITY; 4]).unwrap();
        let broken = DeviceBatch { advantages: &infinite, ..batch(0) };
        device.device_gradients(&objective, &broken, totals, &mut halves[0]).unwrap();
        let error = device.device_diagnostics(&objective, &broken, totals, &halves[0]).expect_err("infinite");
        assert!(error.to_string().contains("`advantages` must be finite, but sequence 0"), "{error}");
    }
}

fn errors(device: &CudaBackend) {
    let mut owned = Owned::random(11, &[3, 6], 1);
    let sequences = DeviceSequences::new(device, &owned.offsets, &owned.groups).unwrap();
    let mut gradients = DeviceGradients::new(device, &sequences).unwrap();
    let objective = Objective::preset(Preset::VarGrad);
    let totals = sequences.totals();
    owned.old_log_probs.as_mut().unwrap()[4] = f32::NAN;
    let (advantages, log_probs) = (device.upload(&[1.0, -1.0]).unwrap(), device.upload(&owned.log_probs).unwrap());
    let old = device.upload(owned.old_log_probs.as_ref().unwrap()).unwrap();
    let batch = DeviceBatch {
        sequences: &sequences,
        advantages: &advantages,
        log_probs: &log_probs,
        ref_log_probs: Some(&log_probs),
        old_log_probs: Some(&old),
        rollout_log_probs: None,
        entropies: None,
        log_z: None,
        masks: None,
    };
    let mut says = |objective: &Objective, batch: DeviceBatch<'_>, totals, words: &str| {
        let error = device.device_evaluate(objective, &batch, totals, &mut gradients).expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
    };
    says(&objective, batch, totals, "`old_log_probs` must be finite, but sequence 1, token 1 holds NaN");
    let infinite = device.upload(&[1.0, f32::INFINITY]).unwrap();
    says(
        &objective,
        DeviceBatch { advantages: &infinite, ..batch },
        totals,
        "`advantages` must be finite, but sequence 1",
    );
    says(&objective, DeviceBatch { ref_log_probs: None, ..batch }, totals, "`ref_log_probs` is missing");
    says(&objective, batch, Totals { sequences: 1, tokens: 9 }, "`totals.sequences` is 1");
    let short = device.zeros(8).unwrap();
    says(&objective, DeviceBatch { log_probs: &short, ..batch }, totals, "`log_probs`");
    let half = device.zeros_for(flowrl_core::backend::Role::Activation, 9).unwrap();
    says(&objective, DeviceBatch { log_probs: &half, ..batch }, totals, "stored as bf16");
    says(&Objective::preset(Preset::Paper), batch, totals, "`log_z` is missing");
    let bonus = Objective::from(Preset::Dapo.policy_gradient().unwrap().with_entropy(0.3));
    says(&bonus, DeviceBatch { old_log_probs: None, ..batch }, totals, "`entropies` is missing");
    let broken = DeviceBatch { old_log_probs: None, entropies: Some(&old), ..batch };
    says(&bonus, broken, totals, "`entropies` must be finite, but sequence 1, token 1 holds NaN");
    let options = FlowRl::exact_tb().with_balance(Balance::Detailed);
    says(
        &Objective::FlowRl(options),
        batch,
        totals,
        "`balance` cannot be combined with this `evaluation on the device`",
    );

    let error = DeviceSequences::new(device, &[0, 1], &[0, 0]).expect_err("one offset too few");
    assert!(error.to_string().contains("`offsets` has 2 elements"), "{error}");
    let error = DeviceSequences::new(device, &[0, 3, 2], &[0, 0]).expect_err("descending");
    assert!(error.to_string().contains("offsets[2] is 2, smaller than 3"), "{error}");
}

/// Generates a test module for the emulator and one for the GPU.
macro_rules! on_both {
    ($($body:ident),* $(,)?) => {
        mod on_emulated {
            $(#[test] fn $body() {
                super::$body(&crate::common::emulated(super::Precision::Bf16, super::Schedule::Random(5)));
            })*
        }
        mod on_gpu {
            $(#[test] fn $body() {
                match crate::common::gpu(super::Precision::Bf16) {
                    Ok(device) => super::$body(&device),
                    Err(error) => println!("skipped, no GPU: {error}"),
                }
            })*
        }
    };
}

on_both!(same_bits_twice, buffers_of_ones_own, gradients_before_diagnostics, errors);
