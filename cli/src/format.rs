//! Formatting of numbers and text for readers.

/// Escapes `text` for HTML elements and quoted attributes. Control characters, which could hide or reorder the text
/// after them, are replaced by a visible character.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// Formats a quantity with its unit: a `fraction` as a percentage, everything else to three significant digits.
pub(crate) fn quantity(x: f64, unit: &str) -> String {
    match unit {
        _ if !x.is_finite() => "not finite".to_owned(),
        "fraction" => percent(x),
        "" => number(x),
        _ => format!("{}\u{a0}{unit}", number(x)),
    }
}

/// Formats a difference with its sign. Differences of fractions are in percentage points.
pub(crate) fn change(by: f64, unit: &str) -> String {
    let (by, unit) = if unit == "fraction" { ((by * 1000.0).round() / 10.0, "points") } else { (by, unit) };
    let sign = if by > 0.0 { "+" } else { "" };
    format!("{sign}{}", quantity(by, unit))
}

/// Formats a number to three significant digits, trailing zeros included, so that the numbers of a table line up:
/// `12 345`, `0.421`, `3.20`, `3 × 10⁻⁴`. Whole numbers have no decimals.
pub(crate) fn number(x: f64) -> String {
    if !x.is_finite() {
        return "not finite".to_owned();
    }
    if x == 0.0 {
        return "0".to_owned();
    }
    let size = x.abs();
    if !(1e-3..1e7).contains(&size) {
        return scientific(x, 2);
    }
    // The position of the first digit is taken after rounding: 0.9999 becomes 1.00.
    let first = format!("{x:.2e}").parse::<f64>().unwrap_or(x).abs().log10().floor() as i32;
    let decimals = if x.fract() == 0.0 { 0 } else { (2 - first).clamp(0, 5) as usize };
    sign_and_groups(&format!("{x:.decimals$}"))
}

/// Formats the label of an axis tick with enough digits to tell it from its neighbour, which is `step` away.
pub(crate) fn tick(x: f64, step: f64, unit: &str) -> String {
    let (x, step, sign) = if unit == "fraction" { (x * 100.0, step * 100.0, "%") } else { (x, step, "") };
    if x.abs() < step * 1e-9 {
        return format!("0{sign}");
    }
    let size = x.abs();
    // On a logarithmic axis, which has step 0, neighbours differ in their exponents.
    if size >= 1e6 || size < 1e-3 && step < 1e-4 || step == 0.0 {
        let digits = if step == 0.0 { 2.0 } else { (size.log10().floor() - step.log10().floor()).clamp(2.0, 15.0) };
        return scientific(x, digits as usize);
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 15.0) as usize;
    sign_and_groups(&trim(&format!("{x:.decimals$}"))) + sign
}

/// Formats a fraction as a percentage with one decimal, or two below 1 %. 0 % and 100 % have no decimals.
fn percent(x: f64) -> String {
    let points = 100.0 * x;
    let digits = match points.abs() {
        size if size < 0.005 || size == 100.0 => format!("{points:.0}"),
        size if size < 1.0 => format!("{points:.2}"),
        _ => format!("{points:.1}"),
    };
    sign_and_groups(&digits) + "\u{a0}%"
}

/// Formats a number in scientific notation with at most `decimals` decimals.
fn scientific(x: f64, decimals: usize) -> String {
    let text = format!("{x:.decimals$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mut shown = sign_and_groups(&trim(mantissa));
    shown = match shown.as_str() {
        "1" => "10".to_owned(),
        "−1" => "−10".to_owned(),
        other => format!("{other}\u{202f}×\u{202f}10"),
    };
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raised = |c: char| c.to_digit(10).map_or('⁻', |digit| RAISED[digit as usize]);
    shown.extend(exponent.chars().map(raised));
    shown
}

/// Removes trailing zeros of a decimal fraction, and a trailing point.
fn trim(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
}

/// Replaces the hyphen by a minus sign, and puts narrow spaces between groups of three digits from 10 000 on.
fn sign_and_groups(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("−", digits));
    let whole = digits.find('.').unwrap_or(digits.len());
    let mut shown = String::from(if digits == "0" { "" } else { sign });
    for (place, c) in digits.chars().enumerate() {
        if whole > 4 && place > 0 && place < whole && (whole - place).is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(c);
    }
    shown
}

/// Appends formatted text to a `String`.
macro_rules! push {
    ($out:expr, $($text:tt)*) => {{
        use std::fmt::Write;
        write!($out, $($text)*).expect("a String takes any text")
    }};
}
pub(crate) use push;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::axis::Axis;

    #[test]
    fn numbers_read_well() {
        for (x, unit, wanted) in [
            (0.0, "", "0"),
            (196.875, "nats", "197\u{a0}nats"),
            (-0.25, "", "−0.250"),
            (3.2, "", "3.20"),
            (3.0, "", "3"),
            (0.9999, "", "1.00"),
            (12_345.6, "tokens/s", "12\u{202f}346\u{a0}tokens/s"),
            (3e-4, "", "3\u{202f}×\u{202f}10⁻⁴"),
            (1e-6, "", "10⁻⁶"),
            (0.635, "fraction", "63.5\u{a0}%"),
            (0.0012, "fraction", "0.12\u{a0}%"),
            (0.08, "fraction", "8.0\u{a0}%"),
            (0.9999, "fraction", "100.0\u{a0}%"),
            (1.0, "fraction", "100\u{a0}%"),
            (-1e-9, "fraction", "0\u{a0}%"),
            (f64::NAN, "s", "not finite"),
        ] {
            assert_eq!(quantity(x, unit), wanted);
        }
        assert_eq!(change(0.515, "fraction"), "+51.5\u{a0}points");
        assert_eq!(change(-2.0, "nats"), "−2\u{a0}nats");
        assert_eq!(tick(0.5, 0.25, "fraction"), "50%");
        assert_eq!(tick(1e-17, 0.1, ""), "0");
        assert_eq!(tick(-1.5, 0.5, ""), "−1.5");
        assert_eq!(tick(5e-4, 5e-4, ""), "0.0005");
        assert_eq!(tick(2e-6, 1e-6, ""), "2\u{202f}×\u{202f}10⁻⁶");
    }

    #[test]
    fn no_two_ticks_have_the_same_label() {
        for size in [1e-7, 3e-4, 9e-4, 0.0123, 0.7, 1.0, 42.0, 1e3, 12_345.0, 1e6, 3.21e8] {
            for part in [1.0, 1e-2, 1e-4, 1e-6, 1e-8] {
                let axis =
                    Axis::fit([size, size * (1.0 + part)].into_iter(), false, (f64::NEG_INFINITY, f64::INFINITY));
                for unit in ["", "fraction"] {
                    let labels: Vec<_> = axis.ticks.iter().map(|x| tick(*x, axis.step, unit)).collect();
                    assert!(
                        labels.len() > 1 && labels.windows(2).all(|pair| pair[0] != pair[1]),
                        "{axis:?}: {labels:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn hostile_text_is_defused() {
        assert_eq!(escape("</a>&\"'"), "&lt;/a&gt;&amp;&quot;&#39;");
        assert_eq!(escape("a\u{202e}b\u{0}\n"), "a\u{fffd}b\u{fffd}\n");
    }
}
