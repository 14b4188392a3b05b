//! The grid of a sweep: every combination of the values of its options.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::Place;
use crate::args::ConfigArgs;
use crate::config::Config;

/// An option with its values as the user typed them.
#[derive(Clone, Debug)]
struct Axis {
    key: String,
    values: Vec<String>,
}

/// The options with several values, and the remaining flags.
#[derive(Debug)]
pub(crate) struct Grid {
    axes: Vec<Axis>,
    rest: ConfigArgs,
}

impl Grid {
    /// Finds the options with several values.
    pub(crate) fn of(flags: &ConfigArgs) -> Result<Self> {
        let (mut axes, mut rest) = (Vec::new(), ConfigArgs { settings: Vec::new(), ..flags.clone() });
        if let Some(values) = flags.objective.as_deref().and_then(list) {
            rest.objective = None;
            axes.push(Axis { key: "objective".into(), values });
        }
        for setting in &flags.settings {
            // A variable of a chat template may contain a comma.
            let pair = setting.split_once('=').filter(|(key, _)| !key.trim().starts_with("model.template."));
            match pair.and_then(|(key, text)| Some((key, list(text)?))) {
                Some((key, values)) => axes.push(Axis { key: key.trim().to_owned(), values }),
                None => rest.settings.push(setting.clone()),
            }
        }
        if axes.is_empty() {
            bail!(
                "nothing to sweep over: give an option several values, as in --set beta=0.5,1,2 or --objective paper,grpo"
            );
        }
        for (i, Axis { key, values }) in axes.iter().enumerate() {
            ensure!(axes[..i].iter().all(|other| other.key != *key), "`{key}` is given several values twice");
            for (j, value) in values.iter().enumerate() {
                ensure!(!values[..j].contains(value), "`{key}` has the value {value} twice");
            }
        }
        Ok(Self { axes, rest })
    }

    /// Returns the keys of the swept options.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.axes.iter().map(|axis| axis.key.clone()).collect()
    }

    /// Returns the options' names, joined for the name of a file.
    pub(crate) fn name(&self) -> String {
        self.axes.iter().map(|axis| self.short(&axis.key)).collect::<Vec<_>>().join("-")
    }

    /// Returns the last part of a key, or the whole key if another one has the same last part.
    fn short<'a>(&self, key: &'a str) -> &'a str {
        let last = |key: &'a str| key.rsplit('.').next().unwrap_or(key);
        let is_last = |axis: &&Axis| axis.key.rsplit('.').next() == Some(last(key));
        if self.axes.iter().filter(is_last).count() > 1 { key } else { last(key) }
    }

    /// Returns every run, that is each combination of values with each seed. The runs are in `out`, or by default in a
    /// folder named after the first configuration.
    pub(crate) fn places(&self, seeds: u64, out: Option<&Path>) -> Result<Vec<(Place, Config)>> {
        let mut out = out.map(Path::to_owned);
        let mut places: Vec<(Place, Config)> = Vec::new();
        for settings in self.combinations() {
            let mut flags = self.rest.clone();
            flags.settings.extend(settings.iter().map(|(key, value)| format!("{key}={value}")));
            let config = flags.load(None)?;
            let folder = || Path::new("runs").join(format!("sweep-{}-{}", config.task.kind, self.name()));
            let out = out.get_or_insert_with(folder);
            let name = settings.iter().map(|(key, value)| format!("{}={}", self.short(key), safe(value)));
            let name = name.collect::<Vec<_>>().join(",");
            for i in 0..seeds {
                let mut config = config.clone();
                config.train.seed += i;
                let seed = config.train.seed;
                let directory = out.join(format!("{name}-seed{seed}"));
                if let Some((twin, _)) = places.iter().find(|(_, other)| *other == config) {
                    bail!(
                        "{} and {} are the same run: does one option set the other?",
                        twin.directory.display(),
                        directory.display()
                    );
                }
                places.push((Place { settings: settings.clone(), seed, directory }, config));
            }
        }
        Ok(places)
    }

    /// Returns every choice of one value for each option; the first option varies slowest.
    fn combinations(&self) -> Vec<Vec<(String, String)>> {
        self.axes.iter().fold(vec![Vec::new()], |all, Axis { key, values }| {
            let with = |chosen: &Vec<(String, String)>, value: &String| {
                chosen.iter().cloned().chain([(key.clone(), value.clone())]).collect()
            };
            all.iter().flat_map(|chosen| values.iter().map(move |value| with(chosen, value))).collect()
        })
    }
}

/// Splits `a,b,c` at the commas outside of brackets and quotes. Returns `None` for a single value, for example `[3,
/// 4]`.
fn list(text: &str) -> Option<Vec<String>> {
    let (mut parts, mut depth, mut quote) = (vec![String::new()], 0_usize, None);
    for c in text.chars() {
        match (c, quote) {
            (',', None) if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            ('[' | '{', None) => depth += 1,
            (']' | '}', None) => depth = depth.saturating_sub(1),
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    (parts.len() > 1).then(|| parts.iter().map(|part| part.trim().to_owned()).collect())
}

/// Returns a value as part of a file name. This is the value itself if every system accepts it, and otherwise its legal
/// characters with a checksum, so that no two values share a name.
fn safe(value: &str) -> String {
    const LONGEST: usize = 40;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if value.len() <= LONGEST && !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    let words: Vec<&str> = value.split(|c| !is_plain(c)).filter(|word| !word.is_empty()).collect();
    let (words, sum) = (words.join("_"), Sha256::digest(value));
    let sum: String = sum.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    // The end of a path is more telling than its beginning.
    format!("{}-{sum}", &words[words.len().saturating_sub(LONGEST)..])
}

#[cfg(test)]
mod tests {
    use flowrl_lab::LabKind;

    use super::*;
    use crate::config::TaskKind;

    fn grid(settings: &[&str]) -> Result<Grid> {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Grid::of(&ConfigArgs { settings, task: Some(TaskKind::Lab(LabKind::Bandit)), ..ConfigArgs::default() })
    }

    #[test]
    fn values_are_divided_outside_of_brackets_and_quotes() {
        let parts = |text| list(text).unwrap_or_default();
        assert_eq!(parts("1, 2,3"), ["1", "2", "3"]);
        assert_eq!(parts("trajectory,{ sub-trajectory = 0.9 }"), ["trajectory", "{ sub-trajectory = 0.9 }"]);
        assert_eq!(parts("[3, 4],[3]"), ["[3, 4]", "[3]"]);
        assert_eq!(parts("\"a,b\",'c,d'"), ["\"a,b\"", "'c,d'"]);
        for one in ["3", "[3, 4]", "{a = 1, b = 2}", "\"a,b\""] {
            assert_eq!(list(one), None, "{one}");
        }
    }

    #[test]
    fn every_combination_has_a_name_of_its_own() {
        let found =
            grid(&["beta=1,5", "size=16", "optimizer.learning_rate=0.1,0.2", "log_z.learning_rate=1,2"]).unwrap();
        let places = found.places(2, Some("s".as_ref())).unwrap();
        let names: Vec<_> = places.iter().map(|(place, _)| place.directory.to_str().unwrap()).collect();
        assert_eq!(names.len(), 16);
        assert_eq!(names[1], "s/beta=1,optimizer.learning_rate=0.1,log_z.learning_rate=1-seed1");
        assert_eq!(names[2], "s/beta=1,optimizer.learning_rate=0.1,log_z.learning_rate=2-seed0");
        assert!(places.iter().all(|(_, config)| config.task.kind.is_lab()));
        assert_eq!(found.keys(), ["beta", "optimizer.learning_rate", "log_z.learning_rate"]);
        let error = grid(&["beta=1,2", "objective.beta=3,4"]).unwrap().places(1, None).unwrap_err().to_string();
        assert!(error.contains("are the same run"), "{error}");
    }

    #[test]
    fn any_value_makes_a_legal_name() {
        assert_eq!((safe("1e-4"), safe("exact-tb")), ("1e-4".into(), "exact-tb".into()));
        let (a, b) = (safe("models/a"), safe("models_a"));
        assert!(a.starts_with("models_a-") && b == "models_a", "{a}");
        assert!(safe(&"é/".repeat(400)).len() < 60 && safe("").len() == 9 && !safe("../..").contains('/'));
    }
}
