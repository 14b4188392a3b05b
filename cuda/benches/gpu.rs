//! FlowRL's kernels on a GPU, each beside what the machine can do: `cargo bench -p flowrl-cuda`, or `run.sh` of `cargo xtask gpu`.
//!
//! Every row is the median of several turns, in each of which all rows come in turn, so that a clock that changes is shared. A row says how much
//! of the machine's own rate it reaches: of a copy on the device for what memory bounds, of the same matrix products alone for what they bound.
//! `--smoke` runs tiny shapes in the emulator, to see that the rows work; its times mean nothing.

use std::time::Instant;

use flowrl_core::backend::{Backend, LinearShape, Role};
use flowrl_core::objective::{Objective, Preset};
use flowrl_core::partition::{PartitionNetwork, PartitionOptions};
use flowrl_core::policy::{Policy, Sequences};
use flowrl_core::random::{Purpose, Stream};
use flowrl_cuda::objective::{DeviceBatch, DeviceGradients, DeviceSequences};
use flowrl_cuda::{Buffer, CudaBackend, EmulatorOptions, Precision};
use flowrl_lm::TransformerPolicy;
use flowrl_lm::backend::Heads;
use flowrl_lm::model::{Dimensions, Weights};

type Failure = Box<dyn std::error::Error>;

/// What bounds a row.
enum Bound {
    /// Bytes read and written.
    Memory(f64),
    /// Multiplications and additions.
    Products(f64),
    /// Tokens, of which a second's worth is told.
    Tokens(f64),
}

struct Row<'a> {
    name: String,
    bound: Bound,
    /// Calls between two looks at the clock: short ones need many.
    calls: u32,
    work: Box<dyn FnMut() -> Result<(), Failure> + 'a>,
}

/// Sizes of the rows.
struct Sizes {
    turns: usize,
    /// Rows and columns of the logits.
    logits: (usize, usize),
    widths: &'static [usize],
    /// Sequences and their tokens.
    batch: (usize, usize),
    model: Dimensions,
    /// Prompts, completions of each, tokens of a prompt and of a completion.
    update: (usize, usize, usize, usize),
}

fn main() -> Result<(), Failure> {
    let smoke = std::env::args().any(|word| word == "--smoke");
    let gpu = if smoke {
        CudaBackend::emulated(EmulatorOptions::default(), Precision::Bf16)
    } else {
        match CudaBackend::new(0, Precision::Bf16) {
            Ok(gpu) => gpu,
            Err(error) => {
                println!("skipped, no GPU: {error}");
                return Ok(());
            }
        }
    };
    let sizes = if smoke { Sizes::smoke() } else { Sizes::full() };
    memory_rows(&gpu, &sizes)?;
    head_rows(&gpu, &sizes)?;
    update_rows(&gpu, &sizes)
}

impl Sizes {
    fn full() -> Self {
        let heads = Heads { heads: 14, kv_heads: 2, head_dim: 64 };
        Self {
            turns: 20,
            logits: (8192, 151_936),
            widths: &[896, 1536, 3584],
            batch: (512, 8192),
            model: model(151_936, 896, 24, heads, 4864),
            update: (8, 8, 128, 128),
        }
    }

    fn smoke() -> Self {
        let heads = Heads { heads: 2, kv_heads: 1, head_dim: 8 };
        Self {
            turns: 1,
            logits: (8, 200),
            widths: &[16],
            batch: (8, 32),
            model: model(50, 16, 2, heads, 32),
            update: (2, 2, 4, 4),
        }
    }
}

/// A model of the shape of Qwen2.5.
fn model(vocab: usize, hidden: usize, layers: usize, heads: Heads, intermediate: usize) -> Dimensions {
    let half = heads.head_dim / 2;
    Dimensions {
        vocab,
        hidden,
        layers,
        heads,
        intermediate,
        rms_eps: 1e-6,
        qkv_bias: true,
        o_bias: false,
        qk_norm: false,
        tied: true,
        frequencies: (0..half).map(|i| 1e6_f64.powf(-(i as f64) / half as f64)).collect(),
    }
}

/// Small numbers, different in every place.
fn numbers(gpu: &CudaBackend, role: Role, len: usize) -> Result<Buffer, Failure> {
    let mut buffer = gpu.zeros_for(role, len)?;
    let period: Vec<f32> = (0..1 << 16).map(|i| Stream::new(1, Purpose::Init).normal(0, 0, i) as f32 * 0.05).collect();
    for start in (0..len).step_by(period.len()) {
        let piece = period.len().min(len - start);
        gpu.write(&mut buffer, start, &period[..piece])?;
    }
    Ok(buffer)
}

/// Median seconds of a call of each row, all rows in every turn.
fn measure(gpu: &CudaBackend, turns: usize, rows: &mut [Row<'_>]) -> Result<Vec<f64>, Failure> {
    let mut times = vec![Vec::with_capacity(turns); rows.len()];
    // The first turn compiles, allocates and warms up.
    for turn in 0..=turns {
        for (row, times) in rows.iter_mut().zip(&mut times) {
            gpu.synchronize()?;
            let start = Instant::now();
            for _ in 0..row.calls {
                (row.work)()?;
            }
            gpu.synchronize()?;
            if turn > 0 {
                times.push(start.elapsed().as_secs_f64() / f64::from(row.calls));
            }
        }
    }
    Ok(times.into_iter().map(median).collect())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Prints the rows; the first is what the others are compared with.
fn print(rows: &[Row<'_>], seconds: &[f64]) {
    let rate = |i: usize| match rows[i].bound {
        Bound::Memory(n) | Bound::Products(n) | Bound::Tokens(n) => n / seconds[i],
    };
    for (i, row) in rows.iter().enumerate() {
        let (amount, unit) = match row.bound {
            Bound::Memory(_) => (rate(i) / 1e9, "GB/s"),
            Bound::Products(_) => (rate(i) / 1e12, "TFLOP/s"),
            Bound::Tokens(_) => (rate(i), "tokens/s"),
        };
        let share = rate(i) / rate(0) * 100.0;
        let share = if matches!(row.bound, Bound::Tokens(_)) { String::new() } else { format!("{share:.0} %") };
        println!("{:52} {:>11.1} µs {amount:>11.1} {unit:9} {share:>6}", row.name, seconds[i] * 1e6);
    }
    println!();
}

/// What memory bounds: log-probabilities and their gradient, trajectory balance, the partition network's neighbours.
fn memory_rows(gpu: &CudaBackend, sizes: &Sizes) -> Result<(), Failure> {
    let (rows, vocab) = sizes.logits;
    let elements = rows * vocab;
    let mut logits = numbers(gpu, Role::Activation, elements)?;
    let mut copy = gpu.zeros_for(Role::Activation, elements)?;
    let targets = gpu.index(&(0..rows).map(|r| (r * 7919 % vocab) as u32).collect::<Vec<_>>())?;
    let (mut log_prob, mut log_sum_exp, mut entropy) = (gpu.zeros(rows)?, gpu.zeros(rows)?, gpu.zeros(rows)?);
    let bytes = elements as f64 * 2.0;
    // Forward and backward share the logits, so their rows take turns with a fresh copy that is not counted.
    let seconds = {
        let forward = Row {
            name: format!("log-prob, forward [{rows} × {vocab}] bf16"),
            bound: Bound::Memory(bytes),
            calls: 1,
            work: Box::new(|| {
                Ok(gpu.log_prob(
                    &logits,
                    &targets,
                    (rows, vocab),
                    1.0,
                    &mut log_prob,
                    &mut log_sum_exp,
                    &mut entropy,
                )?)
            }),
        };
        let copying = Row {
            name: format!("device copy [{rows} × {vocab}] bf16"),
            bound: Bound::Memory(2.0 * bytes),
            calls: 1,
            work: Box::new(|| Ok(gpu.copy(&mut copy, &logits, elements)?)),
        };
        let mut table = [copying, forward];
        let seconds = measure(gpu, sizes.turns, &mut table)?;
        print(&table, &seconds);
        seconds
    };
    let upstream = gpu.upload(&vec![0.5; rows])?;
    let mut table = [
        Row {
            name: format!("device copy [{rows} × {vocab}] bf16"),
            bound: Bound::Memory(2.0 * bytes),
            calls: 1,
            // The logits that the row below overwrites.
            work: Box::new(|| Ok(gpu.fill(&mut copy, 0.0, 0)?)),
        },
        Row {
            name: "log-prob, backward in place".to_owned(),
            bound: Bound::Memory(2.0 * bytes),
            calls: 1,
            work: Box::new(|| {
                Ok(gpu.log_prob_backward(&mut logits, &targets, (rows, vocab), 1.0, &log_sum_exp, &upstream)?)
            }),
        },
    ];
    let backward = measure(gpu, sizes.turns, &mut table)?;
    print(&table, &[seconds[0], backward[1]]);
    drop(table);
    objective_rows(gpu, sizes, 2.0 * bytes / seconds[0])
}

/// Loss and gradient of trajectory balance, against reading three log-probabilities and writing one gradient.
fn objective_rows(gpu: &CudaBackend, sizes: &Sizes, bytes_per_second: f64) -> Result<(), Failure> {
    let (sequences, tokens) = sizes.batch;
    let n = sequences * tokens;
    let offsets: Vec<usize> = (0..=sequences).map(|i| i * tokens).collect();
    let groups: Vec<usize> = (0..sequences).map(|i| i / 8).collect();
    let layout = DeviceSequences::new(gpu, &offsets, &groups)?;
    let objective = Objective::preset(Preset::VarGrad);
    let [log_probs, ref_log_probs, old_log_probs] = [(); 3].map(|()| numbers(gpu, Role::State, n));
    let (log_probs, ref_log_probs, old_log_probs) = (log_probs?, ref_log_probs?, old_log_probs?);
    let rewards = numbers(gpu, Role::State, sequences)?;
    let mut advantages = gpu.zeros(sequences)?;
    gpu.device_advantages(&objective, &layout, &rewards, None, &mut advantages)?;
    let mut gradients = DeviceGradients::new(gpu, &layout)?;
    let batch = DeviceBatch {
        sequences: &layout,
        advantages: &advantages,
        log_probs: &log_probs,
        ref_log_probs: Some(&ref_log_probs),
        old_log_probs: Some(&old_log_probs),
        log_z: None,
    };
    let mut table = [Row {
        name: format!("trajectory balance, loss and gradient [{sequences} × {tokens}]"),
        bound: Bound::Memory(16.0 * n as f64),
        calls: 20,
        work: Box::new(|| Ok(gpu.device_evaluate(&objective, &batch, layout.totals(), &mut gradients).map(|_| ())?)),
    }];
    let seconds = measure(gpu, sizes.turns, &mut table)?;
    print(&table, &seconds);
    let floor = 16.0 * n as f64 / bytes_per_second;
    println!("its floor at the rate of the copy: {:.1} µs; each call waits for the metrics on the host\n", floor * 1e6);
    Ok(())
}

/// Log-probabilities from hidden states: three products with the vocabulary, and what is between them.
fn head_rows(gpu: &CudaBackend, sizes: &Sizes) -> Result<(), Failure> {
    let (rows, vocab) = sizes.logits;
    for &d in sizes.widths {
        let shape = LinearShape { rows, inputs: d, outputs: vocab };
        let hidden = numbers(gpu, Role::Activation, rows * d)?;
        let head = numbers(gpu, Role::Activation, vocab * d)?;
        let mut d_hidden = gpu.zeros_for(Role::Activation, rows * d)?;
        let mut d_head = gpu.zeros(vocab * d)?;
        let mut logits = gpu.zeros_for(Role::Activation, rows * vocab)?;
        let targets = gpu.index(&(0..rows).map(|r| (r * 7919 % vocab) as u32).collect::<Vec<_>>())?;
        let (mut log_prob, mut log_sum_exp, mut entropy) = (gpu.zeros(rows)?, gpu.zeros(rows)?, gpu.zeros(rows)?);
        let upstream = gpu.upload(&vec![0.5; rows])?;
        let flops = 6.0 * rows as f64 * d as f64 * vocab as f64;
        // Both rows use the same buffers, so one closure does both.
        let mut pass = |whole: bool| -> Result<(), Failure> {
            gpu.linear(&hidden, &head, None, &mut logits, shape, false)?;
            if whole {
                gpu.log_prob(&logits, &targets, (rows, vocab), 1.0, &mut log_prob, &mut log_sum_exp, &mut entropy)?;
                gpu.log_prob_backward(&mut logits, &targets, (rows, vocab), 1.0, &log_sum_exp, &upstream)?;
            }
            gpu.linear_backward_weight(&logits, &hidden, &mut d_head, None, shape)?;
            Ok(gpu.linear_backward_input(&logits, &head, &mut d_hidden, shape, false)?)
        };
        let pass = &std::cell::RefCell::new(&mut pass);
        let row = |name: String, whole: bool| Row {
            name,
            bound: Bound::Products(flops),
            calls: 1,
            work: Box::new(move || (pass.borrow_mut())(whole)),
        };
        let mut table = [
            row(format!("the three products alone, d = {d}"), false),
            row(format!("log-prob from hidden states, forward + backward, d = {d}"), true),
        ];
        let seconds = measure(gpu, sizes.turns.min(10), &mut table)?;
        print(&table, &seconds);
    }
    Ok(())
}

/// The partition network, and an update of a whole model.
fn update_rows(gpu: &CudaBackend, sizes: &Sizes) -> Result<(), Failure> {
    let (prompts, samples, prompt_len, len) = sizes.update;
    let width = sizes.model.hidden;
    let count = prompts * 64;
    let mut network = PartitionNetwork::new(gpu, "log_z", width, PartitionOptions::default(), 1)?;
    let hidden = numbers(gpu, Role::State, count * width)?;
    let d_log_z = vec![0.1; count];
    let mut table = [Row {
        name: format!("partition network, forward + backward, {count} prompts"),
        bound: Bound::Tokens(count as f64),
        calls: 1,
        work: Box::new(|| {
            network.forward(gpu, &hidden, count, None)?;
            Ok(network.backward(gpu, &hidden, &d_log_z, None)?)
        }),
    }];
    let seconds = measure(gpu, sizes.turns, &mut table)?;
    print(&table, &seconds);
    drop(table);

    let mut tensor = 0;
    let weights = Weights::build(&sizes.model, |elements| {
        tensor += 1;
        numbers(gpu, Role::Weight, elements)
    })?;
    let mut policy = TransformerPolicy::new(gpu.clone(), sizes.model.clone(), weights, vec![0])?;
    let token = |i: usize| (i * 31 % sizes.model.vocab) as u32;
    let texts: Vec<Vec<u32>> = (0..prompts).map(|p| (0..prompt_len).map(|i| token(p + i)).collect()).collect();
    let answers: Vec<Vec<u32>> = (0..prompts * samples).map(|s| (0..len).map(|i| token(s + 3 * i)).collect()).collect();
    let prompt_of: Vec<usize> = (0..prompts * samples).map(|s| s / samples).collect();
    let (prompt_slices, answer_slices): (Vec<_>, Vec<_>) =
        (texts.iter().map(Vec::as_slice).collect(), answers.iter().map(Vec::as_slice).collect());
    let sequences = Sequences { prompts: &prompt_slices, completions: &answer_slices, prompt_of: &prompt_of };
    let n = sequences.tokens();
    let rows = prompts * prompt_len + n;
    let step = flowrl_core::optim::AdamW::default().step(1e-6, 1, 1.0);
    let d_log_probs = vec![1e-3; n];
    let mut table = [Row {
        name: format!("update of a model of d = {width}: {rows} tokens"),
        bound: Bound::Tokens(rows as f64),
        calls: 1,
        work: Box::new(|| {
            policy.forward(&sequences, 1.0, &mut vec![0.0; n], &mut vec![0.0; n], None)?;
            policy.backward(&d_log_probs, None)?;
            Ok(policy.update(&step)?)
        }),
    }];
    let seconds = measure(gpu, sizes.turns.min(10), &mut table)?;
    print(&table, &seconds);
    Ok(())
}
