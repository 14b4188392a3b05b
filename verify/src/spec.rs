//! The names of verifiers: `math`, `reward.py:function`, `cmd:PROGRAM ARGS`, `http://…`, with options.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use flowrl_core::task::JudgeError;
use flowrl_lm::verify::{self, Verifier};

use crate::code::sandbox::{Limits, Permission, Sandbox};
use crate::code::{self, Code, RewardRule};
use crate::http::{Http, LanguageModel};
use crate::math::{Gsm8kFlexible, Gsm8kStrict, Math};
use crate::options::Options;
use crate::python::Python;
use crate::several::{Part, Several};
use crate::shell;
use crate::workers::Workers;

/// The shim that judges with a function of a Python file.
const SHIM: &str = include_str!("workers/shim.py");

/// The names of verifiers that are built in.
pub const NAMES: [&str; 7] = ["code", "countdown", "exact", "gsm8k-flexible", "gsm8k-strict", "math", "number"];

/// One verifier as a user names it: its source, then options after commas, `reward.py:format,weight=0.1,timeout=2`.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    text: String,
    source: Source,
    weight: Option<f64>,
    name: Option<String>,
    timeout: Option<Duration>,
    workers: Option<usize>,
    reward_of_failure: Option<f64>,
    model: Option<String>,
    template: Option<PathBuf>,
    pattern: Option<String>,
    code: code::Options,
}

/// Where the judgements of a verifier come from.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// Built in.
    Named(String),
    /// A program, with its arguments.
    Program(Vec<String>),
    /// A function of a Python file; without a name, the only one that fits.
    Python { path: PathBuf, function: String },
    /// A server that judges batches.
    Http(String),
    /// A language model behind an OpenAI-compatible server.
    LanguageModel(String),
}

/// Longest time for a reply of a language model, which may think before it gives a score.
const LANGUAGE_MODEL_TIMEOUT: Duration = Duration::from_secs(120);

/// The options that may follow a comma, with the kinds of verifier that have them.
const KEYS: [&str; 10] =
    ["weight", "name", "timeout", "workers", "failure", "model", "template", "pattern", "rule", "source"];

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (source, options) = split_options(text);
        let mut spec = Self {
            text: text.to_owned(),
            source: Source::parse(source)?,
            weight: None,
            name: None,
            timeout: None,
            workers: None,
            reward_of_failure: None,
            model: None,
            template: None,
            pattern: None,
            code: code::Options::default(),
        };
        let wrong = |key: &str, value: &str, wanted: &str| {
            format!("verifier {text:?}: {key} is {value:?}, but must be {wanted}")
        };
        for (key, value) in options {
            let number = |wanted: &str, fits: fn(f64) -> bool| {
                value.parse().ok().filter(|number: &f64| fits(*number)).ok_or_else(|| wrong(key, value, wanted))
            };
            match key {
                "weight" => spec.weight = Some(number("a finite number", f64::is_finite)?),
                "timeout" => {
                    let seconds =
                        number("a number of seconds from 0.001 to 86400", |s| (0.001..=86400.0).contains(&s))?;
                    spec.timeout = Some(Duration::from_secs_f64(seconds));
                }
                "workers" => {
                    let count = value.parse().ok().filter(|count| (1..=1024).contains(count));
                    spec.workers = Some(count.ok_or_else(|| wrong(key, value, "a number from 1 to 1024"))?);
                }
                "failure" => spec.reward_of_failure = Some(number("a finite number", f64::is_finite)?),
                "name" => {
                    let fits =
                        !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
                    if !fits {
                        return Err(wrong(key, value, "letters, digits, _ and -"));
                    }
                    spec.name = Some(value.to_owned());
                }
                "model" => spec.model = Some(value.to_owned()),
                "template" => spec.template = Some(value.into()),
                "rule" => {
                    spec.code.reward = match value {
                        "all" => RewardRule::All,
                        "fraction" => RewardRule::Fraction,
                        _ => return Err(wrong(key, value, "all or fraction")),
                    }
                }
                "source" => {
                    spec.code.source = match value {
                        "block" => code::Source::Block,
                        "continuation" => code::Source::Continuation,
                        _ => return Err(wrong(key, value, "block or continuation")),
                    }
                }
                _ => spec.pattern = Some(value.to_owned()),
            }
            let applies = match key {
                "weight" | "name" => true,
                "rule" | "source" => spec.source == Source::Named("code".into()),
                "model" | "template" | "pattern" => matches!(spec.source, Source::LanguageModel(_)),
                _ => !matches!(&spec.source, Source::Named(name) if name != "code" && name != "math"),
            };
            if !applies {
                return Err(format!("verifier {text:?}: the verifier {source} has no option {key}"));
            }
        }
        Ok(spec)
    }
}

/// Splits a specification at the commas that begin an option.
fn split_options(text: &str) -> (&str, Vec<(&str, &str)>) {
    let begins_option =
        |rest: &str| KEYS.iter().any(|key| rest.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')));
    let cuts: Vec<usize> =
        text.match_indices(',').map(|(at, _)| at).filter(|&at| begins_option(&text[at + 1..])).collect();
    let Some(&first) = cuts.first() else { return (text, Vec::new()) };
    let ends = cuts.iter().skip(1).copied().chain([text.len()]);
    let options = cuts.iter().zip(ends).filter_map(|(&start, end)| text[start + 1..end].split_once('='));
    (&text[..first], options.collect())
}

impl Source {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(command) = text.strip_prefix("cmd:") {
            let words = shell::words(command).map_err(|message| format!("verifier {text:?}: {message}"))?;
            return if words.is_empty() {
                Err(format!("verifier {text:?} names no program: cmd:PROGRAM ARGS"))
            } else {
                Ok(Self::Program(words))
            };
        }
        if let Some(url) = text.strip_prefix("judge:") {
            return url_of(url).map(Self::LanguageModel);
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return url_of(text).map(Self::Http);
        }
        let (path, function) = match text.rsplit_once(':') {
            Some((path, function)) if path.ends_with(".py") => (path, function),
            _ => (text, ""),
        };
        if path.ends_with(".py") {
            return Ok(Self::Python { path: path.into(), function: function.to_owned() });
        }
        if NAMES.contains(&text) {
            return Ok(Self::Named(text.to_owned()));
        }
        Err(format!(
            "unknown verifier {text:?}: expected one of {}, a Python file (reward.py or reward.py:function), cmd:PROGRAM ARGS, \
             http://… or judge:http://…",
            NAMES.join(", ")
        ))
    }
}

fn url_of(url: &str) -> Result<String, String> {
    if url.starts_with("https://") && !cfg!(feature = "tls") {
        return Err(format!(
            "{url}: this program was built without TLS; build it with --features tls, or name a server by http://"
        ));
    }
    if url.starts_with("http://") || url.starts_with("https://") {
        Ok(url.trim_end_matches('/').to_owned())
    } else {
        Err(format!("{url:?} is no address of a server: it must begin with http:// or https://"))
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Spec {
    /// Returns this specification with the paths in it taken as relative to a folder.
    ///
    /// # Errors
    /// Returns a message if the folder's path is not Unicode.
    pub fn in_folder(&self, folder: &Path) -> Result<String, String> {
        let mut text = self.text.clone();
        let python = if let Source::Python { path, .. } = &self.source { Some(path) } else { None };
        for path in [python, self.template.as_ref()].into_iter().flatten() {
            let whole = folder.join(path);
            let whole = whole.to_str().ok_or_else(|| format!("the path {} is not Unicode", whole.display()))?;
            text = text.replacen(&*path.to_string_lossy(), whole, 1);
        }
        Ok(text)
    }

    /// Returns the name of this verifier among several: the one given, or one from its source.
    fn part_name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let stem = |path: &Path| path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        match &self.source {
            Source::Named(name) => name.clone(),
            Source::Program(words) => stem(Path::new(&words[0])),
            Source::Python { path, function } if function.is_empty() => stem(path),
            Source::Python { function, .. } => function.clone(),
            Source::Http(_) => "server".into(),
            Source::LanguageModel(_) => "judge".into(),
        }
    }

    /// Opens this verifier.
    ///
    /// # Errors
    /// Returns an error that names the missing piece: a program, a module, a function, a server, a permission.
    fn open(&self, options: &Options) -> Result<Box<dyn Verifier>, JudgeError> {
        let mut options = options.clone();
        let of_kind = if let Source::LanguageModel(_) = self.source { LANGUAGE_MODEL_TIMEOUT } else { options.timeout };
        options.timeout = self.timeout.unwrap_or(of_kind);
        options.workers = self.workers.unwrap_or(options.workers);
        options.reward_of_failure = self.reward_of_failure.or(options.reward_of_failure);
        match &self.source {
            Source::Named(name) => self.named(name, &options),
            Source::Program(words) => {
                let words = words.clone();
                let command = move || {
                    let mut command = std::process::Command::new(&words[0]);
                    command.args(&words[1..]);
                    command
                };
                Ok(Box::new(Workers::new(self.part_name(), command, &options)?))
            }
            Source::Python { path, function } => {
                if !path.is_file() {
                    return Err(format!("verifier {}: there is no file {}", self.text, path.display()).into());
                }
                python(self.part_name(), path.clone(), function.clone(), &options)
            }
            Source::Http(url) => Ok(Box::new(Http::new(self.part_name(), url, &options)?)),
            Source::LanguageModel(url) => {
                let template = match &self.template {
                    Some(path) => Some(
                        std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?,
                    ),
                    None => None,
                };
                let judge = LanguageModel::new(
                    self.part_name(),
                    url,
                    self.model.as_deref(),
                    template.as_deref(),
                    self.pattern.as_deref(),
                    &options,
                )?;
                Ok(Box::new(judge))
            }
        }
    }
}

impl Spec {
    /// Opens a verifier that is built in.
    fn named(&self, name: &str, options: &Options) -> Result<Box<dyn Verifier>, JudgeError> {
        match name {
            "code" => {}
            "math" => {
                // Without Math-Verify, answers that this crate does not understand are counted as `unknown`.
                let is_there = Python::find(options.python.as_deref()).and_then(|python| python.require("math_verify"));
                return Ok(Box::new(match is_there {
                    Ok(()) => Math::with_fallback(python(name.into(), name.into(), String::new(), options)?),
                    Err(_) => Math::new(),
                }));
            }
            "gsm8k-strict" => return Ok(Box::new(Gsm8kStrict)),
            "gsm8k-flexible" => return Ok(Box::new(Gsm8kFlexible)),
            _ => return Ok(verify::by_name(name)?),
        }
        let permission = Permission::from_flag(options.code.is_some())?;
        let Some(launcher) = options.code.clone() else { return Err("no way to confine programs is given".into()) };
        let mut limits = Limits::default();
        if let Some(timeout) = self.timeout {
            (limits.cpu, limits.wall) = (timeout, 2 * timeout);
        }
        let sandbox = Sandbox::open(permission, launcher, options.python.as_deref(), limits)?;
        if let Some(note) = sandbox.note() {
            options.report("code", note);
        }
        Ok(Box::new(Code::new(sandbox, self.code.clone())))
    }
}

/// Opens a verifier that is a function of a Python file.
fn python(name: String, path: PathBuf, function: String, options: &Options) -> Result<Box<dyn Verifier>, JudgeError> {
    let python = Python::find(options.python.as_deref())?;
    let command = move || {
        let mut command = python.command(SHIM);
        command.arg(&path).arg(&function);
        command
    };
    Ok(Box::new(Workers::new(name, command, options)?))
}

/// Opens the verifiers that a user names. Several give the weighted sum of their rewards, with each as a part.
///
/// # Errors
/// Returns an error that names the verifier and its mistake.
pub fn open(specs: &[Spec], options: &Options) -> Result<Box<dyn Verifier>, JudgeError> {
    match specs {
        [] => Err("no verifier is named".into()),
        [only] if only.weight.is_none_or(|weight| weight == 1.0) => only.open(options),
        several => {
            let parts = several.iter().map(|spec| {
                let verifier = spec.open(options)?;
                Ok(Part { name: spec.part_name(), weight: spec.weight.unwrap_or(1.0), verifier })
            });
            Ok(Box::new(Several::new(parts.collect::<Result<_, JudgeError>>()?)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_source() {
        let source = |text: &str| text.parse::<Spec>().map(|spec| spec.source);
        let python = |path: &str, function: &str| Source::Python { path: path.into(), function: function.into() };
        assert_eq!(source("math"), Ok(Source::Named("math".into())));
        assert_eq!(source("a/reward.py"), Ok(python("a/reward.py", "")));
        assert_eq!(source("C:\\x\\reward.py:score"), Ok(python("C:\\x\\reward.py", "score")));
        assert_eq!(source("http://h:1/score/"), Ok(Source::Http("http://h:1/score".into())));
        assert_eq!(source("judge:http://h:1/v1,model=m"), Ok(Source::LanguageModel("http://h:1/v1".into())));
        let words = ["prog", "a b", "c\"d", "", "e,f"].map(str::to_owned).to_vec();
        assert_eq!(source(r#"cmd:prog 'a b' c\"d "" e,f,timeout=2"#), Ok(Source::Program(words)));
    }

    #[test]
    fn options_follow_commas() {
        let spec: Spec =
            "judge:http://h/v1,pattern=(\\d+), then,weight=-0.5,timeout=0.25,workers=3,failure=0".parse().unwrap();
        assert_eq!(spec.pattern.as_deref(), Some("(\\d+), then"));
        assert_eq!((spec.weight, spec.timeout), (Some(-0.5), Some(Duration::from_millis(250))));
        assert_eq!((spec.workers, spec.reward_of_failure), (Some(3), Some(0.0)));
    }

    #[test]
    fn paths_are_taken_as_relative_to_a_folder() {
        for (text, wanted) in [
            ("a/r.py:f,weight=2", "/x/a/r.py:f,weight=2"),
            ("/a/r.py", "/a/r.py"),
            ("math", "math"),
            ("judge:http://h/v1,template=t.txt", "judge:http://h/v1,template=/x/t.txt"),
        ] {
            assert_eq!(text.parse::<Spec>().unwrap().in_folder(Path::new("/x")).unwrap(), wanted);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, wanted) in [
            ("maths", "expected one of code, countdown"),
            ("", "unknown verifier"),
            ("cmd:", "names no program"),
            ("cmd:a 'b", "not closed"),
            ("judge:localhost", "must begin with http://"),
            ("math,weight=much", "weight is \"much\""),
            ("math,weight=inf", "weight is \"inf\""),
            ("r.py,timeout=0", "timeout is \"0\""),
            ("r.py,workers=0", "workers is \"0\""),
            ("r.py,name=a b", "name is \"a b\""),
            ("exact,timeout=1", "the verifier exact has no option timeout"),
            ("r.py,model=m", "has no option model"),
        ] {
            let message = text.parse::<Spec>().unwrap_err();
            assert!(message.contains(wanted), "{text}: {message}");
        }
    }
}
