//! Each crate's `rust-version` is possible: no dependency needs a newer Rust, and the pinned toolchain is new enough.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Parses `1.88` or `1.88.0`.
fn version(text: &str) -> Vec<u32> {
    let mut parts: Vec<u32> = text.split('.').map(|part| part.parse().expect("a number")).collect();
    parts.resize(3, 0);
    parts
}

fn printed(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).current_dir(ROOT).output().expect("the toolchain runs");
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("an array").iter()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

#[test]
fn no_crate_names_an_older_rust_than_its_dependencies() {
    let compiler = printed("rustc", &["-vV"]);
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).expect("the host");
    // For the host only: a build has not downloaded what other systems need.
    let words = ["metadata", "--locked", "--format-version", "1", "--filter-platform", host];
    let metadata: Value = serde_json::from_str(&printed(env!("CARGO"), &words)).expect("JSON");
    let packages: BTreeMap<&str, &Value> = list(&metadata["packages"]).map(|p| (text(&p["id"]), p)).collect();
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"]).map(|n| (text(&n["id"]), n)).collect();
    let file = std::fs::read_to_string(format!("{ROOT}/rust-toolchain.toml")).expect("rust-toolchain.toml");
    let toolchain: toml::Table = file.parse().expect("TOML");
    let pinned = toolchain["toolchain"]["channel"].as_str().expect("a channel");

    for member in list(&metadata["workspace_members"]).map(text) {
        let name = text(&packages[member]["name"]);
        let own = packages[member]["rust_version"].as_str().unwrap_or_else(|| panic!("{name} has no rust-version"));
        assert!(version(own) <= version(pinned), "{name} needs Rust {own}, but rust-toolchain.toml pins {pinned}");
        let (mut found, mut open) = (BTreeSet::new(), vec![member]);
        while let Some(node) = open.pop() {
            for dependency in list(&nodes[node]["deps"]) {
                // Tests and build scripts have other kinds than null.
                if list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()) {
                    open.extend(Some(text(&dependency["pkg"])).filter(|id| found.insert(*id)));
                }
            }
        }
        for other in found.iter().map(|id| packages[id]) {
            let needed = other["rust_version"].as_str().unwrap_or("1.0");
            assert!(version(own) >= version(needed), "{name} names Rust {own}, but {} needs {needed}", other["name"]);
        }
    }
}
