//! Writes a checkpoint of random numbers in bf16, with one tensor in memory at a time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use flowrl_benches::Failure;
use flowrl_core::random::{Purpose, Stream};
use flowrl_lm::config::{Dtype, ModelConfig};
use flowrl_lm::countdown::ALPHABET;
use flowrl_lm::tokenizer::{char_level, char_level_config};
use safetensors::tensor::{View, serialize_to_file};

/// Numbers uniform within ± this bound have a deviation of 0.02.
const BOUND: f32 = 0.034_641;
const END_OF_TEXT: &str = "<|endoftext|>";

/// Writes a Hugging Face folder, with a tokenizer that knows only the first few tokens. The same configuration gives
/// the same bytes.
pub(crate) fn checkpoint(folder: &Path, config: &ModelConfig) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("config.json"), config.to_json(Dtype::Bf16))?;
    fs::write(folder.join("tokenizer.json"), char_level(ALPHABET, END_OF_TEXT)?)?;
    fs::write(folder.join("tokenizer_config.json"), char_level_config(END_OF_TEXT))?;
    let tensors = config.tensor_shapes().into_iter().enumerate().map(|(number, (name, shape))| {
        let constant = name.ends_with("norm.weight").then_some(1.0);
        (name, RandomTensor { number: number as u32, shape, constant })
    });
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(serialize_to_file(tensors, Some(format), &folder.join("model.safetensors"))?)
}

/// A tensor that draws its numbers while it is written.
struct RandomTensor {
    number: u32,
    shape: Vec<usize>,
    constant: Option<f32>,
}

impl View for RandomTensor {
    fn dtype(&self) -> safetensors::Dtype {
        safetensors::Dtype::BF16
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let stream = Stream::new(0, Purpose::Init);
        let len = self.data_len();
        // 128 random bits make 8 numbers of 16 bits.
        let mut bytes = Vec::with_capacity(len.next_multiple_of(16));
        for block in 0..len.div_ceil(16) {
            for bits in stream.bits(self.number, 0, block as u32) {
                for half in [bits as u16, (bits >> 16) as u16] {
                    let value = self.constant.unwrap_or(BOUND * ((f32::from(half) + 0.5) / 32_768.0 - 1.0));
                    bytes.extend(bf16(value));
                }
            }
        }
        bytes.truncate(len);
        bytes.into()
    }

    fn data_len(&self) -> usize {
        2 * self.shape.iter().product::<usize>()
    }
}

/// Rounds towards zero to a bf16, which is the upper half of a float.
fn bf16(value: f32) -> [u8; 2] {
    ((value.to_bits() >> 16) as u16).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowrl_lm::checkpoint::Checkpoint;

    #[test]
    fn it_loads_and_is_the_same_each_time() {
        let config = ModelConfig::qwen2(21, 8, 12, 2, 2, 1, 64, 0).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| {
            checkpoint(&folder.path().join(name), &config).unwrap();
            fs::read(folder.path().join(name).join("model.safetensors")).unwrap()
        });
        assert_eq!(a, b);
        let checkpoint = Checkpoint::open(&folder.path().join("a")).unwrap();
        assert_eq!(checkpoint.tokenizer().unwrap().token_id(END_OF_TEXT), Some(config.eos_token_ids[0]));
        let mut embedding = vec![0.0; 21 * 8];
        checkpoint.read_f32("model.embed_tokens.weight", &[21, 8], &mut embedding).unwrap();
        let deviation = (embedding.iter().map(|x| x * x).sum::<f32>() / embedding.len() as f32).sqrt();
        assert!((0.017..0.023).contains(&deviation), "{deviation}");
        let mut norm = [0.0; 8];
        checkpoint.read_f32("model.norm.weight", &[8], &mut norm).unwrap();
        assert_eq!(norm, [1.0; 8]);
        let [mut gate, mut up] = [[0.0; 96]; 2];
        checkpoint.read_f32("model.layers.0.mlp.gate_proj.weight", &[12, 8], &mut gate).unwrap();
        checkpoint.read_f32("model.layers.0.mlp.up_proj.weight", &[12, 8], &mut up).unwrap();
        assert_ne!(gate, up);
    }
}
