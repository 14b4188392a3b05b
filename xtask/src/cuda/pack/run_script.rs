//! Tests of `run.sh`, with fake programs that only record how they were called.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with fakes of the programs in the archive.
struct Fake(PathBuf);

/// A program that records its name and its arguments.
const CALLED: &str = r#"#!/bin/sh
echo "${0##*/} $*" >>"$CALLS"
"#;

/// Returns a program that also lists these tests, as a test executable does.
fn tests(names: &[&str]) -> String {
    let list: String = names.iter().map(|name| format!("echo '{name}: test'\n")).collect();
    CALLED.replacen('\n', &format!("\nif [ \"$1\" = --list ]; then\n{list}exit\nfi\n"), 1)
}

const INTEGRATION: [&str; 4] =
    ["attention::on_gpu::backward", "attention::on_gpu::forward", "body::on_cpu::linear", "body::on_gpu::linear"];
const UNIT: [&str; 2] = ["tile::products_on_gpu", "unit::tests::kernels"];

impl Fake {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("flowrl-run-script-{}-{name}", std::process::id()));
        let fake = Self(root);
        fake.file("run.sh", include_str!("run.sh"));
        let metrics = r#"while [ "$1" != --out ] && [ $# -gt 0 ]; do shift; done
[ $# -eq 0 ] || { mkdir -p "$2"; echo '{}' >"$2/metrics.jsonl"; }
"#;
        fake.file("bin/flowrl-cli", &format!("{CALLED}{metrics}"));
        fake.file("bin/tests/cuda/flowrl_cuda-c3", &tests(&UNIT));
        fake.file("bin/tests/cuda/integration-a1", &tests(&INTEGRATION));
        fake.file("bin/tests/tests/integration-d4", CALLED);
        fake.file("bin/benches/gpu-e5", CALLED);
        fake.file("path/python", CALLED);
        fake.file("path/c++", CALLED);
        fake.file("path/compute-sanitizer", &format!("{CALLED}shift 4\n\"$@\"\n"));
        fake
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs `run.sh` with these variables, and returns its exit status, its output, and the recorded calls.
    fn run(&self, words: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, Vec<String>) {
        let calls = self.0.join("calls");
        let _ = fs::remove_file(&calls);
        let path = format!("{}:{}", self.0.join("path").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("/bin/sh");
        command.arg(self.0.join("run.sh")).args(words).current_dir(&self.0).env("CALLS", &calls);
        command.env("OUT", self.0.join("out")).env("PYTHON", "python").env("PATH", path);
        command.env_remove("CXX").env_remove("LIMIT").env_remove("BUDGET").envs(variables.iter().copied());
        let output = command.output().unwrap();
        let calls = fs::read_to_string(calls).unwrap_or_default();
        let calls = calls.replace(&format!("{}/", self.0.display()), "").lines().map(str::to_owned).collect();
        let printed = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code(), printed, calls)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn everything_in_the_order_of_the_likeliest_failure() {
    let fake = Fake::new("everything");
    let (status, printed, calls) = fake.run(&[], &[]);
    assert_eq!(status, Some(0), "{printed}");
    const MODULES: [&str; 3] = [
        "flowrl_cuda-c3 --exact tile::products_on_gpu",
        "integration-a1 --exact attention::on_gpu::backward attention::on_gpu::forward",
        "integration-a1 --exact body::on_gpu::linear",
    ];
    let sanitized = |tool: &str| {
        MODULES.map(|test| {
            let words = format!("--tool {tool} --error-exitcode 1 bin/tests/cuda/{test} --test-threads 1");
            [format!("compute-sanitizer {words}"), format!("{test} --test-threads 1")]
        })
    };
    let before = ["flowrl-cli doctor", "integration-a1 body::on_gpu::linear", "flowrl_cuda-c3 on_gpu"];
    let tests = [&MODULES[..], &["integration-d4 hf_golden::on_gpu::"]].concat();
    let figures = [
        "python -c import torch",
        "gpu-e5 --bench --json out/bench.json --peers python",
        "flowrl-cli train --device cuda --steps 60 --out out/train-cuda",
        "flowrl-cli train --device cpu --steps 60 --out out/train-cpu",
        "python -c import torch",
        "python benches/peers/gpu/train.py --ours flowrl, cuda=out/train-cuda/metrics.jsonl \
         --ours flowrl, cpu=out/train-cpu/metrics.jsonl --device cuda --rates out/bench.json",
    ];
    let checked = [sanitized("memcheck"), sanitized("racecheck")].concat().concat();
    let checked: Vec<&str> = checked.iter().map(String::as_str).collect();
    assert_eq!(calls, [&before[..], &tests, &checked, &figures].concat());
}

#[test]
fn a_failure_is_named_and_the_rest_goes_on() {
    let fake = Fake::new("failure");
    let fails = "case \"$*\" in *body*) echo wrong numbers; exit 101 ;; esac\n";
    fake.file("bin/tests/cuda/integration-a1", &(tests(&INTEGRATION) + fails));
    let (status, printed, calls) = fake.run(&[], &[]);
    assert_eq!(status, Some(1));
    let (_, end) = printed.split_once("=== FAILED:").unwrap();
    for name in ["first-products", "tests-body", "memcheck-body", "racecheck-body"] {
        assert!(end.contains(&format!("{name} (exit status 101)")), "{name}: {printed}");
    }
    assert!(!end.contains("attention") && calls.iter().any(|call| call.starts_with("gpu-e5 --bench")), "{printed}");
    assert_eq!(fs::read_to_string(fake.0.join("out/tests-body.log")).unwrap(), "wrong numbers\n");
}

/// The calls of `run.sh first`, except for those of the benchmark's groups.
const FIRST: [&str; 10] = [
    "flowrl-cli doctor",
    "integration-d4 hf_golden::on_gpu::log_probs",
    "flowrl_cuda-c3 --exact tile::products_on_gpu",
    "integration-a1 --exact attention::on_gpu::backward attention::on_gpu::forward",
    "integration-a1 --exact body::on_gpu::linear",
    "integration-d4 hf_golden::on_gpu::a_training_step",
    "integration-d4 hf_golden::on_gpu::gradient_norms",
    "integration-d4 hf_golden::on_gpu::greedy",
    "flowrl-cli train --device cuda --steps 2 --out out/first-train-cuda",
    "flowrl-cli train --device cpu --steps 2 --out out/first-train-cpu",
];

/// `run.sh first` must work with only the usual programs of a shell, even without `timeout`.
#[test]
fn the_first_meeting_needs_no_tools() {
    let fake = Fake::new("first");
    let tools = ["sh", "cat", "date", "dirname", "grep", "mkdir", "rm", "sed", "sort", "tee"];
    for tool in tools {
        let folder = ["/usr/bin", "/bin"].into_iter().find(|folder| Path::new(folder).join(tool).exists()).unwrap();
        let link = fake.0.join("few").join(tool);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(Path::new(folder).join(tool), link).unwrap();
    }
    let path = fake.0.join("few").display().to_string();
    let (status, printed, calls) = fake.run(&["first"], &[("PATH", &path)]);
    assert_eq!(status, Some(0), "{printed}");
    let benches = ["head", "log-prob", "update", "generate", "balance", "partition"];
    let benches = benches.map(|group| format!("gpu-e5 --bench --json out/first-bench-{group}.json {group}"));
    assert_eq!(calls, [&FIRST.map(str::to_owned)[..], &benches].concat());
    assert!(!printed.contains("skipped") && !printed.contains("not found"), "{printed}");
}

#[test]
fn the_first_meeting_ends_in_time() {
    let fake = Fake::new("time");
    // The deadline is over before the first program starts.
    let (status, printed, calls) = fake.run(&["first"], &[("BUDGET", "0")]);
    assert_eq!((status, calls.len()), (Some(0), 0), "{printed}");
    for name in ["doctor", "first-log-probs", "first-step", "first-bench-head"] {
        assert!(printed.contains(&format!("{name}: no time is left")), "{name}: {printed}");
    }
    // A test that hangs takes only its own time.
    let hangs = "case \"$*\" in *attention*) sleep 60 ;; esac\n";
    fake.file("bin/tests/cuda/integration-a1", &(tests(&INTEGRATION) + hangs));
    let (status, printed, calls) = fake.run(&["first"], &[("LIMIT", "1")]);
    assert_eq!(status, Some(1));
    assert!(printed.contains("first-attention (exit status 124)"), "{printed}");
    assert!(calls.iter().any(|call| call.starts_with("gpu-e5")), "{printed}");
}

#[test]
fn a_section_alone() {
    let fake = Fake::new("section");
    let (status, printed, calls) = fake.run(&["memcheck", "attention", "backward"], &[]);
    assert_eq!(status, Some(0), "{printed}");
    assert_eq!(calls[0], "flowrl-cli doctor");
    assert_eq!(calls[2..], ["integration-a1 --exact attention::on_gpu::backward --test-threads 1"]);
    let (_, _, calls) = fake.run(&["sanitizer", "body"], &[]);
    assert_eq!(calls.iter().filter(|call| call.starts_with("integration-a1")).count(), 2, "{calls:?}");
    let (_, _, calls) = fake.run(&["tests", "body"], &[]);
    assert_eq!(calls[1..], ["integration-a1 --exact body::on_gpu::linear"]);
    let (_, _, calls) = fake.run(&["bench", "head", "update"], &[]);
    assert_eq!(calls[2..], ["gpu-e5 --bench --json out/bench.json --peers python head update"]);
    let (status, printed, calls) = fake.run(&["benchmark"], &[]);
    assert_eq!((status, calls.len()), (Some(2), 0));
    assert!(printed.contains("got benchmark, wanted first, doctor, tests,"), "{printed}");
}

#[test]
fn what_is_missing_is_said() {
    let fake = Fake::new("missing");
    fake.file("path/python", "#!/bin/sh\nexit 1\n");
    fake.file("bin/flowrl-cli", &format!("{CALLED}[ \"$1\" = doctor ]\n"));
    let (status, printed, calls) = fake.run(&["bench"], &[]);
    assert_eq!((status, calls.last().unwrap().as_str()), (Some(0), "gpu-e5 --bench --json out/bench.json"));
    assert!(printed.contains("skipped: PyTorch's rows: python has no torch"), "{printed}");
    fake.file("path/python", CALLED);
    let (status, printed, _) = fake.run(&["train"], &[]);
    assert_eq!(status, Some(1));
    assert!(printed.contains("neither of our runs left its metrics"), "{printed}");
    assert!(printed.contains("train-on-cuda (exit status 1)"), "{printed}");
}
