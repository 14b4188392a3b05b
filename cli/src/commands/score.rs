//! `score`: computes the log-probabilities of given completions.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use flowrl_core::backend::Backend;
use flowrl_core::policy::{Model, Policy, Scores, Sequences};
use flowrl_lm::chat::ChatInputs;
use flowrl_lm::prompts::{Prompt, PromptRow};
use flowrl_lm::task::Text;
use flowrl_lm::{jsonl, load_policy};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::device::DeviceArgs;
use crate::template::{self, TemplateArgs};
use crate::{data, input, on_device, output, say, session};

/// Print the log-probabilities and entropies of completions, one JSON line per row.
#[derive(Clone, Debug, clap::Args)]
pub struct ScoreArgs {
    /// Model: a Hugging Face folder, a run (its last checkpoint) or RUN/best (default: the small built-in model)
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    /// JSONL of {"prompt", "completion"} or {"ids", "prompt_len"}; - reads standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Divisor of the logits
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Rows scored at once; affects memory, but no bit of the result
    #[arg(long, default_value_t = 32)]
    batch: usize,
    #[command(flatten)]
    template: TemplateArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Deserialize)]
struct TextRow {
    prompt: Prompt,
    #[serde(default)]
    completion: Option<String>,
    #[serde(default)]
    completion_ids: Option<Vec<u32>>,
    #[serde(flatten)]
    chat: ChatInputs,
}

#[derive(Deserialize)]
struct IdsRow {
    ids: Vec<u32>,
    prompt_len: usize,
}

/// Runs the command. Scores a completion given as text as it stands, without an end token.
pub fn run(args: &ScoreArgs) -> Result<()> {
    if !(args.temperature.is_finite() && args.temperature > 0.0) {
        bail!("--temperature is {}, but must be a finite number above 0", args.temperature);
    }
    let checkpoint = session::open_model(args.model.as_deref())?;
    let text = Text::of(&checkpoint)?.with_template_options(args.template.options()?);
    let rows = read(&args.input, &text, checkpoint.config().max_position_embeddings)?;
    on_device!(args.device.open()?, |device| score(load_policy(device, &checkpoint)?, &rows, args))
}

/// Scores the rows and prints a line for each.
fn score<P>(mut policy: P, rows: &[(Vec<u32>, usize)], args: &ScoreArgs) -> Result<()>
where
    P: Policy<Backend: Backend<Real = f32>>,
{
    for batch in rows.chunks(args.batch.max(1)) {
        let prompts: Vec<&[u32]> = batch.iter().map(|(ids, at)| &ids[..*at]).collect();
        let completions: Vec<&[u32]> = batch.iter().map(|(ids, at)| &ids[*at..]).collect();
        let prompt_of: Vec<usize> = (0..batch.len()).collect();
        let sequences = Sequences { prompts: &prompts, completions: &completions, prompt_of: &prompt_of };
        let Scores { log_probs, entropies } = policy.score(&sequences, Model::Policy, args.temperature)?;
        let mut start = 0;
        for (ids, at) in batch {
            let range = start..start + ids.len() - at;
            start = range.end;
            let row = serde_json::json!({
                "ids": ids,
                "log_probs": &log_probs[range.clone()],
                "entropies": &entropies[range],
            });
            say!("{row}");
        }
        if output::closed() {
            break;
        }
    }
    Ok(())
}

/// Reads the tokens of each row and the position at which its completion begins.
fn read(path: &Path, text: &Text, context: usize) -> Result<Vec<(Vec<u32>, usize)>> {
    let tokens = |object: Map<String, Value>| {
        let (ids, at) = if object.contains_key("ids") {
            let IdsRow { ids, prompt_len } = jsonl::row(object)?;
            (ids, prompt_len)
        } else if object.contains_key("prompt") {
            let TextRow { prompt, completion, completion_ids, chat } = jsonl::row(object)?;
            let prompt = PromptRow { chat, ..PromptRow::new(prompt) };
            prompt.check()?;
            template::tell(text, [&prompt]);
            let mut ids = text.encode_prompt(&prompt).map_err(|error| error.to_string())?;
            let at = ids.len();
            ids.extend(match (completion_ids, completion) {
                // The ids come first, because the text may encode to other tokens than those that were sampled.
                (Some(tokens), _) => tokens,
                (None, Some(text_of)) => text.encode_completion(&text_of, false).map_err(|error| error.to_string())?,
                (None, None) => return Err("`completion` is missing, and so is `completion_ids`: give one".into()),
            });
            (ids, at)
        } else {
            let there = jsonl::keys(&object);
            return Err(format!("neither `prompt` and `completion` nor `ids` and `prompt_len`: the row has {there}"));
        };
        let all = ids.len();
        if at == 0 || at > all {
            return Err(format!("`prompt_len` is {at}, but must be from 1 to the {all} tokens of `ids`"));
        }
        if all > context {
            return Err(format!(
                "{all} tokens are more than the {context} positions of the model's context: shorten the row"
            ));
        }
        Ok((ids, at))
    };
    let rows = data::rows(path)?
        .into_iter()
        .map(|row| tokens(row.fields).map_err(|why: String| anyhow::anyhow!("{}: {why}", row.origin)));
    let rows: Vec<_> = rows.collect::<Result<_>>()?;
    anyhow::ensure!(!rows.is_empty(), "{} holds no row to score", input::name(path));
    Ok(rows)
}
