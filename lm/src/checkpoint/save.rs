//! Writing of checkpoints that `transformers` can load.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};

use super::convert;
use crate::config::{Dtype, ModelConfig};
use crate::error::{Error, Result};
use crate::fs::{atomic_replace_dir, write_synced};

/// A tensor to be saved.
#[derive(Clone, Debug)]
pub struct NamedTensor<'a> {
    /// Name in a Hugging Face checkpoint.
    pub name: &'a str,
    /// Shape; the product is the number of `values`.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: &'a [f32],
}

/// Writes a checkpoint to the folder `path`, which is created, or replaced as a whole.
///
/// Numbers are stored as `dtype`, rounded to the nearest with ties to even. `side_files` are copied unchanged;
/// take them from [`super::Checkpoint::side_files`] or give at least a `tokenizer.json`. All files go to a
/// temporary folder next to `path`, which is flushed to the disk and renamed: an interruption leaves either the
/// old checkpoint or the new one.
///
/// # Errors
/// Returns [`Error::Argument`] if the shape and values of a tensor do not fit, a name comes twice, or the name
/// of a side file is not a plain file name; otherwise [`Error::Io`].
///
/// ```
/// use flowrl_lm::checkpoint::{Checkpoint, NamedTensor, save};
/// use flowrl_lm::config::{Dtype, ModelConfig};
/// let config = ModelConfig::qwen2(16, 8, 16, 1, 2, 1, 32, 0)?;
/// let shapes = config.tensor_shapes();
/// let values: Vec<Vec<f32>> = shapes.iter().map(|(_, shape)| vec![0.5; shape.iter().product()]).collect();
/// let tensors: Vec<_> = shapes.iter().zip(&values)
///     .map(|((name, shape), values)| NamedTensor { name, shape: shape.clone(), values })
///     .collect();
/// let folder = tempfile::tempdir()?;
/// save(&folder.path().join("model"), &config, &tensors, Dtype::Bf16, &[])?;
/// let mut norm = [0.0; 8];
/// Checkpoint::open(&folder.path().join("model"))?.read_f32("model.norm.weight", &[8], &mut norm)?;
/// assert_eq!(norm, [0.5; 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn save(
    path: &Path,
    config: &ModelConfig,
    tensors: &[NamedTensor<'_>],
    dtype: Dtype,
    side_files: &[(String, Cow<'_, [u8]>)],
) -> Result<()> {
    let (header, order) = header(tensors, dtype)?;
    for (name, _) in side_files {
        if Path::new(name).file_name() != Some(name.as_ref()) || ["config.json", "model.safetensors"].contains(&&**name)
        {
            let wanted = "a plain file name other than config.json and model.safetensors";
            return Err(Error::argument("side_files", format!("{name:?}"), wanted));
        }
    }
    atomic_replace_dir(path, |folder| {
        let small = side_files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_ref()));
        for (name, bytes) in small.chain([("config.json", config.to_json(dtype).as_bytes())]) {
            write_synced(&folder.join(name), |file| file.write_all(bytes))?;
        }
        write_synced(&folder.join("model.safetensors"), |file| write_weights(file, &header, &order, dtype))
    })
}

/// Returns the JSON header, padded to 8 bytes, and the tensors in the order of the file, which is by name.
pub(crate) fn header<'a, 'b>(
    tensors: &'b [NamedTensor<'a>],
    dtype: Dtype,
) -> Result<(Vec<u8>, Vec<&'b NamedTensor<'a>>)> {
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.name);
    if let Some(pair) = order.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::argument("tensors", format!("`{}` twice", pair[0].name), "one tensor for each name"));
    }
    let stored = dtype.stored();
    let mut offset = 0;
    let mut infos = Vec::with_capacity(order.len());
    for NamedTensor { name, shape, values } in &order {
        if shape.iter().product::<usize>() != values.len() {
            let wanted = format!("the product of its shape {shape:?}");
            return Err(Error::argument("values.len()", format!("{} for tensor `{name}`", values.len()), wanted));
        }
        let end = offset + values.len() * (stored.bitsize() / 8);
        let info = TensorInfo { dtype: stored, shape: shape.clone(), data_offsets: (offset, end) };
        infos.push(((*name).to_owned(), info));
        offset = end;
    }
    // Without this entry `transformers` rejects the file.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let invalid = |message: String| Error::argument("tensors", message, "what safetensors can store");
    let metadata = Metadata::new(Some(format), infos).map_err(|e| invalid(e.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| invalid(e.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok((header, order))
}

/// Writes the length of the header, the header, and the tensors one after the other. They are converted in
/// pieces, so that no copy of the model is made.
pub(crate) fn write_weights(
    file: &mut File,
    header: &[u8],
    tensors: &[&NamedTensor<'_>],
    dtype: Dtype,
) -> std::io::Result<()> {
    const PIECE: usize = 1 << 18;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    writer.write_all(&(header.len() as u64).to_le_bytes())?;
    writer.write_all(header)?;
    for piece in tensors.iter().flat_map(|tensor| tensor.values.chunks(PIECE)) {
        writer.write_all(&convert::encode(dtype, piece))?;
    }
    writer.flush()
}
