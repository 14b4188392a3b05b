//! Files as other programs write them.

use std::path::Path;

use flowrl_tables::{Rows, read_arrow, read_parquet};
use serde_json::{Value, json};

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).expect("a file of make.py")
}

pub(crate) fn read(name: &str) -> Rows {
    if name.ends_with(".parquet") { read_parquet(&bytes(name)) } else { read_arrow(&bytes(name)) }
}

fn refusal(name: &str) -> String {
    read(name).expect_err(name)
}

/// The rows of `TYPES` in make.py.
fn types() -> Value {
    json!([
        {
            "text": "a", "large": "big", "word": "x", "flag": true, "i8": -128, "u64": 0, "i64": i64::MIN,
            "f32": 0.1, "f64": 0.1, "f16": 0.5, "day": "2024-02-29", "at_us": "2024-02-29T12:30:15.250",
            "at_utc": "2024-02-29T12:30:15.250Z", "time": "01:02:03", "price": "12.50", "list": [1, 2],
            "lists": [["a"], []], "struct": {"a": 1, "b": {"c": "d"}},
            "messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}],
            "map": {"k": 1, "l": null}, "nothing": null,
        },
        {
            "text": null, "large": "", "word": "y", "flag": false, "i8": 127, "u64": u64::MAX, "i64": (1_i64 << 53) + 1,
            "f32": null, "f64": -1e300, "f16": 2.0, "day": null, "at_us": null, "at_utc": null, "time": null,
            "price": "-0.05", "list": [], "lists": [null], "struct": null, "messages": [], "map": {}, "nothing": null,
        },
        {
            "text": "ü\n\"q\"", "large": null, "word": "x", "flag": null, "i8": null, "u64": null, "i64": null,
            // NaN
            "f32": null, "f64": null, "f16": null, "day": "1969-12-31", "at_us": "1970-01-01T00:00:00", "at_utc": null,
            "time": null, "price": null, "list": null, "lists": [["b", null]], "struct": {"a": null, "b": null},
            "messages": [{"role": "user", "content": null}], "map": null, "nothing": null,
        },
    ])
}

#[test]
fn every_type_becomes_json() {
    for name in ["types.parquet", "types.arrow", "types.feather"] {
        let rows: Vec<Value> = read(name).expect(name).into_iter().map(Value::Object).collect();
        let Value::Array(wanted) = types() else { unreachable!() };
        for (row, wanted) in rows.iter().zip(&wanted) {
            for (key, value) in wanted.as_object().expect("a row") {
                assert_eq!(&row[key], value, "{name}: {key}");
            }
        }
        assert_eq!(rows, wanted, "{name}");
    }
}

#[test]
fn columns_keep_their_order() {
    let rows = read("verl-snappy.parquet").expect("rows");
    let keys: Vec<_> = rows[0].keys().map(String::as_str).collect();
    assert_eq!(keys, ["data_source", "prompt", "reward_model", "extra_info"]);
}

#[test]
fn every_compression_and_encoding_gives_the_same_rows() {
    let files = ["none", "snappy", "gzip", "zstd", "lz4"].map(|codec| format!("verl-{codec}.parquet"));
    let others = ["v2.parquet", "plain.parquet", "delta.parquet"].map(str::to_owned);
    for name in files.into_iter().chain(others) {
        let rows = read(&name).expect(&name);
        assert_eq!(rows.len(), 300, "{name}");
        for (i, row) in rows.iter().enumerate() {
            let wanted = json!({
                "data_source": "gsm8k",
                "prompt": [{"role": "user", "content": format!("What is {i} + {i}?")}],
                "reward_model": {"style": "rule", "ground_truth": (2 * i).to_string()},
                "extra_info": {"index": i, "split": "train"},
            });
            assert_eq!(Value::Object(row.clone()), wanted, "{name}: row {i}");
        }
    }
    assert_eq!(read("empty.parquet"), Ok(Vec::new()));
}

#[test]
fn a_saved_dataset_is_two_streams() {
    let names = ["folder/data-00000-of-00002.arrow", "folder/data-00001-of-00002.arrow"];
    let rows: Vec<_> = names.iter().flat_map(|name| read(name).expect(name)).collect();
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[4]["answer"], "It is twice 4.\n#### 8");
}

#[test]
fn what_has_no_meaning_in_json_is_refused_by_column() {
    for (name, wanted) in [
        ("binary.parquet", "column `image.bytes` is binary data"),
        ("binary.arrow", "remove_columns(\"image\")"),
        ("old-times.parquet", "column `x` is INT96"),
        ("twice.arrow", "two columns are named `x`"),
        ("infinite.parquet", "row 2, column `x`: inf is not a number in JSON"),
        ("brotli.parquet", "column `data_source` is compressed with BROTLI"),
        ("lz4.feather", "compression=\"uncompressed\""),
    ] {
        let message = refusal(name);
        assert!(message.contains(wanted), "{name}: {message}");
    }
}
