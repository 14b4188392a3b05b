//! Tiny models with changes that are found in published or converted checkpoints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

/// A tensor with values in f32.
#[derive(Clone)]
pub(crate) struct Stored {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Stored {
    pub(crate) fn ones(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), values: vec![1.0; shape.iter().product()] }
    }

    /// Replaces each value, given its index.
    pub(crate) fn change(&mut self, new: impl Fn(usize, f32) -> f32) {
        for (i, value) in self.values.iter_mut().enumerate() {
            *value = new(i, *value);
        }
    }
}

/// The folder of a model.
pub(crate) struct Model {
    path: PathBuf,
    _folder: Option<TempDir>,
}

impl Model {
    /// Copies a golden checkpoint.
    pub(crate) fn of(name: &str) -> Self {
        let folder = tempdir().unwrap();
        let path = folder.path().join(name);
        crate::common::copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/hf").join(name), &path);
        Self { path, _folder: Some(folder) }
    }

    pub(crate) fn open(path: &Path) -> Self {
        Self { path: path.to_owned(), _folder: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub(crate) fn read(&self, file: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path.join(file)).unwrap()).unwrap()
    }

    pub(crate) fn write(&self, file: &str, value: &Value) {
        std::fs::write(self.path.join(file), value.to_string()).unwrap();
    }

    pub(crate) fn remove(&self, file: &str) {
        std::fs::remove_file(self.path.join(file)).unwrap();
    }

    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(&mut Value)) {
        let mut value = self.read(file);
        change(&mut value);
        self.write(file, &value);
    }

    pub(crate) fn config(&self, change: impl FnOnce(&mut Value)) {
        self.edit("config.json", change);
    }

    /// Reads the tensors of `model.safetensors`. The file has the length of a JSON header, the header and the values.
    pub(crate) fn stored(&self) -> BTreeMap<String, Stored> {
        let bytes = std::fs::read(self.path.join("model.safetensors")).unwrap();
        let (length, rest) = bytes.split_at(8);
        let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
        let header: BTreeMap<String, Value> = serde_json::from_slice(header).unwrap();
        let tensors = header.into_iter().filter(|(name, _)| name != "__metadata__");
        tensors
            .map(|(name, info)| {
                let number = |value: &Value| value.as_u64().unwrap() as usize;
                let offsets = info["data_offsets"].as_array().unwrap();
                assert_eq!(info["dtype"], "F32");
                let bytes = data[number(&offsets[0])..number(&offsets[1])].as_chunks::<4>().0;
                let values = bytes.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                (name, Stored { shape: info["shape"].as_array().unwrap().iter().map(number).collect(), values })
            })
            .collect()
    }

    pub(crate) fn tensors(&self, change: impl FnOnce(&mut BTreeMap<String, Stored>)) {
        let mut tensors = self.stored();
        change(&mut tensors);
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for (name, Stored { shape, values }) in &tensors {
            let start = data.len();
            data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let length = (header.len() as u64).to_le_bytes();
        std::fs::write(self.path.join("model.safetensors"), [&length[..], &header, &data].concat()).unwrap();
    }

    pub(crate) fn rename(&self, new: impl Fn(&str) -> String) {
        self.tensors(|tensors| {
            *tensors = std::mem::take(tensors).into_iter().map(|(name, tensor)| (new(&name), tensor)).collect();
        });
    }
}

// Log-probabilities of `IDS` from the third token on, from transformers 5.24 in f32 (xtask/interop/strangers.py).

/// Log-probabilities of the golden checkpoint qwen2-tied without changes.
pub(crate) const TIED: [f64; 13] = [
    -5.457314, -5.335017, -5.471667, -6.027801, -6.318496, -7.158410, -6.345523, -4.813376, -6.512700, -5.810551,
    -5.955129, -5.180507, -6.050607,
];
/// Log-probabilities with `"rope_scaling": {"type": "linear", "factor": 4}` in addition to `rope_parameters`.
pub(crate) const LINEAR: [f64; 13] = [
    -5.523608, -5.279765, -5.193916, -6.152743, -6.136938, -7.203106, -6.315518, -4.721329, -6.454503, -5.962596,
    -5.724771, -5.100473, -6.073696,
];
/// Log-probabilities with the head embedding + 0.25·sin(0.7·i), computed in f32, for the index i in row-major order.
pub(crate) const OTHER_HEAD: [f64; 13] = [
    -4.858570, -5.946768, -5.363638, -6.629632, -8.450113, -7.258571, -7.007863, -6.926112, -6.431951, -8.978513,
    -6.300989, -4.776063, -5.707984,
];
