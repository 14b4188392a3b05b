//! FlowRL's kernels on a GPU, each beside what the machine can do and beside PyTorch: `cargo bench -p flowrl-cuda`, or `run.sh` of
//! `cargo xtask gpu`.
//!
//! ```sh
//! cargo bench -p flowrl-cuda --bench gpu -- [GROUP ...] [--peers PYTHON] [--json FILE] [--precision f32] [--smoke]
//! ```
//!
//! A group has rows of ours, which come in turn, turn after turn, so that a clock that changes is shared. `--peers` adds PyTorch's: a
//! process for each of them, one alive at a time, that joins the turns. `--smoke` runs tiny shapes in the emulator, to see that the rows
//! work and that both sides compute the same numbers, to rounding in f32; its times mean nothing. Without a GPU there is nothing else to run.

mod balance;
mod generate;
mod group;
mod head;
mod inputs;
mod log_prob;
mod machine;
mod partition;
mod peer;
mod report;
mod sizes;
mod update;

use flowrl_cuda::{CudaBackend, EmulatorOptions, Precision};

use machine::Rates;
use peer::Peers;
use report::Report;
use sizes::Sizes;

type Failure = Box<dyn std::error::Error>;

impl Bench {
    /// Bytes of an element of weights, activations and logits.
    fn width(&self) -> f64 {
        element(self.gpu.precision()).0
    }

    fn dtype(&self) -> &'static str {
        element(self.gpu.precision()).1
    }
}

/// What every group is given.
struct Bench {
    gpu: CudaBackend,
    sizes: Sizes,
    rates: Rates,
    peers: Option<Peers>,
    report: Report,
}

/// Its bytes and its name.
const fn element(precision: Precision) -> (f64, &'static str) {
    match precision {
        Precision::Bf16 => (2.0, "bf16"),
        Precision::F32 => (4.0, "f32"),
    }
}

/// A group by its name on the command line.
type Entry = (&'static str, fn(&mut Bench) -> Result<(), Failure>);

const GROUPS: [Entry; 6] = [
    ("log-prob", log_prob::run),
    ("balance", balance::run),
    ("head", head::run),
    ("partition", partition::run),
    ("update", update::run),
    ("generate", generate::run),
];

/// The command line.
#[derive(Default)]
struct Options {
    smoke: bool,
    peers: Option<String>,
    json: Option<String>,
    precision: Precision,
    groups: Vec<String>,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse(std::env::args().skip(1))?;
    let gpu = if options.smoke {
        CudaBackend::emulated(EmulatorOptions::default(), options.precision)
    } else {
        match CudaBackend::new(0, options.precision) {
            Ok(gpu) => gpu,
            Err(error) => {
                println!("skipped, no GPU: {error}");
                return Ok(());
            }
        }
    };
    let sizes = if options.smoke { Sizes::smoke() } else { Sizes::full() };
    let peers = options.peers.map(|python| Peers::new(python, options.smoke, options.precision));
    let machine = machine::describe(options.smoke, peers.as_ref());
    machine.iter().for_each(|(what, value)| println!("{what:8} {value}"));
    let rates = Rates::measure(&gpu, element(options.precision).0, &sizes)?;
    println!("in {}, {rates}\n", element(options.precision).1);
    let report = Report::new(machine, &rates, options.json);
    let mut bench = Bench { gpu, sizes, rates, peers, report };
    for (name, run) in GROUPS {
        if options.groups.is_empty() || options.groups.iter().any(|wanted| wanted == name) {
            // A group that cannot run here, for want of memory say, leaves the others.
            if let Err(error) = run(&mut bench) {
                bench.report.failed(name, &error.to_string());
            }
        }
    }
    bench.report.finish()
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word}: its value is missing"));
            match word.as_str() {
                "--smoke" => options.smoke = true,
                "--peers" => options.peers = Some(value()?),
                "--precision" => {
                    options.precision = match value()?.as_str() {
                        "bf16" => Precision::Bf16,
                        "f32" => Precision::F32,
                        other => return Err(format!("--precision: got `{other}`, wanted bf16 or f32").into()),
                    }
                }
                "--json" => options.json = Some(value()?),
                // Cargo's own.
                "--bench" => {}
                name if GROUPS.iter().any(|(known, _)| *known == name) => options.groups.push(word),
                _ => {
                    let known = GROUPS.map(|(name, _)| name).join(", ");
                    return Err(format!(
                        "got `{word}`, wanted --smoke, --peers PYTHON, --json FILE, --precision f32, or of {known}"
                    )
                    .into());
                }
            }
        }
        Ok(options)
    }
}
