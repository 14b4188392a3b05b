//! A file of prompts as a user names it: `FILE`, or `FILE,weight=2`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A file or folder of prompts, with its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// How often an epoch visits a row of the file, on average.
    pub weight: f64,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, weight) = match text.rsplit_once(",weight=") {
            Some((path, weight)) => {
                let fits = |weight: &f64| (0.001..=1000.0).contains(weight);
                let number = weight.parse().ok().filter(fits);
                (
                    path,
                    number.ok_or_else(|| {
                        format!("{text:?}: weight is {weight:?}, but must be a number from 0.001 to 1000")
                    })?,
                )
            }
            None => (text, 1.0),
        };
        if path.is_empty() {
            return Err(format!("{text:?} names no file"));
        }
        Ok(Self { path: path.into(), weight })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)?;
        if self.weight == 1.0 { Ok(()) } else { write!(f, ",weight={}", self.weight) }
    }
}

impl Source {
    /// Returns this file with a path that starts in a folder.
    pub fn in_folder(&self, folder: &Path) -> Self {
        Self { path: folder.join(&self.path), weight: self.weight }
    }
}

/// Writes one file as a text and several as a list.
pub(crate) fn serialize<S: Serializer>(sources: &[Source], serializer: S) -> Result<S::Ok, S::Error> {
    match sources {
        [one] => serializer.collect_str(one),
        all => all.iter().map(Source::to_string).collect::<Vec<_>>().serialize(serializer),
    }
}

/// Reads one file, or a list of them.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Source>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected the name of a file or a list of names")]
    enum Names {
        One(String),
        Several(Vec<String>),
    }
    let names = match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::Several(names) => names,
    };
    names.iter().map(|name| name.parse().map_err(serde::de::Error::custom)).collect()
}
