use super::*;

fn edit(change: impl FnOnce(&mut Map<String, Value>)) -> Result<ModelConfig> {
    let mut value: Value =
        serde_json::from_str(&ModelConfig::qwen2(100, 64, 128, 2, 4, 2, 256, 0).unwrap().to_json(Dtype::F32)).unwrap();
    change(value.as_object_mut().unwrap());
    ModelConfig::from_json(&value.to_string(), Path::new("config.json"))
}

fn message(key: &str, value: Value) -> String {
    edit(|map| drop(map.insert(key.to_owned(), value))).unwrap_err().to_string()
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
        let message = message(key, value);
        assert!(message.contains(key) && message.contains(wanted), "{key}: {message}");
        assert!(message.starts_with("config.json: "), "{message}");
    }
    let message = message("rope_scaling", json!({"rope_type": "dynamic", "factor": 2.0}));
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
    let qwen3 = edit(|map| drop(map.insert("model_type".into(), "qwen3".into()))).unwrap();
    assert_eq!(qwen3.dims.heads.head_dim, 128);
    let llama = edit(|map| {
        map.insert("model_type".into(), "llama".into());
        map.insert("attention_bias".into(), true.into());
        map.insert("head_dim".into(), Value::Null);
    });
    let llama = llama.unwrap();
    assert!(llama.dims.qkv_bias && llama.dims.o_bias && llama.dims.heads.head_dim == 16);
}

#[test]
fn both_spellings_of_rope_agree() {
    let scaling = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64
    });
    let old = edit(|map| {
        map.insert("rope_theta".into(), 5e5.into());
        map.insert("rope_scaling".into(), scaling.clone());
    });
    let new = edit(|map| {
        map.remove("rope_theta");
        let mut scaling = scaling.clone();
        scaling["rope_theta"] = 5e5.into();
        map.insert("rope_parameters".into(), scaling);
    });
    assert_eq!(old.unwrap().dims.frequencies, new.unwrap().dims.frequencies);
}

/// Configurations that transformers 5.24 loads too, with the values that it derives from them.
#[test]
fn unusual_configurations_are_read() {
    let scaling = |low: f64, high: f64| {
        json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": 64
        })
    };
    let equal = edit(|map| _ = map.insert("rope_scaling".into(), scaling(4.0, 4.0))).unwrap();
    for (got, wanted) in equal.dims.frequencies.iter().zip([1.0, 0.039_528_470, 0.0125, 0.003_952_847, 0.00125]) {
        assert!((got / wanted - 1.0).abs() < 1e-6, "{got} {wanted}");
    }
    let error = edit(|map| _ = map.insert("rope_scaling".into(), scaling(4.0, 1.0))).unwrap_err().to_string();
    assert!(error.contains("high_freq_factor"), "{error}");
    let beside = edit(|map| {
        let mut scaling = scaling(1.0, 4.0);
        scaling.as_object_mut().unwrap().remove("original_max_position_embeddings");
        map.insert("rope_scaling".into(), scaling);
        map.insert("original_max_position_embeddings".into(), 64.into());
    });
    let within = edit(|map| _ = map.insert("rope_scaling".into(), scaling(1.0, 4.0)));
    assert_eq!(beside.unwrap().dims.frequencies, within.unwrap().dims.frequencies);
    let context = |model: &str| {
        let config = edit(|map| {
            map.insert("model_type".into(), model.into());
            map.remove("max_position_embeddings");
        });
        config.unwrap().max_position_embeddings
    };
    assert_eq!(["llama", "qwen2", "qwen3"].map(context), [2048, 32_768, 32_768]);
    let window = |from: Value| {
        edit(|map| {
            map.insert("use_sliding_window".into(), true.into());
            map.insert("max_window_layers".into(), from);
        })
    };
    assert!(window(2.into()).is_ok() && window(28.into()).is_ok());
    assert!(window(1.into()).is_err() && window(Value::Null).is_err());
}

/// Follows transformers, except that this crate refuses to forget a base as transformers would.
#[test]
fn rope_scaling_wins_over_rope_parameters() {
    let both = |theta: f64, scaling: Value| {
        edit(|map| {
            map.insert("rope_parameters".into(), json!({"rope_type": "default", "rope_theta": theta}));
            map.insert("rope_scaling".into(), scaling);
        })
    };
    let alone = edit(|map| _ = map.insert("rope_scaling".into(), json!({"type": "linear", "factor": 4.0})));
    let linear = json!({"type": "linear", "factor": 4.0});
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
    let config = edit(|map| {
        map.insert(
            "rope_scaling".into(),
            json!({
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64
            }),
        );
    });
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
    let plain = edit(|_| ()).unwrap().dims.frequencies;
    let linear = edit(|map| drop(map.insert("rope_scaling".into(), json!({"type": "linear", "factor": 4.0}))));
    assert!(linear.unwrap().dims.frequencies.iter().zip(&plain).all(|(a, b)| *a == b / 4.0));
    assert_eq!(plain[0], 1.0);
}

#[test]
fn end_tokens_are_united_in_the_order_of_the_files() {
    let mut config = edit(|map| drop(map.insert("eos_token_id".into(), json!([7, 3])))).unwrap();
    config.add_generation_config(r#"{"eos_token_id": [3, 9]}"#, Path::new("g.json")).unwrap();
    config.add_generation_config("{}", Path::new("g.json")).unwrap();
    assert_eq!(config.eos_token_ids, [7, 3, 9]);
}

#[test]
fn the_original_is_written_back() {
    let config = edit(|map| drop(map.insert("something_else".into(), json!({"kept": [1, 2]})))).unwrap();
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
