//! The special tokens that a chat template can print.

use serde_json::{Map, Value};

/// Special tokens that `transformers` gives to a template under these names.
pub(super) const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Reads the special tokens from `tokenizer_config.json` and `special_tokens_map.json`. A token that neither file
/// mentions is the one that the class of the tokenizer always has, or else the one that `by_id` returns for its name.
///
/// A token that a file gives as null is left out, as in `transformers`.
pub(crate) fn read(config: &Value, map: &Value, by_id: impl Fn(&str) -> Option<String>) -> Map<String, Value> {
    // The map wins in files from before tokenizer_config.json listed the added tokens.
    let files = if config.get("added_tokens_decoder").is_some() { [config, map] } else { [map, config] };
    let mut tokens = Map::new();
    for name in NAMES {
        let token = match files.iter().find_map(|file| file.get(name)) {
            Some(token) => text(token),
            None => of_class(config, name).map(str::to_owned).or_else(|| by_id(name)),
        };
        if let Some(token) = token {
            tokens.insert(name.to_owned(), token.into());
        }
    }
    if let Some(Value::Array(list)) = files.iter().find_map(|file| file.get("additional_special_tokens")) {
        tokens.insert("additional_special_tokens".into(), list.iter().filter_map(text).collect());
    }
    // These are names of the model's own, such as `image_token`.
    for key in ["extra_special_tokens", "model_specific_special_tokens"] {
        for (name, token) in config[key].as_object().into_iter().flatten() {
            if let Some(token) = text(token) {
                tokens.insert(name.clone(), token.into());
            }
        }
    }
    tokens
}

/// Returns a token given as a string, or as an object with the string as `content`.
fn text(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

/// Returns a token that the class of a tokenizer has even if its files do not mention it.
fn of_class(config: &Value, name: &str) -> Option<&'static str> {
    let class = config["tokenizer_class"].as_str()?;
    match name {
        _ if !class.starts_with("LlamaTokenizer") => None,
        "bos_token" => Some("<s>"),
        "eos_token" => Some("</s>"),
        "unk_token" => Some("<unk>"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_found_where_the_files_have_it() {
        let by_id = |name: &str| (name == "bos_token").then(|| "<id>".to_owned());
        for (config, map, wanted) in [
            (json!({"bos_token": "a"}), json!({}), Some("a")),
            (json!({"bos_token": {"content": "a", "lstrip": false}}), json!({}), Some("a")),
            (json!({}), json!({"bos_token": "m"}), Some("m")),
            (json!({}), json!({"bos_token": {"content": "m"}}), Some("m")),
            (json!({"bos_token": "a"}), json!({"bos_token": "m"}), Some("m")),
            (json!({"bos_token": "a", "added_tokens_decoder": {}}), json!({"bos_token": "m"}), Some("a")),
            (json!({"bos_token": null}), Value::Null, None),
            (json!({"tokenizer_class": "LlamaTokenizerFast"}), Value::Null, Some("<s>")),
            (json!({"tokenizer_class": "LlamaTokenizer", "bos_token": null}), Value::Null, None),
            (json!({"tokenizer_class": "Qwen2Tokenizer"}), Value::Null, Some("<id>")),
            (Value::Null, Value::Null, Some("<id>")),
        ] {
            let tokens = read(&config, &map, by_id);
            assert_eq!(tokens.get("bos_token"), wanted.map(Value::from).as_ref(), "{config} {map}");
        }
        let config = json!({
            "additional_special_tokens": ["<a>", {"content": "<b>"}],
            "extra_special_tokens": {"image_token": "<image>"},
            "pad_token": "<p>",
        });
        let tokens = read(&config, &Value::Null, |_| None);
        assert_eq!(tokens["additional_special_tokens"], json!(["<a>", "<b>"]));
        assert_eq!((&tokens["image_token"], &tokens["pad_token"]), (&json!("<image>"), &json!("<p>")));
        assert_eq!(tokens.len(), 3);
    }
}
