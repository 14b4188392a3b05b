//! Tests that `docs/frontier.md`, its picture and the README's table agree with `cli/frontier/results.jsonl`. To
//! rewrite them, set `UPDATE_DOCS=1` or run `cargo xtask frontier --draw`.

use std::path::Path;

use flowrl_cli::frontier::Frontier;

#[test]
fn the_frontiers_pages_are_those_of_its_measurements() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (path, wanted) in Frontier::measured().unwrap().documents(&root).unwrap() {
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        assert!(found == wanted, "{} is out of date: run `cargo xtask frontier --draw`", path.display());
    }
}
