//! What a run prints at its end.

use anyhow::Result;

use crate::metrics;
use crate::run_dir::RunDir;

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

/// The first and the last evaluation side by side.
pub(super) fn lines(directory: &RunDir) -> Result<Vec<String>> {
    let records = metrics::read(&directory.metrics())?;
    let mut lines = Vec::new();
    let evaluated: Vec<_> = records.iter().filter(|r| r.number("eval_success").is_some()).collect();
    if let [before, .., after] = evaluated[..] {
        lines.push(format!("{:28} {:>9} {:>9}", "on held-out prompts", "before", "after"));
        for (label, name) in ROWS {
            if let (Some(a), Some(b)) = (before.number(name), after.number(name)) {
                lines.push(format!("{label:28} {a:9.3} {b:9.3}"));
            }
        }
        lines.push(String::new());
    }
    if let Some(deviation) = records.iter().filter_map(|r| r.number("first_ratio_deviation")).reduce(f64::max) {
        lines.push(format!("largest |log π − log π_old| in a first update: {deviation:e}"));
    }
    Ok(lines)
}
