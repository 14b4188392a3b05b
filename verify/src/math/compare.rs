//! Compares answers.

use num_rational::BigRational;
use num_traits::{One, Signed};

use super::answer::{Answer, readings};
use super::exact::Fraction;
use super::expr::{Expr, Relation};
use super::scalar::{Same, same};
use super::units::conflict;
use super::value::{Range, Value};

/// Longest list whose items are compared in any order.
const LONGEST: usize = 64;

/// Compares the text of an answer with that of the correct one. Both are LaTeX or plain text.
///
/// ```
/// use flowrl_verify::math::{Same, compare};
/// assert_eq!(compare("\\frac{\\sqrt{2}}{2}", "1/\\sqrt{2}"), Same::Yes);
/// assert_eq!(compare("(0, 1]", "(0, 1)"), Same::No);
/// ```
pub fn compare(gold: &str, prediction: &str) -> Same {
    compare_readings(&readings(gold), &readings(prediction))
}

/// Compares all readings: the first ones decide, unless others are equal.
pub(super) fn compare_readings(gold: &[Answer], prediction: &[Answer]) -> Same {
    let (Some(gold_first), Some(first)) = (gold.first(), prediction.first()) else { return Same::Unknown };
    let result = answers(gold_first, first);
    let pairs = gold.iter().flat_map(|gold| prediction.iter().map(move |prediction| (gold, prediction)));
    if result != Same::Yes && pairs.skip(1).any(|(gold, prediction)| answers(gold, prediction) == Same::Yes) {
        return Same::Yes;
    }
    result
}

fn answers(gold: &Answer, prediction: &Answer) -> Same {
    let letter = |answer: &Answer| {
        Some(answer.letters.chars().next()?.to_ascii_uppercase()).filter(|_| answer.letters.len() == 1)
    };
    match (gold.choice, prediction.choice) {
        (Some(a), Some(b)) if a != b => return Same::No,
        (Some(_), Some(_)) => return Same::Yes,
        (Some(choice), None) if letter(prediction) == Some(choice) => return Same::Yes,
        (None, Some(choice)) if letter(gold) == Some(choice) => return Same::Yes,
        _ => {}
    }
    if gold.value == Value::Text || prediction.value == Value::Text {
        let same = gold.letters == prediction.letters || names_a_set(gold, prediction) || names_a_set(prediction, gold);
        let long = gold.letters.len() > 24 && prediction.letters.len() > 24;
        return if !same && long { Same::Unknown } else { Same::from_bool(same) };
    }
    if conflict(gold.unit.as_deref(), prediction.unit.as_deref()) {
        return Same::No;
    }
    values(&gold.value, &prediction.value)
}

/// Returns whether words name the empty set or the line, which the other answer is.
fn names_a_set(words: &Answer, set: &Answer) -> bool {
    match &set.value {
        Value::Set(items) => items.is_empty() && words.letters == "emptyset",
        Value::Ranges(ranges) => {
            words.letters == "allreals"
                && matches!(&ranges[..], [Range { low, high }] if low.at.is_none() && high.at.is_none())
        }
        _ => false,
    }
}

fn values(a: &Value, b: &Value) -> Same {
    use Value::{Based, Equation, List, Matrix, Named, Percent, Ranges, Ratio, Relations, Scalar, Set, Tuple};
    match (a, b) {
        (Scalar(a), Scalar(b)) | (Percent(a), Percent(b)) => same(a, b),
        (Percent(percent), Scalar(number)) => Same::any([same(percent, number), hundredth(percent, number)]),
        (Scalar(number), Percent(percent)) => {
            // For a small number it is not clear whether the sign was left out: 0.5 is 50%, not 0.5%.
            let small = Fraction::of(number).and_then(|n| n.rational()).is_some_and(|n| n.abs() <= BigRational::one());
            let as_written = if small { Same::No } else { same(number, percent) };
            Same::any([as_written, hundredth(percent, number)])
        }
        (Named(x, a_value), Named(y, b_value)) => {
            let equal = values(a_value, b_value);
            let head = |name: &str| name.split(['_', '(', '\'']).next().unwrap_or_default().to_owned();
            if equal == Same::Yes {
                return Same::from_bool(x.is_empty() || y.is_empty() || head(x) == head(y) || x.len() + y.len() > 4);
            }
            match (equation(a), equation(b)) {
                (Some(a), Some(b)) if !a_value.is_constant() => Same::from_bool(a.is_multiple_of(&b) == Some(true)),
                _ => equal,
            }
        }
        (Equation(a), Equation(b)) => Same::from_bool(a == b || a.is_multiple_of(b) == Some(true)),
        (Equation(a), Named(..)) => {
            equation(b).map_or(Same::No, |b| Same::from_bool(a.is_multiple_of(&b) == Some(true)))
        }
        (Named(..), Equation(b)) => {
            equation(a).map_or(Same::No, |a| Same::from_bool(a.is_multiple_of(b) == Some(true)))
        }
        (Named(_, a), b) => values(a, b),
        (a, Named(_, b)) => values(a, b),
        (Tuple(a), Tuple(b)) | (Ratio(a), Ratio(b)) | (Tuple(a), List(b)) | (List(a), Tuple(b)) => in_order(a, b),
        (List(a) | Set(a), List(b) | Set(b)) => lists(a, b),
        (Ranges(a), Ranges(b)) => ranges(a, b),
        (Tuple(pair), Ranges(ranges)) | (Ranges(ranges), Tuple(pair)) => match (&pair[..], &ranges[..]) {
            ([Scalar(low), Scalar(high)], [range]) if !range.low.closed && !range.high.closed => {
                Same::all([end(Some(low), range.low.at.as_ref()), end(Some(high), range.high.at.as_ref())])
            }
            _ => Same::No,
        },
        (Matrix(a), Matrix(b)) if a.len() == b.len() && a[0].len() == b[0].len() => {
            Same::all(a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| same(a, b)))
        }
        (Based(a, base), Based(b, other)) => Same::from_bool(a == b && base == other),
        (Relations(a), Relations(b)) => relations(a, b),
        _ => Same::No,
    }
}

fn hundredth(percent: &Expr, number: &Expr) -> Same {
    same(&Expr::Percent(Box::new(percent.clone())), number)
}

/// Returns `name - value` for an equation that states the value of a variable.
fn equation(value: &Value) -> Option<Fraction> {
    match value {
        Value::Named(name, value) => match &**value {
            Value::Scalar(value) if !name.is_empty() => {
                Fraction::of(&Expr::Name(name.clone()))?.minus(&Fraction::of(value)?)
            }
            _ => None,
        },
        _ => None,
    }
}

fn in_order(a: &[Value], b: &[Value]) -> Same {
    if a.len() != b.len() {
        return Same::No;
    }
    Same::all(a.iter().zip(b).map(|(a, b)| values(a, b)))
}

/// Compares lists in any order. An item may be repeated.
fn lists(a: &[Value], b: &[Value]) -> Same {
    let names = |list: &[Value]| {
        let name = |item: &Value| if let Value::Named(name, _) = item { Some(name.clone()) } else { None };
        let mut names = list.iter().map(name).collect::<Option<Vec<_>>>()?;
        names.sort();
        Some(names)
    };
    // `a = 1, b = 2`: each name has its value.
    let each = |names: &Vec<String>| {
        names.windows(2).all(|pair| pair[0] != pair[1]) && names.iter().all(|name| !name.is_empty())
    };
    if names(a).filter(each).is_some_and(|found| names(b) == Some(found)) {
        let other = |x: &Value| b.iter().find(|y| matches!((x, y), (Value::Named(x, _), Value::Named(y, _)) if x == y));
        return Same::all(a.iter().map(|x| other(x).map_or(Same::No, |y| values(x, y))));
    }
    let straight = in_order(a, b);
    if straight == Same::Yes || a.len().max(b.len()) > LONGEST {
        return if straight == Same::No { Same::Unknown } else { straight };
    }
    let covers = |a: &[Value], b: &[Value]| Same::all(a.iter().map(|x| Same::any(b.iter().map(|y| values(x, y)))));
    Same::all([covers(a, b), covers(b, a)])
}

fn end(a: Option<&Expr>, b: Option<&Expr>) -> Same {
    match (a, b) {
        (None, None) => Same::Yes,
        (Some(a), Some(b)) => same(a, b),
        _ => Same::No,
    }
}

fn ranges(a: &[Range], b: &[Range]) -> Same {
    if a.len() != b.len() {
        return Same::No;
    }
    Same::all(a.iter().zip(b).map(|(a, b)| {
        let closed = a.low.closed == b.low.closed && a.high.closed == b.high.closed;
        let ends = [end(a.low.at.as_ref(), b.low.at.as_ref()), end(a.high.at.as_ref(), b.high.at.as_ref())];
        if closed { Same::all(ends) } else { Same::No }
    }))
}

/// Compares sets of inequalities, of which each may be multiplied by a positive number.
fn relations(a: &[(Relation, Fraction)], b: &[(Relation, Fraction)]) -> Same {
    let scaled = |x: &(Relation, Fraction), y: &(Relation, Fraction)| x.0 == y.0 && x.1.is_positive_multiple_of(&y.1);
    let covers = |a: &[_], b: &[_]| a.iter().all(|x| b.iter().any(|y| scaled(x, y)));
    Same::from_bool(covers(a, b) && covers(b, a))
}
