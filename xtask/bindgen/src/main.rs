//! `flowrl-bindgen MODULE FOLDER`: writes JavaScript, TypeScript declarations and the module that they load.

mod trim;

use std::path::PathBuf;

use anyhow::{Context, bail};
use walrus::ModuleConfig;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [module, folder] = words.as_slice() else {
        bail!("got {} arguments, wanted two: the WebAssembly module and the folder to write", words.len());
    };
    let name = module.file_stem().context("the module has no name")?.to_string_lossy();
    let mut module = ModuleConfig::new().strict_validate(false).generate_producers_section(false).parse_file(module)?;
    trim::trim(&mut module)?;
    Bindgen::new()
        .input_module(&name, module)
        .web(true)?
        .typescript(true)
        // Otherwise `init()` would not know the module's path.
        .omit_default_module_path(false)
        .remove_producers_section(true)
        .generate(folder)
}
