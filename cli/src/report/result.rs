//! The result: evaluations before and after training, in large type, in words and in a table.

use flowrl_core::metrics::{Better, Chart, Metric, Rank, Source};

use super::page::note_box;
use super::run::Run;
use crate::format::{change, escape, number, push, quantity};
use crate::frontier::Frontier;
use crate::metrics::{error_name, get, results, sets, with_error};
use crate::run_dir::best::Best;

/// A metric with its first and last value in a run.
#[derive(Debug)]
struct Row {
    metric: &'static Metric,
    before: f64,
    /// `None` if there was only one evaluation.
    after: Option<f64>,
    /// Standard errors of `before` and `after`, if the metric is sampled.
    errors: Option<(f64, f64)>,
    target: Option<f64>,
}

impl Row {
    fn all(run: &Run) -> Vec<Self> {
        results(run.measured()).filter_map(|metric| Self::of(run, metric)).collect()
    }

    fn of(run: &Run, metric: &'static Metric) -> Option<Self> {
        let (first, last) = run.ends(metric.name)?;
        let after = (last.0 > first.0).then_some(last.1);
        let errors = run.ends(&error_name(metric.name)).map(|(first, last)| (first.1, last.1));
        Some(Self { metric, before: first.1, after, errors, target: run.target(metric) })
    }

    fn show(&self, x: f64) -> String {
        quantity(x, self.metric.unit)
    }

    fn show_before(&self) -> String {
        with_error(self.before, self.errors.map(|(before, _)| before), self.metric.unit)
    }

    fn show_after(&self) -> Option<String> {
        Some(with_error(self.after?, self.errors.map(|(_, after)| after), self.metric.unit))
    }

    /// Returns whether the change is within sampling noise: at most two standard errors of the difference, computed as
    /// if the two evaluations were independent.
    fn is_noise(&self) -> bool {
        let change = self.after.map_or(0.0, |after| (after - self.before).abs());
        self.errors.is_some_and(|(before, after)| change <= 2.0 * before.hypot(after))
    }

    /// Returns `Some(true)` if the metric got better, `Some(false)` if it got worse, and `None` if neither can be said.
    fn improved(&self) -> Option<bool> {
        let (before, after) = (self.before, self.after?);
        match self.metric.better {
            _ if self.is_noise() => None,
            _ if self.show(before) == self.show(after) => None,
            Better::Up => Some(after > before),
            Better::Down => Some(after < before),
            Better::Closer => self.target.map(|target| (after - target).abs() < (before - target).abs()),
            Better::Neither => None,
        }
    }

    fn sentence(&self) -> Option<String> {
        let after = self.after?;
        let verb = if after > self.before { "rose" } else { "fell" };
        let (from, to) = (self.show_before(), self.show_after()?);
        let target = self.target.map(|target| format!("; the target is {}", self.show(target)));
        Some(format!("{} {verb} from {from} to {to}{}.", self.metric.label, target.unwrap_or_default()))
    }
}

/// Returns the section's content.
pub(crate) fn render(run: &Run, best: Option<&Best>) -> String {
    let rows: Vec<Row> = Row::all(run);
    let mut out = String::new();
    if rows.is_empty() {
        without_evaluation(&mut out, run);
    } else {
        lead(&mut out, run);
        hero(&mut out, &rows);
        in_words(&mut out, &rows);
        table(&mut out, &rows);
        // A test parses the embedded file.
        out += &on_the_frontier(run, &Frontier::measured().expect("the embedded measurements parse"));
    }
    if let Some(best) = best {
        by_best(&mut out, run, best);
    }
    out + &notes(run)
}

fn lead(out: &mut String, run: &Run) {
    let measured = |name: &str| get(name).is_some_and(|metric| metric.evaluated);
    let step = |record: &&crate::metrics::Record| record.numbers().any(|(name, _)| measured(name));
    let steps: Vec<f64> =
        run.records.iter().filter(step).filter_map(|record| record.step()).map(|s| s as f64).collect();
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return };
    let count = |name: &str| Some(number(run.ends(name)?.1.1));
    let names = run.metrics();
    let all = std::iter::once(None).chain(sets::sets(names).into_iter().map(Some));
    let counts = all.filter_map(|set| {
        let [prompts, samples] = ["eval_prompts", "eval_samples"].map(|name| count(&sets::in_set(set, name)));
        let of = set.map_or_else(|| "held-out prompts".to_owned(), |set| format!("prompts of {set}"));
        Some(format!("{} {of} with {} completions each", prompts?, samples?))
    });
    let of = match counts.collect::<Vec<_>>().join("; ") {
        counts if !counts.is_empty() => counts,
        _ if run.ends("tv").is_some() => "Exact measures over all objects".to_owned(),
        _ => "Held-out prompts".to_owned(),
    };
    let after = if first < last { format!(" and after (step {})", number(*last)) } else { String::new() };
    push!(out, "<p class=lead>{of}, before (step {}){after}.</p>", number(*first));
}

fn hero(out: &mut String, rows: &[Row]) {
    out.push_str("<div class=hero>");
    // An estimate is left out if it is drawn on the chart of its exact value.
    let is_exact = |row: &Row| row.metric.source == Source::Exact;
    let is_known = |row: &Row| {
        !is_exact(row) && rows.iter().any(|host| is_exact(host) && row.metric.chart == Chart::On(host.metric.name))
    };
    for row in rows.iter().filter(|row| row.metric.rank == Rank::Headline && !is_known(row)) {
        let now = row.show(row.after.unwrap_or(row.before));
        push!(out, "<div><span class=name>{}</span><b>{now}</b><span>", row.metric.label);
        let before = row.after.map(|_| format!("before {}", row.show(row.before)));
        let target = row.target.map(|target| format!("target {}", row.show(target)));
        out.push_str(&before.into_iter().chain(target).collect::<Vec<_>>().join(" · "));
        out.push_str("</span></div>");
    }
    out.push_str("</div>");
}

/// Appends what got better and, in the same size, what got worse.
fn in_words(out: &mut String, rows: &[Row]) {
    if rows.iter().all(|row| row.after.is_none()) {
        return;
    }
    out.push_str("<div class=verdicts>");
    for (title, good) in [("Got better", true), ("Got worse", false)] {
        push!(out, "<div><h3>{title}</h3><ul>");
        let changed = rows.iter().filter(|row| row.improved() == Some(good));
        let sentences: Vec<String> = changed.filter_map(Row::sentence).collect();
        if sentences.is_empty() {
            out.push_str("<li>No measured metric.</li>");
        }
        sentences.iter().for_each(|sentence| push!(out, "<li>{}</li>", escape(sentence)));
        out.push_str("</ul></div>");
    }
    out.push_str("</div>");
}

fn table(out: &mut String, rows: &[Row]) {
    out.push_str(
        "<div class=scroll><table><thead><tr><th>measure</th><th>before</th><th>after</th><th>target</th>\
         <th>change</th><th></th></tr></thead><tbody>",
    );
    for row in rows {
        let dash = || "–".to_owned();
        let by = row.after.map_or_else(|| "–".to_owned(), |after| change(after - row.before, row.metric.unit));
        let judged = match row.improved() {
            Some(true) => "<span class=good>better</span>",
            Some(false) => "<span class=bad>worse</span>",
            None => "",
        };
        push!(
            out,
            "<tr><th scope=row title='{}'>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{by}</td><td>{judged}</td></tr>",
            escape(row.metric.meaning),
            row.metric.label,
            row.show_before(),
            row.show_after().unwrap_or_else(dash),
            row.target.map_or_else(dash, |x| row.show(x)),
        );
    }
    out.push_str("</tbody></table></div>");
    let sampled: Vec<&str> = rows
        .iter()
        .filter(|row| row.metric.source == Source::Sampled && row.metric.evaluated)
        .map(|row| row.metric.label)
        .collect();
    if !sampled.is_empty() {
        push!(
            out,
            "<p class=about>Estimated from samples: {}. ± is the standard error over prompts; a change within two of them counts as neither \
                 better nor worse.</p>",
            sampled.join("; ")
        );
    }
}

/// Returns a chart of the run among the measured objectives; it is empty if they have another task or model, or if the
/// run has no exact evaluation.
pub(crate) fn on_the_frontier(run: &Run, frontier: &Frontier) -> String {
    let last = |name: &str| Some(run.ends(name)?.1);
    let own = last("eval_kl_on_correct").zip(last("eval_success_exact")).filter(|_| frontier.is_of(&run.config));
    own.map(|(lost, success)| frontier.figure((lost.1, success.1), success.0 as u64)).unwrap_or_default()
}

/// Says which checkpoint is the best, and whether the run stopped early because the metric no longer improved.
fn by_best(out: &mut String, run: &Run, best: &Best) {
    let step = run.records.iter().filter_map(|record| record.step()).max().unwrap_or(0);
    let steps = run.config.get("train").and_then(|train| train.get("steps")?.as_integer());
    let stopped = steps.and_then(|steps| best.why_stopped(step, steps.try_into().ok()?));
    for mut line in best.line().into_iter().chain(stopped) {
        line[..1].make_ascii_uppercase();
        push!(out, "<p>{}.</p>", escape(&line));
    }
}

fn without_evaluation(out: &mut String, run: &Run) {
    out.push_str("<p class=lead>No evaluation on held-out prompts was recorded.</p>");
    let series = run.series("success");
    let finite: Vec<f64> = series.iter().map(|(_, y)| *y).filter(|y| y.is_finite()).collect();
    if finite.len() >= 2 {
        let tenth = finite.len().div_ceil(10);
        let mean = |part: &[f64]| quantity(part.iter().sum::<f64>() / part.len() as f64, "fraction");
        push!(
            out,
            "<div class=hero><div><span class=name>Success on training prompts</span><b>{}</b>\
                 <span>first tenth of the run {}; the last tenth is shown</span></div></div>",
            mean(&finite[finite.len() - tenth..]),
            mean(&finite[..tenth])
        );
    }
}

/// Returns a note if the objective does not converge to the targets shown.
fn other_fixed_point(run: &Run) -> Option<String> {
    run.ends("eval_success_target")?;
    let objective = run.config.get("objective")?.as_table()?;
    let plain = [("length", "sum"), ("reward", "raw")];
    let differs = plain.iter().filter_map(|(key, plain)| {
        let value = objective.get(*key)?;
        (value.as_str() != Some(plain)).then(|| format!("{key} = {value}"))
    });
    let differs: Vec<String> = differs.collect();
    (!differs.is_empty()).then(|| {
        format!(
            "The targets are those of plain trajectory balance, π_ref·exp(βr)/Z; with {} this objective settles elsewhere.",
            differs.join(" and ")
        )
    })
}

/// Returns the caveats that a reader needs before trusting the curves.
fn notes(run: &Run) -> String {
    let mut notes: Vec<String> = other_fixed_point(run).into_iter().collect();
    if let Some((_, (_, skipped))) = run.ends("skipped_updates").filter(|(_, last)| last.1 > 0.0) {
        notes.push(format!("{} updates were skipped because the gradient was not finite.", number(skipped)));
    }
    for name in run.metrics() {
        let values = run.series(name);
        let broken = values.iter().filter(|(_, y)| !y.is_finite()).count();
        if broken > 0 {
            notes.push(format!("{name} was not finite in {broken} of {} records; its curve has gaps.", values.len()));
        }
    }
    let deviation = run.series("first_ratio_deviation").into_iter().map(|(_, y)| y).fold(0.0, f64::max);
    if deviation > 0.0 {
        notes.push(format!(
            "The first log-ratio after sampling was up to {} instead of 0: the sampler and the trainer disagree by that much.",
            number(deviation)
        ));
    }
    if let Some((_, (_, cut))) = run.ends("truncated_fraction").filter(|(_, last)| last.1 > 0.2) {
        notes.push(format!("{} of the last completions hit the length limit.", quantity(cut, "fraction")));
    }
    note_box(&notes)
}
