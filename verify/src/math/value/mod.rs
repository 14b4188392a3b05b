//! The meaning of a formula as an answer: a number, a list, a set, intervals, an equation, a word.

mod chain;
mod matrix;
mod ranges;

use num_rational::BigRational;

use super::exact::Fraction;
use super::expr::{Expr, Relation};
use super::scalar::constant;
pub(super) use ranges::Range;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A number or a function of variables.
    Scalar(Expr),
    /// The number before a percent sign.
    Percent(Expr),
    Tuple(Vec<Value>),
    /// Several answers, in any order.
    List(Vec<Value>),
    Set(Vec<Value>),
    /// A union of intervals.
    Ranges(Vec<Range>),
    Matrix(Vec<Vec<Expr>>),
    Ratio(Vec<Value>),
    /// A number as written in a base other than ten.
    Based(BigRational, u32),
    /// `name = value`
    Named(String, Box<Value>),
    /// An equation between formulas, as the difference of its sides.
    Equation(Fraction),
    /// Inequalities between formulas: each difference is in this relation to 0.
    Relations(Vec<(Relation, Fraction)>),
    /// Words.
    Text,
}

/// Returns the meaning of a formula; None if there is none.
pub(super) fn value(expr: &Expr) -> Option<Value> {
    if let Some(inner) = unlabelled(expr) {
        return value(inner);
    }
    if !matches!(expr, Expr::Chain(..)) && expr.any(&|part| matches!(part, Expr::Text(_))) {
        // A word among numbers is not understood.
        let number = |part: &Expr| matches!(part, Expr::Number(..));
        return (!expr.any(&number)).then_some(Value::Text);
    }
    let signs = matches!(expr, Expr::Chain(..)) || !has_items(expr);
    if signs && expr.any(&|part| matches!(part, Expr::PlusMinus(..))) {
        let both = [value(&expr.with_signs(true))?, value(&expr.with_signs(false))?];
        return Some(list(both.into()));
    }
    Some(match expr {
        Expr::Percent(inner) => Value::Percent((**inner).clone()),
        Expr::Degrees(inner) => Value::Scalar((**inner).clone()),
        Expr::Neg(inner) => match &**inner {
            Expr::Percent(inner) => Value::Percent(Expr::Neg(inner.clone())),
            Expr::Degrees(inner) => Value::Scalar(Expr::Neg(inner.clone())),
            _ => scalar(expr)?,
        },
        Expr::Based(digits, base) => Value::Based(digits.clone(), *base),
        Expr::List(items) => {
            let items = values(items)?;
            ranges::combined(&items).map_or_else(|| list(items), Value::Ranges)
        }
        Expr::Groups(groups) => {
            let group = |group: &Expr| match value(group)? {
                Value::List(items) => Some(Value::Tuple(items.into_iter().map(Value::unnamed).collect())),
                other => Some(other),
            };
            list(groups.iter().map(group).collect::<Option<_>>()?)
        }
        Expr::Set(items) => Value::Set(values(items)?),
        Expr::Tuple(items) => match ranges::pair(items) {
            Some(range) if range.is_infinite() => Value::Ranges(vec![range]),
            _ => Value::Tuple(values(items)?),
        },
        Expr::Interval(..) | Expr::Union(_) | Expr::Without(..) => Value::Ranges(ranges::of(expr)?),
        Expr::Name(name) if name == "RR" => Value::Ranges(vec![Range::line()]),
        Expr::Mul(parts) if parts[..] == [Expr::name("R"), Expr::name("R")] => Value::Ranges(vec![Range::line()]),
        Expr::Ratio(parts) => Value::Ratio(values(parts)?),
        Expr::Chain(first, rest) => chain::value_of(first, rest)?,
        _ => match matrix::matrix(expr) {
            Some(rows) => Value::Matrix(rows),
            None => scalar(expr)?,
        },
    })
}

/// Returns the formula after a label, as in `\text{Total: } 42`.
fn unlabelled(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Ratio(parts) => match &parts[..] {
            [Expr::Text(_), inner] => Some(inner),
            _ => None,
        },
        Expr::Mul(parts) => match &parts[..] {
            [Expr::Text(label), inner] if label.ends_with([':', '=']) || label.ends_with(" is") => Some(inner),
            _ => None,
        },
        _ => None,
    }
}

fn has_items(expr: &Expr) -> bool {
    matches!(expr, Expr::List(_) | Expr::Set(_) | Expr::Groups(_) | Expr::Union(_) | Expr::Ratio(_))
}

/// Returns a formula as a number or function; None if a part of it is neither.
fn scalar(expr: &Expr) -> Option<Value> {
    let other = |part: &Expr| {
        has_items(part)
            || matches!(
                part,
                Expr::Tuple(_) | Expr::Interval(..) | Expr::Matrix(_) | Expr::Without(..) | Expr::Based(..)
            )
    };
    (!expr.any(&other)).then(|| Value::Scalar(expr.clone()))
}

/// Returns the meanings of items; `a ± b` counts as two.
fn values(items: &[Expr]) -> Option<Vec<Value>> {
    let mut found = Vec::new();
    for item in items {
        match value(item)? {
            Value::List(both) if item.any(&|part| matches!(part, Expr::PlusMinus(..))) => found.extend(both),
            one => found.push(one),
        }
    }
    Some(found)
}

/// Returns a list. In `x = 1, x = 2` and `x = 1, 2` the name says nothing.
fn list(items: Vec<Value>) -> Value {
    let name = match items.first() {
        Some(Value::Named(name, _)) => name.clone(),
        _ => return Value::List(items),
    };
    let one = items.iter().all(|item| matches!(item, Value::Named(other, _) if *other == name));
    let first = items[1..].iter().all(|item| !matches!(item, Value::Named(..)));
    Value::List(if one || first { items.into_iter().map(Value::unnamed).collect() } else { items })
}

impl Value {
    /// Returns the value without its name.
    pub(super) fn unnamed(self) -> Self {
        match self {
            Self::Named(_, value) => *value,
            other => other,
        }
    }

    /// Returns whether this is one value rather than several.
    pub(super) fn is_single(&self) -> bool {
        match self {
            Self::Named(_, value) => value.is_single(),
            Self::Scalar(_) | Self::Percent(_) | Self::Based(..) | Self::Ratio(_) | Self::Text => true,
            _ => false,
        }
    }

    /// Returns whether this is a number without variables.
    pub(super) fn is_constant(&self) -> bool {
        matches!(self, Self::Scalar(expr) | Self::Percent(expr) if constant(expr))
    }
}
