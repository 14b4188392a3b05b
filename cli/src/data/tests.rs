//! Formats and shapes of rows.

use std::io::Write;
use std::path::Path;

use flowrl_lm::prompts::{Prompt, PromptRow};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::prompts::of_rows;
use super::{Keys, Row, parse};

fn read(content: impl Into<Vec<u8>>) -> Vec<Row> {
    parse(content.into(), "f").unwrap()
}

fn refusal(content: impl Into<Vec<u8>>) -> String {
    format!("{:#}", parse(content.into(), "f").unwrap_err())
}

/// The fields of the rows, with their places.
fn fields(content: impl Into<Vec<u8>>) -> Vec<(String, Value)> {
    read(content).into_iter().map(|row| (row.origin.to_string(), row.fields.into())).collect()
}

fn prompts(content: impl Into<Vec<u8>>) -> Vec<PromptRow> {
    of_rows(read(content), &Keys::default(), "f").unwrap()
}

fn mistake(content: impl Into<Vec<u8>>) -> String {
    of_rows(read(content), &Keys::default(), "f").unwrap_err().to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn json_comes_in_several_forms() {
    let (a, b) = (json!({"prompt": "a", "answer": 1}), json!({"prompt": "b", "answer": 2}));
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    let lines = [("f:1".to_owned(), a.clone()), ("f:3".to_owned(), b.clone())];
    assert_eq!(fields(format!("\u{feff}{a}\r\n\n{b}\n")), lines);
    let rows = [("f:row 1".to_owned(), a.clone()), ("f:row 2".to_owned(), b.clone())];
    let wrapped = json!({"version": 1, "data": [a, b], "tags": ["x"]});
    for document in [
        json!([a, b]).to_string(),
        format!("\u{feff}\n {}", pretty(&json!([a, b]))),
        pretty(&wrapped),
        format!("{}\n{}", pretty(&a), pretty(&b)),
    ] {
        assert_eq!(fields(document.clone()), rows, "{document}");
    }
    assert_eq!(read(wrapped.to_string()).len(), 2);
    assert_eq!(fields(pretty(&a))[0].1, a);
    // A row whose only list is its conversation is a row.
    let talk = json!({"messages": [{"role": "user", "content": "q"}]});
    assert_eq!(fields(talk.to_string())[0].1, talk);
    assert_eq!(fields(pretty(&talk))[0].1, talk);
    assert!(read("").is_empty() && read("\n \n").is_empty() && read("[]").is_empty());
}

#[test]
fn wrong_json_is_refused_with_its_place() {
    for (content, wanted) in [
        ("{\"prompt\": \"a\"}\n{\"prompt\": \"b\"\n", "f:2: not valid JSON"),
        ("{\"prompt\": \"a\"\n{\"prompt\": \"b\"}\n", "f:1: not valid JSON"),
        ("{\"prompt\": \"a\", \"prompt\": \"b\"}", "f:1: duplicate field `prompt`"),
        ("[{\"prompt\": \"a\"},\n {\"prompt\": \"b\", \"prompt\": \"c\"}]", "f:2: duplicate field `prompt`"),
        ("[{\"prompt\": \"a\"},\n]", "f:2: not valid JSON"),
        ("[{\"prompt\": \"a\"}, [\"2+2?\", 4]]", "f:row 2: an array is not an object"),
        ("[1, 2]", "f:row 1: 1 is not an object"),
        ("{\n\"prompt\": NaN\n}", "f:2: not valid JSON"),
        ("{\"prompt\": {\"0\": \"a\"}, \"answer\": {\"0\": 1}}", "orient=\"records\""),
        ("{\"train\": [{\"q\": 1}], \"test\": [{\"q\": 2}]}", "several lists of rows: `train`, `test`"),
    ] {
        let message = refusal(content);
        assert!(message.contains(wanted), "{content}: {message}");
    }
    assert!(refusal(b"{\n\"prompt\": \"\xff\"\n}".as_slice()).contains("f:2: not UTF-8"));
}

#[test]
fn values_between_separators_are_texts() {
    let wanted = [
        ("f:2".to_owned(), json!({"prompt": "say \"a, b\"\nor c", "answer": "007"})),
        ("f:4".to_owned(), json!({"prompt": "", "answer": "1e3"})),
    ];
    assert_eq!(fields("\u{feff}prompt,answer\r\n\"say \"\"a, b\"\"\nor c\",007\r\n,1e3\r\n"), wanted);
    for separator in [";", "\t"] {
        let text = format!("prompt{separator}answer\n\"2{separator}3?\"{separator}\"1,5\"\n");
        assert_eq!(fields(text)[0].1, json!({"prompt": format!("2{separator}3?"), "answer": "1,5"}));
    }
    // Pandas' index.
    assert_eq!(fields(",question,answer\n0,q,4\n")[0].1, json!({"question": "q", "answer": "4"}));
    for (content, wanted) in [
        ("prompt,answer\na,1\nb\n", "f:3: 1 values below 2 names"),
        ("prompt,prompt\na,1\n", "f:1: two columns are named `prompt`"),
        ("prompt,,answer\na,1,2\n", "f:1: column 2 has no name"),
        ("prompt,answer\na,\"1\nb,2\nc,3\n", "f:2: a quote opens in this row"),
    ] {
        let message = refusal(content);
        assert!(message.contains(wanted), "{content}: {message}");
    }
    assert!(refusal(b"prompt,answer\na,\xff\n".as_slice()).contains("f:2: not UTF-8"));
    assert!(read("prompt,answer\n").is_empty());
}

#[test]
fn other_formats_are_named_with_the_remedy() {
    let unknown = "unknown format, beginning with";
    for (bytes, wanted) in [
        (&b"PK\x03\x04\x14"[..], "save the sheet as CSV"),
        (b"\xff\xfe{\0", "UTF-16"),
        (b"\xfd7zXZ\0", "unxz"),
        (b"BZh91AY", "bunzip2"),
        (b"\x80\x04\x95", "pickle"),
        (b"SQLite format 3\0", "sqlite3 -header"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n", "\"<!DOCTYPE html>\""),
        (b"What is 2+2?\nWhat is 3+3?\n", unknown),
        (b"prompt: q, answer: 3\n", unknown),
        (b"\x01\x02\x00\x03", "01 02 00 03"),
    ] {
        let message = refusal(bytes);
        assert!(message.contains(wanted) && message.starts_with("f: "), "{message}");
    }
}

#[test]
fn compressed_files_are_unpacked() {
    let text = b"{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n";
    let plain = fields(text.as_slice());
    let (first, second) = text.split_at(16);
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd(text)].concat();
    for packed in [
        gzip(text),
        zstd(text),
        gzip(&zstd(text)),
        [gzip(first), gzip(second)].concat(),
        [zstd(first), zstd(second)].concat(),
        skipped,
    ] {
        assert_eq!(fields(packed), plain);
    }
    assert!(refusal(gzip(&gzip(&gzip(text)))).contains("more than twice"));
    for packed in [gzip(text), zstd(text)] {
        let message = refusal(&packed[..packed.len() - 3]);
        assert!(message.contains("damaged or cut off"), "{message}");
    }
    let mut wrong = gzip(text);
    let at = wrong.len() - 6;
    wrong[at] ^= 1;
    assert!(refusal(wrong).contains("damaged or cut off"));
}

#[test]
fn known_shapes_are_recognised() {
    let user = |text: &str| json!([{"role": "user", "content": text}]);
    let turn = |role: &str, text: &str| json!({"role": role, "content": text});
    for (row, prompt, answer) in [
        (
            json!({"data_source": "gsm8k", "prompt": user("q"), "ability": "math",
                   "reward_model": {"style": "rule", "ground_truth": "12"}, "extra_info": {"index": 0}}),
            user("q"),
            json!("12"),
        ),
        (json!({"prompt": user("q"), "solution": "\\boxed{4}"}), user("q"), json!("\\boxed{4}")),
        (json!({"prompt": "q", "ground_truth": 4}), json!("q"), json!(4)),
        (json!({"messages": [turn("user", "q"), turn("assistant", "a")], "solution": "4"}), user("q"), json!("4")),
        (json!({"question": "q", "answer": "two of #### 3 and\n#### 1,000"}), json!("q"), json!("1,000")),
        (
            json!({"messages": [turn("system", "s"), turn("user", "q"), turn("assistant", "a")]}),
            json!([turn("system", "s"), turn("user", "q")]),
            json!("a"),
        ),
        (json!({"messages": [turn("user", "q")]}), user("q"), Value::Null),
        (
            json!({"id": "x_0", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}),
            user("q"),
            json!("a"),
        ),
        (json!({"instruction": "Add.", "input": "2 and 3", "output": "5"}), json!("Add.\n\n2 and 3"), json!("5")),
        (json!({"instruction": "Add 2 and 3.", "input": "", "output": "5"}), json!("Add 2 and 3."), json!("5")),
        (
            json!({"problem": "q", "level": "Level 5", "type": "Algebra", "solution": "So \\boxed{4}."}),
            json!("q"),
            json!("So \\boxed{4}."),
        ),
        (json!({"problem": "q", "solution": "long", "answer": "4"}), json!("q"), json!("4")),
        (json!({"question": "q", "answer": "4"}), json!("q"), json!("4")),
        // A shape of its own comes first.
        (json!({"prompt": "q", "answer": "4", "solution": "long", "question": "other"}), json!("q"), json!("4")),
    ] {
        let got = &prompts(row.to_string())[0];
        assert_eq!((serde_json::to_value(&got.prompt).unwrap(), &got.answer), (prompt, &answer), "{row}");
    }
}

#[test]
fn verifiers_see_the_other_columns() {
    let row = json!({"question": "q", "answer": "It is\n#### 4", "level": 2, "id": "x"});
    let columns = &prompts(row.to_string())[0].columns;
    assert_eq!(Value::Object(columns.clone()), json!({"answer": "It is\n#### 4", "level": 2}));
    let row = json!({"prompt": "q", "data_source": "d", "reward_model": {"ground_truth": "1"}, "extra_info": {"i": 0}});
    let columns = &prompts(row.to_string())[0].columns;
    assert_eq!(columns.keys().collect::<Vec<_>>(), ["data_source", "reward_model", "extra_info"]);
}

#[test]
fn chosen_keys_win_over_shapes() {
    let row = json!({"prompt": "q", "reward_model": {"ground_truth": "12"}, "solution": "13", "other": "p"});
    for (prompt, answer, wanted) in [
        (None, Some("solution"), ("q", json!("13"))),
        (Some("other"), None, ("p", Value::Null)),
        (Some("other"), Some("reward_model.ground_truth"), ("p", json!("12"))),
    ] {
        let keys = Keys { prompt: prompt.map(str::to_owned), answer: answer.map(str::to_owned) };
        let got = of_rows(read(row.to_string()), &keys, "f").unwrap().remove(0);
        assert_eq!((got.prompt, got.answer), (Prompt::Text(wanted.0.into()), wanted.1));
    }
}

#[test]
fn mixed_shapes_and_missing_keys_name_both_rows() {
    let (gsm8k, alpaca) = ("{\"question\": \"q\", \"answer\": \"#### 4\"}", r#"{"instruction": "i", "output": "o"}"#);
    for (rows, wanted) in [
        ([gsm8k, alpaca], ["f:2: rows of Alpaca", "f:1 has a row of GSM8K"]),
        ([gsm8k, r#"{"question": "q"}"#], ["f:2: `answer` is missing; the row has `question`", "f:1"]),
        ([gsm8k, r#"{"question": "q", "answer": "4"}"#], ["f:2: rows of questions", "f:1 has a row of GSM8K"]),
        ([r#"{"prompt": "q", "answer": "4"}"#, alpaca], ["f:2: rows of Alpaca", "f:1 has a row of another shape"]),
        ([r#"{"prompt": "q", "answer": "4"}"#, r#"{"x": 1}"#], ["f:2: `prompt` is missing", "the row has `x`"]),
        ([gsm8k, r#"{"prompt": "q", "answer": "4"}"#], ["f:2: ", "f:1 has a row of GSM8K"]),
    ] {
        let message = mistake(rows.join("\n"));
        assert!(wanted.iter().all(|wanted| message.contains(wanted)), "{message}");
    }
    for (row, wanted) in [
        (r#"{"conversations": [{"from": "alien", "value": "q"}]}"#, "`conversations[0].from` is \"alien\""),
        (r#"{"conversations": [{"from": "human", "value": 3}]}"#, "`conversations[0].value` is 3"),
        (r#"{"messages": [{"role": "assistant", "content": "a"}]}"#, "`messages` has only the answer"),
        (r#"{"instruction": 3, "output": "o"}"#, "`instruction` is 3"),
    ] {
        let message = mistake(row);
        assert!(message.starts_with("f:1: ") && message.contains(wanted), "{message}");
    }
}

#[test]
fn tables_of_the_known_shapes_are_read() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tables/tests/data");
    let read = |name: &str| super::read_prompts(&data.join(name), &Keys::default());
    for name in ["verl-snappy.parquet", "verl-zstd.parquet"] {
        let rows = read(name).unwrap();
        assert_eq!((rows.len(), &rows[299].answer), (300, &json!("598")));
        assert!(rows[299].origin.to_string().ends_with(&format!("{name}:row 300")));
    }
    let rows = read("folder").unwrap();
    assert_eq!((rows.len(), &rows[4].answer), (5, &json!("8")));
    assert!(rows[4].origin.to_string().ends_with("data-00001-of-00002.arrow:row 2"), "{}", rows[4].origin);
    let message = format!("{:#}", read("binary.parquet").unwrap_err());
    assert!(message.contains("binary.parquet: column `image.bytes` is binary data"), "{message}");
    let packed = parse(gzip(&std::fs::read(data.join("verl-none.parquet")).unwrap()), "f").unwrap();
    assert_eq!(packed.len(), 300);
}

#[test]
fn folders_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let message = || format!("{:#}", super::rows(folder.path()).unwrap_err());
    assert!(message().contains("state.json is missing"), "{}", message());
    std::fs::write(folder.path().join("state.json"), r#"{"_data_files": [{"filename": "gone.arrow"}]}"#).unwrap();
    assert!(message().contains("cannot read") && message().contains("gone.arrow"), "{}", message());
    std::fs::write(folder.path().join("dataset_dict.json"), r#"{"splits": ["train", "test"]}"#).unwrap();
    assert!(message().contains("several datasets, train and test: name one of them"), "{}", message());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_table_of_texts_survives_csv_and_json(
        cells in prop::collection::vec(prop::collection::vec("[ -~äß\n\"]{0,12}", 3), 1..6),
        separator in prop::sample::select(vec![b',', b';', b'\t']),
    ) {
        let mut writer = csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::new());
        writer.write_record(["a", "b", "c"]).unwrap();
        cells.iter().for_each(|row| writer.write_record(row).unwrap());
        let wanted: Vec<Value> = cells.iter().map(|row| json!({"a": row[0], "b": row[1], "c": row[2]})).collect();
        let got = |content: Vec<u8>| -> Vec<Value> { fields(content).into_iter().map(|(_, row)| row).collect() };
        let bytes = writer.into_inner().unwrap();
        prop_assert_eq!(&got(gzip(&bytes)), &wanted);
        prop_assert_eq!(&got(bytes), &wanted);
        let lines: String = wanted.iter().map(|row| format!("{row}\n")).collect();
        prop_assert_eq!(&got(zstd(lines.as_bytes())), &wanted);
        prop_assert_eq!(&got(serde_json::to_vec_pretty(&wanted).unwrap()), &wanted);
    }

    #[test]
    fn any_bytes_are_rows_or_an_error(
        start in prop::sample::select(vec![
            &b""[..], b"PAR1", b"\xff\xff\xff\xff", b"ARROW1\0\0", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"{", b"[{", b"a,b\n",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Err(error) = parse([start, &rest].concat(), "f") {
            let message = format!("{error:#}");
            prop_assert!(message.starts_with('f'), "{}", message);
        }
    }
}
