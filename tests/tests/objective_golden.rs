//! Every golden batch file, against numbers from an independent float64 implementation.

use std::path::Path;

use flowrl_core::Real;
use flowrl_core::objective::file::{BatchFile, SequenceResult};
use serde_json::Value;

#[test]
fn double_precision_matches_to_1e_9() {
    for_each_file::<f64>(1e-9);
}

#[test]
fn single_precision_matches_to_1e_4() {
    for_each_file::<f32>(1e-4);
}

fn for_each_file<T: Real>(tolerance: f64) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/objective");
    let mut files = 0;
    for entry in std::fs::read_dir(directory).expect("the golden directory is in the repository") {
        let path = entry.expect("a readable directory entry").path();
        let text = std::fs::read_to_string(&path).expect("a readable golden file");
        check_file::<T>(&path.display().to_string(), &text, tolerance);
        files += 1;
    }
    assert_eq!(files, 53, "every golden file is checked");
}

fn check_file<T: Real>(name: &str, text: &str, tolerance: f64) {
    let file: BatchFile = serde_json::from_str(text).expect("a golden file parses");
    let expected: Value = serde_json::from_str::<Value>(text).expect("a golden file parses")["expected"].take();
    let got = file.evaluate::<T>().expect("a golden batch evaluates");
    close(name, "loss", got.loss, &expected["loss"], tolerance);
    assert_eq!(got.metrics["loss"], got.loss);

    let sequences = expected["sequences"].as_array().expect("sequences");
    assert_eq!(got.sequences.len(), sequences.len(), "{name}: sequences");
    for (i, (got, want)) in got.sequences.iter().zip(sequences).enumerate() {
        for (key, want) in want.as_object().expect("a sequence") {
            let at = format!("sequence {i}, {key}");
            if key == "d_logp" {
                let want = want.as_array().expect("d_logp");
                assert_eq!(got.d_logp.len(), want.len(), "{name}: {at}");
                got.d_logp.iter().zip(want).for_each(|(got, want)| close(name, &at, *got, want, tolerance));
            } else {
                close(name, &at, scalar(got, key), want, tolerance);
            }
        }
    }
}

fn scalar(sequence: &SequenceResult, key: &str) -> f64 {
    match key {
        "advantage" => sequence.advantage,
        "residual" => sequence.residual,
        "weight" => sequence.weight,
        "d_log_z" => sequence.d_log_z,
        other => panic!("a golden file expects an unknown number `{other}`"),
    }
}

/// Relative for double precision, also where numbers are small; for single precision relative to max(1, |want|).
fn close(name: &str, what: &str, got: f64, want: &Value, tolerance: f64) {
    let want = want.as_f64().expect("a number");
    let scale = if tolerance < 1e-6 { want.abs().max(1e-6) } else { want.abs().max(1.0) };
    let error = (got - want).abs();
    assert!(error <= tolerance * scale, "{name}: {what}: got {got}, want {want}, off by {error:.3e}");
}
