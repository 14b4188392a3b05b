//! Configurations and weights as users have them.

use std::path::Path;

use serde_json::json;
use tempfile::tempdir;

use super::model::{Model, Stored};
use super::{assert_scores, file, refusal};
use crate::common::{checkpoint, ok};

#[test]
fn rope_scaling_beside_rope_parameters_wins() {
    let model = Model::of("qwen2-tied");
    model.config(|config| config["rope_scaling"] = json!({"type": "linear", "factor": 4.0}));
    assert_scores(model.path(), &super::model::LINEAR);
    let yarn = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64});
    model.config(|config| config["rope_scaling"] = yarn);
    let error = refusal(model.path());
    assert!(error.contains("`rope_scaling.type` is \"yarn\""), "{error}");
}

#[test]
fn a_head_that_differs_from_the_embedding_is_used() {
    let model = Model::of("qwen2-tied");
    model.tensors(|tensors| {
        let mut head = tensors["model.embed_tokens.weight"].clone();
        head.change(|i, x| x + 0.25 * (i as f32 * 0.7).sin());
        tensors.insert("lm_head.weight".into(), head);
    });
    let said = assert_scores(model.path(), &super::model::OTHER_HEAD);
    assert!(said.contains("warning: ") && said.contains("`lm_head.weight` differs"), "{said}");
    // A head equal to the embedding changes nothing.
    model.tensors(|tensors| _ = tensors.insert("lm_head.weight".into(), tensors["model.embed_tokens.weight"].clone()));
    assert_eq!(assert_scores(model.path(), &super::model::TIED), "");
    // A separate head stays separate after training.
    model.tensors(|tensors| tensors.get_mut("lm_head.weight").unwrap().change(|i, x| x + 0.1 * (i as f32).cos()));
    let (folder, path) = file("p.jsonl", "{\"prompt\": \"3 5\", \"answer\": 8}\n");
    let words = ["train", "--model", model.name(), "--prompts", path.to_str().unwrap(), "--verifier", "number"];
    let few = ["--steps", "1", "--max-tokens", "2", "--set", "eval.prompts=0", "--out", "run"];
    ok(&[&words[..], &few].concat(), folder.path());
    let trained = Model::open(&checkpoint(&folder.path().join("run"), 1));
    assert_eq!(trained.read("config.json")["tie_word_embeddings"], false);
    assert!(trained.stored().contains_key("lm_head.weight"));
}

#[test]
fn names_of_tensors_are_understood_or_told() {
    // A base model that was saved without its head has no prefix `model.`.
    let model = Model::of("qwen2-tied");
    model.rename(|name| name.strip_prefix("model.").unwrap_or(name).to_owned());
    assert_scores(model.path(), &super::model::TIED);

    let model = Model::of("qwen2-tied");
    model.rename(|name| format!("_orig_mod.{name}"));
    let error = refusal(model.path());
    assert!(error.contains("begin with `_orig_mod.`"), "{error}");

    let model = Model::of("llama3-rope-scaled");
    model.tensors(|tensors| _ = tensors.insert("model.layers.0.self_attn.q_proj.bias".into(), Stored::ones(&[64])));
    let error = refusal(model.path());
    assert!(
        error.contains("`model.layers.0.self_attn.q_proj.bias`") && error.contains("`attention_bias` is false"),
        "{error}"
    );

    let model = Model::of("qwen2-tied");
    model.tensors(|tensors| _ = tensors.insert("v_head.summary.weight".into(), Stored::ones(&[1, 8])));
    let said = assert_scores(model.path(), &super::model::TIED);
    assert!(said.contains("unused") && said.contains("`v_head.summary.weight`"), "{said}");
}

#[test]
fn weights_that_are_not_finite_are_named() {
    for bad in [f32::NAN, f32::INFINITY] {
        let model = Model::of("llama3-rope-scaled");
        let name = "model.layers.1.mlp.up_proj.weight";
        model.tensors(|tensors| tensors.get_mut(name).unwrap().change(|i, x| if i == 7 { bad } else { x }));
        let error = refusal(model.path());
        assert!(error.contains(&format!("`{name}` has {bad} at element 7")), "{error}");
    }
}

#[test]
fn a_folder_that_is_no_checkpoint_says_what_it_is() {
    let adapter = Model::of("qwen2-tied");
    adapter.remove("config.json");
    adapter.write("adapter_config.json", &json!({"peft_type": "LORA", "base_model_name_or_path": "some/base"}));
    let torch = Model::of("qwen2-tied");
    std::fs::rename(torch.path().join("model.safetensors"), torch.path().join("pytorch_model.bin")).unwrap();
    let gguf = Model::of("qwen2-tied");
    std::fs::rename(gguf.path().join("model.safetensors"), gguf.path().join("model-Q8_0.gguf")).unwrap();
    let bare = Model::of("qwen2-tied");
    bare.remove("config.json");
    let weightless = Model::of("qwen2-tied");
    weightless.remove("model.safetensors");
    let pointer = Model::of("qwen2-tied");
    std::fs::write(pointer.path().join("model.safetensors"), "version https://git-lfs.github.com/spec/v1\noid")
        .unwrap();
    let cache = tempdir().unwrap();
    std::fs::create_dir_all(cache.path().join("snapshots/0123abcd")).unwrap();
    let empty = tempdir().unwrap();
    for (path, wanted) in [
        (adapter.path(), "an adapter of some/base"),
        (torch.path(), "pytorch_model.bin, which only PyTorch reads"),
        (gguf.path(), "model-Q8_0.gguf is GGUF"),
        (bare.path(), "no config.json next to the weights"),
        (weightless.path(), "no model.safetensors next to config.json"),
        (pointer.path(), "git lfs pull"),
        (cache.path(), "snapshots/0123abcd"),
        (empty.path(), "there is no config.json"),
        (&torch.path().join("config.json"), "this is a file"),
        (Path::new("some/hub-id"), "hf download some/hub-id"),
        (Path::new("/nowhere/at/all"), "there is no such folder"),
    ] {
        let error = refusal(path);
        assert!(error.contains(wanted) && error.lines().count() == 1, "{wanted}: {error}");
    }
}
