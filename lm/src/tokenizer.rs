//! Conversion of text to token ids and back.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::AddedToken;

use crate::error::{Error, Result};

/// A tokenizer read from a Hugging Face `tokenizer.json`.
///
/// ```
/// use flowrl_lm::tokenizer::{Tokenizer, char_level};
/// let tokenizer = Tokenizer::from_bytes(char_level("0123456789 =+:", "<eos>")?.as_bytes())?;
/// let ids = tokenizer.encode("3 5 = 8 : ", false)?;
/// assert_eq!(ids.len(), 10);
/// assert_eq!(tokenizer.decode(&ids, true)?, "3 5 = 8 : ");
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Parses the bytes of a `tokenizer.json`, and switches off the truncation and padding that it asks for.
    ///
    /// # Errors
    /// Returns [`Error::Tokenizer`] if the bytes are not a tokenizer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|e| Error::Tokenizer(format!("tokenizer.json cannot be read: {e}")))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(failed("switch off truncation"))?;
        Ok(Self { inner })
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// Returns [`Error::Io`], or [`Error::Tokenizer`] with the name of the file.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        Self::from_bytes(&bytes).map_err(|error| match error {
            Error::Tokenizer(message) => Error::Tokenizer(format!("{}: {message}", path.display())),
            other => other,
        })
    }

    /// Adds the tokens that a `tokenizer_config.json` lists by id under `added_tokens_decoder` and that
    /// `tokenizer.json` lacks. They are added in the order of their ids, as in `transformers`.
    ///
    /// # Errors
    /// Returns [`Error::Tokenizer`] if an entry is not a token, or if its id is not the next free one, because
    /// `transformers` would then give it another id than the file says.
    pub(crate) fn add_listed(&mut self, config: &Value) -> Result<()> {
        let listed = config["added_tokens_decoder"].as_object().into_iter().flatten();
        let mut missing = BTreeMap::new();
        for (id, token) in listed {
            let there = format!("tokenizer_config.json: `added_tokens_decoder` has \"{id}\": {token}");
            let wrong = |why: &str| Error::Tokenizer(format!("{there}; {why}"));
            let number: u32 = id.parse().map_err(|_| wrong("the key must be an id"))?;
            let content =
                token["content"].as_str().ok_or_else(|| wrong("the value must be an object with `content`"))?;
            if self.token_id(content).is_none() {
                let flag = |name: &str, default: bool| token[name].as_bool().unwrap_or(default);
                let special = flag("special", false);
                let added = AddedToken::from(content, special)
                    .single_word(flag("single_word", false))
                    .lstrip(flag("lstrip", false))
                    .rstrip(flag("rstrip", false))
                    .normalized(flag("normalized", !special));
                missing.insert(number, added);
            }
        }
        for (id, token) in missing {
            let content = token.content.clone();
            self.inner.add_tokens([token]).map_err(failed(&format!("add {content:?}")))?;
            if let Some(got) = self.token_id(&content).filter(|got| *got != id) {
                return Err(Error::Tokenizer(format!(
                    "tokenizer_config.json gives {content:?} the id {id}, but tokenizer.json lacks it and its next free id is {got}; \
                     take the tokenizer.json that belongs to the model"
                )));
            }
        }
        Ok(())
    }

    /// Encodes `text` as token ids.
    ///
    /// Special tokens written out in `text`, such as `<|im_end|>`, become one token each. `add_special` also
    /// adds the tokens that the tokenizer puts around every text (Llama's begin token); a rendered chat
    /// template already has them.
    ///
    /// # Errors
    /// Returns [`Error::Tokenizer`] if the text has an unknown character and the tokenizer has no token for
    /// unknown ones.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, add_special);
        let encoding = encoding.map_err(|error| match self.unknown_characters(text) {
            unknown if unknown.is_empty() => failed(&format!("encode {text:?}"))(error),
            unknown => Error::Tokenizer(format!("cannot encode {text:?}: there is no token for {unknown}")),
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Returns the first few characters that cannot be encoded, quoted; empty if each of them can.
    fn unknown_characters(&self, text: &str) -> String {
        const MOST: usize = 8;
        let mut unknown: Vec<String> = Vec::new();
        for character in text.chars() {
            let quoted = format!("{character:?}");
            let is_new = !unknown.contains(&quoted);
            if is_new && self.inner.encode_fast(character.to_string(), false).is_err() {
                unknown.push(quoted);
            }
        }
        let more = if unknown.len() > MOST { " …" } else { "" };
        unknown.truncate(MOST);
        format!("{}{more}", unknown.join(" "))
    }

    /// Decodes `ids`; `skip_special` leaves special tokens out. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// Returns [`Error::Tokenizer`] if an id is not in the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        if let Some(id) = ids.iter().find(|&&id| self.inner.id_to_token(id).is_none()) {
            let size = self.vocab_size();
            return Err(Error::Tokenizer(format!("no token has the id {id}; the vocabulary has {size} tokens")));
        }
        self.inner.decode(ids, skip_special).map_err(failed("decode"))
    }

    /// Returns the number of tokens of this tokenizer, including added ones. The embedding of a model may have
    /// more rows.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Returns the token of `id` as the vocabulary spells it (byte-level tokenizers write a space as `Ġ`).
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Returns whether this tokenizer has a token with the id `id`.
    pub fn knows(&self, id: u32) -> bool {
        self.inner.id_to_token(id).is_some()
    }

    /// Returns the id of a token as the vocabulary spells it.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }
}

fn failed<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Error {
    let what = what.to_owned();
    move |error| Error::Tokenizer(format!("cannot {what}: {error}"))
}

/// Returns the text of a `tokenizer.json` with one token for each character of `alphabet` (ASCII), and `eos` as
/// token 0.
///
/// Token i + 1 is the i-th character. Every text over the alphabet comes back from [`Tokenizer::decode`]
/// unchanged, spaces included. A character outside the alphabet is an error.
///
/// The format is byte-level BPE without merges. `transformers` applies the rules of the Qwen2 family for
/// splitting text to the tokenizer of any Qwen2 model, but without merges splitting changes nothing.
///
/// # Errors
/// Returns [`Error::Argument`] if `alphabet` is empty, repeats a character or has one that is not ASCII, or if
/// `eos` is empty or a single character of the alphabet.
pub fn char_level(alphabet: &str, eos: &str) -> Result<String> {
    let mut vocab = Map::new();
    vocab.insert(eos.to_owned(), 0.into());
    for (i, c) in alphabet.chars().enumerate() {
        let Some(symbol) = byte_symbol(c) else {
            return Err(Error::argument("alphabet", format!("{alphabet:?} with {c:?}"), "ASCII characters only"));
        };
        if c.to_string() == eos || vocab.insert(symbol.to_string(), (i + 1).into()).is_some() {
            return Err(Error::argument("alphabet", format!("{alphabet:?}"), format!("without a second {c:?}")));
        }
    }
    if eos.is_empty() || alphabet.is_empty() {
        let name = if eos.is_empty() { "eos" } else { "alphabet" };
        return Err(Error::argument(name, "empty", "at least one character"));
    }
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": 0, "content": eos, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true
        }],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        // The unknown token is deliberately not in the vocabulary, so that an unknown character is an error.
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "[UNK]", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": Value::Object(vocab), "merges": []
        }
    });
    Ok(format!("{tokenizer:#}\n"))
}

/// Returns the symbol by which byte-level BPE writes an ASCII character: itself if it is printable, else a
/// letter from U+0100 on.
fn byte_symbol(c: char) -> Option<char> {
    match c {
        '!'..='~' => Some(c),
        '\0'..=' ' => char::from_u32(0x100 + u32::from(c)),
        '\x7f' => Some('\u{121}'),
        _ => None,
    }
}

/// Returns the text of a `tokenizer_config.json` for use with [`char_level`], with which `transformers` decodes
/// without tidying spaces.
pub fn char_level_config(eos: &str) -> String {
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos,
        "pad_token": eos,
        "clean_up_tokenization_spaces": false
    });
    format!("{config:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALPHABET: &str = "0123456789 +-*/()=:\n\x7f";

    #[test]
    fn special_tokens_in_the_text_are_one_token() {
        let tokenizer = Tokenizer::from_bytes(char_level(ALPHABET, "<eos>").unwrap().as_bytes()).unwrap();
        assert_eq!(tokenizer.encode("1<eos>", true).unwrap(), [2, 0]);
        assert_eq!(tokenizer.decode(&[2, 0], true).unwrap(), "1");
        assert_eq!(tokenizer.decode(&[2, 0], false).unwrap(), "1<eos>");
        assert_eq!(tokenizer.vocab_size(), ALPHABET.chars().count() + 1);
        assert_eq!((tokenizer.token(0).as_deref(), tokenizer.token_id("Ġ")), (Some("<eos>"), Some(11)));
    }

    #[test]
    fn tokens_that_only_the_configuration_lists_are_added() {
        let mut tokenizer = Tokenizer::from_bytes(char_level("ab", "<eos>").unwrap().as_bytes()).unwrap();
        let config =
            |id: &str, content: Value| json!({"added_tokens_decoder": {"0": {"content": "<eos>"}, id: content}});
        tokenizer.add_listed(&Value::Null).unwrap();
        tokenizer.add_listed(&config("3", json!({"content": "<tool>", "special": true}))).unwrap();
        assert_eq!(tokenizer.encode("a<tool>b", true).unwrap(), [1, 3, 2]);
        assert_eq!(tokenizer.decode(&[1, 3, 2], true).unwrap(), "ab");
        assert_eq!((tokenizer.knows(3), tokenizer.vocab_size()), (true, 4));
        for (id, content, wanted) in [
            ("9", json!({"content": "<far>"}), "id 9, but tokenizer.json lacks it and its next free id is 4"),
            ("x", json!({"content": "<far>"}), "must be an id"),
            ("4", json!("<far>"), "must be an object"),
        ] {
            let error = tokenizer.clone().add_listed(&config(id, content)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn unknown_characters_and_ids_are_errors() {
        let tokenizer = Tokenizer::from_bytes(char_level("ab", "<eos>").unwrap().as_bytes()).unwrap();
        assert!(tokenizer.encode("abc", false).unwrap_err().to_string().contains("\"abc\""));
        assert!(tokenizer.decode(&[1, 9], false).unwrap_err().to_string().contains("id 9"));
        assert!(Tokenizer::from_bytes(b"{}").is_err());
    }

    #[test]
    fn bad_alphabets_are_errors() {
        assert!(char_level("aba", "<eos>").is_err());
        assert!(char_level("ab", "a").is_err());
        assert!(char_level("", "x").is_err());
        assert!(char_level("ab", "").is_err());
        assert!(char_level("é", "<eos>").unwrap_err().to_string().contains("ASCII"));
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "[0-9 +*/()=:\n\x7f-]{0,40}") {
            let tokenizer = Tokenizer::from_bytes(char_level(ALPHABET, "<eos>").unwrap().as_bytes()).unwrap();
            let ids = tokenizer.encode(&text, true).unwrap();
            prop_assert_eq!(ids.len(), text.chars().count());
            prop_assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
        }
    }
}
