//! Decompression of the pages of a Parquet file. No size that the file claims is reserved before there is data for it.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;
use ruzstd::decoding::StreamingDecoder;

/// Decompresses a page into at most `limit` bytes.
pub(crate) fn decompress(codec: Compression, bytes: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let whole = |reader: &mut dyn Read| {
        let mut out = Vec::new();
        let read = reader.take(limit as u64 + 1).read_to_end(&mut out).map_err(|error| error.to_string());
        read.and_then(|_| if out.len() > limit { Err(format!("more than {limit} bytes")) } else { Ok(out) })
    };
    match codec {
        Compression::UNCOMPRESSED => Ok(bytes.to_vec()),
        Compression::SNAPPY => {
            let size = snap::raw::decompress_len(bytes).map_err(|error| error.to_string())?;
            // A copy of 64 bytes takes 3.
            if size > limit || size > bytes.len().saturating_mul(22) {
                return Err(format!("{size} bytes cannot come from {}", bytes.len()));
            }
            snap::raw::Decoder::new().decompress_vec(bytes).map_err(|error| error.to_string())
        }
        Compression::GZIP(_) => whole(&mut MultiGzDecoder::new(bytes)),
        Compression::ZSTD(_) => whole(&mut StreamingDecoder::new(bytes).map_err(|error| error.to_string())?),
        Compression::LZ4_RAW => {
            // A byte lengthens a match by at most 255.
            let mut out = vec![0; limit.min(bytes.len().saturating_mul(255).saturating_add(64))];
            let size = lz4_flex::block::decompress_into(bytes, &mut out).map_err(|error| error.to_string())?;
            out.truncate(size);
            Ok(out)
        }
        other => Err(format!("pages compressed with {other} are not supported")),
    }
}

/// Returns whether [`decompress`] knows the codec.
pub(crate) fn is_known(codec: Compression) -> bool {
    matches!(
        codec,
        Compression::UNCOMPRESSED
            | Compression::SNAPPY
            | Compression::GZIP(_)
            | Compression::ZSTD(_)
            | Compression::LZ4_RAW
    )
}
