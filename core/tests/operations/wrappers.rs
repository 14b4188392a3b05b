//! Every operation of `Backend` as a function from slices to vectors of f64.

use flowrl_core::Real;
use flowrl_core::backend::{
    Backend, Drawn, DropoutMask, EntropyGradient, LinearShape, SampleKeys, Sampler, token_mask,
};
use flowrl_core::optim::AdamWStep;
use flowrl_core::random::{Purpose, Stream};

use super::harness::{read, upload};

/// Returns y after y ← [y +] x·Wᵀ + b.
pub(crate) fn linear<B: Backend>(
    b: &B,
    shape: LinearShape,
    x: &[f64],
    w: &[f64],
    bias: Option<&[f64]>,
    y: &[f64],
    accumulate: bool,
) -> Vec<f64> {
    let bias = bias.map(|bias| upload(b, bias));
    let mut y = upload(b, y);
    b.linear(&upload(b, x), &upload(b, w), bias.as_ref(), &mut y, shape, accumulate).expect("shapes fit");
    read(b, &y)
}

/// Computes [`linear`] with the prepared W, if the device prepares it.
pub(crate) fn linear_prepared<B: Backend>(
    b: &B,
    shape: LinearShape,
    x: &[f64],
    w: &[f64],
    bias: Option<&[f64]>,
    y: &[f64],
    accumulate: bool,
) -> Option<Vec<f64>> {
    let w = b.prepare(&upload(b, w), shape.inputs, shape.outputs).expect("shapes fit")?;
    let bias = bias.map(|bias| upload(b, bias));
    let mut y = upload(b, y);
    b.linear_prepared(&upload(b, x), &w, bias.as_ref(), &mut y, shape, accumulate).expect("shapes fit");
    Some(read(b, &y))
}

/// Returns dx after dx ← [dx +] dy·W.
pub(crate) fn linear_backward_input<B: Backend>(
    b: &B,
    shape: LinearShape,
    dy: &[f64],
    w: &[f64],
    dx: &[f64],
    accumulate: bool,
) -> Vec<f64> {
    let mut dx = upload(b, dx);
    b.linear_backward_input(&upload(b, dy), &upload(b, w), &mut dx, shape, accumulate).expect("shapes fit");
    read(b, &dx)
}

/// Returns (dW, db) after dW += dyᵀ·x and db += Σ dy, both from `start`. db is empty if `bias` is false.
pub(crate) fn linear_backward_weight<B: Backend>(
    b: &B,
    shape: LinearShape,
    dy: &[f64],
    x: &[f64],
    start: f64,
    bias: bool,
) -> [Vec<f64>; 2] {
    let mut dw = upload(b, &vec![start; shape.inputs * shape.outputs]);
    let mut db = upload(b, &vec![start; if bias { shape.outputs } else { 0 }]);
    let slot = bias.then_some(&mut db);
    b.linear_backward_weight(&upload(b, dy), &upload(b, x), &mut dw, slot, shape).expect("shapes fit");
    [read(b, &dw), read(b, &db)]
}

pub(crate) fn gelu<B: Backend>(b: &B, x: &[f64]) -> Vec<f64> {
    let mut y = b.zeros(x.len()).expect("memory");
    b.gelu(&upload(b, x), &mut y, x.len()).expect("shapes fit");
    read(b, &y)
}

pub(crate) fn gelu_backward<B: Backend>(b: &B, x: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dy = upload(b, dy);
    b.gelu_backward(&upload(b, x), &mut dy, x.len()).expect("shapes fit");
    read(b, &dy)
}

/// Returns y, the mean and 1/std.
pub(crate) fn layer_norm<B: Backend>(
    b: &B,
    shape: (usize, usize),
    x: &[f64],
    gamma: &[f64],
    beta: &[f64],
    eps: f64,
) -> [Vec<f64>; 3] {
    let zeros = |n| b.zeros(n).expect("memory");
    let (mut y, mut mean, mut inv_std) = (zeros(x.len()), zeros(shape.0), zeros(shape.0));
    let (x, gamma, beta) = (upload(b, x), upload(b, gamma), upload(b, beta));
    b.layer_norm(&x, &gamma, &beta, &mut y, &mut mean, &mut inv_std, shape, eps).expect("shapes fit");
    [read(b, &y), read(b, &mean), read(b, &inv_std)]
}

/// Returns dx, dγ and dβ. dγ and dβ are added to `start`.
pub(crate) fn layer_norm_backward<B: Backend>(
    b: &B,
    shape: (usize, usize),
    x: &[f64],
    gamma: &[f64],
    statistics: [&[f64]; 2],
    dy: &[f64],
    start: f64,
) -> [Vec<f64>; 3] {
    let (mut d_gamma, mut d_beta) = (upload(b, &vec![start; shape.1]), upload(b, &vec![start; shape.1]));
    let mut dy = upload(b, dy);
    let [mean, inv_std] = statistics.map(|s| upload(b, s));
    let (x, gamma) = (upload(b, x), upload(b, gamma));
    b.layer_norm_backward(&x, &gamma, &mean, &inv_std, &mut dy, &mut d_gamma, &mut d_beta, shape).expect("shapes fit");
    [read(b, &dy), read(b, &d_gamma), read(b, &d_beta)]
}

pub(crate) fn dropout<B: Backend>(b: &B, shape: (usize, usize), x: &[f64], rate: f64, step: u32) -> Vec<f64> {
    let mut x = upload(b, x);
    let mask = DropoutMask { rate, stream: Stream::new(4, Purpose::Dropout), step, first_row: 2 };
    b.dropout(&mut x, shape, mask).expect("shapes fit");
    read(b, &x)
}

/// Returns log p(target), log Σ exp and the entropy of each row.
pub(crate) fn log_prob<B: Backend>(
    b: &B,
    shape: (usize, usize),
    logits: &[f64],
    targets: &[u32],
    temperature: f64,
) -> [Vec<f64>; 3] {
    let zeros = || b.zeros(shape.0).expect("memory");
    let [mut log_prob, mut lse, mut entropy] = [zeros(), zeros(), zeros()];
    let targets = b.index(targets).expect("memory");
    b.log_prob(&upload(b, logits), &targets, shape, temperature, &mut log_prob, &mut lse, &mut entropy)
        .expect("shapes fit");
    [read(b, &log_prob), read(b, &lse), read(b, &entropy)]
}

/// Returns the gradient with respect to the logits, using log Σ exp of this backend's own forward pass.
pub(crate) fn log_prob_backward<B: Backend>(
    b: &B,
    shape: (usize, usize),
    logits: &[f64],
    targets: &[u32],
    temperature: f64,
    d_log_prob: &[f64],
) -> Vec<f64> {
    log_prob_entropy_backward(b, shape, logits, targets, temperature, d_log_prob, None)
}

/// Returns the gradient with respect to the logits, with a gradient of the entropies as well. Log Σ exp and the
/// entropies come from this backend's own forward pass.
pub(crate) fn log_prob_entropy_backward<B: Backend>(
    b: &B,
    shape: (usize, usize),
    logits: &[f64],
    targets: &[u32],
    temperature: f64,
    d_log_prob: &[f64],
    d_entropy: Option<&[f64]>,
) -> Vec<f64> {
    let [_, lse, entropy] = log_prob(b, shape, logits, targets, temperature);
    let mut logits = upload(b, logits);
    let (targets, lse) = (b.index(targets).expect("memory"), upload(b, &lse));
    let (d_log_prob, entropy) = (upload(b, d_log_prob), upload(b, &entropy));
    let d_entropy = d_entropy.map(|d_entropy| upload(b, d_entropy));
    let of_entropy = d_entropy.as_ref().map(|d_entropy| EntropyGradient { entropy: &entropy, d_entropy });
    b.log_prob_backward(&mut logits, &targets, shape, temperature, &lse, &d_log_prob, of_entropy).expect("shapes fit");
    read(b, &logits)
}

/// Samples and returns (tokens, log p, entropies). Row r takes its random number from the key (step 5, sequence
/// `sequences[r]`, token 9).
pub(crate) fn sample<B: Backend>(
    b: &B,
    shape: (usize, usize),
    logits: &[f64],
    sampler: Sampler,
    sequences: &[u32],
) -> (Vec<u32>, [Vec<f64>; 2]) {
    let (tokens, [log_prob, entropy, _]) = sample_others(b, shape, logits, sampler, None, sequences);
    (tokens, [log_prob, entropy])
}

/// Samples as [`sample`] does, with excluded tokens, and also returns their total probability.
pub(crate) fn sample_others<B: Backend>(
    b: &B,
    shape: (usize, usize),
    logits: &[f64],
    sampler: Sampler,
    excluded: Option<&[u32]>,
    sequences: &[u32],
) -> (Vec<u32>, [Vec<f64>; 3]) {
    let mask = excluded.map(|tokens| b.index(&token_mask(tokens, shape.1)).expect("memory"));
    let token = vec![9; shape.0];
    let stream = Stream::new(2, Purpose::Sample);
    let keys = SampleKeys { stream, step: 5, sequence: sequences, token: &token };
    let mut tokens = vec![0; shape.0];
    let [mut log_prob, mut entropy, mut mass] = [(); 3].map(|()| vec![B::Real::of(9.0); shape.0]);
    let drawn = Drawn { tokens: &mut tokens, log_prob: &mut log_prob, entropy: &mut entropy, excluded: &mut mass };
    b.sample(&upload(b, logits), shape, &sampler, mask.as_ref(), keys, drawn).expect("shapes fit");
    (tokens, [log_prob, entropy, mass].map(|v| v.into_iter().map(Real::f64).collect()))
}

/// Returns p, m and v after one step.
pub(crate) fn adamw<B: Backend>(b: &B, [p, g, m, v]: [&[f64]; 4], step: &AdamWStep) -> [Vec<f64>; 3] {
    let len = p.len();
    let [mut p, g, mut m, mut v] = [p, g, m, v].map(|x| upload(b, x));
    b.adamw(&mut p, &g, &mut m, &mut v, len, step).expect("shapes fit");
    [read(b, &p), read(b, &m), read(b, &v)]
}
