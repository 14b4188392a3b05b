//! Tests that a run survives a kill or a failing disk at every change of a file or a folder. `cargo xtask faults` does
//! the same with larger runs and real system calls.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use crate::common::{assert_same_run, library, program};

/// A run with two checkpoints, the second of which replaces the first.
const RUN: [&str; 13] = [
    "train",
    "--task",
    "bandit",
    "--steps",
    "2",
    "--quiet",
    "--threads",
    "1",
    "--set",
    "eval.every=1",
    "--set",
    "run.save_every=1",
    "--set=run.keep=1",
];

/// Makes the run, or resumes it if it was begun before, in a process that is subject to a fault.
fn train(directory: &Path, out: &str, fault: Option<(&str, u32)>) -> Output {
    let mut command = program(&[&RUN[..], &["--out", out]].concat(), directory);
    if directory.join(out).join("config.toml").exists() {
        command.arg("--resume");
    }
    command.env("LD_PRELOAD", directory.join("disk.so"));
    if let Some((kind, at)) = fault {
        command.env("FAULT_KIND", kind).env("FAULT_AT", at.to_string());
    }
    command.output().unwrap()
}

/// Returns the files and folders of a run, except the records that a run without a checkpoint puts aside before it
/// starts again.
fn names(folder: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            all.extend(names(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        }
        if !name.contains(".aside.jsonl") {
            all.insert(name);
        }
    }
    all
}

#[test]
fn a_fault_anywhere_leaves_a_run_that_goes_on_to_the_same_bits() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    if !library(include_str!("faults/disk.cpp"), &d.join("disk.so")) {
        println!("skipped, no C++ compiler to make a library with");
        return;
    }
    assert!(train(d, "whole", None).status.success());
    let whole = names(&d.join("whole"));
    for kinds in [&[("kill", "")][..], &[("full", "os error 28"), ("broken", "os error 5")]] {
        let (mut places, mut harmless) = (0, 0);
        for (at, (kind, message)) in (1..).zip(kinds.iter().cycle()) {
            let output = train(d, "broken", Some((kind, at)));
            let said = String::from_utf8_lossy(&output.stderr);
            let Some(call) = said.lines().find_map(|line| line.strip_prefix("FAULT ")) else {
                assert!(output.status.success(), "{kind} {at}: {said}");
                break;
            };
            let what = format!("{kind} {at}, {call}");
            places += 1;
            match output.status.code() {
                None => assert_eq!(*kind, "kill", "{what}"),
                Some(0) => harmless += 1,
                Some(code) => assert!(code == 1 && said.contains(message), "{what}: {said}"),
            }
            let output = train(d, "broken", None);
            assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(names(&d.join("broken")), whole, "{what}");
            assert_same_run(&d.join("whole"), &d.join("broken"), 2);
            std::fs::remove_dir_all(d.join("broken")).unwrap();
        }
        let names: Vec<_> = kinds.iter().map(|(kind, _)| *kind).collect();
        println!("{}: {places} places, {harmless} harmless", names.join(", "));
        assert!(places > 50, "{names:?}: only {places} places");
        std::fs::remove_dir_all(d.join("broken")).unwrap();
    }
}
