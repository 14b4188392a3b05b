//! Compares the relatives of FlowRL with the files that `golden/family.py` writes.

use flowrl_core::Real;

use crate::objective_golden::{compare, golden_files};

fn every_file<T: Real>(tolerance: f64) {
    let files = golden_files("family");
    let wrong = |(name, text): &(String, String)| Some(format!("{name}: {}", compare::<T>(text, tolerance).err()?));
    let wrong: Vec<String> = files.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(files.len(), 21, "every golden file is checked");
}

#[test]
fn the_relatives_of_flowrl_match_in_double_precision() {
    every_file::<f64>(1e-9);
}

#[test]
fn the_relatives_of_flowrl_match_in_single_precision() {
    every_file::<f32>(1e-4);
}
