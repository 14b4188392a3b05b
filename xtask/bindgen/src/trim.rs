//! Removes code that a page does not need from the module: the messages of panics, and Rust's formatting of numbers.

use anyhow::{Context, bail};
use walrus::{FunctionBuilder, FunctionId, FunctionKind, Module};

/// Parts of the mangled names of functions that are only called to panic. No one would see the message, since a panic
/// traps.
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

/// The ends of the mangled names of Rust's functions that format a double. JavaScript's `String(x)` replaces them.
const PRINTERS: [&str; 3] = ["7Display3fmt", "5Debug3fmt", "8LowerExp3fmt"];
const FLOAT: &str = "4core3fmt5floatd";
/// The function of the module, of the same type, that replaces the [`PRINTERS`].
const REPLACEMENT: &str = "flowrl_write_number";

/// Replaces the functions of [`PANICS`] and [`PRINTERS`] in a module.
pub(crate) fn trim(module: &mut Module) -> anyhow::Result<()> {
    let named = |module: &Module, is: &dyn Fn(&str) -> bool| -> Vec<FunctionId> {
        let found = module.funcs.iter_local().map(|(id, _)| id);
        found.filter(|&id| module.funcs.get(id).name.as_deref().is_some_and(is)).collect()
    };
    let panics = named(module, &|name| PANICS.iter().any(|part| name.contains(part)) && diverges(name));
    if panics.is_empty() {
        bail!("found no function of the module that panics: have the names in PANICS changed?");
    }
    for id in panics {
        replace(module, id, None);
    }
    let replacement =
        module.exports.get_func(REPLACEMENT).context("the module does not export `flowrl_write_number`")?;
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

/// Returns whether the function of this name always panics. In the allocator of vectors only two do.
fn diverges(name: &str) -> bool {
    !name.contains("7raw_vec") || name.ends_with("12handle_error") || name.ends_with("17capacity_overflow")
}

/// Replaces the body of a function by a call of another with the same arguments, or by a trap.
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
