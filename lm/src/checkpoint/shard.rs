//! A single safetensors file in memory.

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;

use super::convert;
use crate::config::Dtype;
use crate::error::{Error, Result};

/// A safetensors file whose header has been checked against its length.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    bytes: Bytes,
    metadata: Metadata,
    /// Offset of the tensors, which come after the length and the header.
    data_start: usize,
}

impl Shard {
    /// Maps a file into memory and checks its header.
    pub(super) fn map(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let map = map_file(&file).map_err(Error::io("map", path))?;
        Self::parse(path, Bytes::Mapped(map))
    }

    /// Wraps a file that is part of the program; `path` is for error messages.
    pub(super) fn from_static(path: &Path, bytes: &'static [u8]) -> Result<Self> {
        Self::parse(path, Bytes::Static(bytes))
    }

    fn parse(path: &Path, bytes: Bytes) -> Result<Self> {
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| {
            let pointer = bytes.starts_with(b"version https://git-lfs");
            let reason = if pointer { "it is a git-lfs pointer: run `git lfs pull`".into() } else { error.to_string() };
            Error::safetensors(path, reason)
        })?;
        Ok(Self { path: path.to_owned(), bytes, metadata, data_start: size_of::<u64>() + header })
    }

    pub(super) fn path(&self) -> &PathBuf {
        &self.path
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// Returns the type of a tensor and its bytes.
    pub(super) fn bytes(&self, name: &str) -> Option<(safetensors::Dtype, &[u8])> {
        let info = self.metadata.info(name)?;
        let (start, end) = info.data_offsets;
        Some((info.dtype, &self.bytes[self.data_start + start..self.data_start + end]))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// Reads a tensor, see [`super::Checkpoint::read_f32`].
    pub(super) fn read_f32(&self, name: &str, shape: &[usize], out: &mut [f32]) -> Result<()> {
        let (path, name) = (self.path.clone(), name.to_owned());
        let Some(info) = self.metadata.info(&name) else {
            return Err(Error::MissingTensor { path, name, hint: String::new() });
        };
        if info.shape != shape {
            let got = &info.shape;
            let message = format!(
                "has shape {got:?}, but the model needs {shape:?}; do config.json and weights belong together?"
            );
            return Err(Error::Tensor { path, name, message });
        }
        let Some(dtype) = Dtype::of_stored(info.dtype) else {
            let got = info.dtype;
            let message = format!("is stored as {got:?}; F32, F16 and BF16 can be read, so convert it to one of them");
            return Err(Error::Tensor { path, name, message });
        };
        let wanted: usize = shape.iter().product();
        if out.len() != wanted {
            return Err(Error::argument("out.len()", out.len(), format!("{wanted} for {shape:?} of `{name}`")));
        }
        let (start, end) = info.data_offsets;
        convert::decode(dtype, &self.bytes[self.data_start + start..self.data_start + end], out);
        Ok(())
    }
}

/// The bytes of a file.
#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only and private to this module. It would be unsound if another process changed
    // the file in place while it is mapped. `Checkpoint::open` asks users not to, and this crate itself only
    // ever replaces files by renaming, which leaves a mapped file unchanged.
    unsafe { Mmap::map(file) }
}
