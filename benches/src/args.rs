//! Options of a command line. A program takes each by name, and any that is left over is an error.
//!
//! `xtask` includes this file, so it needs only std.

use std::str::FromStr;

/// The words that have not been taken yet.
#[derive(Debug)]
pub struct Args(Vec<String>);

impl Args {
    /// Returns the arguments with these words.
    pub fn new(words: impl IntoIterator<Item = String>) -> Self {
        Self(words.into_iter().collect())
    }

    /// Takes `--name`, and returns whether it was there.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    /// Takes every `--name VALUE` and returns the values in order.
    pub fn values(&mut self, name: &str) -> Result<Vec<String>, String> {
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
    pub fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
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

    /// Takes `--name N` for a number that must not be 0.
    pub fn count(&mut self, name: &str, default: usize) -> Result<usize, String> {
        match self.value(name)?.unwrap_or(default) {
            0 => Err(format!("{name}: got 0, wanted at least 1")),
            count => Ok(count),
        }
    }

    /// Takes the words that are not options. Options that have values must be taken before.
    pub fn words(&mut self) -> Vec<String> {
        let (words, options) = self.0.drain(..).partition(|word| !word.starts_with('-'));
        self.0 = options;
        words
    }

    /// Returns the words that are left, for a program that parses them itself.
    pub fn rest(self) -> Vec<String> {
        self.0
    }

    /// Returns an error if a word is left.
    pub fn finish(self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some(word) => Err(format!("unknown option `{word}`; `cargo xtask help` lists the options of each chore")),
        }
    }
}

/// Returns the items with these names in the order of the table, or all if there are no names. `unknown` begins the
/// message about a name that no item has.
pub fn choose<'a, T>(
    table: &'a [T],
    name: impl Fn(&T) -> &str,
    names: &[String],
    unknown: &str,
) -> Result<Vec<&'a T>, String> {
    if let Some(wrong) = names.iter().find(|wanted| table.iter().all(|item| name(item) != wanted.as_str())) {
        let known: Vec<&str> = table.iter().map(&name).collect();
        return Err(format!("{unknown} `{wrong}`: expected one of {}", known.join(", ")));
    }
    Ok(table.iter().filter(|item| names.is_empty() || names.iter().any(|wanted| wanted == name(item))).collect())
}

#[cfg(test)]
mod tests {
    use super::{Args, choose};

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
        assert!(args("--runs 0").count("--runs", 5).unwrap_err().contains("at least 1"));
        assert!(args("--rusn 1").finish().unwrap_err().contains("--rusn"));
    }

    #[test]
    fn items_are_chosen_by_name() {
        let table = ["format", "clippy", "doc"];
        let choose = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            choose(&table, |name| name, &names, "--only: unknown step")
        };
        assert_eq!(choose(&[]).unwrap().len(), 3);
        assert_eq!(choose(&["doc", "format"]).unwrap(), [&"format", &"doc"]);
        assert!(
            choose(&["dco"]).unwrap_err().starts_with("--only: unknown step `dco`: expected one of format, clippy")
        );
    }
}
