//! The provenance of a run, from `run.json`: programs, machines, commands and input files.

use std::collections::BTreeMap;

use crate::format::{escape, push};
use crate::run_dir::provenance::{Provenance, Stretch};

/// Returns a table with a row for each time the run was started or resumed, and the checksums of its input files. The
/// result is empty if nothing is known.
pub(super) fn render(story: &Provenance) -> String {
    let mut out = String::new();
    let Some(last) = story.stretches.last() else { return out };
    out.push_str(
        "<div class=scroll><table class=words><thead><tr><th>started</th><th>after step</th><th>program</th><th>machine</th><th>command</th></tr></thead>\
         <tbody>",
    );
    for stretch in &story.stretches {
        let Stretch { started, step, version, commit, system, processor, processors, device, host, command, .. } =
            stretch;
        let commit = commit.as_deref().map(|commit| format!(" ({commit})")).unwrap_or_default();
        let machine =
            [host.as_deref(), Some(system), processor.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(", ");
        push!(
            out,
            "<tr><td>{}</td><td>{step}</td><td>flowrl-cli {}{}</td><td>{}, {processors} processors, on {}</td><td><code>{}</code></td></tr>",
            escape(started),
            escape(version),
            escape(&commit),
            escape(&machine),
            escape(device),
            escape(&command.join(" "))
        );
    }
    out.push_str("</tbody></table></div>");
    details(&mut out, "GPU and CUDA libraries", &last.cuda, |(name, what)| format!("{name}: {what}\n"));
    details(&mut out, "SHA-256 of the input files", &last.files, |(path, sum)| format!("{sum}  {path}\n"));
    out
}

/// Appends a collapsed block with a line for each entry; without entries it appends nothing.
fn details(
    out: &mut String,
    summary: &str,
    entries: &BTreeMap<String, String>,
    line: impl Fn((&String, &String)) -> String,
) {
    if !entries.is_empty() {
        let lines: String = entries.iter().map(line).collect();
        push!(out, "<details><summary>{summary}</summary><pre>{}</pre></details>", escape(&lines));
    }
}
