//! A seeded computation with every bit of its result printed. The program of this crate runs it natively with the
//! core's feature `fast`, and `run.mjs` runs it in WebAssembly without. The step `wasm` of `cargo xtask test` fails if the
//! two texts differ.

mod digest;
mod lab;
mod mathematics;
mod objectives;

use std::error::Error;

/// Returns one line per part: its name, and the bits or a digest of the bits.
pub fn report() -> Result<String, Box<dyn Error>> {
    let mut lines = Vec::new();
    mathematics::report(&mut lines)?;
    objectives::report(&mut lines)?;
    lab::report(&mut lines)?;
    Ok(lines.join("\n") + "\n")
}

/// The functions that `run.mjs` calls. They take no arguments and return numbers, since nothing else crosses the
/// boundary.
#[cfg(target_arch = "wasm32")]
mod exports {
    use std::sync::OnceLock;

    static REPORT: OnceLock<String> = OnceLock::new();

    fn text() -> &'static str {
        REPORT.get_or_init(|| super::report().unwrap_or_else(|why| format!("error: {why}\n")))
    }

    // SAFETY: no other function of the module has this name.
    #[unsafe(no_mangle)]
    extern "C" fn report_pointer() -> *const u8 {
        text().as_ptr()
    }

    // SAFETY: no other function of the module has this name.
    #[unsafe(no_mangle)]
    extern "C" fn report_length() -> usize {
        text().len()
    }
}
