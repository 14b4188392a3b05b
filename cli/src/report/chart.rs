//! Line charts as inline SVG that work without JavaScript: tooltips along the chart, a summary for screen readers and a
//! table.

use flowrl_core::metrics::Metric;

use super::axis::Axis;
use super::series::{MOST_TREND_POINTS, Point, Series};
use crate::format::{escape, number, push, quantity, tick};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 196.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;
/// Number of positions along a chart that have a tooltip.
const STOPS: usize = 48;
/// Number of rows of a chart's table.
const ROWS: usize = 20;

/// Style sheet classes for colours with dash patterns.
pub(crate) const INKS: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];

/// The quantity on the horizontal axis.
#[derive(Clone, Debug)]
pub(crate) enum Along {
    /// Training steps.
    Steps,
    /// The values of an option.
    Values {
        /// Name of the option.
        name: String,
        /// The values in ascending order; they are the ticks and the rows of the table.
        at: Vec<f64>,
    },
}

impl Along {
    fn name(&self) -> &str {
        match self {
            Self::Steps => "step",
            Self::Values { name, .. } => name,
        }
    }
}

/// A chart of one or more series on common axes.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// A description of the chart in a sentence or two.
    pub(crate) about: String,
    pub(crate) series: Vec<Series>,
    /// Name and value of a dashed horizontal line.
    pub(crate) target: Option<(&'static str, f64)>,
    pub(crate) may_log: bool,
    /// The smallest and the largest possible value.
    pub(crate) range: (f64, f64),
    pub(crate) along: Along,
}

impl Chart {
    /// Returns a chart of a metric over the training steps.
    pub(crate) fn of(metric: &Metric, series: Vec<Series>) -> Self {
        Self {
            title: metric.label.to_owned(),
            unit: metric.unit,
            about: metric.meaning.to_owned(),
            series,
            target: None,
            may_log: metric.log,
            range: metric.range,
            along: Along::Steps,
        }
    }

    /// Appends the chart as a `<figure>`.
    pub(crate) fn render(&self, out: &mut String) {
        let (x, y) = self.axes();
        push!(out, "<figure class=chart><figcaption><h3>{}</h3>", escape(&self.title));
        if let Some(last) = self.series.first().filter(|_| self.series.len() == 1).and_then(Series::last_finite) {
            push!(out, "<span class=now title='last value'>{}</span>", quantity(last.y, self.unit));
        }
        out.push_str("</figcaption>");
        self.legend(out, &y);
        push!(out, "<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img aria-label='{}'>", escape(&self.summary()));
        grid(out, &x, &y, self.unit, self.along.name());
        if let Some((_, target)) = self.target {
            let at = down(&y, target);
            push!(out, "<path class=target d='M{LEFT} {at:.1}H{}'/>", WIDTH - RIGHT);
        }
        for series in &self.series {
            draw(out, series, &x, &y);
        }
        self.stops(out, &x, &y);
        out.push_str("</svg>");
        push!(out, "<p class=about>{}</p>", escape(&self.about));
        self.table(out);
        out.push_str("</figure>\n");
    }

    /// Returns the value of each line as text if every line has two points or more and never changes.
    pub(crate) fn constant(&self) -> Option<String> {
        let still = |series: &Series| match &series.points[..] {
            [first, .., _] => series.points.iter().flat_map(Point::extent).all(|y| y == first.y),
            _ => false,
        };
        if !self.series.iter().all(still) {
            return None;
        }
        let name = |series: &Series| if self.series.len() > 1 { series.label.clone() } else { self.title.clone() };
        let value = |series: &Series| series.points[0].y;
        let said = |series: &Series| format!("{} {}", name(series), quantity(value(series), self.unit));
        let missed = |(_, target): &(&str, f64)| self.series.iter().any(|series| value(series) != *target);
        let target = self.target.filter(missed).map(|(name, x)| format!(" ({name} {})", quantity(x, self.unit)));
        Some(self.series.iter().map(said).collect::<Vec<_>>().join(", ") + &target.unwrap_or_default())
    }

    fn axes(&self) -> (Axis, Axis) {
        let steps = || self.series.iter().flat_map(|series| series.points.iter().map(|point| point.x));
        let x = match &self.along {
            Along::Steps => {
                Axis::steps(steps().fold(f64::INFINITY, f64::min), steps().fold(f64::NEG_INFINITY, f64::max))
            }
            Along::Values { at, .. } => Axis::values(at),
        };
        let values = self.series.iter().flat_map(|series| series.points.iter().flat_map(Point::extent));
        (x, Axis::fit(values.chain(self.target.map(|(_, target)| target)), self.may_log, self.range))
    }

    /// Appends the names of the lines. A single line is named by the title; its empty legend keeps the charts of a row
    /// aligned.
    fn legend(&self, out: &mut String, y: &Axis) {
        out.push_str("<p class=legend>");
        for series in self.series.iter().filter(|_| self.series.len() > 1) {
            key(out, &format!("<path class='line {}' d='M0 4H26'/>", series.ink), &series.label);
        }
        if let Some((name, target)) = self.target {
            let unit = if self.unit == "fraction" { self.unit } else { "" };
            key(out, "<path class='target' d='M0 4H26'/>", &format!("{name} {}", quantity(target, unit)));
        }
        if y.log {
            out.push_str("<span>logarithmic scale</span>");
        }
        out.push_str("</p>");
    }

    /// Describes the chart in words.
    fn summary(&self) -> String {
        let mut words = format!("Line chart: {}.", self.title);
        for series in &self.series {
            let finite: Vec<&Point> = series.points.iter().filter(|point| point.y.is_finite()).collect();
            let (Some(first), Some(last)) = (finite.first(), finite.last()) else {
                push!(words, " {}: no finite value.", series.label);
                continue;
            };
            let lowest = finite.iter().fold(first, |a, b| if b.y < a.y { b } else { a });
            let highest = finite.iter().fold(first, |a, b| if b.y > a.y { b } else { a });
            let name = self.along.name();
            let say = |point: &Point| format!("{} at {name} {}", quantity(point.y, self.unit), number(point.x));
            push!(
                words,
                " {}: from {} to {}; lowest {}, highest {}.",
                series.label,
                say(first),
                say(last),
                say(lowest),
                say(highest)
            );
        }
        if let Some((name, target)) = self.target {
            push!(words, " {name}: {}.", quantity(target, self.unit));
        }
        words
    }

    /// Appends invisible columns that show a vertical rule and the values under the pointer.
    fn stops(&self, out: &mut String, x: &Axis, y: &Axis) {
        let steps = self.sampled_steps(STOPS);
        let places: Vec<f64> = steps.iter().map(|step| across(x, *step)).collect();
        for (index, (step, at)) in steps.iter().zip(&places).enumerate() {
            let start = if index == 0 { LEFT } else { (places[index - 1] + at) / 2.0 };
            let end = places.get(index + 1).map_or(WIDTH - RIGHT, |next| (at + next) / 2.0);
            push!(
                out,
                "<g class=stop><rect x='{start:.1}' y={TOP} width='{:.1}' height={} /><path d='M{at:.1} {TOP}V{}'/>",
                (end - start).max(0.0),
                HEIGHT - TOP - BOTTOM,
                HEIGHT - BOTTOM
            );
            let mut title = format!("{} {}", self.along.name(), number(*step));
            for series in &self.series {
                if let Some(point) = series.at(*step) {
                    push!(title, "\n{}: {}", series.label, quantity(point.y, self.unit));
                    let (at_y, ink) = (down(y, point.y), series.ink);
                    if at_y.is_finite() {
                        push!(out, "<circle class='{ink}' cx='{at:.1}' cy='{at_y:.1}' r=2.5 />");
                    }
                }
            }
            push!(out, "<title>{}</title></g>", escape(&title));
        }
    }

    fn table(&self, out: &mut String) {
        let heads: Vec<&str> =
            std::iter::once(self.along.name()).chain(self.series.iter().map(|series| series.label.as_str())).collect();
        let show = |point: Option<&Point>| point.map_or_else(|| "–".to_owned(), |point| quantity(point.y, self.unit));
        let cells = |step: f64| self.series.iter().map(move |series| show(series.at(step)));
        let rows = self.sampled_steps(ROWS).into_iter();
        table(out, &heads, rows.map(|step| std::iter::once(number(step)).chain(cells(step)).collect()), "");
    }

    /// Returns at most `count` + 1 of the recorded steps, including the first and the last. For an option, returns all
    /// its values.
    fn sampled_steps(&self, count: usize) -> Vec<f64> {
        if let Along::Values { at, .. } = &self.along {
            return at.clone();
        }
        let mut steps: Vec<f64> =
            self.series.iter().flat_map(|series| series.points.iter().map(|point| point.x)).collect();
        steps.sort_by(f64::total_cmp);
        steps.dedup();
        let every = steps.len().div_ceil(count).max(1);
        let last = steps.len().saturating_sub(1);
        (0..steps.len()).filter(|index| index.is_multiple_of(every) || *index == last).map(|i| steps[i]).collect()
    }
}

fn across(x: &Axis, step: f64) -> f64 {
    LEFT + x.place(step) * (WIDTH - LEFT - RIGHT)
}

fn down(y: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM)
}

/// Appends an entry of a legend.
pub(super) fn key(out: &mut String, shape: &str, label: &str) {
    let label = escape(label);
    push!(out, "<span><svg class=key viewBox='0 0 26 8' aria-hidden=true>{shape}</svg>{label}</span>");
}

/// Appends a collapsed table. `class` is the attribute of the first cell of each row.
pub(super) fn table(out: &mut String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>, class: &str) {
    out.push_str("<details><summary>Numbers</summary><div class=scroll><table><thead><tr>");
    heads.iter().for_each(|head| push!(out, "<th>{}</th>", escape(head)));
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        push!(out, "<tr><td{class}>{}</td></tr>", row.join("</td><td>"));
    }
    out.push_str("</tbody></table></div></details>");
}

/// Appends a line across the chart, from `left` to `right`, with a label for each tick of the vertical axis.
pub(super) fn rules(out: &mut String, y: &Axis, unit: &str, (left, right): (f64, f64), down: impl Fn(f64) -> f64) {
    for value in &y.ticks {
        let at = down(*value);
        let label = tick(*value, if y.log { *value } else { y.step }, unit);
        push!(
            out,
            "<path d='M{left} {at:.1}H{right}'/><text x={} y='{:.1}' class=y>{label}</text>",
            left - 6.0,
            at + 3.5
        );
    }
}

/// Returns the data of a path through some points, without gaps.
pub(crate) fn polyline(points: impl Iterator<Item = (f64, f64)>) -> String {
    let parts = points.enumerate().map(|(i, (x, y))| format!("{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' }));
    parts.collect()
}

fn grid(out: &mut String, x: &Axis, y: &Axis, unit: &str, name: &str) {
    out.push_str("<g class=grid aria-hidden=true>");
    let bottom = HEIGHT - BOTTOM;
    rules(out, y, unit, (LEFT, WIDTH - RIGHT), |value| down(y, value));
    for (index, step) in x.ticks.iter().enumerate() {
        let label = if index == 0 { format!("{} {}", escape(name), number(*step)) } else { number(*step) };
        // The outermost labels are aligned inwards, so that none is cut off.
        let at = across(x, *step);
        let anchor = if at < LEFT + 12.0 {
            "start"
        } else if at > WIDTH - RIGHT - 12.0 {
            "end"
        } else {
            "middle"
        };
        push!(out, "<text x='{at:.1}' y={} text-anchor={anchor}>{label}</text>", bottom + 15.0);
    }
    out.push_str("</g>");
}

fn draw(out: &mut String, series: &Series, x: &Axis, y: &Axis) {
    let ink = series.ink;
    if series.has_band() {
        push!(out, "<path class='band {ink}' d='{}'/>", band(series, x, y));
    }
    let line = |points: &[Point]| path(points.iter().map(|point| (across(x, point.x), down(y, point.y))));
    match series.trend(MOST_TREND_POINTS) {
        Some(smoothed) => {
            push!(out, "<path class='raw {ink}' d='{}'/>", line(&series.thinned()));
            push!(out, "<path class='line {ink}' d='{}'/>", line(&smoothed));
        }
        None => {
            push!(out, "<path class='line {ink}' d='{}'/>", line(&series.thinned()));
            if series.points.len() <= 60 {
                for point in series.points.iter().filter(|point| down(y, point.y).is_finite()) {
                    let (at, value) = (across(x, point.x), down(y, point.y));
                    push!(out, "<circle class='{ink}' cx='{at:.1}' cy='{value:.1}' r=2 />");
                }
            }
        }
    }
}

/// Returns the data of a path through the points. A point that is not finite breaks the line. Relative moves keep the
/// text short.
fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let (mut d, mut pen) = (String::new(), None::<(i64, i64)>);
    for (x, y) in points {
        if !x.is_finite() || !y.is_finite() {
            pen = None;
            continue;
        }
        let to = ((x * 10.0).round() as i64, (y * 10.0).round() as i64);
        match pen {
            None => push!(d, "M{} {}", to.0 as f64 / 10.0, to.1 as f64 / 10.0),
            Some(from) => {
                push!(d, "l{} {}", (to.0 - from.0) as f64 / 10.0, (to.1 - from.1) as f64 / 10.0);
            }
        }
        pen = Some(to);
    }
    d
}

/// Returns the data of a path with one closed area per unbroken stretch of the band.
fn band(series: &Series, x: &Axis, y: &Axis) -> String {
    let thinned = series.band_points();
    let mut d = String::new();
    for stretch in thinned.split(|point| point.band.is_none()) {
        let side = |pick: fn((f64, f64)) -> f64| {
            stretch.iter().filter_map(move |p| p.band.map(|band| (across(x, p.x), down(y, pick(band)))))
        };
        let low: Vec<_> = side(|band| band.0).collect();
        let around = path(low.into_iter().chain(side(|band| band.1).collect::<Vec<_>>().into_iter().rev()));
        if !around.is_empty() {
            d += &around;
            d.push('Z');
        }
    }
    d
}
