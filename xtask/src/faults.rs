//! `cargo xtask faults`: kills runs at random moments and before system calls, and makes system calls fail. Each run
//! must resume to the same bits as an unbroken run, and leave no stray files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::command::{CLI, Outcome, build_cli, program, share, start};
use crate::{files, install};

const FOLDER: &str = "target/faults";

/// The cases by name, with the options of `train`. Each saves after every step, so that most faults hit a checkpoint.
const CASES: [(&str, &str); 5] = [
    (
        "paper",
        "--steps 4 --set train.prompts=2 --set train.samples=2 --set eval.prompts=3 --set eval.samples=2 --set eval.every=2",
    ),
    (
        "grpo",
        "--objective grpo --steps 4 --set train.prompts=2 --set train.samples=2 --set eval.prompts=3 --set eval.samples=2",
    ),
    ("bandit", "--task bandit --steps 12 --set eval.every=3"),
    ("hypergrid", "--task hypergrid --steps 12 --set eval.every=3"),
    ("bits", "--task bits --steps 12 --set eval.every=3"),
];

/// The system calls before which the program is killed, and those that are made to fail.
const KILLED_BEFORE: [&str; 9] =
    ["write", "openat", "fsync", "fdatasync", "rename", "unlink", "unlinkat", "mkdir", "ftruncate"];
const FAILING: [&str; 8] = ["write", "openat", "fsync", "fdatasync", "rename", "unlinkat", "mkdir", "flock"];
const ERRORS: [&str; 2] = ["ENOSPC", "EIO"];

/// The metrics that depend on the clock.
const CLOCK: [&str; 7] = ["tokens_per_s", "trajectories_per_s", "step_s", "sample_s", "update_s", "wall_s", "cpu_s"];

/// The number of runs with one kind of fault.
#[derive(Clone, Copy, Default)]
struct Count {
    tried: u32,
    /// Runs that the fault ended. The others succeeded in spite of it, or ended before it.
    hit: u32,
}

pub(crate) fn run(mut args: Args) -> Outcome {
    let kills = args.value("--kills")?.unwrap_or(100);
    let points = args.value("--points")?.unwrap_or(4_u32);
    args.finish()?;
    install::tool("strace", "strace")?;
    build_cli()?;
    files::remove(Path::new(FOLDER))?;
    files::create(Path::new(FOLDER))?;
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for (number, (name, words)) in CASES.iter().enumerate() {
        let case = Case::new(name, words)?;
        let count = counts.entry("killed at a random moment".into()).or_default();
        for i in 0..kills / CASES.len() as u32 {
            case.fault(&format!("random-{i}"), &[], Some(case.takes.mul_f64(share(i))), count)?;
        }
        let kill = |call| (format!("killed before {call}"), call, "signal=SIGKILL".to_owned(), points);
        let few = points.div_ceil(2);
        let fail =
            |error| FAILING.map(|call| (format!("{call} fails with {error}"), call, format!("error={error}"), few));
        for (what, call, effect, points) in KILLED_BEFORE.map(kill).into_iter().chain(ERRORS.iter().flat_map(fail)) {
            let count = counts.entry(what).or_default();
            for at in case.places(call, points, number)? {
                let inject = format!("inject={call}:{effect}:when={at}");
                case.fault(&format!("{effect}-{call}-{at}"), &["-o", "/dev/null", "-e", &inject], None, count)?;
            }
        }
        println!("{name}: done");
    }
    println!("\n{:<32} {:>6} {:>6} {:>9}", "fault", "runs", "hit", "harmless");
    let row = |what: &str, Count { tried, hit }| println!("{what:<32} {tried:>6} {hit:>6} {:>9}", tried - hit);
    counts.iter().for_each(|(what, count)| row(what, *count));
    let sum = |of: fn(&Count) -> u32| counts.values().map(of).sum();
    row("all", Count { tried: sum(|count| count.tried), hit: sum(|count| count.hit) });
    println!("every run resumed to the same bits as its unbroken run and left no stray files");
    Ok(())
}

/// A case and its unbroken run.
struct Case {
    name: &'static str,
    words: Vec<&'static str>,
    /// The files of the unbroken run.
    whole: Snapshot,
    /// The time of the unbroken run.
    takes: Duration,
}

/// The contents of a run's files that two equal runs share, by path.
type Snapshot = BTreeMap<String, Vec<u8>>;

impl Case {
    fn new(name: &'static str, words: &'static str) -> Result<Self, String> {
        let words =
            words.split(' ').chain("--seed 5 --set run.save_every=1 --set run.keep=2 --threads 1".split(' ')).collect();
        let mut case = Self { name, words, whole: Snapshot::new(), takes: Duration::ZERO };
        let (out, start) = (case.out("whole"), Instant::now());
        let status = case.start(&out, &[])?.wait().map_err(|error| format!("{name}: {error}"))?;
        case.takes = start.elapsed();
        if !status.success() {
            return Err(format!("{name}: the unbroken run ended with {status}"));
        }
        case.whole = snapshot(&out)?;
        Ok(case)
    }

    fn out(&self, what: &str) -> PathBuf {
        Path::new(FOLDER).join(format!("{}-{what}", self.name))
    }

    /// Starts a run or resumes the one in `out`, under strace if that has options.
    fn start(&self, out: &Path, strace: &[&str]) -> Result<Child, String> {
        let mut command = match strace {
            [] => program(CLI, &[]),
            options => program("strace", &[&["-f", "-qq"], options, &[CLI]].concat()),
        };
        command.arg("train").args(&self.words).arg("--out").arg(out);
        // If a fault came before the run had created its files, there is nothing to resume.
        if out.join("config.toml").exists() {
            command.arg("--resume");
        }
        start(command)
    }

    /// Returns the numbers of the calls to hit, spread over all calls of this kind that a run makes. `shift` makes them
    /// differ between cases.
    fn places(&self, call: &str, points: u32, shift: usize) -> Result<Vec<u32>, String> {
        let out = self.out("counted");
        files::remove(&out)?;
        let log = format!("{FOLDER}/calls.txt");
        let mut run = self.start(&out, &["-e", &format!("trace={call}"), "-o", &log])?;
        run.wait().map_err(|error| format!("cannot run strace: {error}"))?;
        let calls = files::read(&log)?.lines().filter(|line| line.contains(&format!("{call}("))).count() as u32;
        files::remove(&out)?;
        let places = (0..points).map(|i| 1 + (i * calls + shift as u32) / points);
        let mut places: Vec<u32> = places.map(|place| place.min(calls)).filter(|place| *place > 0).collect();
        places.dedup();
        Ok(places)
    }

    /// Starts a run, lets the fault happen, resumes the run, and compares the result with the unbroken run.
    fn fault(&self, what: &str, strace: &[&str], kill: Option<Duration>, count: &mut Count) -> Outcome {
        let out = self.out(what);
        let failed = |why: &str| format!("{} ({}): {why}", out.display(), strace.join(" "));
        let mut child = self.start(&out, strace)?;
        if let Some(after) = kill {
            std::thread::sleep(after);
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| failed(&error.to_string()))?;
        count.tried += 1;
        count.hit += u32::from(!status.success());
        if status.code() == Some(101) {
            return Err(failed("it panicked"));
        }
        let status = self.start(&out, &[])?.wait().map_err(|error| failed(&error.to_string()))?;
        if !status.success() {
            return Err(failed(&format!("the resumed run ended with {status}")));
        }
        let found = snapshot(&out)?;
        if let Some((name, _)) = self.whole.iter().find(|(name, bytes)| found.get(*name) != Some(bytes)) {
            return Err(failed(&format!("{name} differs from that of the unbroken run")));
        }
        if let Some(name) = found.keys().find(|name| !self.whole.contains_key(*name)) {
            return Err(failed(&format!("{name} was left behind")));
        }
        files::remove(&out)
    }
}

/// Reads every file of a run, except for the parts that depend on the clock or on having been resumed.
fn snapshot(out: &Path) -> Result<Snapshot, String> {
    let mut all = Snapshot::new();
    let mut folders = vec![out.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in files::list(&folder)? {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(out).unwrap_or(&path).to_string_lossy().into_owned();
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // `*.aside.jsonl` holds the records of a run that was killed before its first checkpoint. They are kept on
            // purpose.
            if ["run.json", "report.html", "records.json", "SHA256SUMS", "config.toml"].contains(&file)
                || file.contains(".aside.jsonl")
            {
                continue;
            }
            let is_records = file == "metrics.jsonl";
            let bytes = if is_records { timeless(&files::read(&path)?).into_bytes() } else { files::bytes(&path)? };
            all.insert(name, bytes);
        }
    }
    Ok(all)
}

/// Removes the metrics in [`CLOCK`] from records, which are flat JSON objects of numbers.
fn timeless(records: &str) -> String {
    let mut text = records.to_owned();
    for name in CLOCK {
        let key = format!(",\"{name}\":");
        while let Some(start) = text.find(&key) {
            let from = start + key.len();
            let end = text[from..].find([',', '}']).map_or(text.len(), |end| from + end);
            text.replace_range(start..end, "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_clock_says_is_left_out() {
        let record = "{\"step\":1,\"wall_s\":0.5,\"loss\":2,\"cpu_s\":1e-3}\n";
        assert_eq!(super::timeless(&record.repeat(2)), "{\"step\":1,\"loss\":2}\n".repeat(2));
    }
}
