//! Unpacks compressed files.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// Unpacks gzip, also several members after each other. Each member's checksum is compared.
pub(super) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut out).context("damaged or cut off gzip data; download it again")?;
    Ok(out)
}

/// Unpacks zstd, also several frames after each other. Checksums are compared where there are any.
pub(super) fn zstd(mut bytes: &[u8]) -> Result<Vec<u8>> {
    const DAMAGED: &str = "damaged or cut off zstd data; download it again";
    let mut out = Vec::new();
    while !bytes.is_empty() {
        if let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, rest @ ..] = bytes {
            let len = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            bytes = rest.get(len..).context(DAMAGED)?;
            continue;
        }
        let mut frame = StreamingDecoder::new(&mut bytes).context(DAMAGED)?;
        frame.read_to_end(&mut out).context(DAMAGED)?;
        let (wanted, got) = (frame.decoder.get_checksum_from_data(), frame.decoder.get_calculated_checksum());
        ensure!(wanted.is_none() || wanted == got, "{DAMAGED}: a checksum differs");
    }
    Ok(out)
}
