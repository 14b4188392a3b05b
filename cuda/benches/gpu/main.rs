//! Times FlowRL's kernels on a GPU, and compares each with the machine's peak rates and with PyTorch. `run.sh` of
//! `cargo xtask gpu` runs this benchmark, and so does cargo:
//!
//! ```sh
//! cargo bench -p flowrl-cuda --bench gpu -- [GROUP ...] [--peers PYTHON] [--json FILE] [--precision f32] [--smoke]
//! ```
//!
//! The rows of a group run in turn, again and again, so that a change of the GPU's clock affects all of them. `--peers`
//! adds rows for PyTorch. Each of these is a process that joins the turns, and only one is alive at a time. `--smoke`
//! runs tiny shapes in the emulator. Its times mean nothing, but it shows that the rows work and that both sides
//! compute the same numbers, up to rounding in f32. On a machine without a GPU this is the only mode that runs.

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

use flowrl_benches::args::{Args, choose};
use flowrl_cuda::{CudaBackend, EmulatorOptions, Precision};

use machine::Rates;
use peer::Peers;
use report::Report;
use sizes::Sizes;

type Failure = Box<dyn std::error::Error>;

impl Bench {
    /// Returns the bytes of an element of weights, activations and logits.
    fn width(&self) -> f64 {
        element(self.gpu.precision()).0
    }

    fn dtype(&self) -> &'static str {
        element(self.gpu.precision()).1
    }
}

/// The state that all groups share.
struct Bench {
    gpu: CudaBackend,
    sizes: Sizes,
    rates: Rates,
    peers: Option<Peers>,
    report: Report,
}

/// Returns the bytes and the name of an element in this precision.
const fn element(precision: Precision) -> (f64, &'static str) {
    match precision {
        Precision::Bf16 => (2.0, "bf16"),
        Precision::F32 => (4.0, "f32"),
    }
}

/// A group's name on the command line, and the function that runs it.
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
struct Options {
    smoke: bool,
    peers: Option<String>,
    json: Option<String>,
    precision: Precision,
    groups: Vec<&'static Entry>,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse(Args::new(std::env::args().skip(1)))?;
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
    for (name, run) in options.groups {
        // If a group fails, for example for lack of memory, the others still run.
        if let Err(error) = run(&mut bench) {
            bench.report.failed(name, &error.to_string());
        }
    }
    bench.report.finish()
}

impl Options {
    fn parse(mut args: Args) -> Result<Self, Failure> {
        // Cargo passes this option to every benchmark.
        args.flag("--bench");
        let (smoke, peers, json) = (args.flag("--smoke"), args.value("--peers")?, args.value("--json")?);
        let precision = match args.value::<String>("--precision")?.as_deref() {
            None => Precision::default(),
            Some("bf16") => Precision::Bf16,
            Some("f32") => Precision::F32,
            Some(other) => return Err(format!("--precision: got `{other}`, wanted bf16 or f32").into()),
        };
        let groups = choose(&GROUPS, |(name, _)| name, &args.words(), "unknown group")?;
        match args.rest().first() {
            None => Ok(Self { smoke, peers, json, precision, groups }),
            Some(word) => {
                Err(format!("got `{word}`, wanted --smoke, --peers PYTHON, --json FILE or --precision f32").into())
            }
        }
    }
}
