//! Tests that the page describes metrics as the core's table of metrics does.

use std::fmt::Write as _;

use flowrl_core::metrics::{self, CHAPTERS};
use flowrl_wasm::MEASURES;

const START: &str = "      <!-- The table of metrics; written by `UPDATE_DOCS=1 cargo test -p flowrl-wasm page`. -->\n";
const END: &str = "      <!-- The end of the table. -->\n";

/// Returns the list of options in HTML. Each metric has its label, and if the race measures it, also its meaning and
/// whether its axis is logarithmic.
fn table() -> String {
    let mut out = String::from("      <select data-text=\"metrics\">\n");
    for chapter in CHAPTERS {
        let _ = writeln!(out, "        <optgroup label=\"{}\">", chapter.title);
        for metric in chapter.metrics.iter().filter(|metric| metric.name != "step") {
            let _ = write!(out, "          <option value=\"{}\"", metric.name);
            if MEASURES.contains(&metric.name) {
                let _ = write!(out, "{} title=\"{}\"", if metric.log { " data-log" } else { "" }, metric.meaning);
            }
            let _ = writeln!(out, ">{}</option>", metric.label);
        }
        out.push_str("        </optgroup>\n");
    }
    out + "      </select>\n"
}

#[test]
fn what_the_race_measures_is_in_the_table() {
    for (i, name) in MEASURES.iter().enumerate() {
        assert!(metrics::get(name).is_some() && !MEASURES[..i].contains(name), "{name}");
    }
}

#[test]
fn the_page_has_the_table_of_metrics() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/www/index.html");
    let page = std::fs::read_to_string(path).expect("the page").replace("\r\n", "\n");
    let (before, rest) = page.split_once(START).expect("the start of the table");
    let (found, after) = rest.split_once(END).expect("the end of the table");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, [before, START, &table(), END, after].concat()).expect("written");
    } else {
        assert!(found == table(), "wasm/www/index.html is out of date: run this test with UPDATE_DOCS=1");
    }
}
