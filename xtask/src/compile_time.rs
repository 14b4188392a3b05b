//! `cargo xtask compile-time`: times a release build from scratch.

use std::path::Path;
use std::time::Instant;

use crate::args::Args;
use crate::command::{Outcome, cargo, run as run_command};
use crate::files;

const SLOWEST: usize = 15;

pub(crate) fn run(args: Args) -> Outcome {
    args.finish()?;
    let folder = "target/compile-time";
    files::remove(Path::new(folder))?;
    // Downloads must not count as compiling.
    run_command(cargo(&["fetch"]))?;
    let start = Instant::now();
    run_command(cargo(&["build", "--release", "-p", "flowrl-cli", "--timings", "--target-dir", folder]))?;
    let wall = start.elapsed().as_secs_f64();

    let report = format!("{folder}/cargo-timings/cargo-timing.html");
    let mut units = units(&files::read(&report)?);
    units.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    println!("\n{:>8}  crate", "seconds");
    units.iter().take(SLOWEST).for_each(|(name, seconds)| println!("{seconds:>8.2}  {name}"));
    let total: f64 = units.iter().map(|(_, seconds)| seconds).sum();
    println!("\n{wall:.1} s of wall time, {total:.1} s for all {} units; {report} lists them", units.len());
    Ok(())
}

/// Returns the name and the seconds of each unit in cargo's timing report, whose `UNIT_DATA` has one object per unit.
fn units(html: &str) -> Vec<(String, f64)> {
    let data = html.split_once("UNIT_DATA = ").map_or("", |(_, rest)| rest);
    let data = data.split_once("];").map_or(data, |(data, _)| data);
    data.split("\"i\":").skip(1).filter_map(unit).collect()
}

fn unit(object: &str) -> Option<(String, f64)> {
    let field = |key: &str| {
        let (_, rest) = object.split_once(&format!("\"{key}\":"))?;
        let value = rest.lines().next()?.trim().trim_end_matches(',');
        let text = value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        Some(text.unwrap_or(value).replace("\\\"", "\""))
    };
    let target = field("target").unwrap_or_default();
    let name = format!("{} {}{target}", field("name")?, field("version")?);
    Some((name.trim_end().to_owned(), field("duration")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_of_cargo_is_read() {
        let html = r#"const UNIT_DATA = [
  {
    "i": 0,
    "name": "libm",
    "version": "0.2.15",
    "target": "",
    "features": ["arch", "default"],
    "duration": 1.25,
    "sections": null
  },
  {
    "i": 1,
    "name": "flowrl-cli",
    "version": "0.1.0",
    "target": " flowrl-cli \"bin\"",
    "duration": 0.5
  }
];
const CONCURRENCY_DATA = [
  {
    "i": 9,
    "name": "x",
    "version": "1",
    "duration": 4
  }
];"#;
        let wanted = [("libm 0.2.15", 1.25), ("flowrl-cli 0.1.0 flowrl-cli \"bin\"", 0.5)];
        assert_eq!(units(html), wanted.map(|(name, seconds)| (name.to_owned(), seconds)));
        assert_eq!(units("nothing"), []);
    }
}
