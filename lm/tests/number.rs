//! Tests of the numbers that the verifier `number` finds in completions.

use flowrl_lm::verify::{Number, Verifier};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::verifiers::{judge, row, verdict};

/// Asserts that each completion of a list states the answer before it.
fn assert_stated(cases: &[(&str, &[&str])]) {
    for (answer, completions) in cases {
        for completion in *completions {
            assert_eq!(verdict(*answer, completion), "correct", "{answer}: {completion}");
        }
    }
}

/// Asserts that no completion of a list states the answer before it.
fn assert_not_stated(cases: &[(&str, &[&str])]) {
    for (answer, completions) in cases {
        for completion in *completions {
            assert_eq!(verdict(*answer, completion), "wrong", "{answer}: {completion}");
        }
    }
}

#[test]
#[rustfmt::skip]
fn the_last_number_of_plain_text_counts() {
    assert_stated(&[
        ("42", &["42", "First 7, then 42.", "42 apples", "42, as 6 * 7 = 42.", "It's 42", "**42**", "is **42**.",
            "`42`", "“42”", "42 ✓", "=> 42", "42 !", "#42"]),
        ("42", &["x=42", "x ≈ 42", "(42)", "<answer>42</answer>", "42 <b>apples</b>", "Total: 42\nDone.",
            "- Total: 42", "a) 42"]),
        ("42", &["\n* 42", "42 (see above)", "a total of 42", "comes to 42", "$x = 42$", "\\(42\\)", "\\[42\\]",
            "$$42$$", "#42"]),
        ("42", &["x &= 42 \\\\", "\\text{Total: } 42", "42\\text{ apples}", "\\mathbf{42}", "42^\\circ",
            "42^{\\circ}", "42°", "42 \\textbf{apples}", "rises by 42%"]),
        ("9", &["9 m^2", "9 cm2.", "9 m²", "9\\text{ cm}^2", "9 \\text{ inches}^{2}", "9 m s^{-2}", "9 m", "9cm",
            "9 km<sup>2</sup>"]),
        ("4.5", &["4.5", "4.50", "004.5", "4.5%", "4.5\\%", "4.5 %", "$4.50", "\\$4.50", "4.50$", "€4.5", "4.5 €",
            "9/2", "4 1/2"]),
        ("0.5", &[".5", "is .5.", "1/2", "2/4", "\\frac{1}{2}", "\\dfrac12", "\\frac1{2}", "\\frac 1 2", "0.50",
            "5e-1", "1 / 2"]),
        ("-0.75", &["-3/4", "−3/4", "-\\frac{3}{4}", "\\frac{-3}{4}", "\\frac{3}{-4}", "- \\tfrac{3}{4}"]),
        ("7/4", &["1 3/4", "1\\frac{3}{4}", "1 \\frac34", "1.75"]),
        ("-7/4", &["-1 3/4", "-1\\frac{3}{4}"]),
        ("1234567", &["1,234,567?", "1{,}234{,}567", "1\\,234\\,567", "1,\\!234,\\!567", "1 234 567",
            "1\u{202f}234\u{202f}567"]),
        ("1234.5", &["1,234.5", "1 234.5", "$1,234.50", "1234.5"]),
        ("2000", &["2e3", "2.0E+3", "2 × 10^3", "2\\times10^{3}", "2 \\cdot 10^3", "2*10**3", "2 x 10^3",
            "0.2 * 10^4"]),
        ("0.002", &["2E-3", "2 × 10^{-3}", "2 × 10^-3"]),
        ("5", &["５", "＋５", "5．"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn signs_are_read_where_there_is_no_difference() {
    assert_stated(&[
        ("-5", &["-5", "–5", "−5", "- 5", "x=-5", "x = - 5", "Answer:-5", "is -5", "$-5$", "-$5", "$-5", "$-$5",
            "(-5)", "**-5**"]),
        ("-5", &["minus 5", "is minus 5", "= negative 5", "a loss of negative 5", "Total:\n-5", "<b>-5</b>", "-5.0"]),
        ("5", &["+5", "is +5"]),
    ]);
    assert_not_stated(&[
        ("-5", &["10 - 5", "10 -5", "10-5", "x - 5", "x -5", "(x) -5", "\nx\n- 5", "the answer – 5", "ten minus 5",
            "10 minus 5"]),
        ("5", &["10 - 5", "10-5", "1–5", "x-5", "- 5", "Total:\n- 5", "—5", "— 5", "±5", "\\pm 5", "plus or minus 5",
            "--5", "+-5"]),
        ("-5", &["--5", "|-5|", "±5"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn no_part_of_an_expression_is_taken() {
    assert_not_stated(&[
        ("2", &["2x", "2 x", "2\\pi", "2\\sqrt{3}", "2 \\sqrt 3", "2^{10}", "2³", "2!", "2(x + 1)", "2 (3 + 4)",
            "2/x", "2 * x", "3 * 2", "3** 2", "x** 2", "width * 2", "2a"]),
        ("2", &["x^2", "x_2", "\\log_2", "f(2)", "x(2)", "exp( 2 )", "x.2", "...2", "is.2", "log 2", "sqrt(2)",
            "square root of 2", "half of 2", "50% of 2", "\\sqrt2"]),
        ("2", &["\\sqrt{2}", "\\frac{x}{2}", "\\frac{\\pi}{2}", "\\frac{2}{0}", "2/0", "1/2/2", "3.1.2", "10:2",
            "5'2", "10 : 2", "2..3"]),
        ("2", &["(5, 2)", "(x, 2)", "[1, 2]", "\\{1, 2\\}", "1, 2", "x < 2", "x > 2", "x \\ge 2", "x >= 2", "x != 2",
            "≥ 2", "more than 2", "not 2", "1 or 2"]),
        ("2", &["2 million", "2 and a half", "1 and 2", "5 per 2 days", "from 1 to 2", "2nd", "2-year", "2 squared",
            "10 over 2", "2½"]),
        ("2", &["2, 5", "x = 1 or x = 2", "$x = 1$ or $x = 2$", "2 thirds", "twice 2", "4 divided by 2", "2 pi",
            "2 m + n", "2 != x", "it is 2 ab^2", "2: x^2", "step 2 5", "2 7", "x2", "v2", "GPT-2", "1_2", "2_3",
            "0x2", "0,2", "1,2", "12,34,562", "1 + 2", "1+2", "1 × 2"]),
        ("2", &["10<sup>2</sup>", "(3)2", "(3) 2", "{x}2", "2²", "٢", "2٢", "0.\\overline{2}", "2\u{301}", "∫ 2",
            "<2", "2>", "2 or more"]),
        ("0.5", &["0.5...", "...5", "0.5…", "x.5", "0.5.1"]),
        ("1000", &["1,000 or so", "1,0000", "01,000", "1,000,00", "1 000\\,000", "1000x"]),
        ("1/2", &["2 and 1/2", "1/2/3", "\\frac{1}{2}x", "\\frac{1}{2}\\pi", "x/1/2"]),
    ]);
    assert_eq!(verdict("2", "12/2/2024 and no more"), "wrong");
}

#[test]
fn other_numbers_are_wrong_and_none_is_no_number() {
    for (answer, completion) in [
        ("42", "42 or 43"),
        ("1", "0.9999999999999999999"),
        ("1/3", "0.333"),
        ("1", "1e999999999999999999999"),
        ("1", "1e9999999999999999999999999999999999999999"),
        ("9/4", "1 5/4"),
        ("123", "0 123"),
        ("1", "1e-999999999999999999999"),
        ("0", "100000000000000000000000000000000000000000000000000"),
        ("1/2", "\\frac{2}{1}"),
        ("0.5", "50%"),
        ("3", "2 x 10^3"),
    ] {
        assert_eq!(verdict(answer, completion), "wrong", "{answer}: {completion}");
    }
    for completion in [
        "",
        "one",
        "\\boxed{}",
        "\\boxed{\\text{one}} 1",
        "<think>1</think>",
        "1 <think> 1</think> one",
        "</think>",
        "cm2",
    ] {
        assert_eq!(verdict("1", completion), "no-number", "{completion}");
    }
    assert_eq!(judge(&row(json!(1)), "1", false).verdict, "unfinished");
    assert_eq!(judge(&row(json!(1)), "1", true).reward, Some(1.0));
    assert_eq!(judge(&row(json!("one")), "1", true).verdict, "no-answer");
    assert_eq!(judge(&row(Value::Null), "1", true).verdict, "no-answer");
}

#[test]
#[rustfmt::skip]
fn an_explicit_answer_wins_over_later_text() {
    assert_stated(&[
        ("42", &["\\boxed{42}, as 6 \\cdot 7 shows", "\\fbox{42} 1", "\\boxed{x = 42} 1", "\\boxed {42}",
            "\\boxed{\\text{42}} 1"]),
        ("42", &["\\boxed{41} or rather \\boxed{42}. 1", "\\boxed{\\boxed{42}} 1", "\\boxed{42\\text{ apples}} 1",
            "\\boxed{\\$42} 1"]),
        ("42", &["#### 42\n1", "#### 42 (6 x 7)\n1", "#### $42.\n1", "### 1\n#### **42**\n1", "so 3 #### 42\n1",
            "#### 41\n#### 42\n1"]),
        ("42", &["#### 42\n#### 2. Check\n1", "\\boxed{42}\n#### 42\n1", "#### 1. Add\nIt is 42", "#### Step 1\n42",
            "##### 1\n42"]),
        ("42", &["<think>\\boxed{41}</think>42", "\\boxed{41}</think>42", "#### 41</think>It is 42",
            "42 <think> 41"]),
        ("4/25", &["\\boxed{\\frac{64}{400}} 1", "#### 64/400\n1"]),
        ("-42", &["\\boxed{-42} 1", "\\boxed{- 42} 1", "#### -42\n1", "#### -$42\n1"]),
    ]);
    assert_not_stated(&[
        ("2", &["\\boxed{\\frac{1}{2}}", "\\boxed{1, 2}", "\\boxed{(1, 2)}", "\\boxed{2\\sqrt{3}}", "\\boxed{2x}",
            "\\boxed{2!}"]),
        ("2", &["\\boxed{x^2}", "\\boxed{x > 2}", "\\boxed{2 \\text{ or } 3}", "\\boxed{1}2", "\\boxed{2",
            "\\boxed 2", "\\boxed{1+1}2"]),
        ("2", &["\\boxed{-x = 2}", "\\boxed{\\sqrt{x} = 2}", "\\boxed{3x = 2}", "\\boxed{x y = 2}",
            "\\boxed{x = 1, y = 2}", "\\boxed{2 = x}", "\\boxed{(2, x)}", "\\boxed{[2, \\infty)}",
            "\\boxed{\\{2, x\\}}", "\\boxed{2 \\text{ million}}"]),
        ("2", &["#### 1\n2", "#### 2, 3", "#### 2 + 3", "#### 2x", "#### 1/0\n2", "\\boxed{2}\n#### 1",
            "\\boxed{1}\n#### 2"]),
        ("400", &["\\boxed{\\frac{64}{400}}", "\\boxed{\\frac{x}{400}}"]),
    ]);
}

/// Writes a whole number with its digits in one piece or in groups of three.
fn written(n: i64, grouped: bool, separator: &str) -> String {
    let mut digits = n.unsigned_abs().to_string();
    if grouped {
        for at in (1..digits.len()).rev().filter(|at| (digits.len() - at).is_multiple_of(3)).collect::<Vec<_>>() {
            digits.insert_str(at, separator);
        }
    }
    if n < 0 { format!("-{digits}") } else { digits }
}

/// Pieces of completions, including unlikely ones.
const FRAGMENTS: [&str; 52] = [
    "5",
    "7",
    "12",
    "1,000",
    "0.5",
    ".",
    ",",
    "-",
    "–",
    "+",
    "/",
    "$",
    "%",
    "\\%",
    "\\$",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    " ",
    "\n",
    "é",
    "x",
    "cm",
    "and",
    "is ",
    "= ",
    "^",
    "_",
    "*",
    "**",
    "!",
    ":",
    "\\",
    "\\frac",
    "\\frac{",
    "\\boxed{",
    "\\boxed",
    "\\text{",
    "\\times 10^",
    "#### ",
    "####",
    "<think>",
    "</think>",
    "<b>",
    "\u{202f}",
    "５",
    "٥",
    "e3",
    "²",
];

proptest! {
    #[test]
    fn whole_numbers_are_found(
        n in any::<i64>(),
        separator in select(&[",", "{,}", "\\,", " ", "\u{a0}", "\u{202f}"][..]),
        grouped in any::<bool>(),
        (before, after) in select(&[
            ("", ""), ("It is ", "."), ("x = ", "\n"), ("\\boxed{", "}, so 3"), ("#### ", "\nin 3 steps"), ("is **", "**"),
            ("<think>3</think>", " apples"), ("$", "$"), ("step 3: ", " %"), ("\\(", "\\)"), ("is \\frac{", "}{1}"), ("is ", "/1"),
        ][..]),
        other in any::<i64>(),
    ) {
        let completion = format!("{before}{}{after}", written(n, grouped, separator));
        prop_assert_eq!(verdict(n, &completion), "correct", "{}", completion);
        prop_assume!(n != other);
        prop_assert_eq!(verdict(other, &completion), "wrong", "{}", completion);
        prop_assert_eq!(verdict(format!("{other}/7"), &completion.replace(before, &format!("{before} "))), "wrong", "{}", completion);
    }

    #[test]
    fn fractions_are_compared_exactly(a in -999..999_i64, b in 1..999_i64, c in -999..999_i64, d in 1..999_i64) {
        let wanted = if a * d == b * c { "correct" } else { "wrong" };
        for completion in [format!("{c}/{d}"), format!("\\boxed{{\\frac{{{c}}}{{{d}}}}}"), format!("#### {} / {d}\n3", c)] {
            prop_assert_eq!(verdict(format!("{a}/{b}"), &completion), wanted, "{}", completion);
        }
    }

    #[test]
    fn any_text_gets_a_verdict(fragments in prop::collection::vec(select(&FRAGMENTS[..]), 0..12), text in any::<String>()) {
        for text in [fragments.concat(), text] {
            prop_assert_ne!(judge(&row(json!(1)), &text, true).verdict, "no-answer");
            let answer = row(json!(text));
            let accepted = Number.check(&answer).is_ok();
            prop_assert_eq!(judge(&answer, "5", true).verdict == "no-answer", !accepted, "{}", text);
        }
    }

    #[test]
    fn a_radicand_is_never_the_answer(
        before in prop::collection::vec(select(&FRAGMENTS[..]), 0..4),
        after in prop::collection::vec(select(&FRAGMENTS[..]), 0..4),
    ) {
        let completion = format!("\\boxed{{{}\\sqrt{{3}}{}}}", before.concat(), after.concat());
        prop_assert_ne!(verdict("3", &completion), "correct", "{}", completion);
    }
}

#[test]
fn equal_numbers_have_one_canonical_form() {
    for (completion, wanted) in [
        ("It is 6/8.", Some("3/4")),
        ("\\boxed{0.750}", Some("3/4")),
        ("-1,000", Some("-1000")),
        ("0.0", Some("0")),
        ("no idea", None),
        ("\\boxed{3 or 4}", None),
    ] {
        assert_eq!(judge(&row(json!(3)), completion, true).answer.as_deref(), wanted, "{completion}");
    }
    assert_eq!(judge(&row(json!(3)), "3", false).answer, None);
}
