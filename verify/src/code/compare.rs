//! Compares the results of a program with those of a test.

use serde_json::Value;

/// Relative error up to which decimal numbers are equal; below 1 it is absolute.
const TOLERANCE: f64 = 1e-6;

/// Returns whether a program printed the expected text. White space at the ends of lines and empty lines at the end are
/// ignored. A decimal number may differ by a millionth; if an integer is wanted, `7.0` is 7.
pub(super) fn text_matches(got: &str, wanted: &str) -> bool {
    let lines = |text: &str| text.trim_end().lines().map(str::trim_end).map(String::from).collect::<Vec<_>>();
    let (got, wanted) = (lines(got), lines(wanted));
    got.len() == wanted.len() && got.iter().zip(&wanted).all(|(got, wanted)| line_matches(got, wanted))
}

fn line_matches(got: &str, wanted: &str) -> bool {
    let words = |line| str::split(line, ' ');
    got == wanted
        || words(got).count() == words(wanted).count()
            && words(got).zip(words(wanted)).all(|(got, wanted)| word_matches(got, wanted))
}

fn word_matches(got: &str, wanted: &str) -> bool {
    if got == wanted {
        return true;
    }
    let (Some(value), Some(target)) = (decimal(got), decimal(wanted)) else { return false };
    match wanted.contains(['.', 'e', 'E']) {
        true => close(value, target),
        false => {
            got.split_once('.').is_some_and(|(whole, rest)| whole == wanted && rest.bytes().all(|digit| digit == b'0'))
        }
    }
}

/// Reads a number as programs print it; `nan` and `inf` are words.
fn decimal(word: &str) -> Option<f64> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    digits.then(|| word.parse().ok()).flatten().filter(|value: &f64| value.is_finite())
}

fn close(got: f64, wanted: f64) -> bool {
    (got - wanted).abs() <= TOLERANCE * wanted.abs().max(1.0)
}

/// Returns whether a function returned the expected value, as JSON: tuples are lists, and keys are strings. Decimal numbers may
/// differ by a millionth.
pub(super) fn json_matches(got: &Value, wanted: &Value) -> bool {
    match (got, wanted) {
        (Value::Number(got), Value::Number(wanted)) if got.is_f64() || wanted.is_f64() => {
            got.as_f64().zip(wanted.as_f64()).is_some_and(|(got, wanted)| close(got, wanted))
        }
        (Value::Array(got), Value::Array(wanted)) => {
            got.len() == wanted.len() && got.iter().zip(wanted).all(|(got, wanted)| json_matches(got, wanted))
        }
        (Value::Object(got), Value::Object(wanted)) => {
            got.len() == wanted.len()
                && wanted.iter().all(|(key, wanted)| got.get(key).is_some_and(|got| json_matches(got, wanted)))
        }
        _ => got == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_equal_up_to_white_space_at_ends_and_a_millionth() {
        for (got, wanted, equal) in [
            ("1 2\n3\n", "1 2\n3", true),
            ("1 2  \n3\n\n\n", "1 2\n3", true),
            ("1\r\n2\r\n", "1\n2\n", true),
            ("", "\n", true),
            ("1 2", "1\n2", false),
            ("1  2", "1 2", false),
            (" 1", "1", false),
            ("\n1", "1", false),
            ("1\n\n2", "1\n2", false),
            ("yes", "YES", false),
            ("0.3333333", "0.333333333", true),
            ("0.3333", "0.333333333", false),
            ("x 1000000.5", "x 1000000.9", true),
            ("x 1000000.5", "x 1000002.9", false),
            ("1e-9", "0.0", true),
            ("7.0", "7", true),
            ("7.", "7", true),
            ("7.1", "7", false),
            ("8.0", "7", false),
            ("7", "7.0", true),
            ("100000000000000000000", "100000000000000000001", false),
            ("100000000", "100000001", false),
            ("nan", "nan", true),
            ("inf", "1.0", false),
            ("1.0", "inf", false),
            ("1e999", "1.0", false),
        ] {
            assert_eq!(text_matches(got, wanted), equal, "{got:?} {wanted:?}");
        }
    }

    #[test]
    fn values_are_equal_up_to_a_millionth() {
        for (got, wanted, equal) in [
            (json!([1, [2, "a"]]), json!([1, [2, "a"]]), true),
            (json!([1, 2]), json!([2, 1]), false),
            (json!([1]), json!([1, 2]), false),
            (json!(1), json!(1.0), true),
            (json!(0.1 + 0.2), json!(0.3), true),
            (json!(0.31), json!(0.3), false),
            (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64), false),
            (json!({"a": 1.0}), json!({"a": 1}), true),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), false),
            (json!(null), json!(0), false),
            (json!(true), json!(1), false),
            (json!("1"), json!(1), false),
        ] {
            assert_eq!(json_matches(&got, &wanted), equal, "{got} {wanted}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_text_equals_itself(text in "\\PC{0,40}") {
            assert!(text_matches(&text, &text));
            assert!(text_matches(&format!("{text}\n"), &text));
        }
    }
}
