//! `flowrl-api FILE`: prints the public items of a crate, one a line, from the JSON that rustdoc writes.

use std::collections::BTreeSet;
use std::error::Error;

use public_api::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("got no argument, wanted a file that rustdoc wrote")?;
    let api = Builder::from_rustdoc_json(file)
        .omit_auto_trait_impls(true)
        .omit_blanket_impls(true)
        .include_function_parameter_names(true)
        .build()?;
    let (mut impls, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for (item, text) in api.items().map(|item| (item, item.to_string())) {
        if text.starts_with("impl") && text.contains(" for ") {
            impls.insert(item.id());
        }
        // That a type has the functions of a trait follows from the line of the `impl`.
        let is_implied = text.contains("fn ") && item.parent_id().is_some_and(|parent| impls.contains(&parent));
        // An `impl` is listed under each type that it names.
        if !is_implied && !text.contains("StructuralPartialEq") && !seen.contains(&text) {
            println!("{text}");
            seen.insert(text);
        }
    }
    Ok(())
}
