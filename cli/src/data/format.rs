//! The format of a file, by its first bytes.

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// No text at all.
    Empty,
    /// An object on each line.
    JsonLines,
    /// A JSON document over any number of lines.
    Json,
    /// Values between separators, below a line of names.
    Separated(u8),
    Parquet,
    Arrow,
    Gzip,
    Zstd,
}

/// Returns the bytes without a byte-order mark.
pub(super) fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// Recognises a format.
///
/// # Errors
/// Returns the name of a format that is not read, with how to convert it.
pub(super) fn of(bytes: &[u8]) -> Result<Format, String> {
    match bytes {
        [b'P', b'A', b'R', b'1', ..] => return Ok(Format::Parquet),
        [b'A', b'R', b'R', b'O', b'W', b'1', 0, 0, ..] | [0xff, 0xff, 0xff, 0xff, _, _, _, _, ..] => {
            return Ok(Format::Arrow);
        }
        [0x1f, 0x8b, ..] => return Ok(Format::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return Ok(Format::Zstd),
        // A skippable frame, with which some compressors begin.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => return Ok(Format::Zstd),
        _ => {}
    }
    if let Some((_, refusal)) = OTHERS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Err(format!("this is {refusal}"));
    }
    let text = unmarked(bytes).trim_ascii_start();
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii();
    match text.first() {
        None => Ok(Format::Empty),
        Some(b'[') => Ok(Format::Json),
        // The first line of a document that is laid out for people ends within a value.
        Some(b'{') if matches!(line.last(), Some(b'{' | b'[' | b',' | b':')) => Ok(Format::Json),
        Some(b'{') => Ok(Format::JsonLines),
        Some(_) if line.contains(&0) => Err(unknown(bytes)),
        // Markup, or an object without its brace.
        Some(b'<' | b'}' | b'-') => Err(unknown(bytes)),
        Some(_) => separator(line).map(Format::Separated).ok_or_else(|| unknown(bytes)),
    }
}

/// Returns the separator of a line of names: that of comma, semicolon and tab that is there most often.
fn separator(line: &[u8]) -> Option<u8> {
    // A colon is more common in objects without their braces than in names.
    let is_quoted = line.contains(&b'"');
    if line.contains(&b':') && !is_quoted {
        return None;
    }
    let count = |separator: u8| {
        let mut quoted = false;
        let outside = line.iter().filter(|&&byte| {
            quoted ^= byte == b'"';
            byte == separator && !quoted
        });
        outside.count()
    };
    let best = [b',', b';', b'\t'].into_iter().rev().max_by_key(|&separator| count(separator))?;
    (count(best) > 0).then_some(best)
}

fn unknown(bytes: &[u8]) -> String {
    let line = unmarked(bytes).trim_ascii_start().split(|&byte| byte == b'\n').next().unwrap_or_default();
    let shown = match std::str::from_utf8(line) {
        Ok(text) if !text.contains('\0') => format!("{:?}", flowrl_lm::short(text.trim_end())),
        _ => bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    };
    format!(
        "unknown format, beginning with {shown}; rows are read from JSON lines (one object per line, {{\"prompt\": …, \
         \"answer\": …}}), a JSON array, CSV with a line of names, Parquet and Arrow"
    )
}

/// The first bytes of other formats, with their names and how to convert them.
const OTHERS: [(&[u8], &str); 16] = [
    (b"PK\x03\x04", "a zip archive or an Excel file; unpack it, or save the sheet as CSV in UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file; save the sheet as CSV in UTF-8"),
    (b"\xff\xfe", "UTF-16; save the file as UTF-8: iconv -f UTF-16 -t UTF-8 FILE"),
    (b"\xfe\xff", "UTF-16; save the file as UTF-8: iconv -f UTF-16 -t UTF-8 FILE"),
    (b"\xfd7zXZ\0", "compressed with xz; unpack it first: unxz FILE"),
    (b"BZh", "compressed with bzip2; unpack it first: bunzip2 FILE"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first: 7z x FILE"),
    (b"\x04\x22\x4d\x18", "compressed with LZ4; unpack it first: unlz4 FILE"),
    (b"PARE", "an encrypted Parquet file; write it without encryption"),
    (b"ORC", "an ORC file; write it as Parquet: pandas.read_orc(FILE).to_parquet(…)"),
    (b"Obj\x01", "an Avro file; write its records as JSON lines: fastavro FILE"),
    (
        b"SQLite format 3\0",
        "an SQLite database; write its table as CSV: sqlite3 -header -csv FILE 'select * from TABLE'",
    ),
    (b"\x89HDF", "an HDF5 file; write its table as Parquet: pandas.read_hdf(FILE).to_parquet(…)"),
    (
        b"\x80\x04",
        "a Python pickle; write it as JSON lines: pandas.read_pickle(FILE).to_json(…, orient=\"records\", lines=True)",
    ),
    (b"%PDF", "a PDF document; its questions must be rows of a file"),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, not the file itself; download the file: git lfs pull, or hf download",
    ),
];
