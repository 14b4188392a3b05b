//! Cross-crate tests are in `tests/tests/`, and golden data is in `tests/golden/`.

/// Runs the example in the repository's README as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
