//! `cargo xtask stopping`: measures how long a run takes to end after the signal that stops it. The signals come at
//! moments of sampling, updating and evaluation.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::args::Args;
use crate::command::{CLI, Outcome, build_cli, program, share, start};
use crate::files;
use crate::paired::{quantile, warn_if_busy};

const FOLDER: &str = "target/stopping";
/// The options of a run that evaluates often and practically never ends by itself.
const ENDLESS: &str = "--steps 1000000 --set optimizer.decay=constant --set run.save_every=0 --set eval.every=2";
/// The exit status of a program that TERM stopped, by the convention of shells.
const STOPPED: i32 = 128 + 15;

pub(crate) fn run(mut args: Args) -> Outcome {
    let config: Option<PathBuf> = args.value("--config")?;
    let runs = args.value("--runs")?.unwrap_or(20_u32);
    let within = args.value("--within")?.unwrap_or(20.0);
    args.finish()?;
    build_cli()?;
    warn_if_busy();
    files::remove(Path::new(FOLDER))?;
    let (mut totals, mut rests) = (Vec::new(), Vec::new());
    for i in 0..runs {
        let after = share(i) * within;
        let [total, rest] = stop(config.as_deref(), Duration::from_secs_f64(after))?;
        println!("signal after {after:.1} s: {total:.2} s to the end, {rest:.2} s after the update");
        totals.push(total);
        rests.push(rest);
    }
    println!("\n{:<32} {:>8} {:>8}", format!("seconds, {runs} runs"), "median", "longest");
    for (what, seconds) in [("from the signal to the end", totals), ("after the update in progress", rests)] {
        println!("{what:<32} {:>8.2} {:>8.2}", quantile(&seconds, 0.5), quantile(&seconds, 1.0));
    }
    Ok(())
}

/// Starts a run, and stops it `after` this time since it has opened its files. Returns the seconds from the signal to
/// the end of the program, and the part of them after the update in progress, or again all if there was none.
fn stop(config: Option<&Path>, after: Duration) -> Result<[f64; 2], String> {
    let out = Path::new(FOLDER).join("run");
    files::remove(&out)?;
    let mut command = program(CLI, &["train", "--quiet", "--out"]);
    command.arg(&out).args(ENDLESS.split(' '));
    if let Some(file) = config {
        command.arg("--config").arg(file);
    }
    let shown = format!("{command:?}");
    let mut child = start(command)?;
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", out.display());
    while !out.join("run.json").exists() {
        if let Some(status) = child.try_wait().map_err(|error| failed(&error))? {
            return Err(failed(&format!("`{shown}` ended with {status} before the run had begun")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(after);
    let (clock, when) = (Instant::now(), SystemTime::now());
    program("kill", &["-TERM", &child.id().to_string()]).status().map_err(|error| failed(&error))?;
    let status = child.wait().map_err(|error| failed(&error))?;
    let (total, end) = (clock.elapsed().as_secs_f64(), SystemTime::now());
    if status.code() != Some(STOPPED) {
        return Err(failed(&format!("after the signal, the run ended with {status}")));
    }
    // A step's completions are written when its update is finished.
    let written = std::fs::metadata(out.join("rollouts.jsonl")).and_then(|file| file.modified()).ok();
    let updated = written.filter(|written| *written > when).and_then(|written| end.duration_since(written).ok());
    Ok([total, updated.map_or(total, |since| since.as_secs_f64())])
}
