//! The options of a chore. A chore takes each by name, and any that is left over is an error.

use crate::Outcome;
use std::str::FromStr;

/// The words after the chore's name that have not been taken yet.
pub(crate) struct Args(Vec<String>);

impl Args {
    pub(crate) fn new(words: impl IntoIterator<Item = String>) -> Self {
        Self(words.into_iter().collect())
    }

    /// Takes `--name`, and returns whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    /// Takes every `--name VALUE` and returns the values in order.
    pub(crate) fn values(&mut self, name: &str) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        while let Some(at) = self.0.iter().position(|word| word == name) {
            if self.0.get(at + 1).is_none_or(|value| value.starts_with("--")) {
                return Err(format!("{name} wants a value after it"));
            }
            values.push(self.0.remove(at + 1));
            self.0.remove(at);
        }
        Ok(values)
    }

    /// Takes `--name VALUE`, which may be given once.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let values = self.values(name)?;
        match values.as_slice() {
            [] => Ok(None),
            [text] => {
                let wanted = std::any::type_name::<T>();
                text.parse().map(Some).map_err(|_| format!("{name}: got `{text}`, wanted a {wanted}"))
            }
            _ => Err(format!("{name} is given {} times, wanted once", values.len())),
        }
    }

    /// Takes the words that are not options. Options that have values must be taken before.
    pub(crate) fn words(&mut self) -> Vec<String> {
        let (words, options) = self.0.drain(..).partition(|word| !word.starts_with('-'));
        self.0 = options;
        words
    }

    /// Returns the words that are left, for a program that parses them itself.
    pub(crate) fn rest(self) -> Vec<String> {
        self.0
    }

    /// Returns an error if a word is left.
    pub(crate) fn finish(self) -> Outcome {
        match self.0.first() {
            None => Ok(()),
            Some(word) => Err(format!("unknown option `{word}`; `cargo xtask help` lists the options of each chore")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Args;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_come_in_any_order() {
        let mut args = args("--only a file --keep-going --only b --runs 3");
        assert!(args.flag("--keep-going"));
        assert!(!args.flag("--keep-going"));
        assert_eq!(args.values("--only").unwrap(), ["a", "b"]);
        assert_eq!(args.value::<usize>("--runs").unwrap(), Some(3));
        assert_eq!(args.words(), ["file"]);
        args.finish().unwrap();
    }

    #[test]
    fn mistakes_are_named() {
        assert!(args("--runs").value::<usize>("--runs").unwrap_err().contains("--runs wants a value"));
        assert!(args("--runs --peers").value::<usize>("--runs").is_err());
        assert!(args("--runs x").value::<usize>("--runs").unwrap_err().contains("got `x`"));
        assert!(args("--runs 1 --runs 2").value::<usize>("--runs").unwrap_err().contains("2 times"));
        assert!(args("--rusn 1").finish().unwrap_err().contains("--rusn"));
    }
}
