//! Reporting: tables on stdout, and the same results as JSON.

use flowrl_benches::paired::show;
use serde_json::{Value, json};

use crate::Failure;
use crate::group::Amount;
use crate::machine::Rates;

/// One row of a table.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) amount: Option<Amount>,
    /// Quartiles of the seconds of a call.
    pub(crate) seconds: [f64; 3],
    /// Achieved share of the speed of light.
    pub(crate) of_light: f64,
    /// Quartiles of peer / ours in the same turns.
    pub(crate) ratio: Option<[f64; 3]>,
    /// The reason why the row was not measured.
    pub(crate) absent: Option<String>,
}

impl Line {
    pub(crate) fn absent(name: &str, why: &str) -> Self {
        let (name, absent) = (name.to_owned(), Some(why.to_owned()));
        Self { name, amount: None, seconds: [f64::NAN; 3], of_light: f64::NAN, ratio: None, absent }
    }

    fn print(&self) {
        let Some((amount, unit)) = self.amount.map(Amount::scaled) else {
            println!("{:56} absent: {}", self.name, self.absent.as_deref().unwrap_or_default());
            return;
        };
        let [_, median, _] = self.seconds;
        let (micros, rate, light) = (median * 1e6, amount / median, self.of_light * 100.0);
        let ratio = self.ratio.map_or(String::new(), |ratio| show(ratio, 2));
        println!("{:56} {micros:>12.1} {rate:>11.1} {unit:9} {light:>7.1} %  {ratio}", self.name);
    }

    fn json(&self) -> Value {
        let (amount, unit) = self.amount.map(Amount::scaled).unzip();
        json!({
            "row": self.name,
            "seconds_quartiles": self.amount.map(|_| self.seconds),
            "rate": amount.map(|amount| amount / self.seconds[1]),
            "unit": unit,
            "of_light": self.amount.map(|_| self.of_light),
            "peer_over_ours_quartiles": self.ratio,
            "absent": self.absent,
        })
    }
}

/// The results of all groups so far.
pub(crate) struct Report {
    json: Option<String>,
    document: Value,
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn new(machine: Vec<(&'static str, String)>, rates: &Rates, json: Option<String>) -> Self {
        let machine: serde_json::Map<String, Value> =
            machine.into_iter().map(|(what, value)| (what.to_owned(), value.into())).collect();
        let rates = json!({ "copy_bytes_per_s": rates.copy, "products_flop_per_s": rates.products });
        let document = json!({ "machine": machine, "rates": rates, "groups": [] });
        Self { json, document, failures: Vec::new() }
    }

    /// Prints a group and adds it to the JSON. `checked` holds the peers whose results were compared with ours, each
    /// with its largest difference.
    pub(crate) fn group(
        &mut self,
        title: &str,
        lines: &[Line],
        checked: &[(&str, f64)],
        tolerance: f64,
    ) -> Result<(), Failure> {
        let (call, rate) = ("us a call", "rate");
        println!("{title:56} {call:>12} {rate:>11} {:9} {:>9}  peer / ours [quartiles]", "", "of light");
        lines.iter().for_each(Line::print);
        for (name, deviation) in checked {
            let same = *deviation <= tolerance;
            let verdict = if same { "the same numbers as ours" } else { "NOT THE SAME NUMBERS AS OURS" };
            println!("  {name}: {verdict}, {deviation:.1e} apart, {tolerance:.0e} allowed");
            if !same {
                self.failures.push(format!("{title}: {name} computes other numbers than ours"));
            }
        }
        println!();
        let checked: Vec<Value> = checked.iter().map(|(name, x)| json!({ "row": name, "deviation": x })).collect();
        let rows: Vec<Value> = lines.iter().map(Line::json).collect();
        let group = json!({ "title": title, "rows": rows, "checked": checked, "tolerance": tolerance });
        if let Some(groups) = self.document["groups"].as_array_mut() {
            groups.push(group);
        }
        self.write()
    }

    /// Reports a group that could not be measured.
    pub(crate) fn failed(&mut self, group: &str, why: &str) {
        println!("{group}: failed: {why}\n");
        self.failures.push(format!("{group}: {why}"));
    }

    /// Writes the JSON file. This happens after every group, so that an interrupted run keeps its results.
    fn write(&self) -> Result<(), Failure> {
        let Some(path) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(&self.document)?;
        std::fs::write(path, text + "\n").map_err(|error| format!("--json: cannot write {path}: {error}").into())
    }

    /// Returns an error if a group failed or a peer computed other numbers.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.failures.is_empty() {
            true => Ok(()),
            false => Err(self.failures.join("; ").into()),
        }
    }
}
