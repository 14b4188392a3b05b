use super::*;

fn edit(change: impl FnOnce(&mut Map<String, Value>)) -> Result<ModelConfig> {
    let mut value: Value =
        serde_json::from_str(&ModelConfig::qwen2(100, 64, 128, 2, 4, 2, 256, 0).unwrap().to_json(Dtype::F32)).unwrap();
    change(value.as_object_mut().unwrap());
    ModelConfig::from_json(&value.to_string(), Path::new("config.json"))
}

/// Returns the configuration in which the keys of an object have other values.
fn with(changes: Value) -> Result<ModelConfig> {
    edit(|map| map.extend(changes.as_object().unwrap().clone()))
}

fn message(changes: Value) -> String {
    with(changes).unwrap_err().to_string()
}

/// Returns the scaling of Llama 3 between these factors.
fn llama3(low: f64, high: f64) -> Value {
    json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": low, "high_freq_factor": high,
        "original_max_position_embeddings": 64
    })
}

#[test]
fn what_is_not_covered_is_named() {
    for (key, value, wanted) in [
        ("model_type", json!("mistral"), "\"qwen2\""),
        ("hidden_act", json!("gelu"), "\"silu\""),
        ("mlp_bias", json!(true), "biases in the MLP"),
        ("use_sliding_window", json!(true), "full attention"),
        ("layer_types", json!(["full_attention", "sliding_attention"]), "full_attention"),
        ("rope_scaling", json!({"type": "yarn", "factor": 4.0}), "\"llama3\""),
        ("rope_scaling", json!({"type": "linear"}), "above 0"),
        ("rope_scaling", json!(3), "an object"),
        ("quantization_config", json!({}), "not quantised"),
        ("partial_rotary_factor", json!(0.5), "whole head"),
        ("hidden_size", json!(0), "1 to"),
        ("hidden_size", json!(-3), "1 to"),
        ("vocab_size", json!(1_u64 << 60), "1 to"),
        ("num_key_value_heads", json!(3), "divisor"),
        ("head_dim", json!(15), "even"),
        ("eos_token_id", json!("x"), "token id"),
        ("rms_norm_eps", json!(-1.0), "above 0"),
        ("tie_word_embeddings", json!("yes"), "true or false"),
    ] {
        let message = message(json!({key: value}));
        assert!(message.contains(key) && message.contains(wanted), "{key}: {message}");
        assert!(message.starts_with("config.json: "), "{message}");
    }
    let message = message(json!({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}));
    assert!(message.contains("`rope_scaling.rope_type` is \"dynamic\""), "{message}");
}

#[test]
fn a_missing_key_is_named() {
    let error = edit(|map| drop(map.remove("hidden_size"))).unwrap_err().to_string();
    assert!(error.contains("`hidden_size` is missing"), "{error}");
}

#[test]
fn defaults_follow_transformers() {
    let config = edit(|map| {
        for key in ["num_key_value_heads", "rope_theta", "tie_word_embeddings"] {
            map.remove(key);
        }
    });
    let config = config.unwrap();
    assert_eq!((config.dims.heads.kv_heads, config.rope_theta, config.dims.tied), (4, 1e4, false));
    assert!(config.dims.qkv_bias && !config.dims.o_bias && !config.dims.qk_norm);
    let qwen3 = with(json!({"model_type": "qwen3"})).unwrap();
    assert_eq!(qwen3.dims.heads.head_dim, 128);
    let llama = with(json!({"model_type": "llama", "attention_bias": true, "head_dim": null})).unwrap();
    assert!(llama.dims.qkv_bias && llama.dims.o_bias && llama.dims.heads.head_dim == 16);
}

#[test]
fn both_spellings_of_rope_agree() {
    let mut scaling = llama3(1.0, 4.0);
    let old = with(json!({"rope_theta": 5e5, "rope_scaling": scaling}));
    scaling["rope_theta"] = 5e5.into();
    let new = with(json!({"rope_theta": null, "rope_parameters": scaling}));
    assert_eq!(old.unwrap().dims.frequencies, new.unwrap().dims.frequencies);
}

/// Configurations that transformers 5.24 loads too, with the values that it derives from them.
#[test]
fn unusual_configurations_are_read() {
    let equal = with(json!({"rope_scaling": llama3(4.0, 4.0)})).unwrap();
    for (got, wanted) in equal.dims.frequencies.iter().zip([1.0, 0.039_528_470, 0.0125, 0.003_952_847, 0.00125]) {
        assert!((got / wanted - 1.0).abs() < 1e-6, "{got} {wanted}");
    }
    let error = message(json!({"rope_scaling": llama3(4.0, 1.0)}));
    assert!(error.contains("high_freq_factor"), "{error}");
    let mut scaling = llama3(1.0, 4.0);
    let within = with(json!({"rope_scaling": scaling}));
    scaling.as_object_mut().unwrap().remove("original_max_position_embeddings");
    let beside = with(json!({"rope_scaling": scaling, "original_max_position_embeddings": 64}));
    assert_eq!(beside.unwrap().dims.frequencies, within.unwrap().dims.frequencies);
    let context = |model: &str| {
        with(json!({"model_type": model, "max_position_embeddings": null})).unwrap().max_position_embeddings
    };
    assert_eq!(["llama", "qwen2", "qwen3"].map(context), [2048, 32_768, 32_768]);
    let window = |from: Value| with(json!({"use_sliding_window": true, "max_window_layers": from}));
    assert!(window(2.into()).is_ok() && window(28.into()).is_ok());
    assert!(window(1.into()).is_err() && window(Value::Null).is_err());
}

/// Follows transformers, except that this crate refuses to forget a base as transformers would.
#[test]
fn rope_scaling_wins_over_rope_parameters() {
    let both = |theta: f64, scaling: Value| {
        with(json!({"rope_parameters": {"rope_type": "default", "rope_theta": theta}, "rope_scaling": scaling}))
    };
    let linear = json!({"type": "linear", "factor": 4.0});
    let alone = with(json!({"rope_scaling": linear}));
    assert_eq!(both(1e4, linear.clone()).unwrap().dims.frequencies, alone.unwrap().dims.frequencies);
    let error = both(1e6, linear).unwrap_err().to_string();
    assert!(error.contains("`rope_scaling` is") && error.contains("1000000"), "{error}");
    let named = both(1e6, json!({"type": "linear", "factor": 4.0, "rope_theta": 1e6})).unwrap();
    assert_eq!((named.rope_theta, named.rope_scaling), (1e6, RopeScaling::Linear { factor: 4.0 }));
    let error = both(1e4, json!({"type": "yarn", "factor": 4.0})).unwrap_err().to_string();
    assert!(error.contains("`rope_scaling.type` is \"yarn\""), "{error}");
    assert_eq!(both(1e6, Value::Null).unwrap().rope_theta, 1e6);
}

/// Compares with numbers from the formula of transformers, which is written in wavelengths.
#[test]
fn llama3_scaling_matches_transformers() {
    let config = with(json!({"rope_scaling": llama3(1.0, 4.0)}));
    let wanted = [
        1.0,
        0.24438459943539834,
        0.013042256043820465,
        0.003952847075210474,
        0.00125,
        0.0003952847075210474,
        0.000125,
        3.952847075210474e-05,
    ];
    for (got, wanted) in config.unwrap().dims.frequencies.iter().zip(wanted) {
        assert!((got / wanted - 1.0).abs() < 1e-12, "{got} {wanted}");
    }
}

#[test]
fn linear_scaling_divides() {
    let plain = with(json!({})).unwrap().dims.frequencies;
    let linear = with(json!({"rope_scaling": {"type": "linear", "factor": 4.0}}));
    assert!(linear.unwrap().dims.frequencies.iter().zip(&plain).all(|(a, b)| *a == b / 4.0));
    assert_eq!(plain[0], 1.0);
}

#[test]
fn end_tokens_are_united_in_the_order_of_the_files() {
    let mut config = with(json!({"eos_token_id": [7, 3]})).unwrap();
    config.add_generation_config(r#"{"eos_token_id": [3, 9]}"#, Path::new("g.json")).unwrap();
    config.add_generation_config("{}", Path::new("g.json")).unwrap();
    assert_eq!(config.eos_token_ids, [7, 3, 9]);
}

#[test]
fn the_original_is_written_back() {
    let config = with(json!({"something_else": {"kept": [1, 2]}})).unwrap();
    let text = config.to_json(Dtype::Bf16);
    assert!(text.contains("\"something_else\"") && text.contains("\"torch_dtype\": \"bfloat16\""));
    assert!(!text.contains("\"dtype\""));
    let again = ModelConfig::from_json(&text, Path::new("config.json")).unwrap();
    assert_eq!(again.to_json(Dtype::F32), config.to_json(Dtype::F32));
}

/// Compares with the published size of Qwen2.5-0.5B.
#[test]
fn counts_the_parameters_of_qwen2_5() {
    assert_eq!(ModelConfig::qwen2(151_936, 896, 4864, 24, 14, 2, 32_768, 0).unwrap().parameter_count(), 494_032_768);
}
