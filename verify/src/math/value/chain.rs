//! Equations and inequalities.

use num_traits::Signed;

use super::super::exact::{Fraction, Poly};
use super::super::expr::{Expr, Relation};
use super::super::scalar::{Same, constant, same};
use super::ranges::{self, Range};
use super::{Value, value};

/// Returns the meaning of a chain of relations.
pub(super) fn value_of(first: &Expr, rest: &[(Relation, Expr)]) -> Option<Value> {
    if let Some(at) = rest.iter().rposition(|(relation, _)| *relation == Relation::Implies) {
        let (last, after) = (&rest[at].1, &rest[at + 1..]);
        return if after.is_empty() { value(last) } else { value_of(last, after) };
    }
    // A value after ≈ is rounded, unless it is the only one.
    if let Some(at) = rest.iter().position(|(relation, _)| *relation == Relation::About) {
        let known = at > 0 || !is_name(first);
        let kept: Vec<_> = match known {
            true => rest[..at].to_vec(),
            false => rest[..=at].iter().map(|(_, part)| (Relation::Equal, part.clone())).collect(),
        };
        return if kept.is_empty() { value(first) } else { value_of(first, &kept) };
    }
    if let [(Relation::In, set)] = rest {
        return ranges::of(set).map(Value::Ranges).or_else(|| value(set));
    }
    if rest.iter().all(|(relation, _)| *relation == Relation::Equal) {
        return equation(first, rest);
    }
    if rest.iter().any(|(relation, _)| matches!(relation, Relation::In | Relation::Equal)) {
        return None;
    }
    inequality(first, rest).map(Value::Ranges).or_else(|| relations(first, rest))
}

fn equation(first: &Expr, rest: &[(Relation, Expr)]) -> Option<Value> {
    let last = &rest.last()?.1;
    if is_name(first) {
        return Some(match value(last)?.unnamed() {
            Value::Text => Value::Text,
            value => Value::Named(name(first), Box::new(value)),
        });
    }
    if let [(_, only)] = rest {
        if is_name(only) && constant(first) {
            return Some(Value::Named(name(only), Box::new(value(first)?)));
        }
        if !constant(first) || !constant(only) {
            return Fraction::of(first)?.minus(&Fraction::of(only)?).map(Value::Equation);
        }
        // A false equation between numbers is no answer.
        return (same(first, only) == Same::Yes).then(|| value(only))?;
    }
    value(last)
}

/// Returns whether a formula names a quantity, such as `x_1`, `f(2)`, `|AB|`, `A:B` or `\frac{NO}{BO}`.
fn is_name(expr: &Expr) -> bool {
    match expr {
        Expr::Name(name) => !matches!(&**name, "pi" | "e" | "infinity"),
        Expr::Text(_) => true,
        Expr::Call(_, parts) => parts.iter().all(|part| !matches!(part, Expr::Text(_))),
        Expr::Mul(parts) | Expr::Tuple(parts) | Expr::Ratio(parts) => parts.iter().all(is_name),
        Expr::Div(a, b) => is_name(a) && is_name(b),
        _ => false,
    }
}

/// Returns a name without its subscript and arguments, in lower case; empty if it is composed.
fn name(expr: &Expr) -> String {
    match expr {
        Expr::Name(name) | Expr::Text(name) => name.to_lowercase(),
        Expr::Call(name, _) => name.to_lowercase(),
        _ => String::new(),
    }
}

/// Returns the numbers that satisfy inequalities of one unknown.
fn inequality(first: &Expr, rest: &[(Relation, Expr)]) -> Option<Vec<Range>> {
    let mut left = first;
    let mut unknown = None;
    let mut parts = Vec::new();
    for (relation, right) in rest {
        let (key, range) = half_line(left, *relation, right)?;
        if *unknown.get_or_insert_with(|| key.clone()) != key {
            return None;
        }
        parts.push(range);
        left = right;
    }
    let mut range = parts.pop()?;
    for part in parts {
        range = ranges::intersection(&range, &part)?;
    }
    match unknown? {
        Expr::Call(function, _) if function == "abs" => ranges::of_absolute(&range),
        _ => Some(range),
    }
}

/// Solves one inequality for its unknown, which is returned too.
fn half_line(left: &Expr, relation: Relation, right: &Expr) -> Option<(Expr, Vec<Range>)> {
    let unknown = |expr: &Expr| match expr {
        Expr::Name(_) => !constant(expr),
        Expr::Call(name, _) => !constant(expr) && (name == "abs" || name.len() == 1),
        _ => false,
    };
    if unknown(left) && constant(right) {
        return Some((left.clone(), ranges::beyond(relation, right)?));
    }
    if unknown(right) && constant(left) {
        return Some((right.clone(), ranges::beyond(turned(relation), left)?));
    }
    // a·x + b in relation to 0, where b is a number.
    let difference = Fraction::of(left)?.minus(&Fraction::of(right)?)?;
    let poly: &Poly = &difference.numerator;
    let [atom] = <[_; 1]>::try_from(poly.unknowns()).ok()?;
    let (slope, rest) = poly.linear(&atom)?;
    let bound = -rest.rational()? / &slope;
    let key = [left, right].into_iter().flat_map(Expr::parts).chain([left, right]).find(|part| unknown(part)).cloned();
    let key = key.filter(|key| Fraction::of(key).is_some_and(|key| key.numerator == Poly::atom(atom.clone())))?;
    let relation = if slope.is_negative() { turned(relation) } else { relation };
    Some((key, ranges::beyond(relation, &Expr::Number(bound, 0))?))
}

/// Returns the relation that holds with exchanged sides.
fn turned(relation: Relation) -> Relation {
    match relation {
        Relation::Less => Relation::More,
        Relation::AtMost => Relation::AtLeast,
        Relation::More => Relation::Less,
        Relation::AtLeast => Relation::AtMost,
        other => other,
    }
}

fn relations(first: &Expr, rest: &[(Relation, Expr)]) -> Option<Value> {
    let mut left = first;
    let mut all = Vec::new();
    for (relation, right) in rest {
        let (a, b) = (Fraction::of(left)?, Fraction::of(right)?);
        let above = matches!(relation, Relation::More | Relation::AtLeast);
        let relation = if above { turned(*relation) } else { *relation };
        all.push((relation, if above { b.minus(&a)? } else { a.minus(&b)? }));
        left = right;
    }
    Some(Value::Relations(all))
}
