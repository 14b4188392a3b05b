//! The diffs of `docs/adding-an-objective.md` apply to the sources, and the changed core behaves as the page says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A program that uses the changed core.
const PROBE: &str = r#"
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

/// Returns the sources that the page's diffs change, with the diffs applied.
fn changed() -> BTreeMap<PathBuf, String> {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/adding-an-objective.md")).expect("the page");
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

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder of sources").map(|entry| entry.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy(&from, &to) } else { _ = fs::copy(&from, &to).expect("a copy") }
    }
}

#[test]
fn the_page_shows_how_a_preset_and_an_option_are_added() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("adding");
    _ = fs::remove_dir_all(folder.join("core"));
    copy(&Path::new(ROOT).join("core/src"), &folder.join("core/src"));
    let files = changed();
    let kernel = Path::new("cuda/kernels/policy_gradient.cu");
    assert!(files.contains_key(kernel), "the kernel changes too");
    for (path, text) in files.iter().filter(|(path, _)| path.starts_with("core")) {
        fs::write(folder.join(path), text).expect("a copy can be changed");
    }
    let manifest = |name: &str, rest: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{rest}")
    };
    let core = "libm = \"0.2\"\nnum-traits = { version = \"0.2\", default-features = false }\n\n[features]\nalloc = []\nfast = []\nserde = []\n";
    let probe = manifest("probe", "flowrl-core = { path = \"core\", features = [\"alloc\"] }\n") + "\n[workspace]\n";
    fs::write(folder.join("core/Cargo.toml"), manifest("flowrl-core", core)).expect("a manifest");
    fs::write(folder.join("Cargo.toml"), probe).expect("a manifest");
    fs::copy(Path::new(ROOT).join("Cargo.lock"), folder.join("Cargo.lock")).expect("the versions of the project");
    fs::create_dir_all(folder.join("src")).expect("a folder");
    fs::write(folder.join("src/main.rs"), PROBE).expect("a program");

    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--offline", "--quiet"]).current_dir(&folder).env("CARGO_TARGET_DIR", folder.join("target"));
    let output = cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
