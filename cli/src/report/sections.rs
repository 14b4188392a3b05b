//! Which metrics are drawn where.

use super::{
    chart::{Along, Chart},
    page::Section,
    run::Run,
    series::{Point, Series},
};
use crate::metrics::term;

/// One chart: the metrics on common axes, each with its label.
#[derive(Debug)]
struct Plot {
    title: &'static str,
    lines: &'static [(&'static str, &'static str)],
    band: Band,
    target: Target,
    may_log: bool,
}

#[derive(Debug)]
enum Band {
    None,
    /// ± the named metric.
    Spread(&'static str),
    /// From one metric to another.
    Range(&'static str, &'static str),
}

#[derive(Debug)]
enum Target {
    None,
    Value(&'static str, f64),
    /// The last value of a metric.
    Metric(&'static str, &'static str),
}

impl Plot {
    const fn new(title: &'static str, lines: &'static [(&'static str, &'static str)]) -> Self {
        Self { title, lines, band: Band::None, target: Target::None, may_log: false }
    }

    const fn spread(self, metric: &'static str) -> Self {
        Self { band: Band::Spread(metric), ..self }
    }

    const fn range(self, low: &'static str, high: &'static str) -> Self {
        Self { band: Band::Range(low, high), ..self }
    }

    const fn ideal(self, value: f64) -> Self {
        Self { target: Target::Value("ideal", value), ..self }
    }

    const fn target(self, label: &'static str, metric: &'static str) -> Self {
        Self { target: Target::Metric(label, metric), ..self }
    }

    const fn log(self) -> Self {
        Self { may_log: true, ..self }
    }
}

const SECTIONS: &[(&str, &str, &[Plot])] = &[
    (
        "Distance to the target",
        "Exact: the learned distribution over all objects, by dynamic programming, beside the target π_ref·exp(βr)/Z.",
        &[
            Plot::new(
                "Total variation",
                &[("tv", "to the target"), ("tv_fixed_point", "to the length-normalised one")],
            )
            .ideal(0.0),
            Plot::new("KL divergence", &[("kl", "KL(π ‖ π*)"), ("reverse_kl", "KL(π* ‖ π)")]).log(),
            Plot::new("Jensen–Shannon divergence", &[("jsd", "JSD")]).log(),
            Plot::new("L1", &[("l1", "L1")]).log(),
            Plot::new("Entropy of the objects", &[("entropy", "entropy")]).target("target", "target_entropy"),
            Plot::new("Expected reward", &[("expected_reward", "expected reward")])
                .target("target", "target_expected_reward"),
            Plot::new("KL to the reference", &[("kl_to_reference", "KL to the reference")])
                .target("target", "target_kl_to_reference"),
            Plot::new("Modes found", &[("modes_found", "modes found")]).target("all that exist", "modes"),
            Plot::new("Probability of the modes", &[("mode_mass", "probability of the modes")]),
            Plot::new("Expected length", &[("expected_length", "expected length")]),
        ],
    ),
    (
        "Exact distances",
        "Held-out prompts, evaluated during the run. What can be enumerated is compared with the exact target rather than with samples.",
        &[
            Plot::new("Success on held-out prompts", &[("eval_success_exact", "exact"), ("eval_success", "sampled")])
                .target("target", "eval_success_target"),
            Plot::new("Diversity lost among correct answers", &[("eval_kl_on_correct", "KL on correct")]).ideal(0.0),
            Plot::new("Distinct correct answers", &[("eval_distinct_correct", "distinct correct")])
                .target("all that exist", "eval_solutions"),
            Plot::new(
                "Pass@k",
                &[
                    ("eval_pass_at_1", "k = 1"),
                    ("eval_pass_at_4", "k = 4"),
                    ("eval_pass_at_8", "k = 8"),
                    ("eval_pass_at_16", "k = 16"),
                ],
            ),
            Plot::new("log Z error on held-out prompts", &[("eval_log_z_error", "log Z error")]).ideal(0.0),
            Plot::new("Entropy on held-out prompts", &[("eval_entropy", "entropy")]),
            Plot::new("Length on held-out prompts", &[("eval_length_mean", "mean length")]),
        ],
    ),
    (
        "Reward and success",
        "What the sampled completions earned.",
        &[
            Plot::new("Reward", &[("reward_mean", "mean reward")]).spread("reward_std"),
            Plot::new("Success", &[("success", "success")]),
            Plot::new("Prompts with nothing to compare", &[("degenerate_groups", "degenerate groups")]),
            Plot::new("Spread of the shaped reward", &[("advantage_std", "std of shaped reward")]),
        ],
    ),
    (
        "Residual and loss",
        "How far the policy is from satisfying the balance condition: the residual is 0 everywhere at the target.",
        &[
            Plot::new("Loss", &[("loss", "loss")]).log(),
            Plot::new("Residual", &[("residual_mean", "mean residual")]).spread("residual_std").ideal(0.0),
            Plot::new("Largest residual", &[("residual_abs_max", "largest |residual|")]).log(),
        ],
    ),
    (
        "log Z",
        "The partition estimate. Under group rewards it stays close to 0 by construction; its error is what matters.",
        &[
            Plot::new("log Z", &[("log_z_mean", "mean log Z")]).spread("log_z_std").target("exact", "target_log_z"),
            Plot::new("log Z error", &[("log_z_error", "log Z error")]).ideal(0.0),
        ],
    ),
    (
        "Importance weights and clipping",
        "How much the samples are reweighted because the policy has moved since they were drawn.",
        &[
            Plot::new("Importance weight", &[("weight_mean", "mean weight")]).range("weight_min", "weight_max").log(),
            Plot::new("Effective sample size", &[("weight_ess", "effective sample size")]),
            Plot::new("Clipped", &[("clip_fraction", "weights clipped"), ("token_mask_fraction", "tokens masked")]),
            Plot::new("Off-policy drift", &[("old_log_ratio_max", "largest token log-ratio")]).log(),
            Plot::new("First ratio", &[("first_ratio_deviation", "deviation from 1, in logs")]).ideal(0.0),
        ],
    ),
    (
        "Entropy and distance to the reference",
        "Whether the policy still explores, and how far it has moved.",
        &[
            Plot::new("Entropy", &[("entropy_mean", "entropy per token")]),
            Plot::new("KL to the reference", &[("kl_ref", "KL per completion")]),
            Plot::new("Log-ratio to the reference", &[("ref_log_ratio", "log-ratio per token")]),
        ],
    ),
    (
        "Lengths",
        "Length normalisation makes the length of answers part of the objective: watch it.",
        &[
            Plot::new("Completion length", &[("length_mean", "mean"), ("length_max", "longest")]),
            Plot::new("Length-bias monitor", &[("length_bias", "length bias")]).ideal(0.0),
            Plot::new("Inverse length", &[("inverse_length_mean", "mean of 1/length")]),
            Plot::new("Truncated", &[("truncated_fraction", "truncated completions")]),
        ],
    ),
    (
        "Gradient and learning rate",
        "The size of each update.",
        &[
            Plot::new("Gradient norm", &[("grad_norm", "policy")]).log(),
            Plot::new("Gradient norm of log Z", &[("log_z_grad_norm", "log Z")]).log(),
            Plot::new("Learning rate", &[("learning_rate", "learning rate")]),
            Plot::new("Skipped updates", &[("skipped_updates", "skipped so far")]),
        ],
    ),
    (
        "Throughput",
        "Where the time goes.",
        &[
            Plot::new("Tokens per second", &[("tokens_per_s", "tokens per second")]),
            Plot::new("Trajectories per second", &[("trajectories_per_s", "trajectories per second")]),
            Plot::new("Trajectories", &[("trajectories", "trajectories so far")]),
            Plot::new("Time", &[("wall_s", "wall clock"), ("cpu_s", "processor")]),
            Plot::new("Time per step", &[("step_s", "whole step"), ("sample_s", "sampling"), ("update_s", "update")]),
        ],
    ),
];

/// Metrics that are shown as a target, a band or an axis, not as a line.
const SHOWN_OTHERWISE: &[&str] = &[
    "step",
    "reward_std",
    "residual_std",
    "log_z_std",
    "weight_min",
    "weight_max",
    "eval_success_target",
    "eval_success_ref",
    "eval_solutions",
    "target_entropy",
    "target_expected_reward",
    "target_kl_to_reference",
    "target_log_z",
    "modes",
];

/// One section per theme with the charts whose metrics exist; metrics that nobody foresaw come last.
pub(crate) fn render(run: &Run) -> Vec<Section> {
    let mut sections: Vec<Section> = SECTIONS
        .iter()
        .map(|(title, lead, plots)| {
            let charts: Vec<Chart> = plots.iter().filter_map(|plot| chart(run, plot)).collect();
            Section { title, body: charts_with(lead, &charts) }
        })
        .collect();

    let drawn = |name: &str| {
        let mut lines = SECTIONS.iter().flat_map(|(_, _, plots)| plots.iter().flat_map(|plot| plot.lines));
        SHOWN_OTHERWISE.contains(&name) || lines.any(|(metric, _)| *metric == name)
    };
    let others: Vec<Chart> = run
        .metrics()
        .into_iter()
        .filter(|name| !drawn(name))
        .filter_map(|name| {
            let series = Series { label: name.to_owned(), ink: "accent", points: points(run, name), smooth: true };
            let usable = series.last_finite().is_some();
            let chart = || Chart {
                title: name.to_owned(),
                unit: "",
                about: String::new(),
                series: vec![series],
                target: None,
                may_log: false,
                along: Along::Steps,
            };
            usable.then(chart)
        })
        .collect();
    sections.push(Section { title: "Other metrics", body: charts_with("Recorded by this run.", &others) });
    sections
}

/// A lead and a grid of charts; empty without charts.
pub(crate) fn charts_with(lead: &str, charts: &[Chart]) -> String {
    if charts.is_empty() {
        return String::new();
    }
    let mut body = format!("<p class=lead>{lead}</p><div class=grid-of-charts>");
    charts.iter().for_each(|chart| chart.render(&mut body));
    body + "</div>"
}

/// The chart, unless none of its metrics was ever finite.
fn chart(run: &Run, plot: &Plot) -> Option<Chart> {
    let inks: &[&'static str] = if plot.lines.len() <= 2 { &["accent", "second"] } else { &["c0", "c1", "c2", "c3"] };
    let mut series: Vec<Series> = Vec::new();
    for ((metric, label), ink) in plot.lines.iter().zip(inks) {
        let smooth = !is_exact(metric) && *metric != "learning_rate" && *metric != "skipped_updates";
        let line = Series { label: (*label).to_owned(), ink, points: points(run, metric), smooth };
        if line.last_finite().is_some() {
            series.push(line);
        }
    }
    let first = series.first_mut()?;
    let mut about = term(plot.lines[0].0).map_or("", |term| term.2).to_owned();
    add_band(run, &plot.band, first, &mut about);
    if first.reach() > 0 {
        about += &format!(" Bold: trend over {} records.", 2 * first.reach() + 1);
    }
    let target = match plot.target {
        Target::None => None,
        Target::Value(label, value) => Some((label, value)),
        Target::Metric(label, metric) => run.ends(metric).map(|(_, last)| (label, last.1)),
    };
    let unit = term(plot.lines[0].0).map_or("", |term| term.1);
    let title = plot.title.to_owned();
    Some(Chart { title, unit, about, series, target, may_log: plot.may_log, along: Along::Steps })
}

/// Whether a metric is an evaluation, without the noise of a batch.
pub(crate) fn is_exact(metric: &str) -> bool {
    const TIMES: &[&str] = &["trajectories", "wall_s", "cpu_s"];
    let exact = SECTIONS[0].2.iter().flat_map(|plot| plot.lines).any(|(name, _)| *name == metric);
    metric.starts_with("eval_") || exact || TIMES.contains(&metric)
}

fn points(run: &Run, metric: &str) -> Vec<Point> {
    run.series(metric).into_iter().map(|(x, y)| Point { x, y, band: None }).collect()
}

fn add_band(run: &Run, band: &Band, series: &mut Series, about: &mut String) {
    let (low, high) = match band {
        Band::None => return,
        Band::Spread(metric) => (run.series(metric), Vec::new()),
        Band::Range(low, high) => (run.series(low), run.series(high)),
    };
    let at = |values: &[(f64, f64)], step: f64| {
        let index = values.binary_search_by(|(x, _)| x.total_cmp(&step)).ok()?;
        values.get(index).map(|(_, value)| *value)
    };
    for point in &mut series.points {
        let ends = match band {
            Band::Range(..) => at(&low, point.x).zip(at(&high, point.x)),
            _ => at(&low, point.x).map(|spread| (point.y - spread, point.y + spread)),
        };
        point.band = ends.filter(|(low, high)| low.is_finite() && high.is_finite());
    }
    if series.has_band() {
        *about += match band {
            Band::Range(..) => " Band: smallest to largest of the batch.",
            _ => " Band: ± one standard deviation over the batch.",
        };
    }
}
