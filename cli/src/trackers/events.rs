//! TensorBoard's event files: TFRecord files whose records are protobuf messages of type `Event`. This module writes
//! only the few fields that numbers and text need.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

const PREFIX: &str = "events.out.tfevents.";

/// An event file open for writing.
#[derive(Debug)]
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
    /// Tags whose description has been written.
    described: BTreeSet<String>,
}

/// A number with the name and the description that TensorBoard shows.
pub(super) struct Scalar {
    pub(super) tag: String,
    pub(super) description: String,
    pub(super) value: f64,
}

impl EventFile {
    /// Creates a file that follows those already in `folder`. If there are any, it makes TensorBoard discard their
    /// events from step `from` on.
    pub(super) fn create(folder: &Path, host: &str, from: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let begun = |name: &str| name.strip_prefix(PREFIX)?.split('.').next()?.parse::<u64>().ok();
        let last = entries.flatten().filter_map(|entry| begun(&entry.file_name().to_string_lossy())).max();
        // TensorBoard reads the files of a folder in the order of their names, so this one needs the largest time
        // stamp.
        let seconds = last.map_or(0, |last| last + 1).max(now() as u64);
        let path = folder.join(format!("{PREFIX}{seconds:010}.{host}.{}", std::process::id()));
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let mut this = Self { path, file, described: BTreeSet::new() };
        this.write(&Message::event(0).bytes(3, b"brain.Event:2"))?;
        if last.is_some() {
            const START: u64 = 1;
            this.write(&Message::event(from).message(7, &Message::default().integer(1, START)))?;
        }
        Ok(this)
    }

    /// Writes the numbers of a step.
    pub(super) fn scalars(&mut self, step: u64, scalars: impl Iterator<Item = Scalar>) -> Result<()> {
        let mut summary = Message::default();
        for Scalar { tag, description, value } in scalars {
            let mut entry = Message::default().bytes(1, tag.as_bytes()).float(2, value as f32);
            if self.described.insert(tag) {
                let plugin = Message::default().bytes(1, b"scalars");
                entry = entry.message(9, &Message::default().message(1, &plugin).bytes(3, description.as_bytes()));
            }
            summary = summary.message(1, &entry);
        }
        self.write(&Message::event(step).message(5, &summary))
    }

    /// Writes a text in Markdown.
    pub(super) fn text(&mut self, step: u64, tag: &str, text: &str) -> Result<()> {
        const STRING: u64 = 7;
        let tensor = Message::default().integer(1, STRING).message(2, &Message::default()).bytes(8, text.as_bytes());
        let metadata = Message::default().message(1, &Message::default().bytes(1, b"text"));
        let entry = Message::default().bytes(1, tag.as_bytes()).message(8, &tensor).message(9, &metadata);
        self.write(&Message::event(step).message(5, &Message::default().message(1, &entry)))
    }

    /// Writes a record in a single call, so that a killed run loses at most the record it was writing.
    fn write(&mut self, Message(event): &Message) -> Result<()> {
        let length = (event.len() as u64).to_le_bytes();
        let check = |bytes: &[u8]| masked(crc32c(bytes)).to_le_bytes();
        let record = [&length[..], &check(&length), event, &check(event)].concat();
        self.file.write_all(&record).with_context(|| format!("cannot write to {}", self.path.display()))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A protobuf message: a sequence of fields, each with its number, the wire type of its value and the value.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// Returns an `Event` with the present time and its step.
    fn event(step: u64) -> Self {
        let mut event = Self::default().key(1, 1);
        event.0.extend(now().to_le_bytes());
        event.integer(2, step)
    }

    fn key(mut self, field: u32, kind: u32) -> Self {
        self.varint(u64::from(field << 3 | kind));
        self
    }

    fn integer(self, field: u32, value: u64) -> Self {
        let mut this = self.key(field, 0);
        this.varint(value);
        this
    }

    fn float(self, field: u32, value: f32) -> Self {
        let mut this = self.key(field, 5);
        this.0.extend(value.to_le_bytes());
        this
    }

    fn bytes(self, field: u32, value: &[u8]) -> Self {
        let mut this = self.key(field, 2);
        this.varint(value.len() as u64);
        this.0.extend(value);
        this
    }

    fn message(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// Appends a number with seven bits per byte, the lowest bits first.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// Computes CRC-32C (Castagnoli) bit by bit, which is fast enough for records of a few thousand bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}

/// Masks a checksum as TFRecord does, so that checksums of data that itself contains checksums stay reliable.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn a_later_file_has_a_later_name() {
        let folder = tempfile::tempdir().unwrap();
        let ahead = now() as u64 + 1000;
        std::fs::write(folder.path().join(format!("{PREFIX}{ahead}.z.9")), "").unwrap();
        let names: Vec<_> = (0..2).map(|_| EventFile::create(folder.path(), "a", 0).unwrap().path).collect();
        assert!(names[0].ends_with(format!("{PREFIX}{}.a.{}", ahead + 1, std::process::id())), "{names:?}");
        assert!(names[0] < names[1]);
    }
}
