//! `bench large [--keep]`: checks that a model with half a billion parameters fits into 4 GiB.

mod score;
mod write;

use std::fs;
use std::path::Path;

use flowrl_benches::Failure;
use flowrl_benches::args::Args;
use flowrl_lm::config::ModelConfig;

pub(crate) use score::run as score;

const FOLDER: &str = "target/large/random-0.5b";

/// Writes a checkpoint of random numbers in the shape of Qwen2.5-0.5B, and scores tokens with it in a process whose
/// memory holds nothing else.
pub(crate) fn run(mut args: Args) -> Result<(), Failure> {
    let keep = args.flag("--keep");
    args.finish()?;
    let folder = Path::new(FOLDER);
    let scored = write::checkpoint(folder, &qwen2_half_billion()?)
        .and_then(|()| Ok(crate::ourselves(&["score", FOLDER])?.status()?));
    if !keep && folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| format!("cannot remove {FOLDER}: {error}"))?;
    }
    let status = scored?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("`bench score {FOLDER}` ended with {status}").into()),
    }
}

/// Returns the configuration of Qwen2.5-0.5B, with 494 million parameters. The end token is that of the tokenizer in
/// the same folder.
fn qwen2_half_billion() -> Result<ModelConfig, Failure> {
    Ok(ModelConfig::qwen2(151_936, 896, 4864, 24, 14, 2, 32_768, 0)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_size_is_that_of_the_original() {
        assert_eq!(super::qwen2_half_billion().unwrap().parameter_count(), 494_032_768);
    }
}
