//! What TRL, verl and prime-rl compute under their options, and ours under the same: `golden/peers.py` makes the files.

use crate::objective_golden::{compare, golden_files};

#[test]
fn our_options_give_the_peers_numbers() {
    let files = golden_files("peers");
    let wrong = files.iter().filter_map(|(name, text)| Some(format!("{name}: {}", compare::<f64>(text, 1e-9).err()?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(files.len(), 71, "every golden file is checked");
}
