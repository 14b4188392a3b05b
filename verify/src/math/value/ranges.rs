//! Intervals and their unions.

use std::cmp::Ordering;

use super::super::expr::{Expr, Relation};
use super::super::scalar::{infinity, order};
use super::Value;

/// Most intervals of a union.
const MOST: usize = 64;

/// One end of an interval.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct End {
    /// None at infinity.
    pub(in super::super) at: Option<Expr>,
    pub(in super::super) closed: bool,
}

/// An interval.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Range {
    pub(in super::super) low: End,
    pub(in super::super) high: End,
}

impl Range {
    pub(super) fn line() -> Self {
        let end = || End { at: None, closed: false };
        Self { low: end(), high: end() }
    }

    fn point(at: &Expr) -> Self {
        let end = || End { at: Some(at.clone()), closed: true };
        Self { low: end(), high: end() }
    }

    pub(super) fn is_infinite(&self) -> bool {
        self.low.at.is_none() || self.high.at.is_none()
    }
}

/// Returns an interval between two formulas, of which the first may be -∞ and the second ∞.
fn between(low: &Expr, low_closed: bool, high: &Expr, high_closed: bool) -> Option<Range> {
    let end = |at: &Expr, closed, positive| match infinity(at) {
        Some(sign) if sign == positive => Some(End { at: None, closed: false }),
        Some(_) => None,
        None => Some(End { at: Some(at.clone()), closed }),
    };
    let range = Range { low: end(low, low_closed, false)?, high: end(high, high_closed, true)? };
    let falls = matches!((&range.low.at, &range.high.at), (Some(a), Some(b)) if order(a, b) == Some(Ordering::Greater));
    (!falls).then_some(range)
}

/// Reads a pair in round brackets as an open interval.
pub(super) fn pair(items: &[Expr]) -> Option<Range> {
    let [a, b] = items else { return None };
    between(a, false, b, false)
}

/// Returns the intervals of a set; None if it is none of numbers.
pub(super) fn of(expr: &Expr) -> Option<Vec<Range>> {
    match expr {
        Expr::Interval(low, a, high, b) => between(low, *a, high, *b).map(|range| vec![range]),
        Expr::Tuple(items) => pair(items).map(|range| vec![range]),
        Expr::Union(parts) => {
            let mut all = Vec::new();
            for part in parts {
                match part {
                    Expr::Set(points) => all.extend(points.iter().map(Range::point)),
                    other => all.extend(of(other)?),
                }
            }
            merged(all)
        }
        Expr::Without(all, removed) => {
            let mut left = of(all)?;
            let removed = match &**removed {
                Expr::Set(points) => points.clone(),
                _ => return None,
            };
            for point in removed {
                let outside = beyond(Relation::NotEqual, &point)?;
                left = intersection(&left, &outside)?;
            }
            Some(left)
        }
        Expr::Name(name) if name == "RR" => Some(vec![Range::line()]),
        Expr::Mul(parts) if parts[..] == [Expr::name("R"), Expr::name("R")] => Some(vec![Range::line()]),
        _ => None,
    }
}

/// Returns the numbers in a relation to a bound.
pub(super) fn beyond(relation: Relation, bound: &Expr) -> Option<Vec<Range>> {
    let end = |closed| End { at: Some(bound.clone()), closed };
    if infinity(bound).is_some() {
        // x < ∞ says nothing.
        return matches!(relation, Relation::Less | Relation::More).then(|| vec![Range::line()]);
    }
    let below = |closed| Range { high: end(closed), ..Range::line() };
    let above = |closed| Range { low: end(closed), ..Range::line() };
    Some(match relation {
        Relation::Less => vec![below(false)],
        Relation::AtMost => vec![below(true)],
        Relation::More => vec![above(false)],
        Relation::AtLeast => vec![above(true)],
        Relation::NotEqual => vec![below(false), above(false)],
        _ => return None,
    })
}

/// Returns the numbers in both unions; None if ends cannot be ordered.
pub(super) fn intersection(a: &[Range], b: &[Range]) -> Option<Vec<Range>> {
    if a.len() * b.len() > MOST {
        return None;
    }
    let mut all = Vec::new();
    for x in a {
        for y in b {
            let low = tighter(&x.low, &y.low, Ordering::Greater)?;
            let high = tighter(&x.high, &y.high, Ordering::Less)?;
            let range = Range { low, high };
            let empty = match (&range.low.at, &range.high.at) {
                (Some(a), Some(b)) => match order(a, b)? {
                    Ordering::Less => false,
                    Ordering::Equal => !(range.low.closed && range.high.closed),
                    Ordering::Greater => true,
                },
                _ => false,
            };
            if !empty {
                all.push(range);
            }
        }
    }
    merged(all)
}

/// Returns the end that leaves less.
fn tighter(a: &End, b: &End, side: Ordering) -> Option<End> {
    Some(match (&a.at, &b.at) {
        (None, _) => b.clone(),
        (_, None) => a.clone(),
        (Some(x), Some(y)) => match order(x, y)? {
            Ordering::Equal => End { at: a.at.clone(), closed: a.closed && b.closed },
            found if found == side => a.clone(),
            _ => b.clone(),
        },
    })
}

/// Returns the numbers whose absolute values are in these intervals.
pub(super) fn of_absolute(ranges: &[Range]) -> Option<Vec<Range>> {
    let zero = Expr::integer(0);
    let positive = intersection(ranges, &beyond(Relation::AtLeast, &zero)?)?;
    let turned = |end: &End| End { at: end.at.clone().map(|at| Expr::Neg(Box::new(at))), closed: end.closed };
    let mirrored = positive.iter().map(|range| Range { low: turned(&range.high), high: turned(&range.low) });
    merged(mirrored.chain(positive.iter().cloned()).collect())
}

/// Sorts intervals and joins those that touch; None if ends cannot be ordered.
fn merged(mut ranges: Vec<Range>) -> Option<Vec<Range>> {
    if ranges.len() > MOST {
        return None;
    }
    let mut sorted: Vec<Range> = Vec::new();
    while !ranges.is_empty() {
        let mut first = 0;
        for i in 1..ranges.len() {
            if starts_before(&ranges[i], &ranges[first])? {
                first = i;
            }
        }
        let next = ranges.remove(first);
        match sorted.last_mut() {
            Some(last) if touches(last, &next)? => {
                if ends_before(&last.high, &next.high)? {
                    last.high = next.high;
                }
            }
            _ => sorted.push(next),
        }
    }
    Some(sorted)
}

fn starts_before(a: &Range, b: &Range) -> Option<bool> {
    Some(match (&a.low.at, &b.low.at) {
        (None, other) => other.is_some(),
        (_, None) => false,
        (Some(x), Some(y)) => match order(x, y)? {
            Ordering::Equal => a.low.closed && !b.low.closed,
            found => found == Ordering::Less,
        },
    })
}

fn ends_before(a: &End, b: &End) -> Option<bool> {
    Some(match (&a.at, &b.at) {
        (None, _) => false,
        (_, None) => true,
        (Some(x), Some(y)) => match order(x, y)? {
            Ordering::Equal => !a.closed && b.closed,
            found => found == Ordering::Less,
        },
    })
}

fn touches(a: &Range, b: &Range) -> Option<bool> {
    Some(match (&a.high.at, &b.low.at) {
        (Some(x), Some(y)) => match order(x, y)? {
            Ordering::Equal => a.high.closed || b.low.closed,
            found => found == Ordering::Greater,
        },
        _ => true,
    })
}

/// Joins a list of inequalities or intervals: all hold together if they can, and otherwise each is a case.
pub(super) fn combined(items: &[Value]) -> Option<Vec<Range>> {
    let mut all = Vec::new();
    for item in items {
        match item {
            Value::Ranges(ranges) => all.push(ranges.clone()),
            _ => return None,
        }
    }
    let mut common = all.first()?.clone();
    for ranges in &all[1..] {
        common = intersection(&common, ranges)?;
    }
    if common.is_empty() { merged(all.concat()) } else { Some(common) }
}
