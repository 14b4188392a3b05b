//! The learned distribution next to the target, as heat maps, as bars, or as objects by rank.

use super::axis::Axis;
use super::chart::{key, polyline, rules, table};
use crate::format::{escape, number, push};
use crate::lab::picture::Picture;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
/// Largest number of cells in a heat map whose cells have tooltips.
const MOST_TITLES: usize = 1600;

/// Returns the section's content.
pub(crate) fn render(picture: &Picture) -> String {
    match picture {
        Picture::Heat { what, columns, rows, target, learned } => heat(what, *columns, *rows, target, learned),
        Picture::Bars { what, names, reference, target, learned } => bars(what, names, reference, target, learned),
        Picture::Ranked { what, names, ranks, target, learned, fixed_point } => {
            ranked(what, names, ranks, target, learned, fixed_point.as_deref())
        }
    }
}

fn heat(what: &str, columns: usize, rows: usize, target: &[f64], learned: &[f64]) -> String {
    let most = largest(&[target, learned]);
    let mut out = format!(
        "<p class=lead>{} Both on one scale: the darkest cell is {}.</p><div class=grid-of-charts>",
        escape(what),
        percent(most)
    );
    for (title, shown) in [("Target", target), ("Learned", learned)] {
        let distance: f64 = target.iter().zip(learned).map(|(a, b)| 0.5 * (a - b).abs()).sum();
        push!(
            out,
            "<figure class=chart><figcaption><h3>{title}</h3></figcaption>\
                 <svg class=heat viewBox='0 0 {columns} {rows}' role=img aria-label='Heat map: {title}, {columns} by {rows} \
                 cells. Total variation between target and learned, over these cells: {}.'>",
            number(distance)
        );
        for (cell, p) in shown.iter().enumerate() {
            let (row, column) = (cell / columns, cell % columns);
            let opacity = if most > 0.0 { p / most } else { 0.0 };
            push!(out, "<rect x={column} y={row} width=1 height=1 class=cell fill-opacity={opacity:.3}>");
            if shown.len() <= MOST_TITLES {
                let (a, b) = (percent(target[cell]), percent(learned[cell]));
                push!(out, "<title>({row}, {column}): target {a}, learned {b}</title>");
            }
            out.push_str("</rect>");
        }
        out.push_str("</svg></figure>");
    }
    out + "</div>"
}

fn bars(what: &str, names: &[String], reference: &[f64], target: &[f64], learned: &[f64]) -> String {
    let y = Axis::fit([0.0, largest(&[reference, target, learned])].into_iter(), false, (0.0, 1.0));
    let wide = (WIDTH - LEFT - RIGHT) / names.len().max(1) as f64;
    let at = |i: usize| LEFT + i as f64 * wide;
    let mut out = open(what, &[("bar", "learned"), ("line ink", "target"), ("line second", "reference")], &y);
    for (i, p) in learned.iter().enumerate() {
        let top = down(&y, *p);
        push!(
            out,
            "<rect class=bar x='{:.2}' y='{top:.2}' width='{:.2}' height='{:.2}'><title>{}: reference {}, target {}, \
                 learned {}</title></rect>",
            at(i) + 0.1 * wide,
            0.8 * wide,
            (HEIGHT - BOTTOM - top).max(0.0),
            escape(&names[i]),
            percent(reference[i]),
            percent(target[i]),
            percent(*p)
        );
    }
    for (ink, values) in [("second", reference), ("ink", target)] {
        push!(out, "<path class='line {ink}' d='");
        for (i, p) in values.iter().enumerate() {
            push!(out, "{}{:.2} {:.2}H{:.2}", if i == 0 { 'M' } else { 'L' }, at(i), down(&y, *p), at(i + 1));
        }
        out.push_str("'/>");
    }
    let every = names.len().div_ceil(16).max(1);
    for (i, name) in names.iter().enumerate().step_by(every) {
        label(&mut out, at(i) + 0.5 * wide, name);
    }
    close(out, names, &[("reference", reference), ("target", target), ("learned", learned)])
}

fn ranked(
    what: &str,
    names: &[String],
    ranks: &[usize],
    target: &[f64],
    learned: &[f64],
    fixed_point: Option<&[f64]>,
) -> String {
    // Objects of near-zero probability are drawn at the bottom line, not decades below it.
    let least = target.iter().chain(fixed_point.unwrap_or_default()).copied().filter(|p| *p > 0.0);
    let floor = 0.1 * least.fold(f64::INFINITY, f64::min);
    let all = target.iter().chain(learned).chain(fixed_point.unwrap_or_default());
    let y = Axis::fit(all.map(|p| p.max(floor)), true, (0.0, 1.0));
    let last = ranks.last().copied().unwrap_or(1);
    // The gaps between thinned ranks grow with the rank, so their axis is logarithmic.
    let thinned = last > ranks.len();
    let across = |rank: usize| {
        let share =
            if thinned { (rank as f64).ln() / (last as f64).ln().max(1e-9) } else { (rank as f64 - 0.5) / last as f64 };
        LEFT + share * (WIDTH - LEFT - RIGHT)
    };
    let mut keys = vec![("dot accent", "learned"), ("line ink", "target")];
    if fixed_point.is_some() {
        keys.push(("dot second", "fixed point of length normalisation"));
    }
    let mut out = open(what, &keys, &y);
    let place = |rank: usize, p: f64| (across(rank), down(&y, p.max(floor)));
    for (rank, p) in ranks.iter().zip(fixed_point.unwrap_or_default()) {
        let (x, y) = place(*rank, *p);
        push!(out, "<circle class=second cx='{x:.1}' cy='{y:.1}' r=1.3 />");
    }
    for (i, (rank, p)) in ranks.iter().zip(learned).enumerate() {
        let (x, y) = place(*rank, *p);
        let fixed = fixed_point.map(|fixed| format!(", fixed point {}", percent(fixed[i]))).unwrap_or_default();
        push!(
            out,
            "<circle class=accent cx='{x:.1}' cy='{y:.1}' r=2.2><title>{}: rank {}, target {}, learned {}{fixed}</title></circle>",
            escape(&names[i]),
            number(*rank as f64),
            percent(target[i]),
            percent(*p)
        );
    }
    let line = polyline(ranks.iter().zip(target).map(|(rank, p)| place(*rank, *p)));
    push!(out, "<path class='line ink' d='{line}'/>");
    let powers: Vec<usize> = (0..9).map(|power| 10_usize.pow(power)).filter(|rank| *rank <= last).collect();
    let even = || Axis::steps(1.0, last as f64).ticks.into_iter().map(|rank| (rank as usize).max(1)).collect();
    for rank in if thinned { powers } else { even() } {
        label(&mut out, across(rank), &number(rank as f64));
    }
    let mut columns = vec![("target", target), ("learned", learned)];
    columns.extend(fixed_point.map(|fixed| ("fixed point", fixed)));
    close(out, names, &columns)
}

/// Opens a wide chart of probabilities: the legend and the axes.
fn open(what: &str, keys: &[(&str, &str)], y: &Axis) -> String {
    let mut out = format!("<p class=lead>{}</p><figure class='chart wide'><p class=legend>", escape(what));
    for (class, name) in keys {
        let shape = match class.split_once(' ') {
            Some(("dot", ink)) => format!("<circle class={ink} cx=13 cy=4 r=3 />"),
            Some(_) => format!("<path class='{class}' d='M0 4H26'/>"),
            None => format!("<rect class={class} x=6 y=0 width=14 height=8 />"),
        };
        key(&mut out, &shape, name);
    }
    if y.log {
        out.push_str("<span>logarithmic scale</span>");
    }
    let names: Vec<&str> = keys.iter().map(|(_, name)| *name).collect();
    push!(
        out,
        "</p><svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img aria-label='Probabilities: {}. {}'><g class=grid aria-hidden=true>",
        names.join(", "),
        escape(what)
    );
    rules(&mut out, y, "", (LEFT, WIDTH - RIGHT), |value| down(y, value));
    out + "</g>"
}

/// Closes a chart with a table of the objects that are most probable under the target.
fn close(mut out: String, names: &[String], columns: &[(&str, &[f64])]) -> String {
    const ROWS: usize = 20;
    out.push_str("</svg>");
    let target = columns.iter().find(|(title, _)| *title == "target").map_or(&[][..], |(_, values)| values);
    let mut order: Vec<usize> = (0..target.len()).collect();
    order.sort_by(|&a, &b| target[b].total_cmp(&target[a]));
    let heads: Vec<&str> = std::iter::once("object").chain(columns.iter().map(|(title, _)| *title)).collect();
    let cells = |i: usize| columns.iter().map(move |(_, values)| percent(values[i]));
    let row = |i: usize| std::iter::once(escape(&names[i])).chain(cells(i)).collect();
    table(&mut out, &heads, order.into_iter().take(ROWS).map(row), " class=text");
    out + "</figure>"
}

fn label(out: &mut String, x: f64, text: &str) {
    push!(out, "<text x='{x:.1}' y={} text-anchor=middle>{}</text>", HEIGHT - BOTTOM + 15.0, escape(text));
}

fn down(y: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM)
}

fn largest(lists: &[&[f64]]) -> f64 {
    lists.iter().flat_map(|list| list.iter()).copied().fold(0.0, f64::max)
}

/// Formats a probability as a percentage, or below 10⁻⁴ in scientific notation.
fn percent(p: f64) -> String {
    if p < 1e-4 { number(p) } else { format!("{}\u{a0}%", number(100.0 * p)) }
}
