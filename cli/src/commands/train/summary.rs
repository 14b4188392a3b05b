//! What a run prints at its end.

use anyhow::Result;

use crate::metrics;
use crate::run::duration;
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
pub(super) fn lines(directory: &RunDir, is_stored: bool) -> Result<Vec<String>> {
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
    if let Some(last) = records.iter().rfind(|record| record.number("step_s").is_some()) {
        let number = |name| last.number(name).unwrap_or(0.0);
        let steps: Vec<f64> = records.iter().filter_map(|record| record.number("tokens_per_s")).collect();
        lines.push(format!(
            "{} steps in {}, without evaluations and checkpoints; {:.0} tokens/s",
            last.step().unwrap_or(0),
            duration(number("wall_s")),
            steps.iter().sum::<f64>() / steps.len().max(1) as f64
        ));
        if number("skipped_updates") > 0.0 {
            lines.push(format!("{} updates were skipped: their gradients were not finite", number("skipped_updates")));
        }
    }
    let deviation = records.iter().filter_map(|r| r.number("first_ratio_deviation")).reduce(f64::max);
    if let Some(deviation) = deviation.filter(|deviation| *deviation > 0.0 && !is_stored) {
        lines.push(format!(
            "the first update of a step saw completions whose probabilities differed by up to e^{deviation:.2e} from when they were sampled: \
             sampling and scoring do not agree to the bit"
        ));
    }
    Ok(lines)
}
