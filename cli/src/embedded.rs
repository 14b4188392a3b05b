//! The small model built into the program, trained by `flowrl-cli pretrain`.

use anyhow::Result;
use flowrl_lm::checkpoint::Checkpoint;

/// The built-in model's name in a run directory.
pub const NAME: &str = "built-in";

/// Opens the model that is built into the program.
pub fn checkpoint() -> Result<Checkpoint> {
    Ok(Checkpoint::from_bytes(
        include_str!("../model/config.json"),
        include_bytes!("../model/model.safetensors"),
        include_str!("../model/tokenizer.json"),
    )?)
}
