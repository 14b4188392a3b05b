//! `sample`: complete prompts.

use std::path::PathBuf;

use anyhow::Result;
use flowrl_core::backend::Sampler;
use flowrl_core::policy::{Policy, SampleRequest};
use flowrl_core::random::{Purpose, Stream};
use flowrl_lm::load_policy;
use flowrl_lm::prompts::{PromptRow, read_prompts};
use flowrl_lm::task::Text;

use crate::device::DeviceArgs;
use crate::template::{self, TemplateArgs};
use crate::{on_device, say, session};

/// Complete prompts with a model.
#[derive(Clone, Debug, clap::Args)]
pub struct SampleArgs {
    /// Hugging Face folder of the model; without it, the small model in this program
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// A prompt; may be repeated
    #[arg(long = "prompt", value_name = "TEXT", required_unless_present = "prompts")]
    texts: Vec<String>,
    /// Prompts in JSONL
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Completions of a prompt
    #[arg(long, default_value_t = 1)]
    samples: usize,
    /// Tokens of a completion at most
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// Logits are divided by it; 0 takes the most probable token each time
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Keep the k most probable tokens; 0 keeps all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Keep the most probable tokens until their probabilities reach this sum
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    template: TemplateArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Runs the command: a line per completion, or JSON with tokens and log-probabilities.
///
/// # Errors
/// A model or prompts that cannot be read, options out of range.
pub fn run(args: &SampleArgs, json: bool) -> Result<()> {
    let sampler = Sampler { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p };
    sampler.validate().map_err(anyhow::Error::msg)?;
    let checkpoint = session::open_model(args.model.as_deref())?;
    let text = Text::of(&checkpoint)?.with_template_options(args.template.options()?);
    let mut rows: Vec<PromptRow> = args.texts.iter().map(PromptRow::text).collect();
    if let Some(path) = &args.prompts {
        rows.extend(read_prompts(path)?);
    }
    template::tell(&text, &rows);
    let prompts = rows.iter().map(|row| text.encode_prompt(row)).collect::<Result<Vec<_>, _>>()?;
    let slices: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let request = SampleRequest {
        prompts: &slices,
        samples: args.samples,
        max_tokens: args.max_tokens,
        sampler,
        stream: Stream::new(args.seed, Purpose::Sample),
        step: 0,
    };
    let drawn = on_device!(args.device.open()?, |device| Ok(load_policy(device, &checkpoint)?.sample(&request)?))?;
    for i in 0..drawn.len() {
        let completion = text.decode(drawn.get(i));
        if json {
            let range = drawn.offsets[i]..drawn.offsets[i + 1];
            let row = serde_json::json!({
                "prompt": rows[drawn.prompt_of[i]].prompt,
                "completion": completion,
                "completion_ids": drawn.get(i),
                "log_probs": &drawn.log_probs[range],
                "ended": drawn.ended[i],
            });
            say!("{row}");
        } else {
            say!("{}{completion}", text.render(&rows[drawn.prompt_of[i]])?);
        }
    }
    Ok(())
}
