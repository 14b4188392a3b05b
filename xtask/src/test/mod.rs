//! `cargo xtask test`: the steps that must pass before a merge, in the order of the quickest answer.

mod downloads;
mod steps;
mod unchanged;

use crate::command::compiling;
use crate::{Args, Outcome};
use std::time::{Duration, Instant};
use steps::STEPS;

/// How a step ended, if it did not fail.
enum Done {
    Passed,
    /// Why it could not run here.
    Skipped(String),
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<Done, String>,
    /// The files and folders that decide how it ends: it is skipped where it has passed with them before. None if it always runs.
    inputs: Option<&'static [&'static str]>,
}

/// Runs the steps; stops at the first that fails unless told to keep going. Steps that are named run even if nothing has changed.
pub(crate) fn run(mut args: Args) -> Outcome {
    let (keep_going, list, only) = (args.flag("--keep-going"), args.flag("--list"), args.values("--only")?);
    args.finish()?;
    if list {
        STEPS.iter().for_each(|step| println!("{:<10} {}", step.name, step.about));
        return Ok(());
    }
    let steps = choose(&only)?;
    if only.is_empty() {
        downloads::begin();
    }
    run_steps(&steps, keep_going, only.is_empty() && std::env::var_os("CI").is_none())
}

fn choose(only: &[String]) -> Result<Vec<&'static Step>, String> {
    if let Some(unknown) = only.iter().find(|name| STEPS.iter().all(|step| step.name != name.as_str())) {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        return Err(format!("--only: no step is called `{unknown}`; the steps are {}", names.join(", ")));
    }
    Ok(STEPS.iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name)).collect())
}

/// `sparing` skips what has passed before with the same inputs.
fn run_steps(steps: &[&Step], keep_going: bool, sparing: bool) -> Outcome {
    let mut summary = Vec::new();
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    let (mut all, mut all_compiling) = (Duration::ZERO, Duration::ZERO);
    for (i, step) in steps.iter().enumerate() {
        println!("\n=== {}/{} {}: {}", i + 1, steps.len(), step.name, step.about);
        let (start, compiled) = (Instant::now(), compiling());
        let outcome = run_step(step, sparing);
        let (total, compiling) = (start.elapsed(), compiling() - compiled);
        let ended = match &outcome {
            Ok(Done::Passed) => "passed".to_owned(),
            Ok(Done::Skipped(why)) => format!("skipped: {why}"),
            Err(why) => format!("FAILED: {why}"),
        };
        let line = row(step.name, total, compiling, &ended);
        (all, all_compiling) = (all + total, all_compiling + compiling);
        println!("--- {line}");
        summary.push(line);
        match outcome {
            Ok(Done::Passed) => passed += 1,
            Ok(Done::Skipped(_)) => skipped += 1,
            Err(_) => failed.push(step.name),
        }
        if !failed.is_empty() && !keep_going {
            break;
        }
    }
    println!("\n=== summary: seconds of each step, and how many of them went into compiling");
    summary.iter().for_each(|line| println!("{line}"));
    println!("{}", row("all", all, all_compiling, ""));
    // The last line counts steps in words that any reader of test logs knows.
    println!("\nsteps: {passed} passed, {} failed, {skipped} skipped", failed.len());
    match (failed.is_empty(), summary.len() == steps.len()) {
        (true, _) => Ok(()),
        (false, true) => Err(format!("failed: {}", failed.join(", "))),
        (false, false) => {
            Err(format!("failed: {}; the steps after it did not run (--keep-going runs them)", failed.join(", ")))
        }
    }
}

fn run_step(step: &Step, sparing: bool) -> Result<Done, String> {
    let Some(inputs) = step.inputs else { return (step.run)() };
    let state = unchanged::State::of(step.name, inputs);
    if sparing && state.as_ref().is_some_and(unchanged::State::has_passed) {
        return Ok(Done::Skipped(format!(
            "it passed before with the same files; `--only {}` runs it again",
            step.name
        )));
    }
    let done = (step.run)()?;
    if let (Done::Passed, Some(state)) = (&done, state) {
        state.remember();
    }
    Ok(done)
}

fn row(name: &str, total: Duration, compiling: Duration, ended: &str) -> String {
    let line = format!("{name:<10} {:>7.1} {:>7.1}  {ended}", total.as_secs_f64(), compiling.as_secs_f64());
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const PASSES: Step = Step { name: "passes", about: "", run: || Ok(Done::Passed), inputs: None };
    const SKIPS: Step = Step { name: "skips", about: "", run: || Ok(Done::Skipped("why".to_owned())), inputs: None };
    const FAILS: Step = Step { name: "fails", about: "", run: || Err("why".to_owned()), inputs: None };

    #[test]
    fn skipped_is_no_failure() {
        run_steps(&[&PASSES, &SKIPS], false, false).unwrap();
    }

    #[test]
    fn stops_at_the_first_failure_unless_told_otherwise() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        const COUNTS: Step = Step {
            name: "counts",
            about: "",
            run: || {
                CALLS.fetch_add(1, Ordering::Relaxed);
                Ok(Done::Passed)
            },
            inputs: None,
        };
        assert!(run_steps(&[&FAILS, &COUNTS], false, false).unwrap_err().contains("did not run"));
        assert_eq!(CALLS.load(Ordering::Relaxed), 0);
        assert_eq!(run_steps(&[&FAILS, &COUNTS], true, false).unwrap_err(), "failed: fails");
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_passed_with_the_same_files_is_not_run_again_unless_asked_for() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        const ONCE: Step = Step {
            name: "test-of-the-steps",
            about: "",
            run: || {
                CALLS.fetch_add(1, Ordering::Relaxed);
                Ok(Done::Passed)
            },
            inputs: Some(&["src"]),
        };
        let state = unchanged::State::of(ONCE.name, &["src"]);
        if let Some(state) = &state {
            state.forget();
        }
        for sparing in [false, true, false] {
            run_steps(&[&ONCE], false, sparing).unwrap();
        }
        let Some(state) = state else {
            println!("skipped: git does not list these files");
            return;
        };
        state.forget();
        assert_eq!(CALLS.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn inputs_of_steps_exist() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for input in STEPS.iter().filter_map(|step| step.inputs).flatten() {
            assert!(root.join(input).exists(), "{input}");
        }
    }

    #[test]
    fn steps_are_chosen_by_name() {
        assert_eq!(choose(&[]).map(|steps| steps.len()), Ok(STEPS.len()));
        let chosen = choose(&["doc".to_owned(), "format".to_owned()])
            .map(|steps| steps.iter().map(|s| s.name).collect::<Vec<_>>());
        assert_eq!(chosen, Ok(vec!["format", "doc"]));
        assert!(choose(&["dco".to_owned()]).is_err_and(|why| why.contains("`dco`") && why.contains("clippy")));
    }
}
