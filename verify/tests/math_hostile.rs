//! No text makes the verifier `math` panic, hang or take much memory.

use flowrl_verify::math::{Same, Verdict, canonical, compare, extract, judge};
use proptest::prelude::*;
use proptest::sample::select;

/// Pieces of completions, including unlikely ones.
const FRAGMENTS: &[&str] = &[
    "5",
    "12",
    "1,000",
    "0.5",
    ".",
    ",",
    ";",
    "-",
    "–",
    "+",
    "/",
    "$",
    "$$",
    "%",
    "\\%",
    "\\$",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "\\{",
    "\\}",
    " ",
    "\n",
    "é",
    "x",
    "cm",
    " and ",
    " or ",
    "is ",
    "=",
    "<",
    "\\le",
    "^",
    "_",
    "*",
    "**",
    "!",
    ":",
    "|",
    "\\",
    "\\frac",
    "\\frac{",
    "\\sqrt[",
    "\\sqrt{",
    "\\boxed{",
    "\\boxed",
    "\\fbox{",
    "\\text{",
    "\\pm",
    "\\cup",
    "\\infty",
    "\\in",
    "\\times 10^",
    "#### ",
    "####",
    "<think>",
    "</think>",
    "<answer>",
    "answer is",
    "answer:",
    "\\left(",
    "\\right)",
    "\\pi",
    "e",
    "i",
    "\\sin",
    "\\log_",
    "\\ln",
    "\\binom",
    "\\sum_{",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "&",
    "\\\\",
    "\u{202f}",
    "５",
    "²",
    "^\\circ",
    "'",
    "\\setminus",
    "\\mathbb{R}",
    "\\lfloor",
    "\\rfloor",
    "9^9^9^9",
    "1e999",
    "arctan",
    "f(",
    "0",
    "\\approx",
    "(A)",
];

/// Texts that would be large or deep if they were computed.
fn monsters() -> Vec<String> {
    let many = |piece: &str, n: usize| piece.repeat(n);
    vec![
        "9^9^9^9".into(),
        "9^{9^{9^{9^9}}}".into(),
        "2^{100000000000}".into(),
        "(1+x)^{1000000}".into(),
        "1000000!".into(),
        "999!!".into(),
        "((((9^9)^9)^9)^9)^9".into(),
        "e^{e^{e^{e^e}}}".into(),
        "\\sin(10^{1000000})".into(),
        "\\tan(\\frac{\\pi}{2})".into(),
        "1/0".into(),
        "\\frac{1}{\\sin(\\pi)}".into(),
        "0^0".into(),
        "0^{-1}".into(),
        "\\ln 0".into(),
        "\\sqrt[100]{2^{99999}}".into(),
        "1e1999".into(),
        many("(", 1900),
        many("[", 1900),
        many("{", 1900),
        many("|", 1900),
        many("-", 1900),
        many("\\sqrt", 380),
        many("\\frac", 380),
        many("\\text{", 300),
        many("\\mathrm{", 240),
        many("2^", 900),
        many("1,", 900),
        many("\\pm 1", 300),
        many("(x+y+z)", 250),
        many("(1+\\sqrt{2}+\\sqrt{3})", 80),
        many("\\sin ", 380),
        format!("\\begin{{pmatrix}}{}\\end{{pmatrix}}", many("1&", 900)),
        many("(0,1)\\cup", 200),
        many("x<", 900),
        many("1/7+1/11+", 200),
        many("1e1999/7+", 200),
        many("3^{5000}/7^{2800}+", 100),
        many("\\begin{pmatrix}1&1\\\\1&1\\end{pmatrix}", 40),
        many("9", 1990),
        format!("\\sqrt{{{}}}", many("9", 1900)),
        many("x_", 900),
        many("\\sqrt{2},", 200),
        many("1:", 900),
        many("a", 1990),
        many("\\binom{999}{499}", 100),
        many("1+\\frac{1}{", 100),
    ]
}

#[test]
fn monsters_are_judged() {
    for monster in monsters() {
        for completion in [format!("\\boxed{{{monster}}}"), format!("The answer is {monster}"), monster.clone()] {
            assert_ne!(judge("123456", &completion), Verdict::Correct, "{completion}");
            let _ = canonical(&completion);
        }
        assert_ne!(compare("17/3", &monster), Same::Yes, "{monster}");
        let _ = (compare(&monster, &monster), compare(&monster, &format!("{monster}+1")));
    }
}

#[test]
fn a_megabyte_is_judged() {
    for piece in
        FRAGMENTS.iter().chain(&["the answer is ", "\\boxed{1} and ", "1 or ", "$x$ ", "####x\n", "answer of "])
    {
        let text = piece.repeat(1_000_000 / piece.len());
        let _ = extract(&text);
        assert_eq!(
            judge("5", &format!("{text}\nIt is \\boxed{{5}}.")),
            if piece.starts_with("<think") || piece.starts_with("<answer") {
                judge("5", &format!("{piece}\nIt is \\boxed{{5}}."))
            } else {
                Verdict::Correct
            },
            "{piece}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_gets_a_verdict(fragments in prop::collection::vec(select(FRAGMENTS), 0..24), text in any::<String>()) {
        for text in [fragments.concat(), text] {
            for gold in ["5", "\\sqrt{2}", "x+1", "(0,1)", &text] {
                let _ = judge(gold, &text);
            }
            let _ = canonical(&text);
            // An answer never differs from itself.
            prop_assert_ne!(compare(&text, &text), Same::No, "{}", text);
        }
    }
}
