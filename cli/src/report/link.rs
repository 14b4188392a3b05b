//! Links from a page to the reports of runs.

use std::path::{Component, Path, PathBuf};

use super::run::Run;
use crate::format::{escape, push};

/// Returns the name of a run; if the run has a report, the name links to it from the page at `page`.
pub(crate) fn to_run(run: &Run, page: &Path) -> String {
    linked(run, page, &format!("<code>{}</code>", escape(&run.name)))
}

/// Returns the seeds of runs, each linked to the report of its run.
pub(crate) fn seeds<'a>(runs: impl Iterator<Item = &'a Run>, page: &Path) -> String {
    let seed = |run: &Run| run.seed().map_or_else(|| escape(&run.name), |seed| seed.to_string());
    runs.map(|run| linked(run, page, &seed(run))).collect::<Vec<_>>().join(", ")
}

fn linked(run: &Run, page: &Path, shown: &str) -> String {
    let href = run.report.as_deref().and_then(|report| relative(page, report));
    href.map_or_else(|| shown.to_owned(), |href| format!("<a href='{href}' title='{}'>{shown}</a>", escape(&run.name)))
}

/// Returns the URL of a file relative to a page, or `None` if there is none, for example between two drives.
fn relative(page: &Path, file: &Path) -> Option<String> {
    let parent = page.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let whole = |path: &Path| -> Option<PathBuf> { path.canonicalize().ok() };
    let (from, to) = (whole(parent)?, whole(file)?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    if shared == 0 {
        return None;
    }
    let up = from.components().skip(shared).map(|_| "..".to_owned());
    let down = to.components().skip(shared).map(|part: Component<'_>| encoded(part.as_os_str().as_encoded_bytes()));
    Some(up.chain(down).collect::<Vec<_>>().join("/"))
}

/// Percent-encodes a name, except for the unreserved characters of RFC 3986, section 2.3.
fn encoded(name: &[u8]) -> String {
    let mut out = String::new();
    for byte in name {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(*byte)),
            _ => push!(out, "%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_relative_and_encoded() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for folder in ["pages/deep", "runs/a b=1,c'd#é"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let report = root.join("runs/a b=1,c'd#é/report.html");
        std::fs::write(&report, "").unwrap();
        let name = "a%20b%3D1%2Cc%27d%23%C3%A9/report.html";
        for (page, wanted) in [
            ("pages/deep/c.html", format!("../../runs/{name}")),
            ("c.html", format!("runs/{name}")),
            ("runs/c.html", name.to_owned()),
            ("nowhere/c.html", String::new()),
        ] {
            assert_eq!(relative(&root.join(page), &report).unwrap_or_default(), wanted);
        }
        assert_eq!(relative(&root.join("c.html"), &root.join("runs/none")), None);
    }
}
