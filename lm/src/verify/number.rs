//! The last number of a text.

use flowrl_core::task::Judgement;

use super::{Verifier, answer_text, judgement};
use crate::countdown::Rational;
use crate::error::{Error, Result};
use crate::prompts::PromptRow;

/// The last number in the completion equals the last number in `answer`, exactly.
///
/// Read are `42`, `-3.5`, `+7`, `.5`, `1,000`, `3/4` and `2e3`, whatever stands around them (`$18.`, `\boxed{18}`, `#### 18`);
/// `-` is a sign unless a letter, a digit or a closing bracket is before it, so `5-3` ends in 3. Numbers are compared as
/// fractions: `0.50` is `1/2`, and `0.333` is not `1/3`. Verdicts: `correct`, `wrong`, `no-number`, `unfinished`,
/// `no-answer`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Number;

impl Verifier for Number {
    fn name(&self) -> &'static str {
        "number"
    }

    fn check(&self, row: &PromptRow) -> Result<()> {
        let wrong = || Error::argument("answer", &row.answer, "a number, or a string with a number in it");
        answer(row).map(drop).ok_or_else(wrong)
    }

    fn judge(&self, row: &PromptRow, completion: &str, ended: bool) -> Judgement {
        judgement(match (answer(row), last_number(completion)) {
            (None, _) => "no-answer",
            _ if !ended => "unfinished",
            (_, None) => "no-number",
            (Some(answer), Some(number)) if answer.equals(number) == Some(true) => "correct",
            _ => "wrong",
        })
    }
}

fn answer(row: &PromptRow) -> Option<Rational> {
    last_number(&answer_text(&row.answer)?)
}

/// The last number of `text`; one that does not fit 128 bits is passed over.
fn last_number(text: &str) -> Option<Rational> {
    let text = text.replace('−', "-");
    let bytes = text.as_bytes();
    let (mut at, mut last) = (0, None);
    while at < bytes.len() {
        match number_at(bytes, at) {
            Some((value, end)) => (last, at) = (value.or(last), end),
            None => at += 1,
        }
    }
    last
}

/// The number or fraction that starts at `at`, and where it ends. The value is [`None`] when it is too large.
fn number_at(bytes: &[u8], at: usize) -> Option<(Option<Rational>, usize)> {
    let signed = matches!(bytes[at], b'-' | b'+');
    let before = at.checked_sub(1).map(|i| bytes[i]);
    if signed && before.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b')' | b']' | b'}')) {
        return None;
    }
    let (value, end) = decimal_at(bytes, at + usize::from(signed))?;
    let value = if bytes[at] == b'-' { value.and_then(|v| Rational::whole(0).sub(v)) } else { value };
    let divisor = (bytes.get(end) == Some(&b'/')).then(|| decimal_at(bytes, end + 1)).flatten();
    match divisor {
        Some((Some(divisor), end)) if !divisor.is_zero() => Some((value.and_then(|v| v.div(divisor)), end)),
        _ => Some((value, end)),
    }
}

/// Digits with groups of thousands, a fraction and an exponent, without sign.
fn decimal_at(bytes: &[u8], at: usize) -> Option<(Option<Rational>, usize)> {
    let digits = |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = at + digits(at);
    let mut mantissa = bytes[at.min(bytes.len())..end.min(bytes.len())].to_vec();
    let grouped = |end: usize| bytes.get(end) == Some(&b',') && digits(end + 1) == 3;
    while (1..=3).contains(&digits(at)) && grouped(end) {
        mantissa.extend(&bytes[end + 1..end + 4]);
        end += 4;
    }
    let mut places = 0;
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        places = digits(end + 1);
        mantissa.extend(&bytes[end + 1..end + 1 + places]);
        end += 1 + places;
    }
    if mantissa.is_empty() {
        return None;
    }
    let (exponent, end) = exponent_at(bytes, end);
    let places = i64::try_from(places).ok()?.saturating_sub(exponent);
    Some((scaled(&mantissa, places), end))
}

/// The exponent of `e+12` at `at` and where it ends, or 0 and `at`.
fn exponent_at(bytes: &[u8], at: usize) -> (i64, usize) {
    let rest = &bytes[at..];
    let [b'e' | b'E', rest @ ..] = rest else { return (0, at) };
    let sign = usize::from(matches!(rest.first(), Some(b'-' | b'+')));
    let digits = rest[sign..].iter().take_while(|b| b.is_ascii_digit()).count();
    let text = str::from_utf8(&rest[..sign + digits]).unwrap_or_default();
    match text.parse() {
        Ok(exponent) => (exponent, at + 1 + sign + digits),
        Err(_) => (0, at),
    }
}

/// `mantissa` · 10^−places, when it fits.
fn scaled(mantissa: &[u8], places: i64) -> Option<Rational> {
    let mantissa: i128 = str::from_utf8(mantissa).ok()?.parse().ok()?;
    let power = u32::try_from(places.unsigned_abs()).ok()?;
    match places {
        0.. => Rational::decimal(mantissa, power),
        _ => Some(Rational::whole(mantissa.checked_mul(10_i128.checked_pow(power)?)?)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn verdict(answer: Value, completion: &str) -> &'static str {
        Number.judge(&PromptRow { answer, ..PromptRow::text("q") }, completion, true).verdict
    }

    #[test]
    fn the_last_number_counts() {
        for (answer, completion) in [
            (json!(42), "42"),
            (json!(42), "First 7, then 42."),
            (json!(1000), "It is $1,000."),
            (json!(1_234_567), "1,234,567!"),
            (json!(3), "lists 1, 2, 3"),
            (json!(345), "12,345,6789 is not grouped, but 345 is a number"),
            (json!(-3.5), "x = -3.5"),
            (json!(-3.5), "x = −3.5"),
            (json!(3), "5-3"),
            (json!(3), "(5)-3"),
            (json!(-3), "5 -3"),
            (json!(7), "+7"),
            (json!(0.5), "1/2"),
            (json!("1/2"), "0.50"),
            (json!(0.5), ".5"),
            (json!(-0.75), "-3/4"),
            (json!(2000), "2e3"),
            (json!(0.002), "2E-3"),
            (json!(2), "2e"),
            (json!("#### 18"), "\\boxed{18}"),
            (json!("$18.00"), "18"),
            (json!(18), "18%"),
            (json!(18.0), "18"),
            (json!(1e21), "1000000000000000000000"),
            (json!(0.1), "0.1"),
            (json!(0), "3/4 - 0"),
            (json!(0), "5/0"),
        ] {
            assert_eq!(verdict(answer.clone(), completion), "correct", "{answer} {completion}");
        }
    }

    #[test]
    fn what_is_not_correct_says_why() {
        assert_eq!(verdict(json!(42), "42 or 43"), "wrong");
        assert_eq!(verdict(json!(1), "0.9999999999999999999"), "wrong");
        assert_eq!(verdict(json!("1/3"), "0.333"), "wrong");
        assert_eq!(verdict(json!(1), "one"), "no-number");
        assert_eq!(verdict(json!(1), ""), "no-number");
        assert_eq!(verdict(json!(1), "1e999999999999999999999"), "wrong");
        assert_eq!(verdict(json!("one"), "1"), "no-answer");
        assert_eq!(verdict(Value::Null, "1"), "no-answer");
        let row = PromptRow { answer: json!(1), ..PromptRow::text("q") };
        assert_eq!(Number.judge(&row, "1", false).verdict, "unfinished");
        assert_eq!(Number.judge(&row, "1", true).reward, 1.0);
        assert!(Number.check(&PromptRow::text("q")).unwrap_err().to_string().contains("`answer` is null"));
    }

    proptest! {
        #[test]
        fn whole_numbers_are_found(n in any::<i64>(), before in "[a-z ]{0,5} ", after in "[.!]?[a-df-z ]{0,5}") {
            prop_assert_eq!(verdict(json!(n), &format!("{before}{n}{after}")), "correct");
        }

        #[test]
        fn any_text_gets_a_verdict(text in "[-+0-9.,/eé$() −]{0,20}") {
            let _ = verdict(json!(1), &text);
        }
    }
}
