//! Texts of answers that are the same for equal answers.

use num_rational::BigRational;

use super::answer::readings;
use super::exact::Fraction;
use super::expr::Expr;
use super::extract::found;
use super::numeric::Evaluator;
use super::scalar::{constant, infinity};
use super::value::{Range, Value};

/// Returns a text for the answer that a completion states, which is the same for equal answers; None if there is no answer
/// or it is not understood.
///
/// Units, names as in `x =` and percent signs are left out. A number is a fraction or, if it is irrational, its first 30
/// digits; a decimal that was rounded stays a decimal.
///
/// ```
/// use flowrl_verify::math::canonical;
/// assert_eq!(canonical("It is \\boxed{x = 0.50}"), canonical("#### 1/2"));
/// assert_eq!(canonical("\\boxed{\\{2, 1\\}}"), canonical("\\boxed{1, 2}"));
/// assert_eq!(canonical("I am not able to say."), None);
/// ```
pub fn canonical(completion: &str) -> Option<String> {
    let (text, _) = found(completion)?;
    let answer = readings(&text).into_iter().next()?;
    match answer.choice {
        Some(choice) => Some(choice.to_ascii_lowercase().to_string()),
        None if answer.value == Value::Text || answer.is_word => Some(answer.letters),
        None => of_value(&answer.value),
    }
}

fn of_value(value: &Value) -> Option<String> {
    let all = |items: &[Value]| items.iter().map(of_value).collect::<Option<Vec<String>>>();
    Some(match value {
        Value::Scalar(expr) | Value::Percent(expr) => of_scalar(expr)?,
        Value::Named(_, value) => of_value(value)?,
        Value::Tuple(items) => format!("({})", all(items)?.join(", ")),
        Value::Ratio(items) => all(items)?.join(":"),
        Value::List(items) | Value::Set(items) => {
            let mut texts = all(items)?;
            texts.sort();
            texts.dedup();
            format!("{{{}}}", texts.join(", "))
        }
        Value::Ranges(ranges) => ranges.iter().map(of_range).collect::<Option<Vec<_>>>()?.join(" U "),
        Value::Matrix(rows) => {
            let row =
                |row: &Vec<Expr>| row.iter().map(of_scalar).collect::<Option<Vec<_>>>().map(|cells| cells.join(" & "));
            format!("[{}]", rows.iter().map(row).collect::<Option<Vec<_>>>()?.join("; "))
        }
        Value::Based(digits, base) => format!("{digits}_{base}"),
        Value::Equation(difference) => format!("{} = 0", difference.monic().text()?),
        Value::Relations(relations) => {
            let one =
                |(relation, difference): &(_, Fraction)| Some(format!("{} {relation:?} 0", difference.unit().text()?));
            let mut texts = relations.iter().map(one).collect::<Option<Vec<_>>>()?;
            texts.sort();
            texts.join(", ")
        }
        Value::Text => return None,
    })
}

fn of_range(range: &Range) -> Option<String> {
    let end = |at: &Option<Expr>, infinite: &str| at.as_ref().map_or(Some(infinite.to_owned()), of_scalar);
    let (open, close) = (if range.low.closed { '[' } else { '(' }, if range.high.closed { ']' } else { ')' });
    Some(format!("{open}{}, {}{close}", end(&range.low.at, "-oo")?, end(&range.high.at, "oo")?))
}

/// Returns the text of a number or function. A function that is no polynomial is told by its values at two points.
fn of_scalar(expr: &Expr) -> Option<String> {
    if let Some(positive) = infinity(expr) {
        return Some(if positive { "oo" } else { "-oo" }.to_owned());
    }
    if let Some(text) = Fraction::of(expr).and_then(|exact| exact.text()) {
        return Some(text);
    }
    let mut texts = Vec::new();
    for point in if constant(expr) { 0..1 } else { 0..2 } {
        let mut evaluator = Evaluator::new(2 * point)?;
        // A complex number has no value, but often an exact form.
        let Some(ball) = evaluator.evaluate(expr) else { return Fraction::of(expr)?.exact_text() };
        texts.push(match evaluator.simple(&ball) {
            Some(value) => BigRational::to_string(&value),
            None => evaluator.digits(&ball)?,
        });
    }
    texts.dedup();
    Some(texts.join(" | "))
}
