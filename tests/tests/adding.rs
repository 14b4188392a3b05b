//! The diffs of `docs/adding-an-objective.md` and `docs/adding-a-metric.md` apply to the sources, and the changed core
//! behaves as the pages say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A program that uses the core with the preset and the option.
const OBJECTIVE: &str = r#"
use flowrl_core::objective::{OPTIONS, Objective, Preset, Sequence};

fn main() {
    // The preset has a name, its options, and a line of help.
    let plain = Preset::PlainGrpo.policy_gradient().unwrap();
    assert_eq!("plain-grpo".parse(), Ok(Objective::from(plain)));
    assert_eq!((plain.kl, plain.clip_low.get(), plain.clip_high.get()), (0.0, None, None));
    assert!(Preset::NAMES.contains(&"plain-grpo") && !Preset::PlainGrpo.description().is_empty());

    // The option is in the table of keys, is checked, and leaves the KL out below its bound.
    assert!(OPTIONS.iter().any(|(name, _)| *name == "kl_min"));
    let options = Preset::Grpo.policy_gradient().unwrap();
    assert!(Objective::from(options.with_kl_min(-1.0)).validate().is_err());
    let one = Sequence { log_probs: &[-1.0_f64], ref_log_probs: Some(&[-1.5]), ..Sequence::default() };
    let gradient = |options| Objective::from(options).compute(&[one]).unwrap().d_log_probs(0)[0];
    assert!(gradient(options) > 0.0 && gradient(options.with_kl_min(10.0)) == 0.0);
}
"#;

/// A program that uses the core with the metric.
const METRIC: &str = r#"
use flowrl_core::metrics;
use flowrl_core::objective::{Objective, Sequence};

fn main() {
    let metric = metrics::get("advantage_abs_max").unwrap();
    assert_eq!((metric.label, metric.range.0), ("Largest shaped reward", 0.0));
    let of = |reward| Sequence { reward, log_probs: &[-1.0_f64], ref_log_probs: Some(&[-1.5]), ..Sequence::default() };
    let objective: Objective = "reinforce".parse().unwrap();
    let evaluation = objective.compute(&[of(0.25), of(0.5)]).unwrap();
    let largest = evaluation.advantages.iter().fold(0.0_f64, |most, a| most.max(a.abs()));
    assert_eq!(evaluation.diagnostics.get("advantage_abs_max"), Some(largest));
    assert!(largest > 0.0);
}
"#;

/// Returns the sources that a page's diffs change, with the diffs applied.
fn changed(page: &str) -> BTreeMap<PathBuf, String> {
    let page = fs::read_to_string(Path::new(ROOT).join("docs").join(page)).expect("the page");
    let mut files = BTreeMap::<PathBuf, String>::new();
    for diff in page.split("```diff\n").skip(1).map(|rest| rest.split("```").next().expect("a block")) {
        for file in diff.split("--- a/").skip(1) {
            let mut hunks = file.split("\n@@\n");
            let path = PathBuf::from(hunks.next().and_then(|head| head.split("+++ b/").nth(1)).expect("a path").trim());
            let text = files
                .remove(&path)
                .unwrap_or_else(|| fs::read_to_string(Path::new(ROOT).join(&path)).expect("a file of the project"));
            files.insert(path.clone(), hunks.fold((text, 0), |(text, from), hunk| apply(&path, &text, from, hunk)).0);
        }
    }
    files
}

/// Applies a hunk, which is searched for from the offset `from`. Returns the new text and the offset after the hunk.
fn apply(path: &Path, text: &str, from: usize, hunk: &str) -> (String, usize) {
    let side = |other: char| -> String {
        let lines = hunk.trim_end().lines().filter(|line| !line.starts_with(other));
        lines.map(|line| format!("{}\n", line.get(1..).unwrap_or_default())).collect()
    };
    let (before, after) = (side('+'), side('-'));
    let at = text[from..].find(&before).map(|at| from + at);
    let at = at.unwrap_or_else(|| panic!("{}: the page shows what is not there:\n{before}", path.display()));
    (format!("{}{after}{}", &text[..at], &text[at + before.len()..]), at + after.len())
}

/// Collects the files below `folder` by their paths from `root`.
fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(root.join(folder)).into_iter().flatten().map(|entry| entry.expect("an entry")) {
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            collect(root, &path, files);
        } else {
            files.insert(path.clone(), fs::read_to_string(root.join(path)).expect("a text"));
        }
    }
}

/// Runs a program in `folder` with a copy of the core to which `changes` were made. Files that are as they should be are
/// left alone, so that nothing is compiled twice.
fn run(folder: &str, changes: &BTreeMap<PathBuf, String>, probe: &str) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("adding");
    let folder = target.join(folder);
    let (mut wanted, mut found) = (BTreeMap::new(), BTreeMap::new());
    collect(Path::new(ROOT), Path::new("core/src"), &mut wanted);
    let readme = fs::read_to_string(Path::new(ROOT).join("core/README.md")).expect("the documentation of the core");
    wanted.insert("core/README.md".into(), readme);
    collect(&folder, Path::new(""), &mut found);
    wanted.extend(changes.clone().into_iter().filter(|(path, _)| path.starts_with("core")));
    let manifest = |name: &str, rest: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{rest}")
    };
    let core = "libm = \"0.2\"\nnum-traits = { version = \"0.2\", default-features = false }\n\n[features]\nalloc = []\nfast = []\nserde = []\n";
    let of_probe = manifest("probe", "flowrl-core = { path = \"core\", features = [\"alloc\"] }\n") + "\n[workspace]\n";
    wanted.insert("core/Cargo.toml".into(), manifest("flowrl-core", core));
    wanted.insert("Cargo.toml".into(), of_probe);
    wanted.insert("src/main.rs".into(), probe.to_owned());
    for path in found.keys().filter(|path| !wanted.contains_key(*path) && !path.ends_with("Cargo.lock")) {
        fs::remove_file(folder.join(path)).expect("an old file can be removed");
    }
    for (path, text) in wanted.iter().filter(|(path, text)| found.get(*path) != Some(text)) {
        fs::create_dir_all(folder.join(path).parent().expect("a parent")).expect("a folder");
        fs::write(folder.join(path), text).expect("a copy can be changed");
    }
    if !found.contains_key(Path::new("Cargo.lock")) {
        fs::copy(Path::new(ROOT).join("Cargo.lock"), folder.join("Cargo.lock")).expect("the versions of the project");
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--offline", "--quiet"]).current_dir(&folder).env("CARGO_TARGET_DIR", target.join("target"));
    let output = cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_page_shows_how_a_preset_and_an_option_are_added() {
    let changes = changed("adding-an-objective.md");
    assert!(changes.contains_key(Path::new("cuda/kernels/policy_gradient.cu")), "the kernel changes too");
    run("objective", &changes, OBJECTIVE);
}

#[test]
fn the_page_shows_how_a_metric_is_added() {
    let changes = changed("adding-a-metric.md");
    assert_eq!(changes.len(), 2, "one file describes the metric and one records it");
    run("metric", &changes, METRIC);
}
