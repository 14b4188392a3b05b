//! `judge`: gives completions of a file their rewards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Error, Result, bail};
use flowrl_core::task::Judgement;
use flowrl_lm::jsonl;
use flowrl_lm::prompts::{PromptRow, RowKeys, row_of};
use flowrl_lm::rollouts::has_ended;
use flowrl_lm::verify::Attempt;
use flowrl_verify::Log;
use serde_json::{Map, Value, json};

use crate::verifiers::{self, VerifierArgs};
use crate::{data, note, output, progress, say, signals, tell};

/// Give completions their rewards: one JSON line for each row, in the order of the file.
///
/// With --json the lines are JSON objects with the row's own fields and `reward` and `verdict`, which `train --rollouts`
/// reads; without it, they are for people. A summary follows.
#[derive(Clone, Debug, clap::Args)]
pub struct JudgeArgs {
    /// Rows of {"prompt", "completion", "answer", "finish_reason"} in JSONL, JSON, CSV, Parquet or Arrow; - reads standard
    /// input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Key of the prompt in each line (default: `prompt`)
    #[arg(long, value_name = "KEY", default_value = "prompt", hide_default_value = true)]
    prompt_key: String,
    /// Key of the answer in each line; a dot descends into an object (default: `answer`)
    #[arg(long, value_name = "KEY", default_value = "answer", hide_default_value = true)]
    answer_key: String,
    /// Key of the completion in each line (default: `completion`)
    #[arg(long, value_name = "KEY", default_value = "completion", hide_default_value = true)]
    completion_key: String,
    #[command(flatten)]
    judging: VerifierArgs,
}

/// One line of the file.
struct Row {
    fields: Map<String, Value>,
    prompt: PromptRow,
    completion: String,
    ended: bool,
}

/// Number of completions judged between two looks at the progress and the signals.
const CHUNK: usize = 256;

/// Runs the command. Returns exit code 128 + n if signal n stopped it.
pub fn run(args: &JudgeArgs, json: bool) -> Result<ExitCode> {
    let VerifierArgs { verifier: names, python, allow_code_execution } = &args.judging;
    let names = if names.is_empty() { vec!["exact".to_owned()] } else { names.clone() };
    if args.judging.verifier.is_empty() {
        note!("completions are judged by `exact`; choose another verifier with --verifier");
    }
    verifiers::specs(&names)?;
    let rows = read(args)?;
    signals::watch();
    let log = Log::default();
    // Someone who tries a function wants to see its prints.
    log.show();
    let verifier = verifiers::open(&names, python.clone(), *allow_code_execution, &log)?;
    for row in &rows {
        verifier.check(&row.prompt).with_context(|| row.prompt.origin.to_string())?;
    }
    let mut counts: BTreeMap<String, (usize, f64)> = BTreeMap::new();
    let (mut sum, mut judged, mut successes) = (0.0, 0_usize, 0_usize);
    let bar = progress::bar(rows.len() as u64, "judging");
    for chunk in chunks(&rows) {
        let attempts: Vec<Attempt<'_>> = chunk
            .iter()
            .map(|Row { prompt, completion, ended, .. }| Attempt { row: prompt, completion, ended: *ended, tokens: 0 })
            .collect();
        let judgements = verifier.judge_batch(&attempts).map_err(Error::from_boxed);
        if let Some(signal) = signals::stop() {
            bar.finish_and_clear();
            tell!("{signal} stopped judging after {} of {} rows", bar.position(), rows.len());
            return Ok(ExitCode::from(signal.exit_code()));
        }
        for (row, judgement) in chunk.iter().zip(judgements?) {
            let (count, total) = counts.entry(judgement.verdict.to_string()).or_default();
            *count += 1;
            *total += judgement.reward.unwrap_or(0.0);
            if let Some(reward) = judgement.reward {
                (sum, judged, successes) = (sum + reward, judged + 1, successes + usize::from(reward > 0.0));
            }
            bar.suspend(|| print(row, &judgement, json))?;
            if output::closed() {
                return Ok(ExitCode::SUCCESS);
            }
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    let line = |text: &str| {
        if json {
            tell!("{text}");
            Ok(())
        } else {
            say!("{text}");
            Ok::<_, Error>(())
        }
    };
    let per = |total: f64, count: usize| if count == 0 { f64::NAN } else { total / count as f64 };
    line(&format!(
        "{} rows, {judged} with a reward: mean {:.4}, above 0 in {:.1} %",
        rows.len(),
        per(sum, judged),
        100.0 * per(successes as f64, judged)
    ))?;
    for (verdict, (count, total)) in counts {
        line(&format!("{verdict:16} {count:7}  mean reward {:.4}", per(total, count)))?;
    }
    for (name, value) in verifier.take_metrics() {
        line(&format!("{name:16} {value:.4}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Splits the rows into chunks of about [`CHUNK`] that keep consecutive rows of a prompt together, because a verifier may
/// compare them.
fn chunks(rows: &[Row]) -> Vec<&[Row]> {
    let mut chunks = Vec::new();
    let mut rest = rows;
    while rest.len() > CHUNK {
        let differs = |i: &usize| rest[i - 1].prompt != rest[*i].prompt;
        let end = (CHUNK..rest.len()).find(differs).unwrap_or(rest.len());
        let (chunk, others) = rest.split_at(end);
        chunks.push(chunk);
        rest = others;
    }
    chunks.push(rest);
    chunks
}

/// Prints one judgement.
fn print(row: &Row, judgement: &Judgement, json: bool) -> Result<()> {
    let Judgement { reward, verdict, parts, answer, log, .. } = judgement;
    if json {
        let mut fields = row.fields.clone();
        fields.insert("reward".into(), json!(reward));
        fields.insert("verdict".into(), json!(verdict));
        if !parts.is_empty() {
            let parts: Map<String, Value> =
                parts.iter().map(|(name, reward)| (name.to_string(), json!(reward))).collect();
            fields.insert("parts".into(), parts.into());
        }
        if let Some(log) = log {
            fields.insert("log".into(), json!(log));
        }
        say!("{}", Value::Object(fields));
        return Ok(());
    }
    let reward = reward.map_or_else(|| "-".to_owned(), |reward| format!("{reward}"));
    let parts: String = parts.iter().map(|(name, reward)| format!("  {name} {reward}")).collect();
    let remark =
        [answer, log].into_iter().flatten().map(|text| format!("  {}", flowrl_lm::short(text))).collect::<String>();
    say!("{:<6} {reward:<8} {verdict:<14}{parts}{remark}", row.prompt.origin.line);
    Ok(())
}

/// Reads the rows of the file.
fn read(args: &JudgeArgs) -> Result<Vec<Row>> {
    let path: &Path = &args.input;
    let keys = RowKeys { prompt: args.prompt_key.clone(), answer: args.answer_key.clone() };
    let read = |origin, fields: Map<String, Value>| {
        let completion = match fields.get(&args.completion_key) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => return Err(format!("`{}` is {other}, but must be a string", args.completion_key)),
            None => {
                let there = jsonl::keys(&fields);
                return Err(format!(
                    "`{}` is missing; the row has {there}: name its key with --completion-key",
                    args.completion_key
                ));
            }
        };
        let ended = has_ended(&fields)?.unwrap_or(true);
        let mut object = fields.clone();
        object.remove(&args.completion_key);
        // Most verifiers look at the answer alone.
        if args.prompt_key == "prompt" && !object.contains_key("prompt") {
            object.insert("prompt".into(), "".into());
        }
        Ok(Row { prompt: row_of(origin, object, &keys)?, fields, completion, ended })
    };
    let rows = data::rows(path)?.into_iter().map(|data::Row { origin, fields }| {
        let place = origin.to_string();
        read(origin, fields).map_err(|why: String| anyhow::anyhow!("{place}: {why}"))
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    if rows.is_empty() {
        bail!("{} holds no completion to judge", path.display());
    }
    Ok(rows)
}
