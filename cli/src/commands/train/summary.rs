//! What a run prints at its end.

use std::path::Path;

use anyhow::Result;

use crate::metrics;
use crate::run_dir::RunDir;
use crate::say;

const ROWS: [(&str, &str); 9] = [
    ("success, sampled", "eval_success"),
    ("success, exact π(C)", "eval_success_exact"),
    ("  its target π*(C)", "eval_success_target"),
    ("pass@8", "eval_pass_at_8"),
    ("distinct correct answers", "eval_distinct_correct"),
    ("  of those that exist", "eval_solutions"),
    ("KL(π_ref(·|C) ‖ π(·|C))", "eval_kl_on_correct"),
    ("|log Z error|", "eval_log_z_error"),
    ("entropy per token", "eval_entropy"),
];

/// Prints the first and the last evaluation side by side.
pub(super) fn print(directory: &RunDir, report: &Path) -> Result<()> {
    let records = metrics::read(&directory.metrics())?;
    let evaluated: Vec<_> = records.iter().filter(|r| r.number("eval_success").is_some()).collect();
    if let [before, .., after] = evaluated[..] {
        say!("{:28} {:>9} {:>9}", "on held-out prompts", "before", "after");
        for (label, name) in ROWS {
            if let (Some(a), Some(b)) = (before.number(name), after.number(name)) {
                say!("{label:28} {a:9.3} {b:9.3}");
            }
        }
        say!("");
    }
    if let Some(deviation) = records.iter().filter_map(|r| r.number("first_ratio_deviation")).reduce(f64::max) {
        say!("largest |log π − log π_old| in a first update: {deviation:e}");
    }
    say!("report: {}", report.display());
    Ok(())
}
