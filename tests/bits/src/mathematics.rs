//! Functions of one number, random numbers, exact targets and distances.

use std::error::Error;

use flowrl_core::random::{Purpose, Stream};
use flowrl_core::{Real, exact};

use crate::digest::digest;

const COUNT: u32 = 10_000;

pub(crate) fn report(lines: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    functions::<f32>(lines);
    functions::<f64>(lines);
    let stream = Stream::new(1, Purpose::Init);
    let normal: Vec<f64> = (0..COUNT).map(|i| stream.normal(0, 0, i)).collect();
    lines.push(format!("normal {}", digest(&normal)));
    distances(lines, &normal)
}

type Function<T> = (&'static str, fn(T) -> T);

/// Reports one line per function, so that a difference names the function.
fn functions<T: Real>(lines: &mut Vec<String>) {
    let all: [Function<T>; 13] = [
        ("exp", T::exp),
        ("exp_m1", T::exp_m1),
        ("ln", |x| x.abs().ln()),
        ("ln_1p", |x| x.abs().ln_1p()),
        ("sqrt", |x| x.abs().sqrt()),
        ("tanh", T::tanh),
        ("erf", T::erf),
        ("sin", T::sin),
        ("cos", T::cos),
        ("pow", |x| x.abs().pow(T::of(1.7))),
        ("exp_fast", T::exp_fast),
        ("normal_fast", |x| x.normal_fast().0),
        ("density_fast", |x| x.normal_fast().1),
    ];
    let stream = Stream::new(2, Purpose::Task);
    let arguments: Vec<T> = (0..COUNT).map(|i| T::of(8.0 * stream.normal(0, 0, i))).collect();
    for (name, function) in all {
        let values: Vec<T> = arguments.iter().map(|&x| function(x)).collect();
        lines.push(format!("{} {name} {}", T::NAME, digest(&values)));
    }
}

fn distances(lines: &mut Vec<String>, normal: &[f64]) -> Result<(), Box<dyn Error>> {
    let (logits, rewards) = normal.split_at(normal.len() / 2);
    let normaliser = exact::log_sum_exp(logits);
    let reference: Vec<f64> = logits.iter().map(|x| x - normaliser).collect();
    let lengths: Vec<usize> = (0..logits.len()).map(|i| 1 + i % 12).collect();
    let (mut plain, mut by_length) = (vec![0.0; logits.len()], vec![0.0; logits.len()]);
    let log_z = [
        exact::target(&reference, rewards, 1.5, &mut plain)?,
        exact::length_normalised_target(&reference, rewards, &lengths, 1.5, &mut by_length)?,
    ];
    lines.push(format!("log Z {}", digest(&log_z)));
    lines.push(format!("targets {} {}", digest(&plain), digest(&by_length)));
    let distances = [
        exact::kl(&plain, &reference)?,
        exact::total_variation(&plain, &by_length)?,
        exact::jensen_shannon(&plain, &by_length)?,
        exact::entropy(&plain)?,
    ];
    lines.push(format!("distances {}", digest(&distances)));
    Ok(())
}
