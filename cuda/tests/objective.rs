//! Objectives: the golden files, random batches, extreme lengths, degenerate groups, errors and bits, each beside the CPU.

mod common;

use std::path::Path;

use common::{Tolerance, normals};
use flowrl_core::backend::{Backend, ObjectiveError};
use flowrl_core::objective::file::BatchFile;
use flowrl_core::objective::{
    Aggregate, Balance, Baseline, BaselineKind, Batch, Diagnostics, FlowRl, Gradients, Importance, KlIn, Length, LogZ,
    Objective, Preset, Reward, Shape, Totals, value_loss,
};
use flowrl_cuda::objective::{DeviceBatch, DeviceGradients, DeviceSequences};
use flowrl_cuda::{CudaBackend, Error, Precision, Schedule};
use flowrl_lm::backend::TransformerBackend;
use serde_json::Value;

/// A batch that owns its numbers.
#[derive(Clone)]
struct Owned {
    offsets: Vec<usize>,
    groups: Vec<usize>,
    rewards: Vec<f32>,
    values: Vec<f32>,
    advantages: Vec<f32>,
    log_probs: Vec<f32>,
    ref_log_probs: Option<Vec<f32>>,
    old_log_probs: Option<Vec<f32>>,
    log_flows: Option<Vec<f32>>,
    log_z: Option<Vec<f32>>,
}

impl Owned {
    /// Sequences of these lengths in `groups` interleaved groups, the policy a little away from the reference and from the old policy.
    fn random(seed: u64, lengths: &[usize], groups: usize) -> Self {
        // Parts of a batch do not start at 0.
        let mut offsets = vec![5];
        lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + length));
        let (b, n) = (lengths.len(), lengths.iter().sum());
        let log_probs: Vec<f32> = normals(seed, n).iter().map(|x| -1.0 - x.abs()).collect();
        let near = |seed, distance: f32| {
            let pairs = log_probs.iter().zip(normals(seed, n));
            pairs.map(|(l, x)| l + distance * x).collect::<Vec<f32>>()
        };
        Self {
            groups: (0..b).map(|i| i * 7 % groups * 3).collect(),
            rewards: normals(seed + 1, b),
            values: normals(seed + 2, b),
            advantages: normals(seed + 3, b),
            ref_log_probs: Some(near(seed + 4, 0.3)),
            old_log_probs: Some(near(seed + 5, 0.2)),
            log_flows: None,
            log_z: Some(normals(seed + 6, b)),
            offsets,
            log_probs,
        }
    }

    fn batch(&self) -> Batch<'_, f32> {
        Batch {
            offsets: &self.offsets,
            groups: &self.groups,
            advantages: &self.advantages,
            log_probs: &self.log_probs,
            ref_log_probs: self.ref_log_probs.as_deref(),
            old_log_probs: self.old_log_probs.as_deref(),
            log_flows: self.log_flows.as_deref(),
            log_z: self.log_z.as_deref(),
        }
    }
}

/// Numbers by name, and metrics.
type Results = (Vec<(&'static str, Vec<f32>)>, Diagnostics);

/// Both phases; the second as a part of a batch that is larger. What was in the outputs does not matter.
fn evaluate<B: Backend<Real = f32>>(
    device: &B,
    objective: &Objective,
    owned: &Owned,
) -> Result<Results, ObjectiveError<B::Error>> {
    let (b, n) = (owned.groups.len(), owned.log_probs.len());
    let [mut shaped, mut d_log_z, mut log_z, mut residuals, mut weights] = [(); 5].map(|()| vec![f32::NAN; b]);
    let mut d_log_probs = vec![f32::NAN; n];
    let mut d_log_flows = vec![f32::NAN; if objective.needs_flows() { n } else { 0 }];
    let mut order = vec![0; b];
    device.advantages(objective, &owned.rewards, &owned.groups, Some(&owned.values), &mut order, &mut shaped)?;
    let mut out = Gradients {
        d_log_probs: &mut d_log_probs,
        d_log_flows: &mut d_log_flows,
        d_log_z: &mut d_log_z,
        log_z: &mut log_z,
        residuals: &mut residuals,
        weights: &mut weights,
    };
    let batch = owned.batch();
    let totals = Totals { sequences: b + 3, tokens: n + 20 };
    let diagnostics = device.evaluate(objective, &batch, totals, &mut order, &mut out)?;
    let named = vec![
        ("advantages", shaped),
        ("d_log_probs", d_log_probs),
        ("d_log_flows", d_log_flows),
        ("d_log_z", d_log_z),
        ("log_z", log_z),
        ("residuals", residuals),
        ("weights", weights),
    ];
    Ok((named, diagnostics))
}

fn cpu() -> flowrl_core::backend::CpuBackend<f32> {
    flowrl_core::backend::CpuBackend::new(1)
}

/// Numbers to 1e-5 of the largest, metrics to 1e-6 of themselves, which are sums of doubles.
fn agrees<B: Backend<Real = f32>>(device: &B, what: &str, objective: &Objective, owned: &Owned) {
    let (got, diagnostics) = evaluate(device, objective, owned).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (want, wanted) = evaluate(&cpu(), objective, owned).unwrap();
    for ((name, got), (_, want)) in got.iter().zip(&want) {
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        common::assert_close(&format!("{what}: {name}"), &wide(got), &wide(want), Tolerance::F32);
    }
    let (got, want): (Vec<_>, Vec<_>) = (diagnostics.metrics().collect(), wanted.metrics().collect());
    assert_eq!(got.len(), want.len(), "{what}: {got:?} {want:?}");
    for ((name, got), (wanted_name, want)) in got.into_iter().zip(want) {
        assert_eq!(name, wanted_name);
        assert!((got - want).abs() <= 1e-6 * want.abs().max(1e-3), "{what}: {name}: got {got}, want {want}");
    }
}

/// Every preset and baseline, and every option of FlowRL and of the baselines away from its default.
fn objectives() -> Vec<(String, Objective)> {
    let mut all: Vec<_> = Objective::named().map(|(name, _)| (name.to_owned(), name.parse().unwrap())).collect();
    let (paper, masked) = (FlowRl::default(), Preset::VerlPr3924.options());
    let flowrl = [
        FlowRl { length: Length::Sum, beta: 1.0, ..paper },
        FlowRl { length: Length::Fixed(7), ..masked },
        FlowRl { length: Length::Sum, beta: 2.0, log_z: LogZ::LeaveOneOut, ..masked },
        FlowRl { importance: Importance::Geometric, clip_low: None, ..paper },
        FlowRl { importance: Importance::None, ..masked },
        FlowRl { log_z: LogZ::Zero, reward: Reward::Center, ..paper },
        FlowRl { log_z: LogZ::LeaveOneOut, clip_high: None, ..paper },
        FlowRl { log_z: LogZ::GroupMean, clip_low: None, clip_high: None, reward_ddof: 0, ..paper },
        FlowRl { log_z: LogZ::Given, shape: Shape::Huber, huber_delta: 2.0, ..paper },
    ];
    all.extend(flowrl.into_iter().map(|options| (format!("{options:?}"), Objective::FlowRl(options))));
    let [grpo, gspo, cispo] = [BaselineKind::Grpo, BaselineKind::Gspo, BaselineKind::Cispo].map(Baseline::new);
    let reinforce = Baseline::new(BaselineKind::Reinforce);
    let baselines = [
        Baseline { kl: 0.3, kl_in: KlIn::Reward, ..grpo },
        Baseline { kl: 0.2, kl_in: KlIn::Reward, ..reinforce },
        Baseline { kl: 0.1, aggregate: Aggregate::TokenMean, ..gspo },
        Baseline { kl: 0.1, clip_low: None, aggregate: Aggregate::Fixed(9), ..cispo },
        Baseline { clip_low: None, clip_high: None, kl: 0.0, ..grpo },
    ];
    all.extend(baselines.into_iter().map(|options| (format!("{options:?}"), Objective::Baseline(options))));
    all
}

fn random_batches<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let mut owned = Owned::random(1, &[3, 1, 0, 4, 5, 70, 7, 2, 0, 300, 6, 9], 4);
    owned.advantages[5] = 0.0;
    for (name, objective) in objectives() {
        agrees(device, &name, &objective, &owned);
    }
    owned.old_log_probs = None;
    for (name, objective) in objectives() {
        agrees(device, &format!("on policy, {name}"), &objective, &owned);
    }
    owned.ref_log_probs = None;
    agrees(device, "without a reference", &Objective::baseline(BaselineKind::Dapo), &owned);
}

fn short_long_few_and_many_sequences<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let chosen = ["paper", "vargrad", "grpo", "gspo", "reinforce++"].map(|name| (name, name.parse().unwrap()));
    let many: Vec<usize> = (0..600).map(|i| i % 5).collect();
    for lengths in [&[][..], &[0], &[1], &[8192], &[8191, 3], &many] {
        for groups in [1, 200] {
            let owned = Owned::random(2, lengths, groups);
            for (name, objective) in &chosen {
                agrees(device, &format!("{name}, {} sequences in {groups} groups", lengths.len()), objective, &owned);
            }
        }
    }
}

fn degenerate_groups<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let mut owned = Owned::random(3, &[4; 9], 9);
    // Alone; equal; equal but for the sign of zero; apart by a rounding of the mean.
    owned.groups = vec![4, 2, 2, 2, 7, 7, 1, 1, 1];
    owned.rewards = vec![3.0, 0.1, 0.1, 0.1, 0.0, -0.0, 1e30, 1.0, -1e30];
    for (name, objective) in objectives() {
        let objective = match objective {
            Objective::FlowRl(o) => Objective::FlowRl(FlowRl { reward_eps: 0.0, ..o }),
            Objective::Baseline(o) => Objective::Baseline(Baseline { reward_eps: 0.0, ..o }),
        };
        agrees(device, &name, &objective, &owned);
    }
    // Far away from the policy that sampled, but bounded, or of no weight at all.
    owned.old_log_probs = Some(owned.log_probs.iter().map(|l| l + 3e3).collect());
    for name in ["paper", "vargrad", "official"] {
        agrees(device, name, &name.parse().unwrap(), &owned);
    }
    // One member outweighs the others of its group so far that what they weigh is lost in the sum of all: e⁶⁰.
    let old = owned.old_log_probs.as_mut().unwrap();
    old.copy_from_slice(&owned.log_probs);
    old[4..8].iter_mut().for_each(|l| *l -= 15.0);
    let options = FlowRl { log_z: LogZ::LeaveOneOut, clip_low: None, clip_high: None, ..FlowRl::default() };
    agrees(device, "leave-one-out", &Objective::FlowRl(options), &owned);
}

fn values_of_ppo<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    for count in [0, 1, 700] {
        let (rewards, values) = (normals(4, count), normals(5, count));
        let (mut got, mut want) = (vec![f32::NAN; count], vec![0.0; count]);
        let loss = device.value_loss(&rewards, &values, 900, &mut got).unwrap();
        let wanted = value_loss(&rewards, &values, 900, &mut want).unwrap();
        assert!((loss - wanted).abs() <= 1e-12 * wanted, "{loss} {wanted}");
        assert_eq!(got, want);
    }
    let of = |rewards: &[f32], values: &[f32]| {
        let error = device.value_loss(rewards, values, 2, &mut vec![0.0; rewards.len()]).expect_err("must be refused");
        assert_eq!(
            error.to_string(),
            value_loss(rewards, values, 2, &mut vec![0.0; rewards.len()]).unwrap_err().to_string()
        );
    };
    of(&[1.0, 2.0], &[1.0, f32::NAN]);
    of(&[f32::INFINITY, 2.0], &[f32::INFINITY, 0.0]);
    of(&[1.0, 2.0], &[1.0]);
}

/// The error is that of the CPU, word for word.
fn refused<B: Backend<Real = f32>>(device: &B, objective: &Objective, owned: &Owned, says: &str) {
    let want = evaluate(&cpu(), objective, owned).expect_err("the CPU refuses it").to_string();
    let got = evaluate(device, objective, owned).expect_err("must be refused");
    assert!(matches!(got, ObjectiveError::Input(_)), "{got}");
    assert_eq!(got.to_string(), want);
    assert!(want.contains(says), "{want}");
}

fn errors_of_the_cpu<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let good = Owned::random(6, &[3, 0, 6, 9], 2);
    let all = ["paper", "vargrad", "verl-pr3924", "tba", "reinforce", "ppo", "grpo", "gspo", "cispo"];
    let all = all.map(|name| name.parse::<Objective>().unwrap());
    // Token 4 of sequence 2 stands 7th.
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for objective in &all {
            for missing_old in [false, true] {
                let mut owned = good.clone();
                owned.log_probs[7] = bad;
                owned.old_log_probs = owned.old_log_probs.filter(|_| !missing_old);
                refused(device, objective, &owned, "`log_probs` must be finite, but sequence 2, token 4");
            }
            let mut owned = good.clone();
            owned.old_log_probs.as_mut().unwrap()[7] = bad;
            refused(device, objective, &owned, "`old_log_probs` must be finite, but sequence 2, token 4");
            let mut owned = good.clone();
            owned.ref_log_probs.as_mut().unwrap()[0] = bad;
            refused(device, objective, &owned, "`ref_log_probs` must be finite, but sequence 0, token 0");
            let mut owned = good.clone();
            owned.advantages[1] = bad;
            refused(device, objective, &owned, "`advantages` must be finite, but sequence 1");
            let mut owned = good.clone();
            owned.rewards[3] = bad;
            refused(device, objective, &owned, "`rewards` must be finite, but sequence 3");
        }
    }
    let apart = |distance: f32| {
        let old = good.log_probs.iter().map(|l| l - distance).collect();
        Owned { old_log_probs: Some(old), ..good.clone() }
    };
    refused(device, &"official".parse().unwrap(), &apart(100.0), "the importance weight of sequence 0 overflows");
    refused(device, &"gspo".parse().unwrap(), &apart(100.0), "the importance weight of sequence 0 overflows");
    let mut unbounded = apart(100.0);
    unbounded.advantages = vec![-1.0; 4];
    refused(device, &"grpo".parse().unwrap(), &unbounded, "the importance weight of sequence 0 overflows");
    let mut owned = good.clone();
    owned.advantages[2] = 1e38;
    refused(device, &"paper".parse().unwrap(), &owned, "the residual of sequence 2 overflows");
    owned.advantages[2] = 1e25;
    refused(device, &"paper".parse().unwrap(), &owned, "the loss of sequence 2 overflows");
    let mut owned = good.clone();
    owned.ref_log_probs.as_mut().unwrap()[7] = 900.0;
    refused(device, &"grpo".parse().unwrap(), &owned, "the loss of sequence 2 overflows");
    let mut owned = good.clone();
    (owned.rewards[3], owned.values[3]) = (3e38, -3e38);
    refused(device, &"ppo".parse().unwrap(), &owned, "the advantage of sequence 3 overflows");

    let paper = Objective::preset(Preset::Paper);
    refused(device, &paper, &Owned { ref_log_probs: None, ..good.clone() }, "`ref_log_probs` is missing");
    refused(device, &paper, &Owned { log_z: None, ..good.clone() }, "`log_z` is missing");
    refused(device, &paper, &Owned { log_z: Some(vec![0.0; 3]), ..good.clone() }, "`log_z` has 3 elements");
    refused(device, &paper, &Owned { offsets: vec![5, 8, 7, 14, 23], ..good.clone() }, "`offsets` must ascend");
    refused(device, &paper, &Owned { rewards: vec![0.0; 2], ..good.clone() }, "`rewards` has 2 elements");
    let flat = Objective::FlowRl(FlowRl { huber_delta: 0.0, ..FlowRl::default() });
    refused(device, &flat, &good, "option `huber_delta` is 0");
}

fn balance_over_parts<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let mut owned = Owned::random(7, &[3, 1, 0, 20], 2);
    owned.log_flows = Some(normals(8, 24));
    for balance in [Balance::Detailed, Balance::SubTrajectory(0.9)] {
        let options = FlowRl { balance, length: Length::Sum, ..Preset::ExactTb.options() };
        agrees(device, "balance", &Objective::FlowRl(options), &owned);
    }
}

/// Every golden file, as on the CPU in single precision: 1e-4 of max(1, |want|).
fn golden_files<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/objective");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the golden directory is in the repository") {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let file: BatchFile = serde_json::from_str(&text).unwrap();
        let want = &serde_json::from_str::<Value>(&text).unwrap()["expected"];
        let got = serde_json::to_value(file.evaluate_on(device).unwrap()).unwrap();
        assert_near(&path.display().to_string(), &got, want);
        files += 1;
    }
    assert_eq!(files, 53, "every golden file is checked");
}

/// Everything that is expected is there, and near.
fn assert_near(at: &str, got: &Value, want: &Value) {
    match want {
        Value::Object(want) => {
            want.iter().for_each(|(key, want)| assert_near(&format!("{at}: {key}"), &got[key], want))
        }
        Value::Array(want) => {
            assert_eq!(got.as_array().map(Vec::len), Some(want.len()), "{at}");
            want.iter().enumerate().for_each(|(i, want)| assert_near(&format!("{at}[{i}]"), &got[i], want));
        }
        _ => {
            let (got, want) = (got.as_f64().expect(at), want.as_f64().expect(at));
            assert!((got - want).abs() <= 1e-4 * want.abs().max(1.0), "{at}: got {got}, want {want}");
        }
    }
}

on_every_device!(
    random_batches,
    short_long_few_and_many_sequences,
    degenerate_groups,
    values_of_ppo,
    errors_of_the_cpu,
    balance_over_parts,
    golden_files,
);

/// The bits of all results.
fn bits_of(device: &CudaBackend, objective: &Objective, owned: &Owned) -> (Vec<Vec<u32>>, Vec<u64>) {
    let (numbers, diagnostics) = evaluate(device, objective, owned).unwrap();
    let numbers = numbers.iter().map(|(_, x)| x.iter().map(|x| x.to_bits()).collect()).collect();
    (numbers, diagnostics.metrics().map(|(_, x)| x.to_bits()).collect())
}

/// In a fixed order of sums: twice, in every schedule, and with the same sequence elsewhere in a batch.
#[test]
fn the_same_bits_twice_and_in_every_schedule() {
    let owned = Owned::random(9, &[300, 0, 1030, 17, 5, 2], 2);
    for name in ["vargrad", "verl-pr3924", "grpo", "gspo"] {
        let objective = name.parse().unwrap();
        let run = |device: &CudaBackend| bits_of(device, &objective, &owned);
        let want = run(&common::emulated(Precision::F32, Schedule::Forward));
        for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(1), Schedule::Random(2)] {
            assert!(run(&common::emulated(Precision::Bf16, schedule)) == want, "{name}, {schedule:?}");
        }
        match common::gpu(Precision::F32) {
            Ok(gpu) => assert!(run(&gpu) == run(&gpu), "{name} on the GPU"),
            Err(error) => println!("skipped, no GPU: {error}"),
        }
    }
}

/// The emulator, and the GPU where there is one.
fn devices() -> Vec<CudaBackend> {
    let gpu = common::gpu(Precision::Bf16);
    let gpu = gpu.inspect_err(|error| println!("on the emulator only, no GPU: {error}"));
    std::iter::once(common::emulated(Precision::Bf16, Schedule::Random(5))).chain(gpu).collect()
}

/// What a program of one's own does: buffers that are longer than needed, NaN behind what is used, gradients of an earlier batch.
#[test]
fn buffers_on_the_device() {
    for device in devices() {
        let owned = Owned::random(10, &[30, 0, 7, 12], 2);
        let padded = |x: &[f32]| device.upload(&[x, &[f32::NAN; 5]].concat()).unwrap();
        let (rewards, values) = (padded(&owned.rewards), padded(&owned.values));
        let (log_probs, reference) = (padded(&owned.log_probs), padded(owned.ref_log_probs.as_ref().unwrap()));
        let (old, log_z) = (padded(owned.old_log_probs.as_ref().unwrap()), padded(owned.log_z.as_ref().unwrap()));
        let sequences = DeviceSequences::new(&device, &owned.offsets, &owned.groups).unwrap();
        let larger = DeviceSequences::new(&device, &[0, 20, 40, 60, 80, 100], &[0; 5]).unwrap();
        let mut gradients = DeviceGradients::new(&device, &larger).unwrap();
        for name in ["paper", "vargrad", "ppo"] {
            let objective: Objective = name.parse().unwrap();
            let mut advantages = padded(&[f32::NAN; 4]);
            device.device_advantages(&objective, &sequences, &rewards, Some(&values), &mut advantages).unwrap();
            let batch = DeviceBatch {
                sequences: &sequences,
                advantages: &advantages,
                log_probs: &log_probs,
                ref_log_probs: Some(&reference),
                old_log_probs: Some(&old),
                log_z: Some(&log_z),
            };
            let totals = Totals { sequences: 7, tokens: 69 };
            let diagnostics = device.device_evaluate(&objective, &batch, totals, &mut gradients).unwrap();

            let read = |buffer, len| common::bits(&device, buffer)[..len].to_vec();
            let shaped: Vec<f32> = read(&advantages, 4).into_iter().map(f32::from_bits).collect();
            let (want, wanted) = bits_of(&device, &objective, &Owned { advantages: shaped.clone(), ..owned.clone() });
            let got = [(&advantages, 4), (&gradients.d_log_probs, 49)].map(|(buffer, len)| read(buffer, len));
            assert_eq!(got, [want[0].clone(), want[1].clone()], "{name}");
            let got = [&gradients.d_log_z, &gradients.log_z, &gradients.residuals, &gradients.weights];
            assert_eq!(got.map(|buffer| read(buffer, 4)).to_vec(), want[3..], "{name}");
            assert_eq!(diagnostics.metrics().map(|(_, x)| x.to_bits()).collect::<Vec<_>>(), wanted, "{name}");
        }
    }
}

#[test]
fn errors_on_the_device() {
    for device in devices() {
        let mut owned = Owned::random(11, &[3, 6], 1);
        let sequences = DeviceSequences::new(&device, &owned.offsets, &owned.groups).unwrap();
        let mut gradients = DeviceGradients::new(&device, &sequences).unwrap();
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
            log_z: None,
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
        let options = FlowRl { balance: Balance::Detailed, ..Preset::ExactTb.options() };
        says(&Objective::FlowRl(options), batch, totals, "`balance` does not go with this `evaluation on the device`");

        let mut out = device.zeros(2).unwrap();
        let error = device.device_advantages(&objective, &sequences, &infinite, None, &mut out).expect_err("infinite");
        assert!(error.to_string().contains("`rewards` must be finite, but sequence 1 holds inf"), "{error}");
        let ppo = Objective::baseline(BaselineKind::Ppo);
        let error = device.device_advantages(&ppo, &sequences, &advantages, None, &mut out).expect_err("no values");
        assert!(error.to_string().contains("`values` is missing"), "{error}");
        let short =
            device.device_advantages(&ppo, &sequences, &advantages, Some(&advantages), &mut device.zeros(1).unwrap());
        assert!(matches!(short, Err(ObjectiveError::Device(Error::Argument(_)))), "{short:?}");

        let error = DeviceSequences::new(&device, &[0, 1], &[0, 0]).expect_err("one offset too few");
        assert!(error.to_string().contains("`offsets` has 2 elements"), "{error}");
        let error = DeviceSequences::new(&device, &[0, 3, 2], &[0, 0]).expect_err("descending");
        assert!(error.to_string().contains("offsets[2] is 2, smaller than 3"), "{error}");
    }
}
