//! Cross-crate tests live in `tests/tests/`; golden data in `tests/golden/`.
