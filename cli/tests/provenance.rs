//! Tests of a run's record of the program that made it.

use std::process::Command;

use serde_json::Value;

use crate::common::ok;

/// The build script of the program.
#[path = "../build.rs"]
#[allow(dead_code)]
mod build;

#[test]
fn a_build_knows_the_commit_that_is_checked_out() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let git = |words: &str| {
        let mut command = Command::new("git");
        command.args(words.split(' ')).current_dir(d).env("GIT_CEILING_DIRECTORIES", d.parent().unwrap());
        command.output().is_ok_and(|output| output.status.success())
    };
    assert_eq!(build::commit(d), None, "no repository here");
    if !git("init --initial-branch=main") {
        println!("skipped, no git here");
        return;
    }
    assert_eq!(build::commit(d), None, "nothing is committed");
    let mut before = String::new();
    for length in [1, 2] {
        let author = "-c user.name=A -c user.email=a@example.org -c commit.gpgsign=false";
        assert!(git(&format!("{author} commit --allow-empty --message=one")));
        let (commit, log) = build::commit(d).unwrap();
        let whole = std::fs::read_to_string(d.join(".git/refs/heads/main")).unwrap();
        assert!(commit.len() == 12 && whole.starts_with(&commit) && commit != before, "{commit}, {whole}");
        // Cargo rebuilds the program if this file has changed, so every commit must change it.
        assert_eq!(std::fs::read_to_string(d.join(log)).unwrap().lines().count(), length);
        before = commit;
    }
    let packaged = "{\n  \"git\": {\n    \"sha1\": \"0123456789abcdef0123456789abcdef01234567\"\n  },\n  \"path_in_vcs\": \"cli\"\n}";
    std::fs::write(d.join(".cargo_vcs_info.json"), packaged).unwrap();
    assert_eq!(build::commit(d).unwrap().0, "0123456789ab", "a package's own commit, whatever repository it is in");
}

#[test]
fn a_run_has_the_commit_of_its_program() {
    let directory = tempfile::tempdir().unwrap();
    ok(&["train", "--task", "bandit", "--steps", "1", "--out", "run"], directory.path());
    let text = std::fs::read(directory.path().join("run/run.json")).unwrap();
    let story: Value = serde_json::from_slice(&text).unwrap();
    let stretch = &story["stretches"][0];
    assert_eq!(stretch["commit"].as_str(), option_env!("FLOWRL_COMMIT"));
    assert_eq!(stretch["cuda"], Value::Null, "no GPU computed");
}
