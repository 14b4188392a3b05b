//! Notices to the user about conditions that are not errors. Each is printed to stderr, once per process.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

thread_local! {
    /// Collects this thread's notices in place of printing them, if set.
    static COLLECTED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Prints `text` unless there was a notice about `topic` before.
pub(crate) fn say(topic: &str, text: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let collected = COLLECTED.with_borrow_mut(|collected| collected.as_mut().map(|texts| texts.push(text.to_owned())));
    if collected.is_none() && SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned()) {
        eprintln!("note: {text}");
    }
}

/// Runs `work` and returns its result together with the notices it gave on this thread.
pub(crate) fn collect<R>(work: impl FnOnce() -> R) -> (R, Vec<String>) {
    let before = COLLECTED.replace(Some(Vec::new()));
    let result = work();
    (result, COLLECTED.replace(before).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_collected_in_order() {
        let (result, texts) = collect(|| {
            say("a", "one");
            let (_, inner) = collect(|| say("b", "two"));
            say("a", "three");
            inner
        });
        assert_eq!((result, texts), (vec!["two".to_owned()], vec!["one".to_owned(), "three".to_owned()]));
    }
}
