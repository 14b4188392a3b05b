//! Cross-crate tests are in `tests/tests/`, and golden data is in `tests/golden/`.
