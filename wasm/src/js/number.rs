//! Numbers as text.

use std::fmt::Formatter;

use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = String)]
    fn shown(x: f64) -> String;
}

/// What prints a number in the module, in messages and files alike. Rust's printer and JavaScript's both give the fewest digits that read back as
/// the same number, but Rust's would be a tenth of what a visitor fetches: `xtask/bindgen` puts this in its place.
#[allow(improper_ctypes_definitions, reason = "nothing but Rust calls it")]
// SAFETY: nothing else has this name.
#[unsafe(no_mangle)]
pub(super) extern "C" fn flowrl_write_number(x: &f64, f: &mut Formatter<'_>) -> bool {
    f.write_str(&shown(*x)).is_err()
}
