//! A peer: a process that runs timed iterations on request.
//!
//! It sets itself up, warms up and prints `ready`, or `absent` and the reason why it cannot run here. For each line
//! `run` it does one iteration and prints its seconds; other lines request other numbers. It ends with its input.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The pause between turns, in which the other side's threads stop spinning and go to sleep.
const PAUSE: Duration = Duration::from_millis(20);

/// The timed iterations of a turn. One more comes first and is not timed: it finds the other side's data in the caches,
/// and an idle processor.
const TURN: usize = 4;

/// The running process of a peer that is ready.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Collects the messages on stderr.
    errors: Option<JoinHandle<String>>,
    start_up: Duration,
}

impl Peer {
    /// Starts the process and waits until it is ready.
    ///
    /// # Errors
    /// Returns the reason why the peer cannot run here.
    pub fn start(mut command: Command) -> Result<Self, String> {
        let start = Instant::now();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
        let (Some(input), Some(output), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("no pipe to the process".to_owned());
        };
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let output = BufReader::new(output);
        let mut peer = Self { child, input: Some(input), output, errors: Some(errors), start_up: Duration::ZERO };
        let line = peer.line()?;
        peer.start_up = start.elapsed();
        match line.strip_prefix("absent ") {
            Some(why) => Err(why.to_owned()),
            None if line == "ready" => Ok(peer),
            None => Err(format!("got `{line}`, wanted `ready`")),
        }
    }

    /// Returns the seconds from the start of the process to `ready`.
    pub fn start_up(&self) -> f64 {
        self.start_up.as_secs_f64()
    }

    /// Runs a turn after a pause, and returns the mean seconds of its iterations.
    pub fn turn(&mut self) -> Result<f64, String> {
        pause();
        self.run()?;
        let total = (0..TURN).try_fold(0.0, |total, _| Ok::<_, String>(total + self.run()?))?;
        Ok(total / TURN as f64)
    }

    /// Runs one iteration, and returns its seconds by the process's own clock.
    pub fn run(&mut self) -> Result<f64, String> {
        match self.ask("run")? {
            [seconds] if seconds > 0.0 => Ok(seconds),
            [seconds] => Err(format!("got `{seconds}`, wanted the seconds of one iteration")),
        }
    }

    /// Sends a line and returns the N finite numbers of the answer.
    pub fn ask<const N: usize>(&mut self, line: &str) -> Result<[f64; N], String> {
        let numbers = self.answer(line)?;
        match <[f64; N]>::try_from(numbers) {
            Ok(numbers) if numbers.iter().all(|x| x.is_finite()) => Ok(numbers),
            Ok(numbers) => Err(format!("got {numbers:?} to `{line}`, wanted finite numbers")),
            Err(numbers) => Err(format!("got {} numbers to `{line}`, wanted {N} numbers", numbers.len())),
        }
    }

    /// Sends a line and returns all numbers of the answer.
    pub fn answer(&mut self, line: &str) -> Result<Vec<f64>, String> {
        let sent = self.input.as_mut().map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        if !matches!(sent, Some(Ok(()))) {
            return Err(self.died());
        }
        let answer = self.line()?;
        let number = |word: &str| word.parse().map_err(|_| format!("got `{answer}` to `{line}`, wanted numbers"));
        answer.split(' ').map(number).collect()
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(n) if n > 0 => Ok(line.trim().to_owned()),
            _ => Err(self.died()),
        }
    }

    /// Waits for the process to end, and returns the error message that it left.
    fn died(&mut self) -> String {
        self.input = None;
        let _ = self.child.wait();
        let errors = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        format!("it ended: {}", last_error(&errors).unwrap_or("without a message"))
    }
}

impl Drop for Peer {
    /// Closes the input, which ends the process, and waits so that its memory is free for the next one.
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Waits until the threads of the other side sleep.
pub fn pause() {
    std::thread::sleep(PAUSE);
}

/// Returns the last line that contains `Error`, or else the last line.
pub fn last_error(text: &str) -> Option<&str> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines().rfind(|line| line.contains("Error")).or_else(|| lines().next_back())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::paired::{Pairs, alternate};

    fn shell(script: &str) -> Result<Peer, String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Peer::start(command)
    }

    const COUNTS: &str = "echo ready; n=1; while read line; do echo $n; n=$((n + 1)); done";

    #[test]
    fn warm_runs_are_thrown_away_and_sides_stay_paired() {
        let (mut ours, mut theirs) = (shell(COUNTS).unwrap(), shell(COUNTS).unwrap());
        let [pairs] = alternate(2, 3, Some(|| ours.turn().map(|x| [x])), || theirs.turn().map(|x| [x])).unwrap();
        let wanted = vec![13.5, 18.5, 23.5];
        assert_eq!(pairs, Pairs { ours: wanted.clone(), theirs: wanted });
        assert_eq!(pairs.ratio(), Some([1.0; 3]));
    }

    #[test]
    fn a_broken_process_says_why() {
        assert!(shell("echo no").unwrap_err().contains("wanted `ready`"));
        assert_eq!(shell("echo absent no GPU").unwrap_err(), "no GPU");
        assert!(shell("exit 3").unwrap_err().contains("without a message"));
        assert!(shell("echo 'OSError: no' >&2; echo in the end >&2; exit 3").unwrap_err().contains("OSError: no"));
        assert!(shell("echo ready; read line; echo fast").unwrap().run().unwrap_err().contains("got `fast`"));
        assert!(shell("echo ready; read line; echo 0").unwrap().run().unwrap_err().contains("the seconds"));
        assert!(shell("echo ready; read line; echo nan").unwrap().run().unwrap_err().contains("finite"));
    }

    #[test]
    fn other_questions_have_other_answers() {
        let mut peer = shell("sleep 0.01; echo ready; read line; echo 1.5 $line; read line; echo 1").unwrap();
        assert!(peer.start_up() >= 0.01);
        assert_eq!(peer.ask("2"), Ok([1.5, 2.0]));
        assert!(peer.ask::<2>("l1").unwrap_err().contains("got 1 numbers to `l1`, wanted 2 numbers"));
    }
}
