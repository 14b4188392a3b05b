//! The summary that a run of a language model prints at its end.

use anyhow::Result;

use crate::metrics::{self, Record, before_and_after, sets};
use crate::run::duration;
use crate::run_dir::RunDir;

/// Returns the first and the last evaluation next to each other, the number of prompts and completions behind them, and
/// the speed and problems of training.
pub(super) fn lines(directory: &RunDir, is_stored: bool) -> Result<Vec<String>> {
    let records = metrics::read(&directory.metrics())?;
    let names = records.iter().flat_map(Record::numbers).map(|(name, _)| name);
    let count = |name: &str| records.iter().rev().find_map(|record| record.number(name));
    let mut lines = Vec::new();
    for set in std::iter::once(None).chain(sets::sets(names).into_iter().map(Some)) {
        let title = set.map_or_else(|| "on held-out prompts".to_owned(), |set| format!("on {set}"));
        let measured = before_and_after(&title, set, &records);
        let counts = ["eval_prompts", "eval_samples"].map(|name| count(&sets::in_set(set, name)));
        let is_empty = measured.is_empty();
        lines.extend(measured);
        if let (false, [Some(prompts), Some(samples)]) = (is_empty, counts) {
            lines.push(format!(
                "of {prompts} prompts with {samples} completions each, {} in all; ± is the standard error over prompts",
                prompts * samples
            ));
            lines.push(String::new());
        }
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
            "in the first update of a step, the probabilities of completions differed by up to e^{deviation:.2e} from those at sampling: \
             sampling and scoring do not agree bit for bit"
        ));
    }
    Ok(lines)
}
