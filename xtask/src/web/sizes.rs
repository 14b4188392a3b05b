//! Measures how much a visitor downloads, and fails if a kind of file exceeds its budget.

use crate::command::{Outcome, tell};

/// The kinds of files by extension, each with the largest number of gzipped bytes of all its files together. The
/// original goal for the module was 90 kB, which is not feasible with the whole engine (every objective, four tasks,
/// networks) in it.
const BUDGETS: [(&str, usize); 3] = [("js", 45_000), ("css", 12_000), ("wasm", 120_000)];

/// A file with its sizes in bytes.
struct File<'a> {
    path: &'a str,
    raw: usize,
    gzipped: usize,
}

/// Prints a table of the sizes in a listing of `BYTES GZIPPED PATH` lines. Returns an error if a budget is exceeded.
pub(crate) fn judge(listing: &str) -> Outcome {
    let mut files = listing
        .lines()
        .map(|line| parse(line).ok_or_else(|| format!("sizes.mjs printed `{line}`, wanted `BYTES GZIPPED PATH`")))
        .collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(|file| (std::cmp::Reverse(file.gzipped), file.path));
    tell(&format!("\n{:>9} {:>9} {:>9}  file", "bytes", "gzipped", "at most"));
    for File { path, raw, gzipped } in &files {
        tell(&format!("{raw:>9} {gzipped:>9} {:>9}  {path}", ""));
    }
    let mut over = Vec::new();
    for (kind, most) in BUDGETS {
        let of_kind = || files.iter().filter(|file| file.path.rsplit_once('.').is_some_and(|(_, end)| end == kind));
        let raw: usize = of_kind().map(|file| file.raw).sum();
        let gzipped: usize = of_kind().map(|file| file.gzipped).sum();
        tell(&format!("{raw:>9} {gzipped:>9} {most:>9}  all .{kind}"));
        if gzipped > most {
            over.push(format!(".{kind} files have {gzipped} bytes gzipped, expected at most {most}"));
        }
    }
    if over.is_empty() { Ok(()) } else { Err(over.join("; ")) }
}

fn parse(line: &str) -> Option<File<'_>> {
    let mut words = line.splitn(3, ' ');
    let mut number = || words.next()?.parse().ok();
    Some(File { raw: number()?, gzipped: number()?, path: words.next()? })
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::command::captured;

    #[test]
    fn kinds_are_added_and_held_to_their_budget() {
        judge("90000 40000 assets/a.js\n9 5000 b.js\n9 120000 c.wasm\n9 999999 index.html").unwrap();
        let why = judge("90000 40000 assets/a.js\n9 5001 b.js\n9 120001 c.wasm").unwrap_err();
        assert!(why.contains(".js files have 45001") && why.contains(".wasm files have 120001"), "{why}");
    }

    #[test]
    fn the_table_has_files_and_totals() {
        let (outcome, text) = captured(|| judge("100 40 a b.css\n7 5 c.css"));
        outcome.unwrap();
        assert!(text.contains("      100        40            a b.css\n"), "{text}");
        assert!(text.contains("      107        45     12000  all .css\n"), "{text}");
    }

    #[test]
    fn a_line_that_is_no_size_is_shown() {
        assert!(judge("12 x").unwrap_err().contains("`12 x`"));
    }
}
