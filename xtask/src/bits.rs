//! The step `wasm` of `cargo xtask test`: WebAssembly must give the same bits as this machine.

use crate::command::{Check, Unpassed, cargo, cargo_workspace, compile, printed, program, tell};
use crate::install;

const TARGET: &str = "wasm32-unknown-unknown";
const MODULE: &str = "target/wasm32-unknown-unknown/debug/flowrl_bits.wasm";
const SCRIPT: &str = "tests/bits/run.mjs";

pub(crate) fn same_in_wasm() -> Check {
    if !install::is_there("node") {
        return Err(Unpassed::Skipped("node is not installed".to_owned()));
    }
    install::target(TARGET)?;
    compile(cargo(&["build", "-p", "flowrl-bits", "--lib", "--target", TARGET]))?;
    // Built with the workspace, the core has the fast building blocks that it lacks in WebAssembly.
    compile(cargo_workspace("build", &["--bin", "flowrl-bits"]))?;
    let native = printed(program("target/debug/flowrl-bits", &[]))?;
    let wasm = printed(program("node", &[SCRIPT, MODULE]))?;
    let lines = same("this machine", &native, "WebAssembly", &wasm)?;
    tell(&format!("{lines} lines, the same bits"));
    Ok(())
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
