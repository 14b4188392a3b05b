//! Named lists of numbers in a safetensors file: optimiser state, and anything else a trainer keeps next to a
//! checkpoint.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;

use crate::checkpoint::{NamedTensor, save};
use crate::config::Dtype;
use crate::error::{Error, Result};
use crate::fs::atomic_write_by;

/// Writes named lists of numbers atomically, without copying them.
///
/// # Errors
/// Returns [`Error::Io`], or [`Error::Argument`] if a name comes twice.
pub fn write_state(path: &Path, lists: &[(String, Vec<f32>)]) -> Result<()> {
    let tensors: Vec<_> =
        lists.iter().map(|(name, values)| NamedTensor { name, shape: vec![values.len()], values }).collect();
    let (header, tensors) = save::header(&tensors, Dtype::F32)?;
    atomic_write_by(path, |file| save::write_weights(file, &header, &tensors, Dtype::F32))
}

/// Reads the lists that [`write_state`] wrote.
///
/// # Errors
/// Returns [`Error::Io`], or [`Error::File`] if the file is incomplete.
pub fn read_state(path: &Path) -> Result<HashMap<String, Vec<f32>>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| Error::safetensors(path, error))?;
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    Ok(file.tensors().into_iter().map(|(name, x)| (name, x.data().chunks_exact(4).map(number).collect())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_bit_for_bit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.safetensors");
        let lists = [("a".to_owned(), vec![0.1, -0.0, f32::MIN_POSITIVE]), ("b".to_owned(), vec![])];
        write_state(&path, &lists).unwrap();
        let read = read_state(&path).unwrap();
        assert!(lists.iter().all(|(name, x)| read[name] == *x));
        std::fs::write(&path, [1, 2, 3]).unwrap();
        assert!(read_state(&path).unwrap_err().to_string().contains("s.safetensors"));
    }
}
