//! `score`: log-probabilities of given completions.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use flowrl_core::backend::Backend;
use flowrl_core::policy::{Model, Policy, Sequences};
use flowrl_lm::chat::ChatInputs;
use flowrl_lm::load_policy;
use flowrl_lm::prompts::{Prompt, PromptRow};
use flowrl_lm::task::Text;
use serde::Deserialize;

use crate::device::DeviceArgs;
use crate::template::{self, TemplateArgs};
use crate::{on_device, output, say, session};

/// Log-probabilities and entropies of completions, a JSON line per row.
#[derive(Clone, Debug, clap::Args)]
pub struct ScoreArgs {
    /// Hugging Face folder of the model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// JSONL of {"prompt", "completion"} or {"ids", "prompt_len"}; - reads standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Logits are divided by it
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Rows scored at once; changes memory, not a bit of the result
    #[arg(long, default_value_t = 32)]
    batch: usize,
    #[command(flatten)]
    template: TemplateArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    Text {
        prompt: Prompt,
        completion: String,
        #[serde(flatten)]
        chat: Box<ChatInputs>,
    },
    Ids {
        ids: Vec<u32>,
        prompt_len: usize,
    },
}

/// Runs the command. A completion given as text is scored as it stands, without an end token.
///
/// # Errors
/// A model that cannot be read; a bad row, with its line.
pub fn run(args: &ScoreArgs) -> Result<()> {
    if !(args.temperature.is_finite() && args.temperature > 0.0) {
        bail!("--temperature is {}, but must be a finite number above 0", args.temperature);
    }
    let checkpoint = session::open_model(Some(&args.model))?;
    let text = Text::of(&checkpoint)?.with_template_options(args.template.options()?);
    let rows = read(&args.input, &text)?;
    on_device!(args.device.open()?, |device| score(load_policy(device, &checkpoint)?, &rows, args))
}

/// Prints a line for each row.
fn score<P>(mut policy: P, rows: &[(Vec<u32>, usize)], args: &ScoreArgs) -> Result<()>
where
    P: Policy<Backend: Backend<Real = f32>>,
{
    for batch in rows.chunks(args.batch.max(1)) {
        let prompts: Vec<&[u32]> = batch.iter().map(|(ids, at)| &ids[..*at]).collect();
        let completions: Vec<&[u32]> = batch.iter().map(|(ids, at)| &ids[*at..]).collect();
        let prompt_of: Vec<usize> = (0..batch.len()).collect();
        let sequences = Sequences { prompts: &prompts, completions: &completions, prompt_of: &prompt_of };
        let (mut log_probs, mut entropies) = (vec![0.0_f32; sequences.tokens()], vec![0.0_f32; sequences.tokens()]);
        policy.score(&sequences, Model::Policy, args.temperature, &mut log_probs, &mut entropies)?;
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

/// The tokens of each row and where its completion begins.
fn read(path: &std::path::Path, text: &Text) -> Result<Vec<(Vec<u32>, usize)>> {
    let mut content = String::new();
    if path == std::path::Path::new("-") {
        std::io::stdin().read_to_string(&mut content)?;
    } else {
        content = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let mut rows = Vec::new();
    for (number, line) in content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}:{}", path.display(), number + 1);
        let row: Row = serde_json::from_str(line).with_context(|| {
            format!("{}: neither {{\"prompt\", \"completion\"}} nor {{\"ids\", \"prompt_len\"}}", place())
        })?;
        rows.push(match row {
            Row::Ids { ids, prompt_len } => {
                if prompt_len == 0 || prompt_len > ids.len() {
                    let all = ids.len();
                    bail!("{}: `prompt_len` is {prompt_len}, but must be from 1 to the {all} tokens of `ids`", place());
                }
                (ids, prompt_len)
            }
            Row::Text { prompt, completion, chat } => {
                let prompt = PromptRow { chat: *chat, ..PromptRow::new(prompt) };
                prompt.check().map_err(anyhow::Error::msg).with_context(place)?;
                template::tell(text, [&prompt]);
                let mut ids = text.encode_prompt(&prompt).with_context(place)?;
                let at = ids.len();
                ids.extend(text.tokenizer().encode(&completion, false).with_context(place)?);
                (ids, at)
            }
        });
    }
    Ok(rows)
}
