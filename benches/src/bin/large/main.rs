//! The two processes of `cargo xtask large`. `large write FOLDER` writes a checkpoint of random numbers in the shape of
//! Qwen2.5-0.5B, and `large score FOLDER` scores tokens with it and prints the time and memory that this took.

mod score;
mod write;

use std::path::Path;
use std::process::ExitCode;

use flowrl_benches::Failure;
use flowrl_lm::config::ModelConfig;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("large: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), Failure> {
    match *words {
        ["write", folder] => write::checkpoint(Path::new(folder), &qwen2_half_billion()?),
        ["score", folder] => score::score(Path::new(folder)),
        _ => Err(format!("got {words:?}, wanted `write FOLDER` or `score FOLDER`").into()),
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
