//! One seeded computation with every bit of its result printed. The program of this crate runs it natively with the core's `std`,
//! `run.mjs` runs it in WebAssembly without; the step `wasm` of `cargo xtask test` compares the two texts.

mod digest;
mod lab;
mod mathematics;
mod objectives;

use std::error::Error;

/// A line for each part: its name, and the bits or a digest of the bits.
///
/// # Errors
/// Where a part fails; none should.
pub fn report() -> Result<String, Box<dyn Error>> {
    let mut lines = Vec::new();
    mathematics::report(&mut lines)?;
    objectives::report(&mut lines)?;
    lab::report(&mut lines)?;
    Ok(lines.join("\n") + "\n")
}

/// What `run.mjs` calls: bare functions, since nothing but numbers crosses the border.
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
