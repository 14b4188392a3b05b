//! Turns a panic of a decoder on a damaged file into an error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::Rows;

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `read`. If it panics, nothing is printed, and the result is an error.
pub(crate) fn guarded(read: impl FnOnce() -> Rows) -> Rows {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                before(panic);
            }
        }));
    });
    IS_GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    IS_GUARDED.set(false);
    result.unwrap_or_else(|_| Err("the file is damaged; download or write it again".into()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_panic_is_an_error() {
        let message = super::guarded(|| panic!("index out of bounds")).unwrap_err();
        assert!(message.contains("damaged"), "{message}");
        assert_eq!(super::guarded(|| Ok(Vec::new())), Ok(Vec::new()));
    }
}
