use std::collections::BTreeSet;

use flowrl_core::random::Purpose;
use proptest::prelude::*;

use super::enumerate::reachable;
use super::expression::{Operator, Printed};
use super::*;

fn verdict(numbers: &[u32], target: i64, completion: &str) -> std::borrow::Cow<'static, str> {
    Problem { numbers: numbers.to_vec(), target }.judge(completion, true).verdict
}

#[test]
fn each_verdict_has_its_case() {
    for (wanted, completions) in [
        ("correct", &["3*5+7", "7+3*5", "7+5*3"][..]),
        ("wrong", &["3+5+7"]),
        ("unparseable", &["3*5+7 ", "3*5+", "", "-3*5+7", "3*05+7"]),
        ("unused-number", &["3*5"]),
        ("unknown-number", &["3*5+7+7", "22", "3*5+77777777777777777777777"]),
        ("redundant-parentheses", &["(3*5)+7", "(3*5+7)", "3*(5)+7"]),
    ] {
        for completion in completions {
            assert_eq!(verdict(&[3, 5, 7], 22, completion), wanted, "{completion:?}");
        }
    }
    assert_eq!(verdict(&[3, 5, 5], 22, "3/(5-5)"), "division-by-zero");
    assert_eq!(verdict(&[3, 5, 5], 3, "3*5/5"), "correct");
    assert_eq!(verdict(&[1, 3, 4, 6], 24, "6/(1-3/4)"), "correct");
    assert_eq!(verdict(&[5, 3], -2, "3-5"), "correct");
}

#[test]
fn only_correct_finished_answers_are_rewarded() {
    let problem = Problem { numbers: vec![3, 5, 7], target: 22 };
    let correct = problem.judge("3*5+7", true);
    assert_eq!((correct.reward, &*correct.verdict, correct.answer.as_deref()), (Some(1.0), "correct", Some("3*5+7")));
    assert_eq!(problem.judge("3*5+7", false), Judgement::new(0.0, "unfinished"));
    assert_eq!(problem.judge("3+5+7", true).reward, Some(0.0));
}

#[test]
fn prompts_are_read_back() {
    let problem = Problem { numbers: vec![3, 12], target: -9 };
    assert_eq!(problem.prompt(), "3 12 = -9 : ");
    assert_eq!(Problem::parse("3 12 = -9 : "), Some(problem.clone()));
    assert_eq!(Problem::parse("Reach the target.\r\n3 12 = -9 :"), Some(problem));
    for text in ["", "3 5 7", "3 5 = 7", "= 3 :", "3 x = 4 :", "3 -5 = 2 :", "3 5 = 2.5 :"] {
        assert_eq!(Problem::parse(text), None, "{text:?}");
    }
}

/// Returns all strings over `alphabet` of at most `length` characters that the verifier accepts.
fn accepted(numbers: &[u32], target: i64, alphabet: &[u8], length: u32) -> BTreeSet<String> {
    let problem = Problem { numbers: numbers.to_vec(), target };
    let mut found = BTreeSet::new();
    let mut text = String::new();
    for characters in 0..=length {
        for mut code in 0..alphabet.len().pow(characters) {
            text.clear();
            for _ in 0..characters {
                text.push(alphabet[code % alphabet.len()] as char);
                code /= alphabet.len();
            }
            if problem.judge(&text, true).is_success() {
                found.insert(text.clone());
            }
        }
    }
    found
}

#[test]
fn the_verifier_accepts_exactly_the_enumeration() {
    // Two numbers need at most 3 characters, three at most 7: one pair of parentheses.
    for (numbers, target, alphabet, length) in [
        (&[1, 2][..], 2, &b"0123+-*/() "[..], 5),
        (&[2, 2], 1, b"12+-*/()", 5),
        (&[2], 2, b"12+-*/()", 4),
        (&[12], 12, b"012+-*/()", 5),
        (&[1, 2, 3], 6, b"123+*()", 7),
        (&[1, 2, 3], 1, b"123-/()", 7),
        (&[2, 2, 4], 1, b"24-/()", 7),
    ] {
        let wanted = accepted(numbers, target, alphabet, length);
        let usable = |s: &String| s.bytes().all(|b| alphabet.contains(&b));
        let got: BTreeSet<_> = enumerate(numbers, target).unwrap().into_iter().filter(usable).collect();
        assert_eq!(got, wanted, "{numbers:?} = {target}");
        assert!(!wanted.is_empty());
    }
}

#[test]
fn distinct_numbers_have_as_many_strings_as_trees() {
    // There are n!·Catalan(n−1)·4^(n−1) trees. The primes are far apart, so that no tree divides by zero.
    for (numbers, trees) in [(&[7][..], 1), (&[7, 101], 8), (&[7, 101, 5003], 192), (&[7, 101, 5003, 700_001], 7680)] {
        let everything = solutions(numbers, i64::MIN..=i64::MAX).unwrap();
        let whole: usize = everything.values().map(Vec::len).sum();
        let strings: BTreeSet<_> = all_strings(numbers);
        assert_eq!(strings.len(), trees);
        assert_eq!(strings.iter().filter(|s| is_whole(s)).count(), whole);
    }
}

fn is_whole(text: &str) -> bool {
    Expression::parse(text).unwrap().value().unwrap().to_whole().is_some()
}

/// Returns the text of every tree by recursion over ordered partitions of the numbers, independently of `enumerate`.
fn all_strings(numbers: &[u32]) -> BTreeSet<String> {
    fn trees(numbers: &[u32]) -> Vec<Printed> {
        if let [n] = numbers {
            return vec![Printed::number((*n).into())];
        }
        let mut all = Vec::new();
        for mask in 1..(1_usize << numbers.len()) - 1 {
            let pick = |inside: bool| -> Vec<u32> {
                (0..numbers.len()).filter(|i| (mask >> i & 1 == 1) == inside).map(|i| numbers[i]).collect()
            };
            for left in trees(&pick(true)) {
                for right in trees(&pick(false)) {
                    all.extend(Operator::ALL.map(|operator| Printed::join(&left, operator, &right)));
                }
            }
        }
        all
    }
    trees(numbers).into_iter().map(|printed| printed.text).collect()
}

#[test]
fn repeated_numbers_are_not_told_apart() {
    assert_eq!(enumerate(&[2, 2], 4).unwrap(), ["2*2", "2+2"]);
    assert_eq!(enumerate(&[1, 1], 7).unwrap(), [""; 0]);
    assert!(enumerate(&[], 1).is_err());
    assert!(enumerate(&[1; 5], 1).unwrap_err().to_string().contains("5 numbers"));
}

#[test]
fn reachable_targets_are_those_with_solutions() {
    for numbers in [&[5][..], &[2, 2], &[1, 5, 6], &[3, 3, 8, 8], &[1, 2, 7, 10]] {
        let wanted: Vec<i64> = solutions(numbers, -500..=500).unwrap().into_keys().collect();
        assert_eq!(reachable(numbers, -500..=500).unwrap(), wanted);
    }
    assert_eq!(reachable(&[3, 3, 8, 8], 24..=24).unwrap(), [24]);
}

#[test]
fn random_solutions_cover_all_evenly() {
    let problem = Problem { numbers: vec![1, 2, 3], target: 6 };
    let solutions = problem.solutions().unwrap();
    let stream = Stream::new(1, Purpose::Task);
    let mut counts = vec![0_u32; solutions.len()];
    let draws = 200 * solutions.len() as u32;
    for i in 0..draws {
        let drawn = problem.random_solution(&stream, 7, i, 0).unwrap().unwrap();
        counts[solutions.iter().position(|s| *s == drawn).unwrap()] += 1;
    }
    assert!(counts.iter().all(|n| (120..280).contains(n)), "{counts:?}");
    let impossible = Problem { numbers: vec![1, 1], target: 50 };
    assert_eq!(impossible.random_solution(&stream, 0, 0, 0).unwrap(), None);
}

proptest! {
    /// Checks that verifier and enumeration agree on random expressions over the given numbers, with and
    /// without needless parentheses.
    #[test]
    fn random_expressions_are_accepted_iff_enumerated(
        numbers in proptest::collection::vec(1_u32..7, 2..=4),
        choices in proptest::collection::vec(0_u8..64, 7),
    ) {
        let mut stack: Vec<String> = numbers.iter().map(u32::to_string).collect();
        for choice in &choices {
            if stack.len() < 2 {
                break;
            }
            let left = stack.swap_remove(*choice as usize % stack.len());
            let right = stack.swap_remove(*choice as usize / 3 % stack.len());
            let operator = ['+', '-', '*', '/'][*choice as usize % 4];
            let wrap = |s: String, bit: u8| if choice >> bit & 1 == 1 { format!("({s})") } else { s };
            stack.push(format!("{}{operator}{}", wrap(left, 4), wrap(right, 5)));
        }
        let text = &stack[0];
        let Ok(value) = Expression::parse(text).unwrap().value() else { return Ok(()) };
        let Some(target) = value.to_whole() else { return Ok(()) };
        let target = i64::try_from(target).unwrap();
        let accepted = verdict(&numbers, target, text) == "correct";
        prop_assert_eq!(accepted, enumerate(&numbers, target).unwrap().contains(text), "{}", text);
        prop_assert!(!accepted || reachable(&numbers, target..=target).unwrap() == [target]);
    }

    #[test]
    fn any_text_gets_a_verdict(text in "[0-9+*/() x=-]{0,24}") {
        let _ = verdict(&[1, 2, 3], 6, &text);
    }
}
