//! Compares a case with its peer: two processes that speak the same protocol and are timed in alternation.
//!
//! A process sets itself up, warms up and prints `ready`. For each line `run` it does one iteration and prints its
//! seconds; other lines request other numbers (see `lab_bench`). Turns of a few iterations alternate between the sides,
//! so that a slow phase of the machine affects both, and each ratio compares two neighbouring turns.

use crate::Outcome;
use crate::stats::{quantile, quartiles};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The pause between turns, in which the other side's threads stop spinning and go to sleep.
const PAUSE: Duration = Duration::from_millis(20);

/// The timed iterations of a turn. One more comes first and is not timed: it finds the other side's data in the caches,
/// and an idle processor.
const TURN: usize = 4;

/// A process that runs timed iterations on request.
#[derive(Debug)]
pub(crate) struct Peer {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    start_up: Duration,
}

impl Peer {
    /// Starts the process and waits until it is ready.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self, String> {
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {name} ({command:?}): {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{name}: no pipe to the process"));
        };
        let (name, output, start_up) = (name.to_owned(), BufReader::new(output), Duration::ZERO);
        let mut peer = Self { name, child, input: Some(input), output, start_up };
        match peer.line()?.as_str() {
            "ready" => {
                peer.start_up = start.elapsed();
                Ok(peer)
            }
            other => Err(format!("{}: got `{other}`, wanted `ready`", peer.name)),
        }
    }

    /// Returns the seconds from the start of the process to `ready`.
    pub(crate) fn start_up(&self) -> f64 {
        self.start_up.as_secs_f64()
    }

    /// Runs a turn, and returns the mean seconds of its iterations by the process's own clock.
    pub(crate) fn run(&mut self) -> Result<f64, String> {
        std::thread::sleep(PAUSE);
        let mut total = 0.0;
        for i in 0..=TURN {
            match self.answer("run")? {
                [seconds] if seconds > 0.0 => total += if i == 0 { 0.0 } else { seconds },
                [seconds] => {
                    return Err(format!("{}: got `{seconds}`, wanted the seconds of one iteration", self.name));
                }
            }
        }
        Ok(total / TURN as f64)
    }

    /// Sends a line after a pause, and returns the N numbers of the answer.
    pub(crate) fn ask<const N: usize>(&mut self, line: &str) -> Result<[f64; N], String> {
        std::thread::sleep(PAUSE);
        self.answer(line)
    }

    fn answer<const N: usize>(&mut self, line: &str) -> Result<[f64; N], String> {
        let input = self.input.as_mut().ok_or_else(|| format!("{}: already closed", self.name))?;
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(|error| format!("{}: {error}", self.name))?;
        let answer = self.line()?;
        let numbers: Vec<f64> = answer.split(' ').filter_map(|word| word.parse().ok()).collect();
        match <[f64; N]>::try_from(numbers) {
            Ok(numbers) if numbers.iter().all(|x| x.is_finite()) => Ok(numbers),
            _ => Err(format!("{}: got `{answer}` to `{line}`, wanted {N} numbers", self.name)),
        }
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err(format!("{} ended before it answered; its messages are above", self.name)),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) => Err(format!("{}: {error}", self.name)),
        }
    }
}

impl Drop for Peer {
    /// Closes the input, which ends the process, and waits for that.
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// The timings of one case, in seconds, run by run. `ours` is empty when the peer was timed alone.
#[derive(Debug)]
pub(crate) struct Timing {
    pub(crate) case: String,
    pub(crate) ours: Vec<f64>,
    pub(crate) theirs: Vec<f64>,
}

/// Alternates the two sides. The first `warm` pairs of turns are discarded, and the next `runs` are kept.
pub(crate) fn alternate(
    case: &str,
    mut ours: Option<Peer>,
    mut theirs: Peer,
    warm: usize,
    runs: usize,
) -> Result<Timing, String> {
    let mut timing = Timing { case: case.to_owned(), ours: Vec::new(), theirs: Vec::new() };
    for i in 0..warm + runs {
        let a = ours.as_mut().map(Peer::run).transpose()?;
        let b = theirs.run()?;
        if i >= warm {
            timing.ours.extend(a);
            timing.theirs.push(b);
        }
    }
    Ok(timing)
}

impl Timing {
    /// Returns the median seconds of our side, if it ran.
    fn our_median(&self) -> Option<f64> {
        (!self.ours.is_empty()).then(|| quantile(&self.ours, 0.5))
    }

    /// Returns the quartiles of theirs / ours over neighbouring turns. Above 1, our side is faster.
    fn ratio(&self) -> Option<[f64; 3]> {
        let ratios: Vec<f64> = self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| theirs / ours).collect();
        (!ratios.is_empty()).then(|| quartiles(&ratios))
    }

    /// Formats one line of the table under [`header`].
    pub(crate) fn row(&self) -> String {
        let [low, median, high] = quartiles(&self.theirs).map(|seconds| seconds * 1e3);
        let ours = self.our_median().map_or("-".to_owned(), |seconds| format!("{:.3}", seconds * 1e3));
        let ratio =
            self.ratio().map_or("-".to_owned(), |[low, median, high]| format!("{median:.2} [{low:.2}, {high:.2}]"));
        format!("{:<24} {ours:>10} {median:>10.3}  {:<22} {ratio}", self.case, format!("[{low:.3}, {high:.3}]"))
    }

    /// Formats a JSON object with the case and the seconds of every kept turn.
    pub(crate) fn json(&self) -> String {
        let ratio = self.ratio().map_or("null".to_owned(), |ratio| format!("{ratio:?}"));
        format!(
            r#"{{"case": "{}", "ratio_quartiles": {ratio}, "ours_s": {:?}, "peer_s": {:?}}}"#,
            self.case, self.ours, self.theirs
        )
    }
}

/// Writes every kept turn of every case as a JSON file.
pub(crate) fn write_json(path: &str, machine: &str, timings: &[Timing]) -> Outcome {
    let cases: Vec<String> = timings.iter().map(|timing| format!("    {}", timing.json())).collect();
    let text = format!("{{\n  \"machine\": {machine:?},\n  \"cases\": [\n{}\n  ]\n}}\n", cases.join(",\n"));
    std::fs::write(path, text).map_err(|error| format!("--json: cannot write {path}: {error}"))
}

/// Returns the titles of the columns of [`Timing::row`].
pub(crate) fn header() -> String {
    format!(
        "{:<24} {:>10} {:>10}  {:<22} {}",
        "case", "ours ms", "peer ms", "peer quartiles", "peer / ours [quartiles]"
    )
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Peer, String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Peer::start("fake", command)
    }

    const COUNTS: &str = "echo ready; n=1; while read line; do echo $n; n=$((n + 1)); done";

    #[test]
    fn warm_runs_are_thrown_away_and_sides_stay_paired() {
        let timing = alternate("x", Some(shell(COUNTS).unwrap()), shell(COUNTS).unwrap(), 2, 3).unwrap();
        assert_eq!(
            (timing.ours.as_slice(), timing.theirs.as_slice()),
            (&[13.5, 18.5, 23.5][..], &[13.5, 18.5, 23.5][..])
        );
        assert_eq!(timing.ratio(), Some([1.0; 3]));
    }

    #[test]
    fn the_peer_can_be_timed_alone() {
        let timing = alternate("x", None, shell(COUNTS).unwrap(), 0, 2).unwrap();
        assert_eq!(timing.ratio(), None);
        assert_eq!(timing.json(), r#"{"case": "x", "ratio_quartiles": null, "ours_s": [], "peer_s": [3.5, 8.5]}"#);
        assert!(timing.row().contains("6000.000"));
    }

    #[test]
    fn ratio_is_the_median_of_neighbours() {
        let timing = Timing { case: "x".to_owned(), ours: vec![1.0, 2.0, 1.0], theirs: vec![2.0, 8.0, 3.0] };
        assert_eq!(timing.ratio(), Some([2.5, 3.0, 3.5]));
    }

    #[test]
    fn a_broken_process_is_named() {
        assert!(shell("echo no").unwrap_err().contains("wanted `ready`"));
        assert!(shell("exit 3").unwrap_err().contains("fake ended"));
        assert!(shell("echo ready; read line; echo fast").unwrap().run().unwrap_err().contains("got `fast`"));
        assert!(shell("echo ready; read line; echo 0").unwrap().run().unwrap_err().contains("the seconds"));
    }

    #[test]
    fn other_questions_have_other_answers() {
        let mut peer = shell("sleep 0.01; echo ready; read line; echo 1.5 $line; read line; echo 1").unwrap();
        assert!(peer.start_up() >= 0.01);
        assert_eq!(peer.ask("2"), Ok([1.5, 2.0]));
        assert!(peer.ask::<2>("l1").unwrap_err().contains("got `1` to `l1`, wanted 2 numbers"));
    }
}
