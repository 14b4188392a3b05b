//! The forms of answers: which are equal, and which are not.

use flowrl_verify::math::{Extracted, Place, Same, canonical, compare, extract};
use proptest::prelude::*;

/// Asserts that all answers of each row are equal, and that their canonical texts are too.
#[track_caller]
fn assert_equal(rows: &[&[&str]]) {
    let mut wrong = Vec::new();
    for row in rows {
        for answer in &row[1..] {
            let text = |answer: &str| canonical(&format!("\\boxed{{{answer}}}"));
            let found = (
                compare(row[0], answer),
                compare(answer, row[0]),
                text(row[0]) == text(answer),
                text(answer).is_some(),
            );
            if found != (Same::Yes, Same::Yes, true, true) {
                wrong.push(format!("{} {answer}: {found:?} {:?} {:?}", row[0], text(row[0]), text(answer)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[track_caller]
fn assert_different(pairs: &[(&str, &str)]) {
    let found = |a: &str, b: &str| (compare(a, b), compare(b, a));
    let wrong: Vec<_> =
        pairs.iter().map(|(a, b)| (a, b, found(a, b))).filter(|row| row.2 != (Same::No, Same::No)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
#[rustfmt::skip]
fn numbers() {
    assert_equal(&[
        &["0.5", "1/2", "\\frac{1}{2}", "\\frac12", ".5", "\\dfrac{2}{4}", "2^{-1}", "½", "5e-1"],
        &["1234567", "1,234,567", "1{,}234{,}567", "1\\,234\\,567", "1 234 567", "12,34,567"],
        &["7/4", "1 3/4", "1\\frac{3}{4}", "1.75", "-(-7/4)", "7 \\div 4"],
        &["\\frac{\\sqrt{2}}{2}", "1/\\sqrt{2}", "\\sqrt{\\frac{1}{2}}", "2^{-1/2}", "\\cos 45^\\circ", "\\sin(\\pi/4)"],
        &["2\\sqrt{3}", "\\sqrt{12}", "\\sqrt 12", "2 \\sqrt3", "12^{1/2}", "2\\cdot 3^{0.5}"],
        &["\\sqrt{3+2\\sqrt{2}}", "1+\\sqrt{2}"],
        &["\\sqrt[3]{-8}", "-2", "-\\sqrt{4}", "i^2 \\cdot 2"],
        &["1+2i", "2i+1", "1+\\sqrt{-4}"],
        &["\\frac{9}{4}\\pi", "9\\pi/4", "2.25π", "\\frac94 \\pi"],
        &["e^2", "\\exp(2)", "e \\cdot e"],
        &["\\log_2 8", "3", "\\frac{\\ln 8}{\\ln 2}", "\\log_{10} 1000", "\\binom{3}{1}", "|-3|"],
        &["120", "5!", "2^3 \\cdot 15", "\\binom{10}{3}"],
    ]);
    assert_different(&[
        ("0.333", "1/3"), ("3.14", "\\pi"), ("2\\sqrt{3}", "3"), ("\\sqrt{2}+\\sqrt{3}", "3.14626437"),
        ("10^{30}", "10^{30}+1"), ("\\sqrt{2}", "1.414213562"), ("e^{\\pi\\sqrt{163}}", "262537412640768744"), ("2^{100}", "2^{100}+10^{-9}"),
        ("1/3", "0.3333"), ("\\frac{1}{2}", "2"), ("12_8", "12"), ("12_8", "12_7"), ("1000000.1", "1000000"),
    ]);
    // A decimal of ten places stands for the number that it rounds.
    assert_eq!(compare("\\sqrt{17}", "4.123105625617661"), Same::Yes);
    assert_eq!(compare("0.3333333333", "1/3"), Same::Yes);
    assert_eq!(compare("0.3333333334", "0.3333333333"), Same::No);
}

#[test]
#[rustfmt::skip]
fn units_and_percent() {
    assert_equal(&[
        &["9", "9 cm^2", "9\\text{ cm}^2", "9 square centimeters", "$9", "9\\$", "€9", "9 apples", "9^\\circ", "9 degrees", "9\\%", "x = 9"],
        &["50%", "50", "50 percent", "50\\%"],
        &["5000000", "5 million", "5\\text{ million}", "5 million dollars", "5\\text{ million dollars}"],
    ]);
    assert_different(&[("5 cm", "5 m"), ("5", "5 million"), ("5 cm^2", "5 cm"), ("5 dollars", "5 cents")]);
    assert_eq!(compare("50%", "0.5"), Same::Yes);
    for changed in ["5 squared", "5 thirds", "5\\text{ or more}", "5 plus 2", "5 over 2", "5 and a half"] {
        assert_ne!(compare("5", changed), Same::Yes, "{changed}");
    }
    assert_eq!(compare("0.5", "0.5%"), Same::No);
    assert_eq!(compare("\\lfloor \\pi \\rfloor", "3"), Same::Unknown);
    assert_eq!(compare("\\sum_{k=1}^{3} k", "6"), Same::Unknown);
    assert_eq!(compare("0.5", "50%"), Same::Yes);
}

#[test]
#[rustfmt::skip]
fn functions() {
    assert_equal(&[
        &["x^2+2x+1", "(x+1)^2", "1+x(x+2)", "y = (x+1)(x+1)"],
        &["\\frac{x+2}{7}", "\\frac{x}{7}+\\frac27"],
        &["\\frac{x^2-1}{x-1} + 0y", "\\frac{(x-1)(x+1)}{x-1}"],
        &["\\sec^2 y", "\\tan^2(y)+1"],
        &["6x^2 y", "6yx^2"], &["xe^x - e^x", "e^x(x-1)"],
        &["2\\sin b\\cos a", "\\sin(a+b) - \\sin(a-b)"],
    ]);
    assert_different(&[("x", "\\sqrt{x^2}"), ("x^2+1", "x^2-1"), ("\\sin x", "\\cos x"), ("2x", "x^2"), ("x+2n+1", "x+1")]);
    assert_equal(&[&["2x+4y-3=0", "4x+8y=6", "y = -\\frac{1}{2}x + \\frac{3}{4}"][..2]]);
    assert_eq!(compare("2x+4y-3=0", "y=-\\frac{1}{2}x+\\frac{3}{4}"), Same::Yes);
    assert_different(&[("2x+z=1", "1"), ("x+y=2", "x+y=3"), ("7 = 11a+c", "11a+c")]);
}

#[test]
#[rustfmt::skip]
fn tuples_lists_sets_and_intervals() {
    assert_equal(&[
        &["(1,2)", "(1, 2)", "\\left(1,\\frac{4}{2}\\right)", "(x, y) = (1, 2)", "\\langle 1, 2\\rangle"],
        &["1, 2", "2, 1", "\\{2, 1\\}", "1 \\text{ and } 2", "x = 1 or x = 2", "1;2", "\\frac{3}{2} \\pm \\frac12"],
        &["[0,1)", "0 \\le x < 1", "1 > x \\ge 0", "x \\in [0, 1)"],
        &["(5,\\infty)", "x > 5", "5 < x", "2x > 10", "-x < -5"],
        &["(-\\infty,1)\\cup(3,\\infty)", "x<1 or x>3", "(-\\infty, 1) U (3, \\infty)"],
        &["[-1,1]", "|x| \\le 1", "[-1,0] \\cup [0,1]"],
        &["\\emptyset", "\\{\\}", "\\varnothing"],
        &["7:32", "V_1:V_2 = 7:32"],
        &["\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{bmatrix}1&2\\\\3&2^2\\end{bmatrix}"],
    ]);
    assert_different(&[
        ("(1,2)", "(2,1)"), ("[0,1)", "(0,1)"), ("\\{1,2\\}", "\\{1,2,3\\}"), ("1, 2", "1"), ("x > 5", "x < 5"), ("(1,2)", "\\{1,2\\}"),
        ("x \\ge 5", "x > 5"), ("12:30", "1:30"), ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1\\\\3\\end{pmatrix}"),
        ("x=5", "y=5"), ("a_3 = 2, a_4 = 5", "a_3 = 5, a_4 = 2"),
    ]);
    assert_eq!(compare("(0,1)", "0 < x < 1"), Same::Yes);
    assert_eq!(compare("1,22", "1.22"), Same::Yes);
}

#[test]
#[rustfmt::skip]
fn words_and_choices() {
    assert_equal(&[&["\\text{odd}", "odd", "Odd"], &["C", "\\text{(C)}", "(C)", "\\textbf{(C)}"], &["true", "\\text{True}"]]);
    assert_different(&[("A", "\\text{B}"), ("\\text{odd}", "even"), ("\\text{odd}", "3")]);
    assert_eq!(compare("C", "\\textbf{(C)}\\ 42"), Same::Yes);
    assert_eq!(compare("42", "\\textbf{(C)}\\ 42"), Same::Yes);
    assert_eq!(compare("B", "(C) 42"), Same::No);
    assert_eq!(compare("\\emptyset", "\\text{no solution}"), Same::Yes);
}

#[test]
fn the_first_place_of_the_rule_counts() {
    for (completion, text, place) in [
        ("#### 1\nThe answer is 2. \\boxed{3} 4", "3", Place::Boxed),
        ("The answer is 2.\n#### 1\n4", "1", Place::Hashes),
        ("The answer is 2, since 1 + 1 = 2. 4", "2", Place::Phrase),
        ("**Final Answer**\n\n$\\frac{1}{2}$", "$\\frac{1}{2}$", Place::Phrase),
        ("First 3, then 4 apples.", "4", Place::Last),
        ("so $x = 4$.", "$x = 4$", Place::Last),
        ("\\boxed{1} no, it is \\boxed{2}", "2", Place::Boxed),
        ("\\boxed{1} and \\boxed{2}", "1, 2", Place::Boxed),
        ("\\boxed{\\boxed{2}}", "2", Place::Boxed),
        ("\\boxed{1}</think>\\boxed{2}", "2", Place::Boxed),
        ("<answer>7</answer>", "7", Place::Last),
        ("#### 5\n#### 2. Check", "5", Place::Hashes),
        ("It is 5.<|im_end|>\n6", "5", Place::Last),
    ] {
        assert_eq!(extract(completion), Extracted::Answer(text.into(), place), "{completion}");
    }
    assert_eq!(extract("It may be 40, 41 or 42"), Extracted::Guesses);
    for nothing in [
        "",
        "Sorry, I cannot say it.",
        "<think>5",
        "<think>5</think>Sorry, but I cannot.",
        "more than 5",
        "that is half of 5",
    ] {
        assert_eq!(extract(nothing), Extracted::Nothing, "{nothing}");
    }
}

proptest! {
    #[test]
    fn fractions_are_exact(a in -999..999_i64, b in 1..999_i64, c in -999..999_i64, d in 1..999_i64) {
        let wanted = if a * d == b * c { Same::Yes } else { Same::No };
        for prediction in [format!("{c}/{d}"), format!("\\frac{{{c}}}{{{d}}}"), format!("{}/{}", c * 7, d * 7)] {
            prop_assert_eq!(compare(&format!("{a}/{b}"), &prediction), wanted, "{}", prediction);
        }
    }

    #[test]
    fn roots_are_exact(a in 1..200_i64, b in 1..200_i64, c in 1..9_i64) {
        let wanted = if a * c * c == b { Same::Yes } else { Same::No };
        prop_assert_eq!(compare(&format!("{c}\\sqrt{{{a}}}"), &format!("\\sqrt{{{b}}}")), wanted);
        prop_assert_eq!(compare(&format!("{c}\\sqrt{{{a}}}"), &format!("\\sqrt{{{}}}", a * c * c)), Same::Yes);
        prop_assert_eq!(compare(&format!("\\frac{{{c}}}{{1+\\sqrt{{{a}}}}}"), &format!("\\frac{{{c}\\sqrt{{{a}}}-{c}}}{{{}}}", a - 1)),
            if a == 1 { Same::Unknown } else { Same::Yes });
    }

    #[test]
    fn products_are_expanded(a in -9..9_i64, b in -9..9_i64, k in 1..5_i64) {
        let expanded = format!("{k}x^2 + {}x + {}", k * (a + b), k * a * b).replace("+ -", "- ");
        let factored = format!("{k}(x+{a})(x+{b})").replace("+-", "-");
        prop_assert_eq!(compare(&factored, &expanded), Same::Yes, "{} {}", factored, expanded);
        prop_assert_eq!(compare(&factored, &format!("{expanded} + 1")), Same::No);
    }
}
