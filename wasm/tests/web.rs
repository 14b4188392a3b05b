//! What JavaScript gets, in WebAssembly: run by `cargo xtask test --only web`, in Node.js.
#![cfg(target_arch = "wasm32")]

use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test]
fn the_version_is_that_of_the_package() {
    assert_eq!(flowrl_wasm::js::version(), env!("CARGO_PKG_VERSION"));
}
