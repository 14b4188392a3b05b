//! Takes from the module what a page has no use for: what would be said of a panic, and Rust's printer of numbers.

use anyhow::{Context, bail};
use std::array;
use walrus::ir::Value;
use walrus::{ConstExpr, DataId, DataKind, FunctionBuilder, FunctionId, FunctionKind, Module};

/// Parts of the mangled names of functions that are only ever called to panic. The message would reach nobody: a panic traps.
const PANICS: [&str; 12] = [
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
    // The cosine of an angle beyond 10⁶: the lab has none above 2π.
    "4libm4math14rem_pio2_large",
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
    forget_places(module);
    Ok(())
}

/// Zeroes what says where in the sources a panic is, since nobody is told: pointer and length of the name of a file, line, and column.
/// A memory starts as zeros, so that a module need not hold them.
fn forget_places(module: &mut Module) {
    const SIZE: usize = 16;
    let mut segments: Vec<(DataId, usize, Vec<u8>)> = Vec::new();
    for data in module.data.iter() {
        if let DataKind::Active { offset: ConstExpr::Value(Value::I32(start)), .. } = data.kind {
            segments.push((data.id(), start as usize, data.value.clone()));
        }
    }
    let range = |start: usize, len: usize| {
        let holds = |(_, from, bytes): &(_, usize, Vec<u8>)| *from <= start && start + len <= *from + bytes.len();
        let at = segments.iter().position(holds)?;
        let from = start - segments[at].1;
        Some((at, from..from + len))
    };
    let mut places = Vec::new();
    for (at, (_, start, bytes)) in segments.iter().enumerate() {
        for from in (start.next_multiple_of(4) - start..bytes.len().saturating_sub(SIZE - 1)).step_by(4) {
            let word = |i: usize| u32::from_le_bytes(array::from_fn(|k| bytes[from + 4 * i + k])) as usize;
            let [file, len, line, column] = array::from_fn(word);
            let plausible = (4..256).contains(&len) && (1..1 << 16).contains(&line) && (1..1 << 10).contains(&column);
            let name = range(file, len).filter(|_| plausible);
            if let Some((of, name)) = name.filter(|(of, name)| segments[*of].2[name.clone()].ends_with(b".rs")) {
                places.extend([(at, from..from + SIZE), (of, name)]);
            }
        }
    }
    for (segment, place) in places {
        module.data.get_mut(segments[segment].0).value[place].fill(0);
    }
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
