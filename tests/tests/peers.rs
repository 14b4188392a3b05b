//! Compares our results with those of TRL, verl and prime-rl under the same options. `golden/peers.py` writes the
//! files.

use flowrl_core::train::TrainOptions;

use crate::objective_golden::{compare, golden_files};

#[test]
fn our_options_give_the_peers_numbers() {
    let files = golden_files("peers");
    let wrong = files.iter().filter_map(|(name, text)| Some(format!("{name}: {}", compare::<f64>(text, 1e-9).err()?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(files.len(), 71, "every golden file is checked");
}

/// Checks `get_soft_overlong_punishment`, and the rewards that TRL computed with it.
#[test]
fn the_overlong_penalty_is_the_peers() {
    let (_, text) = golden_files("peers").into_iter().find(|(name, _)| name.contains("overlong")).expect("the file");
    let file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let overlong = &file["overlong"];
    let size = |key: &str| overlong[key].as_u64().expect("a count") as usize;
    let options =
        TrainOptions { max_tokens: size("max_tokens"), overlong_buffer: size("cache"), ..TrainOptions::default() };
    let sequences = file["sequences"].as_array().expect("sequences");
    assert_eq!(sequences.len(), 12);
    for (i, sequence) in sequences.iter().enumerate() {
        let taken = options.overlong(sequence["logp"].as_array().expect("numbers").len());
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        assert_eq!(-taken, number(&overlong["penalties"][i]), "sequence {i}");
        assert_eq!(number(&overlong["rewards"][i]) - taken, number(&sequence["reward"]), "sequence {i}");
    }
}
