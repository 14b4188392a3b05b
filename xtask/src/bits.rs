//! The step `wasm` of `cargo xtask test`: WebAssembly must give the same bits as this machine.

use crate::WORKSPACE;
use crate::command::{cargo, compile, output, program};
use crate::features::install_target;

const TARGET: &str = "wasm32-unknown-unknown";
const MODULE: &str = "target/wasm32-unknown-unknown/debug/flowrl_bits.wasm";
const SCRIPT: &str = "tests/bits/run.mjs";

/// Builds and runs `tests/bits` for both, compares every line, and returns their number. Returns None if node is not
/// installed.
pub(crate) fn same_in_wasm() -> Result<Option<usize>, String> {
    if output(program("node", &["--version"])).is_none() {
        return Ok(None);
    }
    install_target(TARGET)?;
    compile(cargo(&["build", "-p", "flowrl-bits", "--lib", "--target", TARGET]))?;
    // Built with the workspace, the core has the fast building blocks that it lacks in WebAssembly.
    compile(cargo(&[&["build", "--bin", "flowrl-bits"], &WORKSPACE[..]].concat()))?;
    let native = print(program("target/debug/flowrl-bits", &[]))?;
    let wasm = print(program("node", &[SCRIPT, MODULE]))?;
    same("this machine", &native, "WebAssembly", &wasm).map(Some)
}

/// Runs a program and returns its output.
pub(crate) fn print(command: std::process::Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    output(command).ok_or_else(|| format!("{shown} failed; run it by hand to see why"))
}

/// Returns the number of lines of two texts. Fails if they differ or are empty, and then shows the first difference.
pub(crate) fn same(a_name: &str, a: &str, b_name: &str, b: &str) -> Result<usize, String> {
    let (count_a, count_b) = (a.lines().count(), b.lines().count());
    if let Some((a, b)) = a.lines().zip(b.lines()).find(|(a, b)| a != b) {
        return Err(format!("the bits differ:\n  {a_name}: {a}\n  {b_name}: {b}"));
    }
    match count_a == count_b && count_a > 0 {
        true => Ok(count_a),
        false => Err(format!("{a_name} printed {count_a} lines, {b_name} {count_b}")),
    }
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn the_first_difference_is_shown() {
        assert_eq!(same("a", "x 1\ny 2", "b", "x 1\ny 2"), Ok(2));
        assert!(same("a", "x 1\ny 2", "b", "x 1\ny 3").unwrap_err().contains("a: y 2\n  b: y 3"));
        assert!(same("a", "x 1\ny 2", "b", "x 1").unwrap_err().contains("a printed 2 lines, b 1"));
        assert!(same("a", "", "b", "").is_err());
    }
}
