//! Formatting of numbers.

use std::fmt::Formatter;

use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = String)]
    fn shown(x: f64) -> String;
}

/// Formats a number with JavaScript, for messages and files alike.
///
/// Both Rust and JavaScript give the fewest digits that read back as the same number, but Rust's code for this would be
/// a tenth of the download. `xtask/bindgen` therefore replaces it by this function.
#[allow(improper_ctypes_definitions, reason = "nothing but Rust calls it")]
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub(super) extern "C" fn flowrl_write_number(x: &f64, f: &mut Formatter<'_>) -> bool {
    f.write_str(&shown(*x)).is_err()
}
