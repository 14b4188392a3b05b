//! Takes from the module what a page has no use for: what would be printed of a panic, and Rust's printer of numbers.

use anyhow::{Context, bail};
use walrus::{FunctionBuilder, FunctionId, FunctionKind, Module};

/// Parts of the mangled names of functions that are only ever called to panic. The message would reach nobody: a panic traps.
const PANICS: [&str; 11] = [
    "4core9panicking",
    "3std9panicking",
    "4core6option13unwrap_failed",
    "4core6option13expect_failed",
    "4core6result13unwrap_failed",
    "5slice5index16slice_index_fail",
    "17len_mismatch_fail",
    "4cell22panic_already_borrowed",
    "4cell30panic_already_mutably_borrowed",
    "5alloc7raw_vec",
    "18handle_alloc_error",
];

/// What prints a double in Rust, by the ends of the mangled names. JavaScript has a printer too: `String(x)`.
const PRINTERS: [&str; 3] = ["7Display3fmt", "5Debug3fmt", "8LowerExp3fmt"];
const FLOAT: &str = "4core3fmt5floatd";
/// The function of the module, of the same type, that takes the place of [`PRINTERS`].
const REPLACEMENT: &str = "flowrl_write_number";

pub(crate) fn trim(module: &mut Module) -> anyhow::Result<()> {
    let named = |module: &Module, is: &dyn Fn(&str) -> bool| -> Vec<FunctionId> {
        let found = module.funcs.iter_local().map(|(id, _)| id);
        found.filter(|&id| module.funcs.get(id).name.as_deref().is_some_and(is)).collect()
    };
    let panics = named(module, &|name| PANICS.iter().any(|part| name.contains(part)) && diverges(name));
    if panics.is_empty() {
        bail!("no function of the module panics: have names changed?");
    }
    for id in panics {
        replace(module, id, None);
    }
    let replacement = module.exports.get_func(REPLACEMENT).context("the module does not print numbers")?;
    let printers = named(module, &|name| name.contains(FLOAT) && PRINTERS.iter().any(|end| name.ends_with(end)));
    for id in printers {
        if module.funcs.get(id).ty() != module.funcs.get(replacement).ty() {
            bail!("{REPLACEMENT} is not of the type of {:?}", module.funcs.get(id).name);
        }
        replace(module, id, Some(replacement));
    }
    module.exports.remove(REPLACEMENT)?;
    Ok(())
}

/// Of the allocator of vectors only two functions panic.
fn diverges(name: &str) -> bool {
    !name.contains("7raw_vec") || name.ends_with("12handle_error") || name.ends_with("17capacity_overflow")
}

/// Gives a function another body: a call with its own arguments, or a trap.
fn replace(module: &mut Module, id: FunctionId, call: Option<FunctionId>) {
    let ty = module.types.get(module.funcs.get(id).ty());
    let (params, results) = (ty.params().to_vec(), ty.results().to_vec());
    let mut builder = FunctionBuilder::new(&mut module.types, &params, &results);
    let arguments: Vec<_> = params.iter().map(|&ty| module.locals.add(ty)).collect();
    let mut body = builder.func_body();
    if let Some(other) = call {
        for &argument in &arguments {
            body.local_get(argument);
        }
        body.call(other);
    } else {
        body.unreachable();
    }
    module.funcs.get_mut(id).kind = FunctionKind::Local(builder.local_func(arguments));
}
