//! Success over diversity lost as SVG: a line for each method, with intervals for the values measured on all reported
//! seeds.

use super::Frontier;
use super::methods::{Knob, METHODS, Method, REPORTED, STEPS};
use crate::compare::Summary;
use crate::format::{escape, number, push, quantity, tick};
use crate::report::axis::Axis;
use crate::report::chart::polyline;
use crate::report::page::STYLE;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;
/// Colour classes of the style sheet, ordered so that the two blues are far apart.
const INKS: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c6", "c7", "c5"];
/// Student's t for 95 % with four degrees of freedom, one less than the reported seeds.
const T_95: f64 = 2.776;
const _: () = assert!(REPORTED.len() == 5);

/// A measured value of a method.
struct Mark {
    value: f64,
    success: f64,
    lost: f64,
    /// Half-widths of the 95 % intervals of `success` and `lost`, if all reported seeds were measured.
    interval: Option<(f64, f64)>,
}

impl Frontier {
    /// Returns the picture as an SVG file, which follows the reader's light or dark colour scheme.
    pub fn picture(&self) -> String {
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' font-family='system-ui, sans-serif' role='img' \
             aria-label='{}'><style>{STYLE}</style><rect width='{WIDTH}' height='{HEIGHT}' style='fill:var(--paper)'/>{}</svg>\n",
            escape(&self.summary()),
            self.drawn(None)
        )
    }

    /// Returns the picture as part of a report. `own` is the diversity lost and the success of the run at its last
    /// evaluation, which was after `step`. The result is empty if there are no measurements.
    pub(crate) fn figure(&self, own: (f64, f64), step: u64) -> String {
        if self.marks().all(|(_, marks)| marks.is_empty()) {
            return String::new();
        }
        format!(
            "<figure class='chart wide'><figcaption><h3>Success and diversity lost, compared with other objectives</h3></figcaption>\
             <svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img aria-label='{} This run: {}.'>{}</svg><p class=about>The star is \
             this run after step {step}. The lines are other objectives after {STEPS} steps, with varying β or KL weight. Up and to the left is better.</p></figure>",
            escape(&self.summary()),
            said(own.1, own.0),
            self.drawn(Some(own))
        )
    }

    fn marks(&self) -> impl Iterator<Item = (&'static Method, Vec<Mark>)> {
        METHODS
            .iter()
            .map(|method| (method, method.values.iter().filter_map(|value| self.mark(method, *value)).collect()))
    }

    fn mark(&self, method: &Method, value: f64) -> Option<Mark> {
        let seeds = self.seeds_of(method, value);
        let (success, lost) = self.ends((method, value), seeds)?;
        let half = |summary: Summary| Some(T_95 * summary.sd? / (summary.n as f64).sqrt());
        let interval = half(success).zip(half(lost)).filter(|_| seeds == REPORTED);
        Some(Mark { value, success: success.mean, lost: lost.mean, interval })
    }

    /// Describes the picture in words.
    fn summary(&self) -> String {
        let mut words = format!("Success over diversity lost after {STEPS} steps.");
        for (method, marks) in self.marks().filter(|(_, marks)| !marks.is_empty()) {
            push!(words, " {}: ", method.name);
            let each =
                marks.iter().map(|mark| format!("{} {}", method.label(mark.value), said(mark.success, mark.lost)));
            words += &each.collect::<Vec<_>>().join("; ");
            words.push('.');
        }
        words
    }

    /// Returns the contents of the `<svg>` element.
    fn drawn(&self, own: Option<(f64, f64)>) -> String {
        let lines: Vec<_> = self.marks().filter(|(_, marks)| !marks.is_empty()).collect();
        let before = self.before().map(|point| (point.lost, point.success));
        let reach = |mark: &Mark| {
            let (up, right) = mark.interval.unwrap_or_default();
            [(mark.lost - right, mark.success - up), (mark.lost + right, mark.success + up)]
        };
        let ends: Vec<(f64, f64)> =
            lines.iter().flat_map(|(_, marks)| marks.iter().flat_map(reach)).chain(before).chain(own).collect();
        let unbound = (f64::NEG_INFINITY, f64::INFINITY);
        let x = Axis::fit(ends.iter().map(|end| end.0).chain([0.0]), false, (0.0, f64::INFINITY));
        let y = Axis::fit(ends.iter().map(|end| end.1), false, unbound);
        let place = Place { x, y };
        let mut out = String::new();
        place.grid(&mut out);
        for (i, (method, marks)) in lines.iter().enumerate() {
            let look = Look::of(method);
            let line = polyline(marks.iter().map(|mark| place.of((mark.lost, mark.success))));
            push!(out, "<path class='line {}' fill='none' d='{line}'/>", look.ink);
            for mark in marks {
                place.mark(&mut out, method, mark, &look);
            }
            legend(&mut out, i, lines.len(), method, &look);
        }
        if let Some(before) = before {
            let (x, y) = place.of(before);
            push!(
                out,
                "<path class='mark ink' d='M{:.1} {:.1}h8m-4 -4v8'/><text x='{:.1}' y='{:.1}'>before training</text>",
                x - 4.0,
                y,
                x + 9.0,
                y + 4.0
            );
        }
        if let Some(own) = own {
            let (x, y) = place.of(own);
            let (x, y) = (x - 9.0, y - 2.8);
            push!(
                out,
                "<path class='star' d='M{x:.1} {y:.1}h6.9l2.1 -6.6l2.1 6.6h6.9l-5.6 4.1l2.1 6.6l-5.5 -4.1l-5.5 4.1l2.1 -6.6z'><title>this \
                     run: {}</title></path>",
                said(own.1, own.0)
            );
        }
        out
    }
}

/// Describes a point in words.
fn said(success: f64, lost: f64) -> String {
    format!("{} success, {} lost", quantity(success, "fraction"), quantity(lost, "nats"))
}

/// Colour and shape of a method's marks. No two methods share both.
struct Look {
    ink: &'static str,
    shape: usize,
}

impl Look {
    fn of(method: &Method) -> Self {
        let i = METHODS.iter().position(|other| other == method).unwrap_or(0);
        let ink = if method.knob == Knob::Fixed { "second" } else { INKS[i % INKS.len()] };
        Self { ink, shape: (i + i / INKS.len()) % 4 }
    }

    /// Returns the path of a circle, a square, a triangle or a diamond around a point.
    fn path(&self, x: f64, y: f64, r: f64) -> String {
        match self.shape {
            0 => format!("M{:.1} {y:.1}a{r} {r} 0 1 0 {} 0a{r} {r} 0 1 0 -{} 0z", x - r, 2.0 * r, 2.0 * r),
            1 => format!("M{:.1} {:.1}h{}v{}h-{}z", x - r, y - r, 2.0 * r, 2.0 * r, 2.0 * r),
            2 => format!("M{x:.1} {:.1}l{} {}h-{}z", y - 1.2 * r, 1.2 * r, 2.0 * r, 2.4 * r),
            _ => format!("M{x:.1} {:.1}l{d} {d}l-{d} {d}l-{d} -{d}z", y - 1.3 * r, d = 1.3 * r),
        }
    }
}

/// The axes of the picture, which map a point to a position.
struct Place {
    x: Axis,
    y: Axis,
}

impl Place {
    fn of(&self, (lost, success): (f64, f64)) -> (f64, f64) {
        let across = LEFT + self.x.place(lost) * (WIDTH - LEFT - RIGHT);
        (across, HEIGHT - BOTTOM - self.y.place(success) * (HEIGHT - TOP - BOTTOM))
    }

    fn grid(&self, out: &mut String) {
        let bottom = HEIGHT - BOTTOM;
        out.push_str("<g class='grid' aria-hidden='true'>");
        for success in &self.y.ticks {
            let (_, y) = self.of((self.x.low, *success));
            let label = tick(*success, self.y.step, "fraction");
            push!(out, "<path d='M{LEFT} {y:.1}H{}'/>", WIDTH - RIGHT);
            push!(out, "<text x='{}' y='{:.1}' class='y'>{label}</text>", LEFT - 6.0, y + 3.5);
        }
        for lost in &self.x.ticks {
            let (x, _) = self.of((*lost, self.y.low));
            push!(out, "<path d='M{x:.1} {TOP}V{bottom}'/>");
            push!(out, "<text x='{x:.1}' y='{}' text-anchor='middle'>{}</text>", bottom + 15.0, number(*lost));
        }
        push!(
            out,
            "<text x='{}' y='{}' text-anchor='end'>diversity lost, KL(π_ref(·|C) ‖ π(·|C)) in nats</text>\
                 <text x='{}' y='{}'>success π(C)</text></g>",
            WIDTH - RIGHT,
            bottom + 32.0,
            LEFT + 6.0,
            TOP + 10.0
        );
    }

    /// Appends the mark of a value, filled if all reported seeds were measured.
    fn mark(&self, out: &mut String, method: &Method, mark: &Mark, look: &Look) {
        let (x, y) = self.of((mark.lost, mark.success));
        let ink = look.ink;
        if let Some((success, lost)) = mark.interval {
            let ((left, top), (right, low)) = (
                self.of((mark.lost - lost, mark.success + success)),
                self.of((mark.lost + lost, mark.success - success)),
            );
            push!(out, "<path class='span {ink}' d='M{left:.1} {y:.1}H{right:.1}M{x:.1} {top:.1}V{low:.1}'/>");
        }
        let is_whole = mark.interval.is_some();
        let whole = if is_whole { " whole" } else { "" };
        let name = [method.name.to_owned(), method.label(mark.value)].join(" ");
        push!(
            out,
            "<path class='mark {ink}{whole}' d='{}'><title>{}: {}</title></path>",
            look.path(x, y, if is_whole { 2.0 } else { 3.2 }),
            escape(name.trim_end()),
            said(mark.success, mark.lost)
        );
    }
}

/// Appends one entry of the legend, which is in the corner that the curves leave empty.
fn legend(out: &mut String, i: usize, count: usize, method: &Method, look: &Look) {
    let (x, y) = (WIDTH - RIGHT - 150.0, HEIGHT - BOTTOM - 14.0 - 16.0 * (count - 1 - i) as f64);
    if method.knob != Knob::Fixed {
        push!(out, "<path class='line {}' d='M{x} {y}h26'/>", look.ink);
    }
    push!(
        out,
        "<path class='mark whole {}' d='{}'/><text x='{}' y='{}'>{}</text>",
        look.ink,
        look.path(x + 13.0, y, 2.0),
        x + 34.0,
        y + 3.5,
        escape(method.name)
    );
}
