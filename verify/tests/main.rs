//! Integration tests of flowrl-verify.
