//! If a buffer is too short or an index is out of range, the error names the argument, its value and the value needed.

use flowrl_core::backend::{
    Backend, BackendError, CpuBackend, CpuError, Drawn, DropoutMask, EntropyGradient, ErrorKind, LinearShape,
    SampleKeys, Sampler,
};
use flowrl_core::optim::AdamW;
use flowrl_core::random::{Purpose, Stream};

const CPUS: fn() -> [CpuBackend<f32>; 2] = || [CpuBackend::reference(), CpuBackend::new(2)];

#[track_caller]
fn assert_short(result: Result<(), CpuError>, argument: &str, wanted: usize) {
    let error = result.expect_err(argument);
    assert_eq!(error, CpuError::Shape { argument: leak(argument), got: wanted - 1, wanted });
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert_eq!(error.to_string(), format!("`{argument}` holds {} elements, {wanted} are needed", wanted - 1));
}

fn leak(s: &str) -> &'static str {
    Box::leak(s.to_owned().into_boxed_str())
}

/// Calls `run` with sufficient lengths, and then once per argument with one element less in that argument.
fn check<const N: usize>(arguments: [(&str, usize); N], run: impl Fn([usize; N]) -> Result<(), CpuError>) {
    let lengths = arguments.map(|(_, len)| len);
    run(lengths).expect("enough of everything");
    for (i, (argument, wanted)) in arguments.into_iter().enumerate() {
        let mut short = lengths;
        short[i] -= 1;
        assert_short(run(short), argument, wanted);
    }
}

#[test]
fn every_length_that_is_too_short_is_named() {
    let v = |n: usize| vec![0.0_f32; n];
    for b in CPUS() {
        let shape = LinearShape { rows: 2, inputs: 3, outputs: 5 };
        check([("x", 6), ("w", 15), ("bias", 5), ("y", 10)], |[x, w, bias, y]| {
            b.linear(&v(x), &v(w), Some(&v(bias)), &mut v(y), shape, false)
        });
        check([("dy", 10), ("w", 15), ("dx", 6)], |[dy, w, dx]| {
            b.linear_backward_input(&v(dy), &v(w), &mut v(dx), shape, false)
        });
        check([("dy", 10), ("x", 6), ("dw", 15), ("db", 5)], |[dy, x, dw, db]| {
            b.linear_backward_weight(&v(dy), &v(x), &mut v(dw), Some(&mut v(db)), shape)
        });
        check([("x", 7), ("y", 7)], |[x, y]| b.gelu(&v(x), &mut v(y), 7));
        check([("x", 7), ("dy", 7)], |[x, dy]| b.gelu_backward(&v(x), &mut v(dy), 7));
        let names = [("x", 6), ("gamma", 3), ("beta", 3), ("y", 6), ("mean", 2), ("inv_std", 2)];
        check(names, |[x, gamma, beta, y, mean, inv_std]| {
            let (gamma, beta) = (v(gamma), v(beta));
            b.layer_norm(&v(x), &gamma, &beta, &mut v(y), &mut v(mean), &mut v(inv_std), (2, 3), 1e-5)
        });
        let names = [("x", 6), ("gamma", 3), ("mean", 2), ("inv_std", 2), ("dy", 6), ("d_gamma", 3), ("d_beta", 3)];
        check(names, |[x, gamma, mean, inv_std, dy, d_gamma, d_beta]| {
            let (mean, inv_std, mut dy) = (v(mean), v(inv_std), v(dy));
            b.layer_norm_backward(&v(x), &v(gamma), &mean, &inv_std, &mut dy, &mut v(d_gamma), &mut v(d_beta), (2, 3))
        });
        let mask = DropoutMask { rate: 0.5, stream: Stream::new(0, Purpose::Dropout), step: 0, first_row: 0 };
        check([("x", 6)], |[x]| b.dropout(&mut v(x), (2, 3), mask));
        let names = [("logits", 6), ("targets", 2), ("log_prob", 2), ("log_sum_exp", 2), ("entropy", 2)];
        check(names, |[logits, targets, log_prob, lse, entropy]| {
            let targets = vec![0; targets];
            b.log_prob(&v(logits), &targets, (2, 3), 1.0, &mut v(log_prob), &mut v(lse), &mut v(entropy))
        });
        check([("logits", 6), ("targets", 2), ("log_sum_exp", 2), ("d_log_prob", 2)], |[logits, targets, lse, d]| {
            b.log_prob_backward(&mut v(logits), &vec![0; targets], (2, 3), 1.0, &v(lse), &v(d), None)
        });
        check([("entropy", 2), ("d_entropy", 2)], |[h, d]| {
            let of_entropy = Some(EntropyGradient { entropy: &v(h), d_entropy: &v(d) });
            b.log_prob_backward(&mut v(6), &vec![0; 2], (2, 3), 1.0, &v(2), &v(2), of_entropy)
        });
        let names = [
            ("logits", 6),
            ("excluded", 1),
            ("keys.sequence", 2),
            ("keys.token", 2),
            ("tokens", 2),
            ("log_prob", 2),
            ("entropy", 2),
            ("drawn.excluded", 2),
        ];
        check(names, |[logits, excluded, sequence, token, tokens, log_prob, entropy, mass]| {
            let (sequence, token) = (vec![0; sequence], vec![0; token]);
            let stream = Stream::new(0, Purpose::Sample);
            let keys = SampleKeys { stream, step: 0, sequence: &sequence, token: &token };
            let (mut tokens, mut log_prob, mut entropy, mut mass) = (vec![0; tokens], v(log_prob), v(entropy), v(mass));
            let drawn =
                Drawn { tokens: &mut tokens, log_prob: &mut log_prob, entropy: &mut entropy, excluded: &mut mass };
            b.sample(&v(logits), (2, 3), &Sampler::default(), Some(&vec![0; excluded]), keys, drawn)
        });
        let step = AdamW::default().step(0.1, 1, 1.0);
        check([("p", 4), ("g", 4), ("m", 4), ("v", 4)], |[p, g, m, second]| {
            b.adamw(&mut v(p), &v(g), &mut v(m), &mut v(second), 4, &step)
        });
        check([("x", 4)], |[x]| b.sum_squares(&v(x), 4).map(drop));
        check([("target", 5)], |[target]| b.write(&mut v(target), 2, &[0.0; 3]));
        check([("source", 5)], |[source]| b.read(&v(source), 2, &mut [0.0; 3]));
        check([("target", 4), ("source", 4)], |[target, source]| b.copy(&mut v(target), &v(source), 4));
        check([("target", 4)], |[target]| b.fill(&mut v(target), 1.0, 4));
    }
}

#[test]
fn targets_outside_the_vocabulary_are_named() {
    for b in CPUS() {
        let zeros = || vec![0.0; 2];
        let targets = vec![2, 3];
        let wanted = CpuError::Index { argument: "targets", got: 3, below: 3 };
        let forward = b.log_prob(&vec![0.0; 6], &targets, (2, 3), 1.0, &mut zeros(), &mut zeros(), &mut zeros());
        assert_eq!(forward, Err(wanted));
        let backward = b.log_prob_backward(&mut vec![0.0; 6], &targets, (2, 3), 1.0, &zeros(), &zeros(), None);
        assert_eq!(backward, Err(wanted));
        assert_eq!(wanted.kind(), ErrorKind::Index);
        assert_eq!(wanted.to_string(), "`targets` holds 3, which must be below 3");
    }
}

#[test]
fn longer_buffers_are_used_in_part() {
    for b in CPUS() {
        let shape = LinearShape { rows: 1, inputs: 2, outputs: 2 };
        let (x, w, bias) = (vec![1.0, 2.0, 9.0], vec![1.0, 0.0, 0.0, 1.0, 9.0], vec![0.5, 0.5, 9.0]);
        let mut y = vec![7.0; 4];
        b.linear(&x, &w, Some(&bias), &mut y, shape, false).expect("long enough");
        assert_eq!(y, [1.5, 2.5, 7.0, 7.0]);
        b.linear_backward_input(&x, &w, &mut y, shape, true).expect("long enough");
        assert_eq!(y, [2.5, 4.5, 7.0, 7.0]);
        let (mut dw, mut db) = (vec![0.0; 5], vec![0.0; 3]);
        b.linear_backward_weight(&x, &x, &mut dw, Some(&mut db), shape).expect("long enough");
        assert_eq!((dw, db), (vec![1.0, 2.0, 2.0, 4.0, 0.0], vec![1.0, 2.0, 0.0]));
        assert_eq!(b.sum_squares(&x, 2), Ok(5.0));
    }
}
