//! Tests of configuration, tokenisation, chat template and tensors against files written by `transformers`.

use std::fs;
use std::path::{Path, PathBuf};

use flowrl_lm::backend::Heads;
use flowrl_lm::chat::{ChatInputs, Message};
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::config::{Architecture, Dtype, RopeScaling};
use serde_json::Value;

const NAMES: [&str; 3] = ["qwen2-tied", "qwen3-qk-norm", "llama3-rope-scaled"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/hf").join(name)
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn configurations_are_understood() {
    let [qwen2, qwen3, llama] = NAMES.map(|name| Checkpoint::open(&folder(name)).unwrap().config().clone());
    assert_eq!(qwen2.architecture, Architecture::Qwen2);
    let dims = &qwen2.dims;
    assert_eq!((dims.vocab, dims.hidden, dims.intermediate, dims.layers), (300, 48, 96, 2));
    assert_eq!(dims.heads, Heads { heads: 4, kv_heads: 2, head_dim: 12 });
    assert!(dims.qkv_bias && !dims.o_bias && !dims.qk_norm && dims.tied);

    assert_eq!(qwen3.architecture, Architecture::Qwen3);
    assert_eq!((qwen3.dims.hidden, qwen3.dims.heads.head_dim), (40, 16));
    assert!(!qwen3.dims.qkv_bias && qwen3.dims.qk_norm);

    assert_eq!(llama.architecture, Architecture::Llama);
    assert!(!llama.dims.qkv_bias && !llama.dims.o_bias && !llama.dims.qk_norm && !llama.dims.tied);
    assert_eq!(
        llama.rope_scaling,
        RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64.0
        }
    );
    for config in [qwen2, qwen3, llama] {
        assert_eq!((config.eos_token_ids.as_slice(), config.bos_token_id), (&[0][..], None));
        assert_eq!((config.dims.rms_eps, config.rope_theta), (1e-6, 10_000.0));
    }
}

#[test]
fn a_configuration_is_written_back_unchanged() {
    for name in NAMES {
        let checkpoint = Checkpoint::open(&folder(name)).unwrap();
        let mut original = json(&folder(name).join("config.json"));
        let written = |dtype| serde_json::from_str::<Value>(&checkpoint.config().to_json(dtype)).unwrap();
        assert_eq!(written(Dtype::F32), original);
        original["dtype"] = "bfloat16".into();
        assert_eq!(written(Dtype::Bf16), original);
    }
}

#[test]
fn the_configuration_implies_exactly_the_tensors_in_the_file() {
    for name in NAMES {
        let checkpoint = Checkpoint::open(&folder(name)).unwrap();
        let mut shapes = checkpoint.config().tensor_shapes();
        shapes.sort();
        assert!(checkpoint.tensor_names().eq(shapes.iter().map(|(name, _)| name.as_str())), "{name}");
        let mut count = 0;
        for (tensor, shape) in &shapes {
            let mut values = vec![f32::NAN; shape.iter().product()];
            checkpoint.read_f32(tensor, shape, &mut values).unwrap();
            assert!(values.iter().all(|x| x.is_finite()), "{tensor}");
            count += values.len() as u64;
        }
        assert_eq!(count, checkpoint.config().parameter_count());
    }
}

#[test]
fn texts_become_the_expected_tokens() {
    for name in NAMES {
        let tokenizer = Checkpoint::open(&folder(name)).unwrap().tokenizer().unwrap();
        let expected = json(&folder(name).join("expected.json"));
        let sequences = expected["sequences"].as_array().unwrap();
        assert!(!sequences.is_empty());
        for sequence in sequences {
            let [prompt, completion] = ["prompt", "completion"].map(|key| sequence[key].as_str().unwrap());
            let mut got = tokenizer.encode(prompt, true).unwrap();
            assert_eq!(got.len() as u64, sequence["prompt_len"].as_u64().unwrap());
            got.extend(tokenizer.encode(completion, false).unwrap());
            assert_eq!(got, ids(&sequence["ids"]));
            assert_eq!(tokenizer.decode(&got, true).unwrap(), format!("{prompt}{completion}"));
        }
    }
}

#[test]
fn chats_are_rendered_as_expected() {
    for name in NAMES {
        let checkpoint = Checkpoint::open(&folder(name)).unwrap();
        let expected = json(&folder(name).join("expected.json"));
        let messages: Vec<Message> = serde_json::from_value(expected["chat"]["messages"].clone()).unwrap();
        let text = checkpoint.chat_template().unwrap().unwrap().render(&messages, &ChatInputs::default()).unwrap();
        let tokenizer = checkpoint.tokenizer().unwrap();
        assert_eq!(tokenizer.encode(&text, false).unwrap(), ids(&expected["chat"]["ids"]), "{text:?}");
    }
}
