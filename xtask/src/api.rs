//! `cargo xtask api`: `api.txt` in the folder of each library lists its public items.

use crate::args::Args;
use crate::command::{Outcome, cargo, compile, printed, program};
use crate::files;

const CRATES: [&str; 6] = ["core", "lab", "lm", "verify", "tables", "cuda"];

/// Writes the lists with `--update`, and otherwise compares them with the code.
pub(crate) fn run(mut args: Args) -> Outcome {
    let update = args.flag("--update");
    args.finish()?;
    if !update {
        return check();
    }
    lists()?.iter().try_for_each(|(file, text)| files::write(file.as_ref(), text))
}

/// Fails if a list differs from the code, and then shows the lines.
pub(crate) fn check() -> Outcome {
    let mut changes = String::new();
    for (file, text) in lists()? {
        changes += &difference(&file, &files::read(&file)?, &text);
    }
    if changes.is_empty() {
        return Ok(());
    }
    Err(format!("the public API has changed:\n{changes}`cargo xtask api --update` writes the new lists"))
}

/// Returns the path and the text of each list, as the code has it.
fn lists() -> Result<Vec<(String, String)>, String> {
    let packages = CRATES.map(|name| format!("-pflowrl-{name}"));
    let mut json = cargo(&["doc", "--no-deps", "--lib", "--all-features"]);
    json.args(&packages).env("RUSTDOC", files::absolute("xtask/api/rustdoc")?);
    compile(json.env("RUSTDOCFLAGS", "-Zunstable-options --output-format=json"))?;
    let folder = ["--manifest-path", "xtask/api/Cargo.toml", "--target-dir", "target/api"];
    compile(cargo(&["build", "--quiet", "--locked"]).args(folder))?;
    let list = |name| {
        let lister = program("target/api/debug/flowrl-api", &[&format!("target/doc/flowrl_{name}.json")]);
        Ok((format!("{name}/api.txt"), printed(lister)? + "\n"))
    };
    CRATES.into_iter().map(list).collect()
}

/// Returns the lines that only one of two lists has, under the name of the file, or nothing if the lists are equal.
fn difference(file: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let only = |sign: char, a: &str, b: &str| -> String {
        a.lines().filter(|line| !b.lines().any(|other| other == *line)).map(|line| format!("{sign} {line}\n")).collect()
    };
    format!("{file}:\n{}{}", only('-', old, new), only('+', new, old))
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_names_the_file_and_the_lines() {
        assert_eq!(difference("core/api.txt", "a\nb\n", "a\nb\n"), "");
        assert_eq!(difference("core/api.txt", "a\nb\nc\n", "a\nd\nc\n"), "core/api.txt:\n- b\n+ d\n");
    }
}
