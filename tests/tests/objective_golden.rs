//! Compares every golden batch file with numbers from an independent float64 implementation.

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
    let files = golden_files("objective");
    for (name, text) in &files {
        compare::<T>(text, tolerance).unwrap_or_else(|difference| panic!("{name}: {difference}"));
    }
    assert_eq!(files.len(), 53, "every golden file is checked");
}

/// Returns the name and text of every batch file in a directory of `golden/`.
pub(crate) fn golden_files(directory: &str) -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(directory);
    let entries = std::fs::read_dir(directory).expect("the golden directory is in the repository");
    let read = |path: &Path| {
        let name = path.file_stem().expect("a golden file has a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).expect("a readable golden file"))
    };
    entries.map(|entry| read(&entry.expect("a readable directory entry").path())).collect()
}

/// Evaluates a golden batch file and compares it with the expected numbers.
///
/// # Errors
/// Returns the first number that differs from the expected one, or the reason why the file cannot be evaluated.
pub(crate) fn compare<T: Real>(text: &str, tolerance: f64) -> Result<(), String> {
    let file: BatchFile = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let expected: Value = serde_json::from_str::<Value>(text).expect("a golden file parses")["expected"].take();
    let got = file.evaluate::<T>().map_err(|error| error.to_string())?;
    close("loss", got.loss, &expected["loss"], tolerance)?;
    assert_eq!(got.metrics["loss"], got.loss);

    let sequences = expected["sequences"].as_array().expect("sequences");
    assert_eq!(got.sequences.len(), sequences.len(), "sequences");
    for (i, (got, want)) in got.sequences.iter().zip(sequences).enumerate() {
        for (key, want) in want.as_object().expect("a sequence") {
            let at = format!("sequence {i}, {key}");
            if key == "d_logp" {
                let want = want.as_array().expect("d_logp");
                assert_eq!(got.d_logp.len(), want.len(), "{at}");
                got.d_logp.iter().zip(want).try_for_each(|(got, want)| close(&at, *got, want, tolerance))?;
            } else {
                close(&at, scalar(got, key), want, tolerance)?;
            }
        }
    }
    Ok(())
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

/// Compares two numbers. In double precision the error is relative to |want|, or to 1e-6 if |want| is smaller. In
/// single precision it is relative to max(1, |want|).
fn close(what: &str, got: f64, want: &Value, tolerance: f64) -> Result<(), String> {
    let want = want.as_f64().expect("a number");
    let scale = if tolerance < 1e-6 { want.abs().max(1e-6) } else { want.abs().max(1.0) };
    let error = (got - want).abs();
    if error <= tolerance * scale {
        return Ok(());
    }
    Err(format!("{what}: got {got}, want {want}, off by {error:.3e}"))
}
