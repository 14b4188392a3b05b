//! The small model inside the program, made by `flowrl-cli pretrain`.

use anyhow::Result;
use flowrl_lm::checkpoint::Checkpoint;

/// What the model is called in a run directory.
pub const NAME: &str = "built-in";

/// Opens the model inside the program.
///
/// # Errors
/// If the program was built from a damaged folder.
pub fn checkpoint() -> Result<Checkpoint> {
    Ok(Checkpoint::from_bytes(
        include_str!("../model/config.json"),
        include_bytes!("../model/model.safetensors"),
        include_str!("../model/tokenizer.json"),
    )?)
}
