//! Drawing tokens: compared with the definition and with the CPU in f64, and tested for frequencies, ties and
//! truncation.

use crate::common::{Tolerance, assert_close, normals, stored};
use flowrl_core::backend::{
    Backend, BackendError, CpuBackend, Drawn, ErrorKind, Role, SampleKeys, Sampler, token_mask,
};
use flowrl_core::random::{Purpose, Stream};
use flowrl_lm::backend::TransformerBackend;

const BASE: Sampler = Sampler { temperature: 1.0, top_k: 0, top_p: 1.0 };

/// One sampler of each kind.
const SAMPLERS: [Sampler; 6] = [
    BASE,
    Sampler { temperature: 0.7, ..BASE },
    Sampler::GREEDY,
    Sampler { top_k: 7, ..BASE },
    Sampler { top_p: 0.9, temperature: 1.3, ..BASE },
    Sampler { top_k: 20, top_p: 0.6, ..BASE },
];

const STREAM: Stream = Stream::new(0x1234_5678_9abc_def0, Purpose::Sample);
const STEP: u32 = 5;

struct Draws {
    tokens: Vec<u32>,
    log_prob: Vec<f64>,
    entropy: Vec<f64>,
    excluded: Vec<f64>,
}

/// Returns the key of a row.
fn key(row: usize) -> (u32, u32) {
    (row as u32 * 3, 1000 - row as u32 % 1000)
}

/// Returns the random number that belongs to a row's key.
fn uniform(row: usize) -> f64 {
    let (sequence, token) = key(row);
    STREAM.uniform(STEP, sequence, token)
}

fn draw<B: Backend>(device: &B, logits: &B::Buffer, shape: (usize, usize), sampler: &Sampler) -> Draws
where
    B::Real: Into<f64>,
{
    draw_others(device, logits, shape, sampler, &[])
}

/// Draws from the tokens that are not in `excluded`.
fn draw_others<B: Backend>(
    device: &B,
    logits: &B::Buffer,
    (rows, vocab): (usize, usize),
    sampler: &Sampler,
    excluded: &[u32],
) -> Draws
where
    B::Real: Into<f64>,
{
    use flowrl_core::Real;
    let mask = (!excluded.is_empty()).then(|| device.index(&token_mask(excluded, vocab)).unwrap());
    let (sequence, token): (Vec<u32>, Vec<u32>) = (0..rows).map(key).unzip();
    let keys = SampleKeys { stream: STREAM, step: STEP, sequence: &sequence, token: &token };
    let mut tokens = vec![u32::MAX; rows];
    let [mut log_prob, mut entropy, mut excluded] = [(); 3].map(|()| vec![B::Real::of(9.0); rows]);
    let drawn = Drawn { tokens: &mut tokens, log_prob: &mut log_prob, entropy: &mut entropy, excluded: &mut excluded };
    device.sample(logits, (rows, vocab), sampler, mask.as_ref(), keys, drawn).unwrap();
    let [log_prob, entropy, excluded] =
        [log_prob, entropy, excluded].map(|values| values.into_iter().map(Into::into).collect());
    Draws { tokens, log_prob, entropy, excluded }
}

/// Returns the distribution that a sampler draws from, by its definition: sort, cut, normalise.
fn distribution(logits: &[f64], sampler: &Sampler) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut p: Vec<f64> = logits.iter().map(|z| ((z - largest) * sampler.scale()).exp()).collect();
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    let total: f64 = p.iter().sum();
    let mut cumulative = 0.0;
    for (place, &i) in order.iter().enumerate() {
        let cut = (sampler.top_k > 0 && place >= sampler.top_k) || cumulative >= sampler.top_p;
        cumulative += p[i] / total;
        p[i] = if cut { 0.0 } else { p[i] };
    }
    let total: f64 = p.iter().sum();
    p.into_iter().map(|p| p / total).collect()
}

/// Asserts that each token's interval of [0, 1) contains the row's random number, apart from rounding at its ends.
#[track_caller]
fn assert_drawn(drawn: &Draws, logits: &[f64], vocab: usize, sampler: &Sampler) {
    const ROUNDING: f64 = 1e-5;
    for (r, (row, &token)) in logits.chunks(vocab).zip(&drawn.tokens).enumerate() {
        let p = distribution(row, sampler);
        let below: f64 = p[..token as usize].iter().sum();
        let (above, u) = (below + p[token as usize], uniform(r));
        assert!(p[token as usize] > 0.0, "row {r}: {token} cannot be drawn by {sampler:?}");
        let inside = below - ROUNDING <= u && u < above + ROUNDING;
        assert!(inside, "row {r}: {token} covers {below}..{above}, u = {u}, {sampler:?}");
    }
}

fn draws_what_is_defined<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let oracle = CpuBackend::<f64>::reference();
    for (rows, vocab) in [(1, 1), (37, 31), (337, 33), (50, 127), (20, 1000), (1, 151_936)] {
        let values: Vec<f32> = normals(11, rows * vocab).iter().map(|x| 2.5 * x).collect();
        let (logits, kept) = stored(device, Role::Activation, &[values, vec![f32::NAN; 5]].concat());
        let kept = kept[..rows * vocab].to_vec();
        for sampler in SAMPLERS {
            let got = draw(device, &logits, (rows, vocab), &sampler);
            let mut wanted = draw(&oracle, &kept, (rows, vocab), &sampler);
            if sampler.temperature > 0.0 {
                assert_drawn(&got, &kept, vocab, &sampler);
            }
            let others = (0..rows).filter(|&r| got.tokens[r] != wanted.tokens[r]).collect::<Vec<_>>();
            println!("{} of {rows} rows differ from f64, vocab {vocab}, {sampler:?}", others.len());
            // If a random number is very close to a boundary, rounding may change the token. This is allowed for one
            // row in a hundred.
            assert!(others.len() * 100 <= rows && (sampler.temperature > 0.0 || others.is_empty()), "{others:?}");
            for r in others {
                wanted.log_prob[r] = got.log_prob[r];
            }
            assert_close("log p", &got.log_prob, &wanted.log_prob, Tolerance::F32);
            assert_close("entropy", &got.entropy, &wanted.entropy, Tolerance { relative: 2e-5, bf16: false });
        }
    }
}

/// No sampler draws an excluded token, although one of them is the most probable. The softmax remains that of the whole
/// row unless top-k or top-p cut it.
fn excluded_tokens_are_not_drawn<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let oracle = CpuBackend::<f64>::reference();
    for (rows, vocab) in [(60, 33), (20, 1000)] {
        let mut values: Vec<f32> = normals(15, rows * vocab).iter().map(|x| 2.5 * x).collect();
        values.iter_mut().skip(5).step_by(vocab).for_each(|z| *z = 12.0);
        let (logits, kept) = stored(device, Role::Activation, &values);
        let excluded: Vec<u32> = (0..vocab as u32).filter(|i| i % 7 == 5 || *i + 10 > vocab as u32).collect();
        for sampler in SAMPLERS {
            let got = draw_others(device, &logits, (rows, vocab), &sampler, &excluded);
            let wanted = draw_others(&oracle, &kept, (rows, vocab), &sampler, &excluded);
            assert!(got.tokens.iter().all(|token| !excluded.contains(token)), "{sampler:?}: {:?}", got.tokens);
            let others = (0..rows).filter(|&r| got.tokens[r] != wanted.tokens[r]).collect::<Vec<_>>();
            assert!(others.len() * 20 <= rows && (sampler.temperature > 0.0 || others.is_empty()), "{others:?}");
            let same = |x: &[f64]| (0..rows).filter(|r| !others.contains(r)).map(|r| x[r]).collect::<Vec<_>>();
            assert_close("log p", &same(&got.log_prob), &same(&wanted.log_prob), Tolerance::F32);
            assert_close("entropy", &got.entropy, &wanted.entropy, Tolerance { relative: 2e-5, bf16: false });
            assert_close("excluded", &got.excluded, &wanted.excluded, Tolerance { relative: 2e-5, bf16: false });
            assert!(got.excluded.iter().all(|mass| (0.2..1.0).contains(mass)), "{:?}", got.excluded);
            if sampler.is_exact() {
                let whole = draw(device, &logits, (rows, vocab), &sampler);
                assert_eq!(whole.entropy, got.entropy, "the softmax of the whole row");
                assert_eq!(whole.excluded, vec![0.0; rows]);
            }
        }
    }
}

/// χ² of the drawn tokens is at most four standard deviations above its mean.
fn frequencies<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let (rows, vocab) = (1500, 21);
    let mut row = normals(12, vocab);
    row.iter_mut().step_by(4).for_each(|z| *z = f32::NEG_INFINITY);
    let (logits, kept) = stored(device, Role::Activation, &row.repeat(rows));
    for sampler in [BASE, Sampler { top_p: 0.8, ..BASE }] {
        let p = distribution(&kept[..vocab], &sampler);
        let mut observed = vec![0.0; vocab];
        draw(device, &logits, (rows, vocab), &sampler).tokens.iter().for_each(|&t| observed[t as usize] += 1.0);
        let possible = || p.iter().zip(&observed).filter(|(p, _)| **p > 0.0);
        let drawn: f64 = possible().map(|(_, observed)| observed).sum();
        assert_eq!(drawn, rows as f64, "tokens were drawn that cannot be");
        let terms = possible().map(|(p, observed)| (observed - p * rows as f64).powi(2) / (p * rows as f64));
        let (chi_squared, freedom) = (terms.sum::<f64>(), possible().count() as f64 - 1.0);
        assert!(chi_squared < freedom + 4.0 * (2.0 * freedom).sqrt(), "χ² = {chi_squared}, {freedom} degrees");
    }
}

/// Equal logits keep the order of their indices, and −0 equals 0.
fn ties_go_to_the_lower_index<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let rows = 50;
    for vocab in [6, 700] {
        let row: Vec<f32> = (0..vocab).map(|i| [1.0, 3.0, 0.0, 3.0, -0.0, 3.0][i % 6]).collect();
        let (logits, kept) = stored(device, Role::Activation, &row.repeat(rows));
        assert_eq!(draw(device, &logits, (rows, vocab), &Sampler::GREEDY).tokens, vec![1; rows]);
        let top = vocab / 2 + 1;
        for sampler in [Sampler { top_k: 2, ..BASE }, Sampler { top_k: top, ..BASE }, Sampler { top_p: 0.5, ..BASE }] {
            assert_drawn(&draw(device, &logits, (rows, vocab), &sampler), &kept, vocab, &sampler);
        }
        let zeros: Vec<f32> = (0..vocab).map(|i| if i % 2 == 0 { 0.0 } else { -0.0 }).collect();
        let (logits, _) = stored(device, Role::Activation, &zeros.repeat(rows));
        let tokens = draw(device, &logits, (rows, vocab), &Sampler { top_k: 2, ..BASE }).tokens;
        assert!(tokens.contains(&0) && tokens.contains(&1) && tokens.iter().all(|&t| t < 2), "{tokens:?}");
        assert_eq!(draw(device, &logits, (1, vocab), &Sampler::GREEDY).tokens, [0]);
    }
}

/// Most tokens cannot be drawn, among them the first and the last, and some samplers ask for more tokens than remain.
fn what_cannot_be_drawn_is_not<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let (rows, vocab) = (50, 2003);
    let row: Vec<f32> = (0..vocab).map(|i| if i % 500 == 77 { 1.0 } else { f32::NEG_INFINITY }).collect();
    let (logits, _) = stored(device, Role::Activation, &row.repeat(rows));
    for sampler in [BASE, Sampler { top_k: 50, ..BASE }, Sampler { top_p: 0.999_999, ..BASE }, Sampler::GREEDY] {
        let drawn = draw(device, &logits, (rows, vocab), &sampler);
        assert!(drawn.tokens.iter().all(|t| t % 500 == 77), "{sampler:?}: {:?}", drawn.tokens);
        assert_close("log p", &drawn.log_prob, &vec![-(4.0_f64.ln()); rows], Tolerance::F32);
        assert_close("entropy", &drawn.entropy, &vec![4.0_f64.ln(); rows], Tolerance::F32);
    }
}

/// If logits are not finite, the log-probability is NaN but the token is still valid.
fn what_is_not_a_number_stays_visible<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let vocab = 100;
    let mut some = normals(13, vocab);
    some.iter_mut().step_by(3).for_each(|z| *z = f32::NAN);
    for values in [some, vec![f32::NAN; vocab], vec![f32::NEG_INFINITY; vocab]] {
        let (logits, _) = stored(device, Role::Activation, &values);
        for sampler in SAMPLERS {
            let drawn = draw(device, &logits, (1, vocab), &sampler);
            assert!((drawn.tokens[0] as usize) < vocab, "{sampler:?} drew {}", drawn.tokens[0]);
            assert!(drawn.log_prob[0].is_nan(), "{sampler:?}: log p {}", drawn.log_prob[0]);
        }
    }
}

/// No bit depends on the run or on the row's place in the batch, aligned or not.
fn same_bits_wherever_a_row_is<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let (rows, vocab) = (9, 1003);
    let row = normals(14, vocab);
    let (logits, _) = stored(device, Role::Activation, &row.repeat(rows));
    for sampler in SAMPLERS {
        let [first, second] = [(); 2].map(|()| draw(device, &logits, (rows, vocab), &sampler));
        assert_eq!((&first.tokens, &first.log_prob), (&second.tokens, &second.log_prob));
        assert!(first.entropy.iter().all(|h| *h == first.entropy[0]), "{sampler:?}: {:?}", first.entropy);
        for r in 0..rows {
            let equal = (0..rows).find(|&other| first.tokens[other] == first.tokens[r]).unwrap();
            assert_eq!(first.log_prob[r], first.log_prob[equal], "{sampler:?}");
        }
    }
}

fn errors<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let logits = device.zeros_for(Role::Activation, 20).unwrap();
    let kind = |keys: usize, rows: usize, out: usize| {
        let places = vec![0; keys];
        let keys = SampleKeys { stream: STREAM, step: 0, sequence: &places, token: &places };
        let mut tokens = vec![0; out];
        let [mut log_prob, mut entropy, mut excluded] = [(); 3].map(|()| vec![0.0; out]);
        let drawn =
            Drawn { tokens: &mut tokens, log_prob: &mut log_prob, entropy: &mut entropy, excluded: &mut excluded };
        let result = device.sample(&logits, (rows, 5), &BASE, None, keys, drawn);
        result.err().map(|error| error.kind())
    };
    assert_eq!(kind(4, 4, 4), None);
    assert_eq!(kind(0, 0, 0), None);
    for (keys, rows, out) in [(3, 4, 4), (4, 4, 3), (5, 5, 5)] {
        assert_eq!(kind(keys, rows, out), Some(ErrorKind::Shape), "{keys} keys, {rows} rows, {out} places");
    }
}

on_every_device!(
    draws_what_is_defined,
    excluded_tokens_are_not_drawn,
    frequencies,
    ties_go_to_the_lower_index,
    what_cannot_be_drawn_is_not,
    what_is_not_a_number_stays_visible,
    same_bits_wherever_a_row_is,
    errors,
);
