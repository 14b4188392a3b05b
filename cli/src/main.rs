//! Command line of flowrl.
fn main() {}
