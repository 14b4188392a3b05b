//! Log-probabilities of tokens and their gradients.

use crate::common::{Tolerance, assert_close, bits, normals, numbers, stored};
use flowrl_core::backend::{
    Backend, BackendError, CpuBackend, Drawn, EntropyGradient, ErrorKind, LinearShape, Role, SampleKeys, Sampler,
};
use flowrl_core::random::{Purpose, Stream};
use flowrl_cuda::{CudaBackend, Precision, Schedule};
use flowrl_lm::backend::TransformerBackend;

/// (rows, columns): odd sizes, rows shorter than a 16-byte load, several rounds of a block, and Qwen's vocabulary.
const SHAPES: [(usize, usize); 9] =
    [(1, 1), (2, 1), (37, 31), (2, 33), (1937, 33), (37, 127), (37, 1000), (2, 20_011), (2, 151_936)];

/// The results of a device, or those of the oracle for the same stored logits.
struct Outcome {
    log_prob: Vec<f64>,
    log_sum_exp: Vec<f64>,
    entropy: Vec<f64>,
}

/// Poisoned numbers after those that an operation may use.
const PADDING: usize = 5;

fn padded(values: &[f32]) -> Vec<f32> {
    [values, &[f32::NAN; PADDING]].concat()
}

fn forward<B: Backend<Real = f32>>(
    device: &B,
    logits: &B::Buffer,
    targets: &[u32],
    vocab: usize,
    temperature: f64,
) -> Outcome {
    let rows = targets.len();
    let targets = device.index(targets).unwrap();
    let [mut log_prob, mut log_sum_exp, mut entropy] =
        [(); 3].map(|()| device.upload(&padded(&vec![9.0; rows])).unwrap());
    device
        .log_prob(logits, &targets, (rows, vocab), temperature, &mut log_prob, &mut log_sum_exp, &mut entropy)
        .unwrap();
    let [log_prob, log_sum_exp, entropy] = [log_prob, log_sum_exp, entropy].map(|buffer| {
        let mut all = numbers(device, &buffer);
        assert!(all.split_off(rows).iter().all(|x| x.is_nan()), "something was written behind the rows");
        all
    });
    Outcome { log_prob, log_sum_exp, entropy }
}

fn oracle(logits: &[f64], targets: &[u32], vocab: usize, temperature: f64) -> Outcome {
    let cpu = CpuBackend::<f64>::reference();
    let rows = targets.len();
    let [mut log_prob, mut log_sum_exp, mut entropy] = [(); 3].map(|()| vec![0.0; rows]);
    let (logits, targets) = (logits.to_vec(), targets.to_vec());
    cpu.log_prob(&logits, &targets, (rows, vocab), temperature, &mut log_prob, &mut log_sum_exp, &mut entropy).unwrap();
    Outcome { log_prob, log_sum_exp, entropy }
}

/// Asserts that statistics agree to f32 precision. The oracle starts from the stored logits, so this does not include
/// their rounding.
fn assert_same(what: &str, got: &Outcome, wanted: &Outcome) {
    assert_close(&format!("{what}, log p"), &got.log_prob, &wanted.log_prob, Tolerance::F32);
    assert_close(&format!("{what}, log Σ exp"), &got.log_sum_exp, &wanted.log_sum_exp, Tolerance::F32);
    assert_close(&format!("{what}, entropy"), &got.entropy, &wanted.entropy, Tolerance { relative: 2e-5, bf16: false });
}

/// Returns logits, stored with poison after them, and a target for each row.
fn case<B: Backend<Real = f32>>(device: &B, (rows, vocab): (usize, usize)) -> (B::Buffer, Vec<f64>, Vec<u32>) {
    let values: Vec<f32> = normals(3, rows * vocab).iter().map(|x| 3.0 * x).collect();
    let (buffer, mut kept) = stored(device, Role::Activation, &padded(&values));
    kept.truncate(rows * vocab);
    (buffer, kept, (0..rows).map(|r| (r * 7919 % vocab) as u32).collect())
}

fn forward_matches<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    for shape in SHAPES {
        for temperature in [1.0, 0.7] {
            let (logits, kept, targets) = case(device, shape);
            let got = forward(device, &logits, &targets, shape.1, temperature);
            assert_same(&format!("{shape:?}"), &got, &oracle(&kept, &targets, shape.1, temperature));
        }
    }
}

/// Asserts that no element is further from the exact result than that result rounded to the device's storage, apart
/// from 1e-5 of the largest element.
#[track_caller]
fn assert_rounded_once<B: Backend<Real = f32>>(device: &B, what: &str, got: &[f64], wanted: &[f64]) {
    let narrow: Vec<f32> = wanted.iter().map(|x| *x as f32).collect();
    let (_, naive) = stored(device, Role::Activation, &narrow);
    let largest = wanted.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    for (i, ((got, wanted), naive)) in got.iter().zip(wanted).zip(&naive).enumerate() {
        let allowed = (naive - wanted).abs() + 1e-5 * largest;
        assert!((got - wanted).abs() <= allowed, "{what}[{i}]: got {got}, wanted {wanted}, rounded {naive}");
    }
}

fn backward_matches<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    backward_matches_with(device, false);
}

fn backward_of_entropies_matches<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    backward_matches_with(device, true);
}

fn backward_matches_with<B: TransformerBackend<Real = f32>>(device: &B, entropies: bool) {
    let cpu = CpuBackend::<f64>::reference();
    for (rows, vocab) in SHAPES {
        let temperature = 1.5;
        let (mut logits, mut wanted, targets) = case(device, (rows, vocab));
        // Each row has its own coefficient, and every fourth coefficient is 0.
        let mut coefficients = normals(4, rows);
        coefficients.iter_mut().skip(3).step_by(4).for_each(|c| *c = 0.0);
        // The entropies' coefficients vary likewise: some rows have both gradients, some one and some neither.
        let mut of_entropy = normals(5, rows);
        of_entropy.iter_mut().enumerate().filter(|(r, _)| r % 4 > 1 || r % 8 == 7).for_each(|(_, d)| *d = 0.0);
        let Outcome { log_sum_exp: total, entropy, .. } = oracle(&wanted, &targets, vocab, temperature);
        let narrow = |wide: &[f64]| wide.iter().map(|x| *x as f32).collect::<Vec<f32>>();
        let index = device.index(&targets).unwrap();
        let on = [&narrow(&total), &coefficients, &narrow(&entropy), &of_entropy];
        let [total_on, coefficients_on, entropy_on, of_entropy_on] = on.map(|x| device.upload(&padded(x)).unwrap());
        let h = entropies.then_some(EntropyGradient { entropy: &entropy_on, d_entropy: &of_entropy_on });
        let shape = (rows, vocab);
        device.log_prob_backward(&mut logits, &index, shape, temperature, &total_on, &coefficients_on, h).unwrap();
        let [coefficients, of_entropy] =
            [coefficients, of_entropy].map(|x| x.into_iter().map(f64::from).collect::<Vec<f64>>());
        let h = entropies.then_some(EntropyGradient { entropy: &entropy, d_entropy: &of_entropy });
        cpu.log_prob_backward(&mut wanted, &targets, shape, temperature, &total, &coefficients, h).unwrap();
        let mut got = numbers(device, &logits);
        let behind = got.split_off(rows * vocab);
        assert!(behind.iter().all(|x| x.is_nan()), "{behind:?} behind the logits");
        // Rows are compared one by one. This gives a row of small elements its own tolerance.
        for (r, (got, wanted)) in got.chunks(vocab).zip(wanted.chunks(vocab)).enumerate() {
            assert_rounded_once(device, &format!("({rows}, {vocab}) row {r}"), got, wanted);
            let some = coefficients[r] != 0.0 || entropies && of_entropy[r] != 0.0;
            assert!(some || got.iter().all(|x| *x == 0.0), "row {r} has no gradient");
        }
    }
}

/// The gradient keeps its bits if p(target) is close to 1, where 1 − p is tiny for a well-learned target.
fn confident_targets_keep_their_gradient<B: TransformerBackend<Real = f32>>(device: &B, tolerance: Tolerance) {
    let vocab = 1000;
    for p in [0.9, 0.99, 0.999, 1.0 - 1e-6] {
        let target = 613;
        let mut values = vec![0.0_f32; vocab];
        values[target] = (p / (1.0 - p) * (vocab - 1) as f64).ln() as f32;
        let (mut logits, kept) = stored(device, Role::Activation, &values);
        let targets = [target as u32];
        let got = forward(device, &logits, &targets, vocab, 1.0);
        let wanted = oracle(&kept, &targets, vocab, 1.0);
        // Both are close to 0, as differences of larger numbers.
        assert!((got.log_prob[0] - wanted.log_prob[0]).abs() < 2e-6, "log {p} is {}", got.log_prob[0]);
        assert!((got.entropy[0] - wanted.entropy[0]).abs() < 5e-6, "p = {p}: entropy {}", got.entropy[0]);
        let total = device.upload(&[got.log_sum_exp[0] as f32]).unwrap();
        let (index, one) = (device.index(&targets).unwrap(), device.upload(&[1.0]).unwrap());
        device.log_prob_backward(&mut logits, &index, (1, vocab), 1.0, &total, &one, None).unwrap();
        let (got, wanted) = (numbers(device, &logits)[target], -wanted.log_prob[0].exp_m1());
        let error = (got / wanted - 1.0).abs();
        let allowed = if tolerance.bf16 { 1.0 / 256.0 + 1e-5 } else { 1e-5 };
        assert!(error < allowed, "1 − p = {wanted}, gradient {got}, relative error {error}");
    }
}

/// Rows that are hard to sum: huge logits, equal ones, impossible tokens, and the largest logit in any place.
fn extreme_rows<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    for vocab in [33, 1000, 20_011] {
        let noise = normals(5, vocab);
        let with = |place: usize, x: f32| {
            let mut row = noise.clone();
            row[place] = x;
            row
        };
        let masked = |keep: usize| (0..vocab).map(move |i| if i % keep == 1 { 1.5 } else { f32::NEG_INFINITY });
        let rows: Vec<Vec<f32>> = vec![
            noise.iter().map(|x| 1e4 * x.signum() + x).collect(),
            vec![-1e4; vocab],
            vec![1e4; vocab],
            vec![0.0; vocab],
            with(0, 1e4),
            with(vocab - 1, 60.0),
            with(vocab / 2, -1e4),
            masked(3).collect(),
            masked(vocab).collect(),
        ];
        let targets: Vec<u32> = rows.iter().map(|_| 1).collect();
        let (logits, kept) = stored(device, Role::Activation, &rows.concat());
        let got = forward(device, &logits, &targets, vocab, 1.0);
        let wanted = oracle(&kept, &targets, vocab, 1.0);
        // Rows are compared one by one. If they were not, 1e4 in one row would widen the tolerance of all others.
        for r in 0..rows.len() {
            let one = |o: &Outcome| Outcome {
                log_prob: vec![o.log_prob[r]],
                log_sum_exp: vec![o.log_sum_exp[r]],
                // The entropy of a certain token is 0, for which a relative error is meaningless.
                entropy: vec![1.0 + o.entropy[r]],
            };
            assert_same(&format!("vocab {vocab}, row {r}"), &one(&got), &one(&wanted));
        }
        assert_eq!(got.log_prob[8], 0.0, "the one token that can be drawn is certain");
    }
}

/// A target with probability 0, and rows with NaN, with ∞ or without any possible token.
fn what_is_not_a_number_stays_visible<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let vocab = 1000;
    for place in [0, 500, 999] {
        for (bad, all) in [(f32::NAN, false), (f32::INFINITY, false), (f32::NEG_INFINITY, true)] {
            let mut values = if all { vec![bad; vocab] } else { normals(6, vocab) };
            values[place] = bad;
            let (logits, _) = stored(device, Role::Activation, &[values, normals(7, vocab)].concat());
            let got = forward(device, &logits, &[3, 3], vocab, 1.0);
            for (what, x) in [("log p", &got.log_prob), ("log Σ exp", &got.log_sum_exp), ("entropy", &got.entropy)] {
                assert!(x[0].is_nan(), "{what} {} of a row with {bad} at {place}, everywhere: {all}", x[0]);
                assert!(x[1].is_finite(), "{what} of the row behind it");
            }
        }
    }
    let mut values = normals(6, vocab);
    values[3] = f32::NEG_INFINITY;
    let (logits, _) = stored(device, Role::Activation, &values);
    let got = forward(device, &logits, &[3], vocab, 1.0);
    assert_eq!(got.log_prob[0], f64::NEG_INFINITY);
    assert!(got.entropy[0].is_finite());
}

/// The bits of a row depend neither on the run nor on its place in the batch, aligned or not.
fn same_bits_wherever_a_row_is<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let (vocab, copies) = (5003, 9);
    let row: Vec<f32> = normals(8, vocab);
    let run = || {
        let (mut logits, _) = stored(device, Role::Activation, &row.repeat(copies));
        let targets = vec![17; copies];
        let got = forward(device, &logits, &targets, vocab, 0.8);
        let total: Vec<f32> = got.log_sum_exp.iter().map(|x| *x as f32).collect();
        let (index, total) = (device.index(&targets).unwrap(), device.upload(&total).unwrap());
        let ones = device.upload(&vec![1.0; copies]).unwrap();
        device.log_prob_backward(&mut logits, &index, (copies, vocab), 0.8, &total, &ones, None).unwrap();
        (got, bits(device, &logits))
    };
    let ((first, first_gradient), (second, second_gradient)) = (run(), run());
    assert_eq!(first_gradient, second_gradient);
    assert_eq!((&first.log_prob, &first.entropy), (&second.log_prob, &second.entropy));
    for r in 1..copies {
        assert_eq!((first.log_prob[0], first.entropy[0]), (first.log_prob[r], first.entropy[r]), "row {r}");
        assert_eq!(first_gradient[..vocab], first_gradient[r * vocab..(r + 1) * vocab], "gradient of row {r}");
    }
}

/// Checks the last row of the logits. If there are enough rows, as on a GPU, 32-bit offsets cannot reach this row.
fn last_row_of<B: Backend<Real = f32>>(device: &B, rows: usize) {
    let vocab = 151_936;
    let start = (rows - 1) * vocab;
    let (one_row, mut wanted) = stored(device, Role::Activation, &normals(9, vocab));
    let mut values = vec![0.0; vocab];
    device.read(&one_row, 0, &mut values).unwrap();
    let mut logits = device.zeros_for(Role::Activation, rows * vocab).unwrap();
    device.write(&mut logits, start, &values).unwrap();

    let targets = vec![151_000; rows];
    let got = forward(device, &logits, &targets, vocab, 1.0);
    let expected = oracle(&wanted, &targets[..1], vocab, 1.0);
    assert_close("log p", &got.log_prob[rows - 1..], &expected.log_prob, Tolerance::F32);
    assert_close("log p of equal logits", &got.log_prob[..1], &[-(vocab as f64).ln()], Tolerance::F32);

    let largest = (0..vocab).fold(0, |best, i| if wanted[i] > wanted[best] { i } else { best });
    let places = vec![0; rows];
    let keys = SampleKeys { stream: Stream::new(1, Purpose::Sample), step: 0, sequence: &places, token: &places };
    let (mut tokens, mut log_prob, mut entropy) = (vec![0; rows], vec![0.0; rows], vec![0.0; rows]);
    let mut excluded = vec![0.0; rows];
    let drawn = Drawn { tokens: &mut tokens, log_prob: &mut log_prob, entropy: &mut entropy, excluded: &mut excluded };
    device.sample(&logits, (rows, vocab), &Sampler::GREEDY, None, keys, drawn).unwrap();
    assert_eq!((tokens[0], tokens[rows - 1] as usize), (0, largest));

    let total: Vec<f32> = got.log_sum_exp.iter().map(|x| *x as f32).collect();
    let mut coefficients = vec![0.0; rows];
    coefficients[rows - 1] = 1.0;
    let (index, total, coefficients) =
        (device.index(&targets).unwrap(), device.upload(&total).unwrap(), device.upload(&coefficients).unwrap());
    device.log_prob_backward(&mut logits, &index, (rows, vocab), 1.0, &total, &coefficients, None).unwrap();
    let cpu = CpuBackend::<f64>::reference();
    cpu.log_prob_backward(&mut wanted, &targets, (1, vocab), 1.0, &expected.log_sum_exp, &vec![1.0], None).unwrap();
    device.read(&logits, start, &mut values).unwrap();
    let gradient: Vec<f64> = values.iter().copied().map(f64::from).collect();
    assert_rounded_once(device, "gradient", &gradient, &wanted);
}

#[test]
fn last_row_of_three_in_the_emulator() {
    last_row_of(&crate::common::emulated(Precision::Bf16, Schedule::Forward), 3);
}

/// 16 384 rows of Qwen's vocabulary: 2.5·10⁹ elements, 5 GB.
#[test]
fn last_row_beyond_32_bits_on_gpu() {
    match crate::common::gpu(Precision::Bf16) {
        Ok(device) => last_row_of(&device, 16_384),
        Err(error) => println!("skipped, no GPU: {error}"),
    }
}

/// Returns the largest errors of log-probabilities, and of the hidden states' gradient relative to its largest element,
/// on a bf16 device with logits near 20. The gradient includes that of the entropies. The oracle has the same hidden
/// states and weights.
fn errors_of_large_logits(device: &CudaBackend) -> (f64, f64) {
    let shape @ LinearShape { rows, inputs, outputs } = LinearShape { rows: 8, inputs: 64, outputs: 1001 };
    let scaled = |seed, len, by| normals(seed, len).iter().map(|x| by * x).collect::<Vec<f32>>();
    let (h, h64) = stored(device, Role::Activation, &scaled(1, rows * inputs, 1.0));
    let (w, w64) = stored(device, Role::Weight, &scaled(2, outputs * inputs, 1.0));
    let targets: Vec<u32> = (0..rows as u32).map(|r| r * 97).collect();
    let mut logits = device.zeros_for(Role::Logits, rows * outputs).unwrap();
    let index = device.index(&targets).unwrap();
    let [mut log_prob, mut log_sum_exp, mut entropy] = [(); 3].map(|()| device.zeros(rows).unwrap());
    let (mut dh, ones) = (device.zeros_for(Role::Activation, rows * inputs).unwrap(), vec![1.0; rows]);
    let (d_log_prob, d_entropy) = (device.upload(&ones).unwrap(), device.upload(&ones).unwrap());
    // The second pass checks that a gradient left in place of the logits does no harm.
    for _ in 0..2 {
        device.linear(&h, &w, None, &mut logits, shape, false).unwrap();
        let at = (rows, outputs);
        device.log_prob(&logits, &index, at, 1.0, &mut log_prob, &mut log_sum_exp, &mut entropy).unwrap();
        let h = EntropyGradient { entropy: &entropy, d_entropy: &d_entropy };
        device.log_prob_backward(&mut logits, &index, at, 1.0, &log_sum_exp, &d_log_prob, Some(h)).unwrap();
        device.linear_backward_input(&logits, &w, &mut dh, shape, false).unwrap();
    }
    let gradient = numbers(device, &logits);
    assert!(gradient.chunks(outputs).all(|row| row.iter().sum::<f64>().abs() < 0.1), "a gradient is read, not logits");

    let cpu = CpuBackend::<f64>::reference();
    let (mut logits, mut dh64) = (vec![0.0; rows * outputs], vec![0.0; rows * inputs]);
    cpu.linear(&h64, &w64, None, &mut logits, shape, false).unwrap();
    assert!(logits.iter().any(|z| z.abs() > 16.0));
    let wanted = oracle(&logits, &targets, outputs, 1.0);
    let ones = vec![1.0; rows];
    let h = EntropyGradient { entropy: &wanted.entropy, d_entropy: &ones };
    cpu.log_prob_backward(&mut logits, &targets, (rows, outputs), 1.0, &wanted.log_sum_exp, &ones, Some(h)).unwrap();
    cpu.linear_backward_input(&logits, &w64, &mut dh64, shape, false).unwrap();
    let largest = |got: &[f64], wanted: &[f64]| got.iter().zip(wanted).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
    let scale = dh64.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    (largest(&numbers(device, &log_prob), &wanted.log_prob), largest(&numbers(device, &dh), &dh64) / scale)
}

fn f32_logits_are_nearer(device: &CudaBackend) {
    let ((narrow, narrow_gradient), (wide, wide_gradient)) =
        (errors_of_large_logits(device), errors_of_large_logits(&device.clone().with_f32_logits()));
    println!("log-probabilities: {narrow:.1e} with bf16 logits, {wide:.1e} with f32");
    println!("gradient: {narrow_gradient:.1e}, {wide_gradient:.1e}");
    assert!(narrow > 0.02 && wide < 1e-4, "{narrow}, {wide}");
    assert!(wide_gradient < narrow_gradient && wide_gradient < 0.01, "{narrow_gradient}, {wide_gradient}");
}

#[test]
fn f32_logits_are_nearer_in_the_emulator() {
    f32_logits_are_nearer(&crate::common::emulated(Precision::Bf16, Schedule::Random(3)));
}

#[test]
fn f32_logits_are_nearer_on_gpu() {
    match crate::common::gpu(Precision::Bf16) {
        Ok(device) => f32_logits_are_nearer(&device),
        Err(error) => println!("skipped, no GPU: {error}"),
    }
}

/// `with_f32_logits` changes nothing on an f32 device.
#[test]
fn f32_logits_of_f32_are_as_they_were() {
    let device = crate::common::emulated(Precision::F32, Schedule::Forward).with_f32_logits();
    let (logits, kept) = stored(&device, Role::Logits, &[1.0, 2.5, -3.0]);
    assert_eq!((numbers(&device, &logits), kept), (vec![1.0, 2.5, -3.0], vec![1.0, 2.5, -3.0]));
}

fn errors<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let logits = device.zeros_for(Role::Activation, 20).unwrap();
    let [mut a, mut b, mut c] = [(); 3].map(|()| device.zeros(4).unwrap());
    let mut kind = |targets: &[u32], shape| {
        let targets = device.index(targets).unwrap();
        device.log_prob(&logits, &targets, shape, 1.0, &mut a, &mut b, &mut c).err().map(|error| error.kind())
    };
    assert_eq!(kind(&[0, 1, 2, 4], (4, 5)), None);
    assert_eq!(kind(&[0, 1, 2, 5], (4, 5)), Some(ErrorKind::Index));
    assert_eq!(kind(&[0, 1, 2], (4, 5)), Some(ErrorKind::Shape));
    assert_eq!(kind(&[0, 1, 2, 4], (4, 6)), Some(ErrorKind::Shape));
    assert_eq!(kind(&[0; 5], (5, 4)), Some(ErrorKind::Shape));
}

on_every_device!(
    forward_matches,
    backward_matches,
    backward_of_entropies_matches,
    confident_targets_keep_their_gradient,
    extreme_rows,
    what_is_not_a_number_stays_visible,
    same_bits_wherever_a_row_is,
    errors,
);
