//! Named lists of numbers in a safetensors file: optimiser state and whatever else a trainer keeps beside a checkpoint.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Error, Result};
use crate::fs::atomic_write;

/// Writes lists of numbers, by name, atomically.
///
/// # Errors
/// [`Error::Io`]; [`Error::Safetensors`] for a name that comes twice.
pub fn write_state(path: &Path, lists: &[(String, Vec<f32>)]) -> Result<()> {
    let bytes: Vec<Vec<u8>> = lists.iter().map(|(_, x)| x.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let broken = |e: safetensors::SafeTensorError| Error::Safetensors { path: path.to_owned(), message: e.to_string() };
    let views = lists
        .iter()
        .zip(&bytes)
        .map(|((name, x), bytes)| {
            Ok((name.clone(), TensorView::new(Dtype::F32, vec![x.len()], bytes).map_err(broken)?))
        })
        .collect::<Result<Vec<_>>>()?;
    atomic_write(path, &safetensors::serialize(views, None).map_err(broken)?)
}

/// Reads what [`write_state`] wrote.
///
/// # Errors
/// [`Error::Io`]; [`Error::Safetensors`] for a file that is not whole.
pub fn read_state(path: &Path) -> Result<HashMap<String, Vec<f32>>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| Error::Safetensors { path: path.to_owned(), message: e.to_string() })?;
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
