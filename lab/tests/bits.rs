//! Options of bit sequences that are refused.

use flowrl_lab::{Bits, BitsOptions, Environment};

#[test]
fn bad_options_are_refused_by_name() {
    let draw = |bits, word, modes| Bits::from_options(BitsOptions { bits, word, modes, seed: 0 });
    for (refused, name) in [
        (draw(0, 1, 1), "`bits` is 0"),
        (draw(25, 1, 1), "at most 16777216 are enumerated: lower `bits`"),
        (draw(8, 3, 1), "`word` is 3"),
        (draw(8, 0, 1), "`word` is 0"),
        (draw(8, 1, 0), "`modes` is 0"),
        (draw(2, 1, 5), "`modes` is 5"),
        (Bits::new(2, 1, &[4]), "`modes` is 4"),
        (Bits::new(2, 1, &[1, 2, 1]), "`modes[0]` and `modes[2]`"),
    ] {
        let message = refused.expect_err(name).to_string();
        assert!(message.contains(name), "{message}");
    }
    let all = draw(2, 2, 4).expect("every sequence is a mode");
    assert!((0..4).all(|x| all.is_mode(x)));
    assert_eq!((all.states(), draw(24, 1, 1).expect("the bound").states()), (1, (1 << 24) - 1));
}
