//! The numbers of strings, their reference, and options that are refused.

use flowrl_lab::{Environment, Strings, StringsOptions};

#[test]
fn bad_options_are_refused_by_name() {
    let strings = |length, symbols, modes| Strings::new(StringsOptions { length, symbols, modes, seed: 0 });
    for (refused, name) in [
        (strings(0, 2, 1), "`length` is 0"),
        (strings(2, 0, 1), "`symbols` is 0"),
        (strings(24, 2, 1), "the task has 3.3554e7 states"),
        (strings(usize::MAX, usize::MAX, 1), "the task has inf states"),
        (strings(usize::MAX, 1, 1), "the task has 1.8447e19 states"),
        (strings(1, 1 << 23, 1), "7.0369e13 pairs"),
        (strings(2, 2, 0), "`modes` is 0"),
        (strings(1, 2, 3), "`modes` is 3"),
    ] {
        let message = refused.expect_err(name).to_string();
        assert!(message.contains(name), "{message}");
    }
    let all = strings(1, 2, 2).expect("both strings are modes");
    assert!(all.is_mode(1) && all.is_mode(2) && !all.is_mode(0));
}

#[test]
fn strings_are_numbered_by_length_then_alphabetically() {
    let strings = Strings::new(StringsOptions { length: 2, symbols: 2, modes: 1, seed: 0 }).expect("valid");
    let all: Vec<_> = (0..7).map(|s| strings.symbols_of(s)).collect();
    assert_eq!(all, [vec![], vec![0], vec![1], vec![0, 0], vec![0, 1], vec![1, 0], vec![1, 1]]);
}

#[test]
fn the_reference_sees_the_last_symbol_alone() {
    let strings = Strings::new(StringsOptions { length: 4, symbols: 2, modes: 1, seed: 0 }).expect("valid");
    let row = |state| [0, 1, 2].map(|action| strings.log_reference(state, action));
    let last = |state| strings.symbols_of(state).last().copied();
    for (a, b) in (0..15).flat_map(|a| (0..15).map(move |b| (a, b))) {
        assert_eq!(row(a) == row(b), last(a) == last(b), "{a} {b}");
    }
    assert!((15..31).all(|state| strings.log_reference(state, 2) == 0.0), "the end is certain");
}
