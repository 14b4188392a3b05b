//! The result: held-out numbers before and after, in large type, in a table and in plain words.

use super::{
    format::{change, escape, number, push, quantity},
    run::Run,
};
use crate::metrics::term;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Better {
    Higher,
    Lower,
    /// Closer to 0, from either side.
    Smaller,
    /// Closer to the target, from either side.
    Closer,
    /// Neither: a fact to know.
    Neither,
}

/// A row of the table: metric, label, which way is better, and where the target is written.
const MEASURES: &[(&str, &str, Better, Option<Goal>)] = &[
    ("tv", "Total variation", Better::Lower, Some(Goal::Zero)),
    ("tv_fixed_point", "Total variation to the length-normalised fixed point", Better::Neither, None),
    ("l1", "L1", Better::Lower, Some(Goal::Zero)),
    ("kl", "KL(π ‖ π*)", Better::Lower, Some(Goal::Zero)),
    ("reverse_kl", "KL(π* ‖ π)", Better::Lower, Some(Goal::Zero)),
    ("jsd", "Jensen–Shannon divergence", Better::Lower, Some(Goal::Zero)),
    ("log_z_error", "log Z error", Better::Smaller, Some(Goal::Zero)),
    ("entropy", "Entropy of the objects", Better::Closer, Some(Goal::Metric("target_entropy"))),
    ("expected_reward", "Expected reward", Better::Closer, Some(Goal::Metric("target_expected_reward"))),
    ("kl_to_reference", "KL to the reference", Better::Closer, Some(Goal::Metric("target_kl_to_reference"))),
    ("modes_found", "Modes found", Better::Higher, Some(Goal::Metric("modes"))),
    ("eval_success_exact", "Success, exact", Better::Higher, Some(Goal::Metric("eval_success_target"))),
    ("eval_success", "Success, sampled", Better::Higher, Some(Goal::Metric("eval_success_target"))),
    ("eval_pass_at_1", "Pass@1", Better::Higher, None),
    ("eval_pass_at_4", "Pass@4", Better::Higher, None),
    ("eval_pass_at_8", "Pass@8", Better::Higher, None),
    ("eval_pass_at_16", "Pass@16", Better::Higher, None),
    ("eval_distinct_correct", "Distinct correct answers", Better::Higher, Some(Goal::Metric("eval_solutions"))),
    ("eval_kl_on_correct", "Diversity lost (KL on correct)", Better::Lower, Some(Goal::Zero)),
    ("eval_log_z_error", "log Z error", Better::Smaller, Some(Goal::Zero)),
    ("eval_entropy", "Entropy", Better::Neither, None),
    ("eval_length_mean", "Mean length", Better::Neither, None),
];

/// The numbers in large type: of each line the first that was measured.
const HERO: &[&[&str]] = &[
    &["tv"],
    &["expected_reward"],
    &["entropy"],
    &["modes_found"],
    &["eval_success_exact", "eval_success"],
    &["eval_pass_at_8"],
    &["eval_distinct_correct"],
    &["eval_kl_on_correct"],
];

#[derive(Clone, Copy, Debug)]
enum Goal {
    Zero,
    Metric(&'static str),
}

/// A measure with its values in one run.
#[derive(Debug)]
struct Row {
    metric: &'static str,
    label: &'static str,
    unit: &'static str,
    before: f64,
    /// Absent when there was only one evaluation.
    after: Option<f64>,
    target: Option<f64>,
    better: Better,
}

impl Row {
    fn all(run: &Run) -> Vec<Self> {
        MEASURES.iter().filter_map(|measure| Self::of(run, measure)).collect()
    }

    fn of(
        run: &Run,
        (metric, label, better, goal): &(&'static str, &'static str, Better, Option<Goal>),
    ) -> Option<Self> {
        // Outside the lab it is an estimate from each batch: a curve, not a result.
        if *metric == "log_z_error" && run.ends("tv").is_none() {
            return None;
        }
        let (first, last) = run.ends(metric)?;
        let target = match goal {
            None => None,
            Some(Goal::Zero) => Some(0.0),
            Some(Goal::Metric(name)) => run.ends(name).map(|(_, last)| last.1),
        };
        Some(Self {
            metric,
            label,
            unit: term(metric).map_or("", |term| term.1),
            before: first.1,
            after: (last.0 > first.0).then_some(last.1),
            target,
            better: *better,
        })
    }

    /// `Some(true)` if it got better, `Some(false)` if worse.
    fn improved(&self) -> Option<bool> {
        let (before, after) = (self.before, self.after?);
        match self.better {
            _ if quantity(before, self.unit) == quantity(after, self.unit) => None,
            Better::Higher => Some(after > before),
            Better::Lower => Some(after < before),
            Better::Smaller => Some(after.abs() < before.abs()),
            Better::Closer => self.target.map(|target| (after - target).abs() < (before - target).abs()),
            Better::Neither => None,
        }
    }

    fn sentence(&self) -> Option<String> {
        let after = self.after?;
        let verb = if after > self.before { "rose" } else { "fell" };
        let (from, to) = (quantity(self.before, self.unit), quantity(after, self.unit));
        let target = self.target.map(|target| format!("; the target is {}", quantity(target, self.unit)));
        Some(format!("{} {verb} from {from} to {to}{}.", self.label, target.unwrap_or_default()))
    }
}

/// The section's content.
pub(crate) fn render(run: &Run) -> String {
    let rows = Row::all(run);
    let mut out = String::new();
    if rows.is_empty() {
        without_evaluation(&mut out, run);
    } else {
        lead(&mut out, run);
        hero(&mut out, &rows);
        in_words(&mut out, &rows);
        table(&mut out, &rows);
    }
    notes(&mut out, run);
    out
}

fn lead(out: &mut String, run: &Run) {
    let measured = |name: &str| name.starts_with("eval_") || name == "tv";
    let step = |record: &&crate::metrics::Record| record.iter().any(|(name, _)| measured(name));
    let steps: Vec<f64> =
        run.records.iter().filter(step).filter_map(|record| record.step()).map(|s| s as f64).collect();
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return };
    push(
        out,
        format_args!(
            "<p class=lead>{}, before (step {}) and after (step {}).</p>",
            if run.ends("tv").is_some() { "Exact measures over all objects" } else { "Held-out prompts" },
            number(*first),
            number(*last)
        ),
    );
}

fn hero(out: &mut String, rows: &[Row]) {
    let find = |names: &&[&str]| names.iter().find_map(|name| rows.iter().find(|row| row.metric == *name));
    let shown: Vec<&Row> = HERO.iter().filter_map(find).collect();
    out.push_str("<div class=hero>");
    for row in shown {
        push(
            out,
            format_args!(
                "<div><span class=name>{}</span><b>{}</b><span>",
                row.label,
                quantity(row.after.unwrap_or(row.before), row.unit)
            ),
        );
        if row.after.is_some() {
            push(out, format_args!("before {}", quantity(row.before, row.unit)));
        }
        if let Some(target) = row.target {
            push(
                out,
                format_args!("{}target {}", if row.after.is_some() { " · " } else { "" }, quantity(target, row.unit)),
            );
        }
        out.push_str("</span></div>");
    }
    out.push_str("</div>");
}

/// What got better and, no smaller, what got worse.
fn in_words(out: &mut String, rows: &[Row]) {
    if rows.iter().all(|row| row.after.is_none()) {
        return;
    }
    out.push_str("<div class=verdicts>");
    for (title, good) in [("Got better", true), ("Got worse", false)] {
        push(out, format_args!("<div><h3>{title}</h3><ul>"));
        let changed = rows.iter().filter(|row| row.improved() == Some(good));
        let sentences: Vec<String> = changed.filter_map(Row::sentence).collect();
        if sentences.is_empty() {
            out.push_str("<li>Nothing that was measured.</li>");
        }
        sentences.iter().for_each(|sentence| push(out, format_args!("<li>{}</li>", escape(sentence))));
        out.push_str("</ul></div>");
    }
    out.push_str("</div>");
}

fn table(out: &mut String, rows: &[Row]) {
    out.push_str(
        "<div class=scroll><table><thead><tr><th>measure</th><th>before</th><th>after</th><th>target</th>\
         <th>change</th><th></th></tr></thead><tbody>",
    );
    let or_dash = |x: Option<f64>, unit| x.map_or_else(|| "–".to_owned(), |x| quantity(x, unit));
    for row in rows {
        let by = row.after.map_or_else(|| "–".to_owned(), |after| change(after - row.before, row.unit));
        let judged = match row.improved() {
            Some(true) => "<span class=good>better</span>",
            Some(false) => "<span class=bad>worse</span>",
            None => "",
        };
        push(
            out,
            format_args!(
                "<tr><th scope=row title='{}'>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{by}</td><td>{judged}</td>",
                escape(term(row.metric).map_or("", |term| term.2)),
                row.label,
                quantity(row.before, row.unit),
                or_dash(row.after, row.unit),
                or_dash(row.target, row.unit),
            ),
        );
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    if rows.iter().any(|row| row.metric == "eval_success_exact") {
        out.push_str(
            "<p class=about>Exact values come from enumerating every correct answer and carry no sampling noise; \
             sampled ones, pass@k and distinct answers do.</p>",
        );
    }
}

fn without_evaluation(out: &mut String, run: &Run) {
    out.push_str("<p class=lead>No evaluation on held-out prompts was recorded.</p>");
    let series = run.series("success");
    let finite: Vec<f64> = series.iter().map(|(_, y)| *y).filter(|y| y.is_finite()).collect();
    if finite.len() >= 2 {
        let tenth = finite.len().div_ceil(10);
        let mean = |part: &[f64]| quantity(part.iter().sum::<f64>() / part.len() as f64, "fraction");
        push(
            out,
            format_args!(
                "<div class=hero><div><span class=name>Success on training prompts</span><b>{}</b>\
                 <span>first tenth of the run {}; the last tenth is shown</span></div></div>",
                mean(&finite[finite.len() - tenth..]),
                mean(&finite[..tenth])
            ),
        );
    }
}

/// What a reader must know before trusting the curves.
fn notes(out: &mut String, run: &Run) {
    let mut notes = Vec::new();
    if let Some((_, (_, skipped))) = run.ends("skipped_updates").filter(|(_, last)| last.1 > 0.0) {
        notes.push(format!("{} updates were skipped because the gradient was not finite.", number(skipped)));
    }
    for name in run.metrics() {
        let values = run.series(name);
        let broken = values.iter().filter(|(_, y)| !y.is_finite()).count();
        if broken > 0 {
            notes.push(format!("{name} was not finite in {broken} of {} records; its line has gaps.", values.len()));
        }
    }
    let deviation = run.series("first_ratio_deviation").into_iter().map(|(_, y)| y).fold(0.0, f64::max);
    if deviation > 0.0 {
        notes.push(format!(
            "The first log-ratio after sampling was up to {} instead of 0: sampler and trainer disagree by that much.",
            number(deviation)
        ));
    }
    if let Some((_, (_, cut))) = run.ends("truncated_fraction").filter(|(_, last)| last.1 > 0.2) {
        notes.push(format!("{} of the last completions hit the length limit.", quantity(cut, "fraction")));
    }
    if notes.is_empty() {
        return;
    }
    out.push_str("<div class=note><ul>");
    for note in notes {
        push(out, format_args!("<li>{}</li>", escape(&note)));
    }
    out.push_str("</ul></div>");
}
