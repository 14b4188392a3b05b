//! Tests of checkpoints on disk: saved data is read back, and every kind of damage is named.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use flowrl_lm::checkpoint::{Checkpoint, NamedTensor, save};
use flowrl_lm::config::{Dtype, ModelConfig};
use flowrl_lm::tokenizer::{char_level, char_level_config};
use flowrl_lm::{Error, Result};
use safetensors::tensor::TensorView;
use serde_json::json;
use tempfile::TempDir;

fn config() -> ModelConfig {
    ModelConfig::qwen2(16, 8, 16, 1, 2, 1, 32, 0).unwrap()
}

/// Returns values that need all bits of an f32, including signed zero and denormals.
fn values(n: usize) -> Vec<f32> {
    let special = [0.0, -0.0, f32::MIN_POSITIVE / 2.0, f32::MAX, -f32::EPSILON];
    let ordinary = (0_u32..).map(|i| f32::from_bits(0x3f80_0000 ^ i.wrapping_mul(0x9e37_79b9) >> 9));
    special.into_iter().chain(ordinary).take(n).collect()
}

fn model() -> Vec<(String, Vec<usize>, Vec<f32>)> {
    config()
        .tensor_shapes()
        .into_iter()
        .map(|(name, shape)| {
            let values = values(shape.iter().product());
            (name, shape, values)
        })
        .collect()
}

fn save_model(path: &Path, dtype: Dtype) -> Result<()> {
    let model = model();
    let tensors: Vec<_> =
        model.iter().map(|(name, shape, values)| NamedTensor { name, shape: shape.clone(), values }).collect();
    let files = [("tokenizer.json", char_level("01", "<eos>")?), ("tokenizer_config.json", char_level_config("<eos>"))];
    let files = files.map(|(name, text)| (name.to_owned(), text.into_bytes().into()));
    save(path, &config(), &tensors, dtype, &files)
}

/// Creates a folder with a saved model in `model`.
fn saved(dtype: Dtype) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    save_model(&path, dtype).unwrap();
    (folder, path)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn f32_comes_back_bit_for_bit() {
    let (_folder, path) = saved(Dtype::F32);
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(*checkpoint.config(), config());
    for (name, shape, values) in model() {
        let mut read = vec![f32::NAN; values.len()];
        checkpoint.read_f32(&name, &shape, &mut read).unwrap();
        assert_eq!(bits(&read), bits(&values), "{name}");
    }
}

#[test]
fn half_precision_rounds_once() {
    for (dtype, round) in [
        (Dtype::Bf16, (|x| half::bf16::from_f32(x).to_f32()) as fn(f32) -> f32),
        (Dtype::F16, |x| half::f16::from_f32(x).to_f32()),
    ] {
        let (_folder, path) = saved(dtype);
        let checkpoint = Checkpoint::open(&path).unwrap();
        for (name, shape, values) in model() {
            let mut read = vec![f32::NAN; values.len()];
            checkpoint.read_f32(&name, &shape, &mut read).unwrap();
            let rounded: Vec<f32> = values.iter().map(|&x| round(x)).collect();
            assert_eq!(bits(&read), bits(&rounded), "{name}");
        }
        let text = fs::read_to_string(path.join("config.json")).unwrap();
        assert!(text.contains(dtype.name()), "{text}");
    }
}

#[test]
fn tokenizer_files_are_copied_verbatim() {
    let (folder, path) = saved(Dtype::F32);
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.tokenizer().unwrap().encode("10", false).unwrap(), [2, 1]);
    let copy = folder.path().join("copy");
    save(&copy, checkpoint.config(), &[], Dtype::F32, checkpoint.side_files()).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        assert_eq!(fs::read(copy.join(name)).unwrap(), fs::read(path.join(name)).unwrap());
    }
}

#[test]
fn saving_over_an_open_checkpoint_is_safe() {
    let (folder, path) = saved(Dtype::Bf16);
    let open = Checkpoint::open(&path).unwrap();
    fs::write(path.join("stale"), "x").unwrap();
    save_model(&path, Dtype::F32).unwrap();
    open.read_f32("model.norm.weight", &[8], &mut [0.0; 8]).unwrap();
    Checkpoint::open(&path).unwrap();
    assert!(!path.join("stale").exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn safetensors_reads_what_was_saved() {
    let (_folder, path) = saved(Dtype::F32);
    let bytes = fs::read(path.join("model.safetensors")).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    assert_eq!(safetensors::SafeTensors::deserialize(&bytes).unwrap().len(), model().len());
}

#[test]
fn bad_arguments_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let tensor = |name, shape: &[usize]| NamedTensor { name, shape: shape.to_vec(), values: &[1.0, 2.0] };
    let no_files: &[(String, std::borrow::Cow<'_, [u8]>)] = &[];
    for (tensors, files, wanted) in [
        (vec![tensor("a", &[3])], no_files, "2 for tensor `a`"),
        (vec![tensor("a", &[2]), tensor("a", &[1, 2])], no_files, "`a` twice"),
        (vec![], &[("../x".to_owned(), vec![].into())], "side_files"),
        (vec![], &[("config.json".to_owned(), vec![].into())], "side_files"),
    ] {
        let message = save(&path, &config(), &tensors, Dtype::F32, files).unwrap_err().to_string();
        assert!(message.contains(wanted), "{message}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_truncated_file_is_named_at_every_length() {
    let (_folder, path) = saved(Dtype::Bf16);
    let file = path.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    for length in [0, 1, 7, 8, 9, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&file, &bytes[..length]).unwrap();
        let message = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(message.contains("model.safetensors"), "{length}: {message}");
    }
    fs::write(&file, [&bytes[..], b"x"].concat()).unwrap();
    let error = Checkpoint::open(&path).unwrap_err();
    assert!(matches!(&error, Error::File { message, .. } if message.contains("not a complete safetensors")), "{error}");
}

#[test]
fn flipped_header_bytes_never_panic() {
    let (_folder, path) = saved(Dtype::Bf16);
    let file = path.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    for at in 0..400 {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&file, &bytes).unwrap();
        if let Ok(checkpoint) = Checkpoint::open(&path) {
            for (name, shape, mut values) in model() {
                let _ = checkpoint.read_f32(&name, &shape, &mut values);
            }
        }
    }
}

#[test]
fn missing_and_bad_json_are_named() {
    let (_folder, path) = saved(Dtype::F32);
    let message = Checkpoint::open(&path.join("nowhere")).unwrap_err().to_string();
    assert!(message.contains("nowhere: there is no such folder"), "{message}");
    fs::write(path.join("generation_config.json"), "{\"eos_token_id\": [0, 5]}").unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap().config().eos_token_ids, [0, 5]);
    fs::write(path.join("config.json"), "{\"model_type\": ").unwrap();
    let message = Checkpoint::open(&path).unwrap_err().to_string();
    assert!(message.contains("config.json") && message.contains("line 1"), "{message}");
}

#[test]
fn wrong_tensors_are_named() {
    let (_folder, path) = saved(Dtype::F32);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let mut out = [0.0; 8];
    let message = checkpoint.read_f32("model.norm.weights", &[8], &mut out).unwrap_err().to_string();
    assert!(message.contains("no tensor `model.norm.weights`; similar names are `model.norm.weight`"), "{message}");
    let message = checkpoint.read_f32("model.norm.weight", &[4, 2], &mut out).unwrap_err().to_string();
    assert!(message.contains("`model.norm.weight` has shape [8]") && message.contains("[4, 2]"), "{message}");
    let message = checkpoint.read_f32("model.norm.weight", &[8], &mut out[..7]).unwrap_err().to_string();
    assert!(message.contains("`out.len()` is 7"), "{message}");
    assert_eq!(out, [0.0; 8]);
    assert!(checkpoint.contains("model.norm.weight") && !checkpoint.contains("lm_head.weight"));
}

/// Writes a shard of tensors of a type with the safetensors crate itself.
fn write_shard(path: &Path, names: &[&str], dtype: safetensors::Dtype) {
    let bytes = vec![0_u8; dtype.bitsize()];
    let views = names.iter().map(|name| (*name, TensorView::new(dtype, vec![8], &bytes).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn shards_are_joined_by_their_index() {
    let (_folder, path) = saved(Dtype::F32);
    fs::remove_file(path.join("model.safetensors")).unwrap();
    let index = |map: HashMap<&str, &str>| {
        let index = json!({"metadata": {"total_size": 64}, "weight_map": map});
        fs::write(path.join("model.safetensors.index.json"), index.to_string()).unwrap();
        Checkpoint::open(&path)
    };
    write_shard(&path.join("1.safetensors"), &["a"], safetensors::Dtype::F32);
    write_shard(&path.join("2.safetensors"), &["b", "c"], safetensors::Dtype::I64);
    let both = HashMap::from([("a", "1.safetensors"), ("b", "2.safetensors")]);

    let checkpoint = index(both.clone()).unwrap();
    assert!(checkpoint.tensor_names().eq(["a", "b", "c"]));
    checkpoint.read_f32("a", &[8], &mut [1.0; 8]).unwrap();
    let message = checkpoint.read_f32("b", &[8], &mut [1.0; 8]).unwrap_err().to_string();
    assert!(message.contains("2.safetensors: tensor `b` is stored as I64"), "{message}");

    let message = index(HashMap::from([("a", "2.safetensors"), ("b", "1.safetensors")])).unwrap_err().to_string();
    assert!(message.contains("no tensor `a`") && message.contains("2.safetensors"), "{message}");
    let message = index(HashMap::from([("a", "3.safetensors")])).unwrap_err().to_string();
    assert!(message.contains("3.safetensors"), "{message}");
    write_shard(&path.join("1.safetensors"), &["a", "b"], safetensors::Dtype::F32);
    assert!(matches!(index(both), Err(Error::DuplicateTensor { name, .. }) if name == "b"));
    fs::write(path.join("model.safetensors.index.json"), "[]").unwrap();
    assert!(Checkpoint::open(&path).unwrap_err().to_string().contains("index.json"));
    fs::remove_file(path.join("model.safetensors.index.json")).unwrap();
    assert!(Checkpoint::open(&path).unwrap_err().to_string().contains("model.safetensors"));
}

#[test]
fn a_checkpoint_can_lie_in_memory() {
    let (_folder, path) = saved(Dtype::F32);
    let text = |name| &*fs::read_to_string(path.join(name)).unwrap().leak();
    let weights = fs::read(path.join("model.safetensors")).unwrap().leak();
    let checkpoint = Checkpoint::from_bytes(text("config.json"), weights, text("tokenizer.json")).unwrap();
    let mut read = [f32::NAN; 8];
    checkpoint.read_f32("model.norm.weight", &[8], &mut read).unwrap();
    assert_eq!(bits(&read), bits(&values(8)));
    assert_eq!(checkpoint.tokenizer().unwrap().vocab_size(), 3);
    assert!(checkpoint.chat_template().unwrap().is_none());
    let error = Checkpoint::from_bytes(text("config.json"), &weights[..50], "").unwrap_err();
    assert!(error.to_string().contains("built-in"), "{error}");
}
