//! A reader for event files, written from TensorBoard's documentation and independent of the writer.

use std::collections::BTreeMap;
use std::path::Path;

/// The contents of a folder of event files.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Values by tag and step.
    pub(crate) scalars: BTreeMap<(String, u64), f32>,
    pub(crate) texts: Vec<(String, String)>,
    pub(crate) descriptions: BTreeMap<String, String>,
    /// The step of each `SessionLog` with status START.
    pub(crate) starts: Vec<u64>,
    pub(crate) files: usize,
}

/// Reads the files of a folder in the order of their names.
pub(crate) fn read(folder: &Path) -> Events {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut events = Events { files: paths.len(), ..Events::default() };
    for path in paths {
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents."));
        let bytes = std::fs::read(&path).unwrap();
        let mut rest = &bytes[..];
        let mut is_first = true;
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let check = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            assert_eq!(check(8), masked(&rest[..8]), "checksum of a length");
            assert_eq!(check(12 + length), masked(&rest[12..12 + length]), "checksum of a record");
            event(&rest[12..12 + length], is_first, &mut events);
            (rest, is_first) = (&rest[16 + length..], false);
        }
    }
    events
}

fn event(bytes: &[u8], is_first: bool, events: &mut Events) {
    let event = Fields::of(bytes);
    let step = event.number(2);
    assert!(f64::from_bits(event.number(1)) > 1.7e9, "wall time");
    assert_eq!(event.bytes(3), if is_first { Some(&b"brain.Event:2"[..]) } else { None });
    if let Some(session) = event.bytes(7) {
        assert_eq!(Fields::of(session).number(1), 1);
        events.starts.push(step);
        events.scalars.retain(|(_, known), _| *known < step);
    }
    let summary = Fields::of(event.bytes(5).unwrap_or_default());
    for value in summary.all(1).map(Fields::of) {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let tag = text(value.bytes(1));
        let metadata = Fields::of(value.bytes(9).unwrap_or_default());
        if let Some(tensor) = value.bytes(8) {
            let plugin = Fields::of(metadata.bytes(1).unwrap());
            assert_eq!((text(plugin.bytes(1)).as_str(), Fields::of(tensor).number(1)), ("text", 7));
            events.texts.push((tag, text(Fields::of(tensor).bytes(8))));
            continue;
        }
        if let Some(description) = metadata.bytes(3) {
            events.descriptions.insert(tag.clone(), text(Some(description)));
        }
        let before = events.scalars.insert((tag, step), f32::from_bits(value.number(2) as u32));
        assert_eq!(before, None, "a number stands twice");
    }
}

/// The fields of a message by number.
struct Fields<'a>(Vec<(u64, Field<'a>)>);

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    fn of(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let mut take = |n: usize| {
                let (taken, rest) = bytes.split_at(n);
                bytes = rest;
                taken
            };
            let field = match key & 7 {
                0 => Field::Number(varint(&mut bytes)),
                1 => Field::Number(u64::from_le_bytes(take(8).try_into().unwrap())),
                5 => Field::Number(u32::from_le_bytes(take(4).try_into().unwrap()).into()),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    let (taken, rest) = bytes.split_at(length);
                    bytes = rest;
                    Field::Bytes(taken)
                }
                kind => panic!("kind {kind}"),
            };
            fields.push((key >> 3, field));
        }
        Self(fields)
    }

    fn number(&self, wanted: u64) -> u64 {
        let found = self.0.iter().find_map(|(field, value)| match value {
            Field::Number(number) if *field == wanted => Some(*number),
            _ => None,
        });
        found.unwrap_or(0)
    }

    fn all(&self, wanted: u64) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter_map(move |(field, value)| match value {
            Field::Bytes(bytes) if *field == wanted => Some(*bytes),
            _ => None,
        })
    }

    fn bytes(&self, wanted: u64) -> Option<&'a [u8]> {
        self.all(wanted).next()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let value = bytes[..=end].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    *bytes = &bytes[end + 1..];
    value
}

/// Computes TFRecord's checksum by polynomial division, the highest power first.
fn masked(bytes: &[u8]) -> u32 {
    const CASTAGNOLI: u64 = 0x1_1edc_6f41;
    let mut remainder = 0xffff_ffff_u64;
    for bit in bytes.iter().flat_map(|byte| (0..8).map(move |i| u64::from(byte >> i & 1))) {
        remainder = remainder << 1 ^ bit << 32;
        if remainder >> 32 & 1 == 1 {
            remainder ^= CASTAGNOLI;
        }
    }
    let crc = (!remainder as u32).reverse_bits();
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}
