//! The pages generated from the measurements.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::methods::{CHOOSING, Knob, LONG, METHODS, Method, REPORTED, SHOWN, STANDARD, STEPS};
use super::{Choice, Frontier, Point, grid};
use crate::compare::Summary;
use crate::format::push;

/// Start and end of the generated part of the README.
const BEGIN: &str = "<!-- made by cargo xtask frontier -->\n";
const END: &str = "<!-- as far as here -->\n";

impl Frontier {
    /// Returns the path and the text of every file of the repository that is generated from the measurements: picture,
    /// page and README.
    pub fn documents(&self, root: &Path) -> Result<Vec<(PathBuf, String)>> {
        let readme = root.join("README.md");
        let text = std::fs::read_to_string(&readme).with_context(|| format!("cannot read {}", readme.display()))?;
        let text = text.replace("\r\n", "\n");
        let parts = text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?)));
        let (head, (old, tail)) =
            parts.with_context(|| format!("{}: no part between `{BEGIN}` and `{END}`", readme.display()))?;
        // The present text stays until there are rows to replace it.
        let block = if self.reported_rows().is_empty() { old.to_owned() } else { self.summary_block() };
        Ok(vec![
            (root.join("docs/frontier.svg"), self.picture()),
            (root.join("docs/frontier.md"), self.page()),
            (readme, format!("{head}{BEGIN}{block}{END}{tail}")),
        ])
    }

    /// Returns the generated part of the README: picture, table and claims.
    pub(super) fn summary_block(&self) -> String {
        let mut out = format!(
            "\n![Success over diversity lost for each objective, for several values of β or the KL weight](docs/frontier.svg)\n\n{}\n\n",
            self.caption()
        );
        out += &self.reported_table();
        for said in self.claim().into_iter().chain(self.limit_of_claim()) {
            push!(out, "\n{said}\n");
        }
        out + "\n[The frontier](docs/frontier.md) has all values, after fewer and after more steps.\n\n"
    }

    pub(super) fn page(&self) -> String {
        let mut out = String::from(
            "# The frontier\n\nEvery objective gives up some of the reference's diversity for success. How much depends on its β or its KL weight, so \
             objectives should be compared over a range of these values and not only at their defaults.\n\n\
             ![Success over diversity lost for each objective, for several values of β or the KL weight](frontier.svg)\n\n",
        );
        push!(out, "{}\n", self.caption());
        for (title, said) in [("What it shows", self.claim()), ("What it does not show", self.limit_of_claim())] {
            said.iter().for_each(|said| push!(out, "\n## {title}\n\n{said}\n"));
        }
        push!(out, "\n## Defaults and chosen values\n\n{}\n", self.reported_table());
        push!(
            out,
            "## Every value\n\nMean success / diversity lost over seeds {}, at several steps of runs of {STEPS} steps, in which the learning rate decays to 0 \
                 along a cosine. Last column: seed {} at the end of a separate run of {LONG} steps, for defaults and chosen values.\n\n",
            span(&CHOOSING),
            CHOOSING[0]
        );
        out += &self.full_table();
        push!(
            out,
            "\n## How it is measured\n\n`cargo xtask frontier` trains the built-in model on Countdown and adds a line to \
                 `cli/frontier/results.jsonl` for each run. If it is stopped, it continues with the missing runs. Success and diversity lost are exact, over every \
                 correct answer of 128 held-out prompts. The methods are listed in `cli/src/frontier/methods.rs`, one line each. `cargo xtask frontier --draw` \
                 writes this page, its picture and the README's table. The {} runs so far took {:.0} minutes of processor time to train.\n",
            self.runs.len(),
            self.runs.iter().map(|run| run.cpu_s).sum::<f64>() / 60.0
        );
        out
    }

    fn caption(&self) -> String {
        let open = METHODS.iter().filter(|method| self.choice(method) == Choice::Open).count();
        let open = if open > 0 {
            format!(" The measurements of {open} of {} methods are incomplete.", METHODS.len())
        } else {
            String::new()
        };
        format!(
            "The built-in model on Countdown after {STEPS} steps. Each line is an objective with varying β or KL weight. Filled marks: the default and the chosen \
             value, seeds {}, with 95 % intervals; hollow marks: seeds {}. The value is chosen on seeds {}: it is the one with the least diversity lost among those \
             within one percentage point of `{STANDARD}`'s success at its default. The table gives mean ± standard error over seeds {}.{open}",
            span(&REPORTED),
            span(&CHOOSING),
            span(&CHOOSING),
            span(&REPORTED),
        )
    }

    /// Returns the defaults and the chosen values for which all reported seeds have been measured.
    pub(super) fn reported_rows(&self) -> Vec<(&'static Method, f64)> {
        self.all_reported().filter(|(method, value)| self.seeds_of(method, *value) == REPORTED).collect()
    }

    fn reported_table(&self) -> String {
        let mut out = String::from(
            "| objective | | success π(C) | KL(π_ref(·\\|C) ‖ π(·\\|C)) | pass@8 | distinct correct in 16 |\n|---|---|--:|--:|--:|--:|\n",
        );
        let rows = self.reported_rows();
        if let Some(&(method, value)) = rows.first() {
            let at = |measure: fn(&Point) -> f64, unit| self.shown((method, value), 0, measure, unit);
            let (success, found) = (at(|point| point.success, "fraction"), at(|point| point.pass_at_8, "fraction"));
            push!(out, "| before | | {success} | 0 | {found} | {} |\n", at(|point| point.distinct, ""));
        }
        for (method, value) in rows {
            let at = |measure: fn(&Point) -> f64, unit| self.shown((method, value), STEPS, measure, unit);
            let which = match (self.choice(method), value == method.default) {
                _ if method.knob == Knob::Fixed => "default",
                (Choice::NoneReaches, _) => "default; no value succeeds as often",
                (Choice::Value(chosen), true) if chosen == value => "default and chosen",
                (_, true) => "default",
                (_, false) => "chosen",
            };
            let label = method.label(value);
            let label = if label.is_empty() { which.to_owned() } else { format!("{label}, {which}") };
            push!(
                out,
                "| {} | {label} | {} | {} | {} | {} |\n",
                method.shown(),
                at(|point| point.success, "fraction"),
                at(|point| point.lost, ""),
                at(|point| point.pass_at_8, "fraction"),
                at(|point| point.distinct, "")
            );
        }
        out
    }

    /// Formats the mean ± standard error over the reported seeds.
    fn shown(&self, at: (&Method, f64), step: u64, measure: fn(&Point) -> f64, unit: &str) -> String {
        let summary = self.over(at, &REPORTED, (step, STEPS), measure);
        summary.map_or_else(|| "–".into(), |summary| standard_error(summary).show(unit))
    }

    fn full_table(&self) -> String {
        let mut out = String::from("| objective | |");
        SHOWN.iter().for_each(|step| push!(out, " {step} |"));
        push!(out, " {LONG} |\n|---|---|{}\n", "--:|".repeat(SHOWN.len() + 1));
        for (method, value) in grid() {
            push!(out, "| {} | {} |", method.shown(), method.label(value));
            let short = SHOWN.iter().map(|step| (&CHOOSING[..], (*step, STEPS)));
            for (seeds, step) in short.chain([(&CHOOSING[..1], (LONG, LONG))]) {
                let mean = |measure: fn(&Point) -> f64| Some(self.over((method, value), seeds, step, measure)?.mean);
                match mean(|point| point.success).zip(mean(|point| point.lost)) {
                    Some((success, lost)) => push!(out, " {:.1} % / {lost:.3} |", 100.0 * success),
                    None => out.push_str(" – |"),
                }
            }
            out.push('\n');
        }
        out
    }
}

/// Replaces the standard deviation of a summary by the standard error of the mean.
pub(super) fn standard_error(summary: Summary) -> Summary {
    Summary { sd: summary.sd.map(|sd| sd / (summary.n as f64).sqrt()), ..summary }
}

/// Formats consecutive seeds, for example `2–6`.
fn span(seeds: &[u64]) -> String {
    match seeds {
        [first, .., last] => format!("{first}–{last}"),
        _ => seeds.iter().map(u64::to_string).collect(),
    }
}
