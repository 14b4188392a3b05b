//! A language model as a judge, behind an OpenAI-compatible server.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use flowrl_core::task::{JudgeError, Judgement};
use flowrl_lm::Interrupted;
use flowrl_lm::verify::{Attempt, Verifier};
use regex_lite::Regex;
use serde_json::{Value, json};

use super::{Client, Failure, in_parallel};
use crate::measured::{Measured, only};
use crate::options::Options;

/// The question to the judge if there is no template.
const TEMPLATE: &str = "Judge the answer to a question.\n\nQuestion:\n{prompt}\n\nReference answer:\n{answer}\n\nAnswer:\n{completion}\n\n\
                        Is the answer correct? Explain in one sentence, then end with a line `Score: N`, where N is from 0 (wrong) to 1 \
                        (correct).";

/// The pattern of the score if none is given.
const PATTERN: &str = r"(?i)score:\s*\**\s*(-?\d+(?:\.\d+)?)";

/// A judge behind a server with OpenAI's interface for conversations: it is asked once about each distinct completion,
/// at temperature 0, and its score is the number that a pattern finds in the reply.
#[derive(Debug)]
pub struct LanguageModel {
    name: String,
    client: Client,
    model: String,
    template: String,
    pattern: Regex,
    options: Options,
    measured: Measured,
    /// Judgements by question.
    known: Mutex<HashMap<String, Judgement>>,
}

impl LanguageModel {
    /// Creates a judge at `url`, the base of the interface, which ends with `/v1` for most servers.
    ///
    /// Without a model, it is the first that the server lists. A template has `{prompt}`, `{completion}` and `{answer}`
    /// in it. The pattern's first group is the score.
    ///
    /// # Errors
    /// Returns an error if the server does not answer, the template has no `{completion}`, or the pattern has no group.
    pub fn new(
        name: impl Into<String>,
        url: &str,
        model: Option<&str>,
        template: Option<&str>,
        pattern: Option<&str>,
        options: &Options,
    ) -> Result<Self, JudgeError> {
        let template = template.unwrap_or(TEMPLATE);
        if !template.contains("{completion}") {
            return Err("the judge's template has no {completion}, so all completions would be judged alike".into());
        }
        let pattern = pattern.unwrap_or(PATTERN);
        let pattern = Regex::new(pattern).map_err(|error| format!("the judge's pattern {pattern:?}: {error}"))?;
        if pattern.captures_len() < 2 {
            return Err(format!(
                "the judge's pattern {:?} has no group: put the score in parentheses",
                pattern.as_str()
            )
            .into());
        }
        let client = Client::new(&format!("{url}/chat/completions"));
        let model = match model {
            Some(model) => model.to_owned(),
            None => first_model(&client, url)?,
        };
        Ok(Self {
            name: name.into(),
            client,
            model,
            template: template.to_owned(),
            pattern,
            options: options.clone(),
            measured: Measured::default(),
            known: Mutex::default(),
        })
    }

    fn question(&self, attempt: &Attempt<'_>) -> String {
        let answer = match &attempt.row.answer {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let values =
            [("{prompt}", attempt.row.prompt.question()), ("{completion}", attempt.completion), ("{answer}", &answer)];
        // In one pass: a completion with `{answer}` in it must not show the answer.
        let mut rest = self.template.as_str();
        let mut question = String::with_capacity(rest.len() + attempt.completion.len());
        while let Some((at, name, value)) = values
            .iter()
            .filter_map(|(name, value)| rest.find(name).map(|at| (at, name, value)))
            .min_by_key(|(at, ..)| *at)
        {
            question.push_str(&rest[..at]);
            question.push_str(value);
            rest = &rest[at + name.len()..];
        }
        question.push_str(rest);
        question
    }

    /// Asks about one completion. Returns `None` if it was interrupted.
    fn ask(&self, question: &str) -> Option<Judgement> {
        let body = json!({
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
        });
        let begin = Instant::now();
        let reply = match self.client.post(&body, self.options.timeout, &self.options) {
            Err(Failure::Interrupted) => return None,
            Err(failure) => Err((failure.verdict(), format!("the judge {}", failure.reason().unwrap_or_default()))),
            Ok(value) => match value.pointer("/choices/0/message/content").and_then(Value::as_str) {
                Some(text) => Ok(text.to_owned()),
                None => {
                    let shown = flowrl_lm::short(&value.to_string());
                    Err(("error", format!("the judge answered without a message: {shown}")))
                }
            },
        };
        self.measured.took(begin.elapsed());
        let failed = |verdict, reason: &str| {
            self.options.report(&self.name, reason);
            self.measured.failed();
            self.options.failed(verdict)
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err((verdict, reason)) => return Some(failed(verdict, &reason)),
        };
        // The last match: a judge may mention the form of the score before it gives it.
        let score =
            self.pattern.captures_iter(&reply).last().and_then(|found| found.get(1)?.as_str().parse::<f64>().ok());
        Some(match score.filter(|score| score.is_finite()) {
            Some(score) => Judgement::new(score, if score > 0.0 { "correct" } else { "wrong" }),
            None => failed("unparseable", "a reply of the judge has no score in it"),
        })
    }
}

/// Returns the first model that the server lists.
fn first_model(client: &Client, url: &str) -> Result<String, JudgeError> {
    let failed = |reason: String| format!("the judge at {url} lists no model ({reason}): name one with `,model=NAME`");
    let mut response = client.agent.get(format!("{url}/models")).call().map_err(|error| failed(error.to_string()))?;
    let text = response.body_mut().read_to_string().map_err(|error| failed(error.to_string()))?;
    let list: Value = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let first = list.pointer("/data/0/id").and_then(Value::as_str);
    Ok(first.ok_or_else(|| failed(flowrl_lm::short(&text)))?.to_owned())
}

impl Verifier for LanguageModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        only(self.judge_batch(&[attempt])?)
    }

    fn judge_batch(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        let questions: Vec<String> = attempts.iter().map(|attempt| self.question(attempt)).collect();
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new: Vec<&String> = {
            let known = lock();
            questions.iter().filter(|question| !known.contains_key(*question)).collect()
        };
        new.sort_unstable();
        new.dedup();
        // Requests wait for the server rather than for a processor.
        let threads = 4 * self.options.worker_count();
        let is_done = in_parallel(&new, threads, |question| {
            self.ask(question).map(|judgement| lock().insert((*question).clone(), judgement)).is_some()
        });
        if !is_done {
            return Err(Box::new(Interrupted));
        }
        let mut known = lock();
        let judgements: Vec<Judgement> = questions.iter().filter_map(|question| known.get(question).cloned()).collect();
        // Questions whose judgement failed are asked again the next time.
        known.retain(|_, judgement| {
            judgement.reward.is_some() && !matches!(&*judgement.verdict, "error" | "timeout" | "unparseable")
        });
        Ok(judgements)
    }

    fn take_metrics(&self) -> Vec<(&'static str, f64)> {
        self.measured.take()
    }
}
