//! `cargo xtask test`: runs the steps that must pass before a merge, the quickest first.

mod features;
mod steps;
mod unchanged;

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::args::{Args, choose};
use crate::command::{Check, Outcome, Unpassed, captured, compiling};
use crate::files;
pub(crate) use features::subsets;
use steps::{STEPS, Step};

/// Runs the steps, and stops at the first that fails unless told to keep going. Steps that are named by `--only` run
/// even if their inputs have not changed.
pub(crate) fn run(mut args: Args) -> Outcome {
    let (keep_going, list, only) = (args.flag("--keep-going"), args.flag("--list"), args.values("--only")?);
    args.finish()?;
    if list {
        STEPS.iter().for_each(|step| println!("{:<10} {}", step.name, step.about));
        return Ok(());
    }
    let steps = choose(&STEPS, |step| step.name, &only, "--only: unknown step")?;
    if only.is_empty() {
        steps::begin_downloads();
    }
    run_steps(&steps, keep_going, only.is_empty() && std::env::var_os("CI").is_none())
}

/// Runs these steps and prints a summary. If `sparing`, skips steps that have passed before with the same inputs.
fn run_steps(steps: &[&'static Step], keep_going: bool, sparing: bool) -> Outcome {
    let start = Instant::now();
    let mut summary = Vec::new();
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    let mut begun: BTreeMap<&str, JoinHandle<_>> = BTreeMap::new();
    for (i, step) in steps.iter().enumerate() {
        println!("\n=== {}/{} {}: {}", i + 1, steps.len(), step.name, step.about);
        for &other in steps[i..].iter().filter(|other| other.beside == Some(step.name)) {
            println!("(`{}` runs in parallel)", other.name);
            begun.insert(other.name, thread::spawn(move || captured(|| run_step(other, sparing))));
        }
        let (check, seconds) = match begun.remove(step.name) {
            None => run_step(step, sparing),
            Some(thread) => {
                let (ended, said) = thread.join().map_err(|_| format!("`{}` panicked", step.name))?;
                print!("{said}");
                ended
            }
        };
        let said = match check {
            Ok(()) => {
                passed += 1;
                "passed".to_owned()
            }
            Err(Unpassed::Skipped(why)) => {
                skipped += 1;
                format!("skipped: {why}")
            }
            Err(Unpassed::Failed(why)) => {
                failed.push(step.name);
                format!("FAILED: {why}")
            }
        };
        let line = format!("{:<10} {seconds}  {said}", step.name);
        println!("--- {line}");
        summary.push(line);
        if !failed.is_empty() && !keep_going {
            break;
        }
    }
    // Killing these steps would leave their browsers and servers running.
    for (name, handle) in begun {
        println!("waiting for `{name}`, which is still running");
        let _ = handle.join();
    }
    println!("\n=== summary: seconds of each step, and how many of them went into compiling");
    summary.iter().for_each(|line| println!("{line}"));
    println!("{:<10} {:>7.1}", "all", start.elapsed().as_secs_f64());
    // The last line uses the usual words of test summaries, for tools that parse logs.
    println!("\nsteps: {passed} passed, {} failed, {skipped} skipped", failed.len());
    let mut why = format!("failed: {}", failed.join(", "));
    if summary.len() < steps.len() {
        why += "; the steps after it did not run (--keep-going runs them)";
    }
    if failed.is_empty() { Ok(()) } else { Err(why) }
}

/// Runs a step, and returns its outcome and two columns: the seconds of all of it and those of compiling.
fn run_step(step: &Step, sparing: bool) -> (Check, String) {
    let (start, compiled) = (Instant::now(), compiling());
    let check = check(step, sparing);
    let (total, compiling) = (start.elapsed(), compiling() - compiled);
    (check, format!("{:>7.1} {:>7.1}", total.as_secs_f64(), compiling.as_secs_f64()))
}

fn check(step: &Step, sparing: bool) -> Check {
    let mark = step.inputs.and_then(|inputs| unchanged::mark(step.name, inputs));
    if sparing && mark.as_ref().is_some_and(|mark| mark.exists()) {
        let why = format!("it has passed with the same files; `--only {}` runs it again", step.name);
        return Err(Unpassed::Skipped(why));
    }
    (step.run)()?;
    if let Some(mark) = mark {
        // Without a mark the step just runs again.
        let _ = files::write(&mark, "");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::steps::step;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const PASSES: Step = step("passes", "", || Ok(()));
    const SKIPS: Step = step("skips", "", || Err(Unpassed::Skipped("why".to_owned())));
    const FAILS: Step = step("fails", "", || Err(Unpassed::Failed("why".to_owned())));

    #[test]
    fn skipped_is_no_failure() {
        run_steps(&[&PASSES, &SKIPS], false, false).unwrap();
    }

    #[test]
    fn stops_at_the_first_failure_unless_told_otherwise() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        const COUNTS: Step = step("counts", "", || {
            CALLS.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        assert!(run_steps(&[&FAILS, &COUNTS], false, false).unwrap_err().contains("did not run"));
        assert_eq!(CALLS.load(Ordering::Relaxed), 0);
        assert_eq!(run_steps(&[&FAILS, &COUNTS], true, false).unwrap_err(), "failed: fails");
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_passed_with_the_same_files_is_not_run_again_unless_asked_for() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        const ONCE: Step = step("test-of-the-steps", "", || {
            CALLS.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .reads("xtask/src");
        let Some(mark) = unchanged::mark(ONCE.name, "xtask/src") else {
            println!("skipped: git does not list these files");
            return;
        };
        let _ = std::fs::remove_file(&mark);
        for sparing in [false, true, false] {
            run_steps(&[&ONCE], false, sparing).unwrap();
        }
        std::fs::remove_file(mark).unwrap();
        assert_eq!(CALLS.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_step_beside_others_is_counted_in_its_turn() {
        const BESIDE: Step = step("beside", "", || {
            crate::command::tell("this is not printed among what `passes` prints");
            Err("why".to_owned().into())
        })
        .beside("passes");
        let why = run_steps(&[&PASSES, &SKIPS, &BESIDE], false, false).unwrap_err();
        assert_eq!(why, "failed: beside");
        // Without that step it runs in its own turn. If an earlier step fails, the run waits for it.
        assert_eq!(run_steps(&[&BESIDE], false, false).unwrap_err(), "failed: beside");
        let why = run_steps(&[&PASSES, &FAILS, &BESIDE], false, false).unwrap_err();
        assert!(why.starts_with("failed: fails; "), "{why}");
    }

    #[test]
    fn inputs_of_steps_exist() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for input in STEPS.iter().filter_map(|step| step.inputs).flat_map(str::split_whitespace) {
            assert!(root.join(input).exists(), "{input}");
        }
    }
}
