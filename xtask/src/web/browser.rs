//! Finds a Chromium for testing the page.

use crate::install::{self, is_there};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Chromium and a font. A bare system has no font, and text without one has no size.
const PACKAGES: [&str; 2] = ["chromium", "fonts-dejavu-core"];

/// Returns a browser that runs: the one that the variable CHROMIUM names, or else one of the system. If there is none,
/// tries to install it.
pub(crate) fn find() -> Result<String, String> {
    if let Ok(named) = std::env::var("CHROMIUM") {
        return match is_there(&named) {
            true => Ok(named),
            false => Err(format!("CHROMIUM is set to `{named}`, which does not run")),
        };
    }
    if let Some(found) = installed() {
        return Ok(found);
    }
    install::packages(&PACKAGES).map_err(|why| format!("Chromium is not installed: {why}"))?;
    installed().ok_or_else(|| "apt-get installed chromium, but it does not run".to_owned())
}

/// Returns the full path of an installed browser, since Playwright does not search PATH.
fn installed() -> Option<String> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .flat_map(|folder| NAMES.map(|name| folder.join(name).to_string_lossy().into_owned()))
        .find(|path| is_there(path))
}
