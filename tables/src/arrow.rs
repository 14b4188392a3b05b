//! Arrow streams, and Arrow files, which hold a stream.

use arrow_ipc::reader::StreamReader;

use crate::guard::guarded;
use crate::{Rows, value};

/// The first bytes of an Arrow file, with padding.
const FILE: &[u8] = b"ARROW1\0\0";

/// The mark that ends a stream, in the present format and in that before 0.15.
const ENDS: [&[u8]; 2] = [&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], &[0, 0, 0, 0]];

/// Reads an Arrow stream, such as a file of the folders that `datasets` saves, or an Arrow file (Feather 2).
///
/// # Errors
/// Returns a message if the data is damaged, cut off or compressed, or if a column has no meaning in JSON.
pub fn read_arrow(bytes: &[u8]) -> Rows {
    guarded(|| read(bytes.strip_prefix(FILE).unwrap_or(bytes)))
}

fn read(stream: &[u8]) -> Rows {
    let mut reader = StreamReader::try_new(stream, None).map_err(describe)?;
    value::check(reader.schema().fields())?;
    let mut rows = Vec::new();
    for batch in &mut reader {
        value::append(&batch.map_err(describe)?, &mut rows)?;
    }
    let read = &stream[..stream.len() - reader.get_ref().len()];
    if !ENDS.iter().any(|end| read.ends_with(end)) {
        return Err(format!(
            "the stream has no end mark after {} rows, so it may be cut off; write or download it again",
            rows.len()
        ));
    }
    Ok(rows)
}

fn describe(error: arrow_schema::ArrowError) -> String {
    let message = error.to_string();
    if message.contains("compression requires") {
        return "its buffers are compressed; write them plainly: \
                pyarrow.feather.write_feather(table, FILE, compression=\"uncompressed\")"
            .into();
    }
    format!("the Arrow data is damaged ({message}); download or write it again")
}
