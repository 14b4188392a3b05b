//! `sample`: completes prompts.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use flowrl_core::backend::Sampler;
use flowrl_core::policy::{Policy, SampleRequest};
use flowrl_core::random::{Purpose, Stream};
use flowrl_lm::load_policy;
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::task::Text;

use crate::data::{Keys, read_prompts};
use crate::device::DeviceArgs;
use crate::template::{self, TemplateArgs};
use crate::{on_device, say, session};

/// Complete prompts with a model.
#[derive(Clone, Debug, clap::Args)]
pub struct SampleArgs {
    /// Model: a Hugging Face folder, a run (its last checkpoint) or RUN/best (default: the small built-in model)
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Prompt; may be repeated
    #[arg(long = "prompt", value_name = "TEXT", required_unless_present = "prompts")]
    texts: Vec<String>,
    /// Prompts in JSONL, JSON, CSV, Parquet or Arrow, or a folder of `datasets`
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Key of the prompt in each row (default: `prompt`, or what the rows of known programs have)
    #[arg(long, value_name = "KEY")]
    prompt_key: Option<String>,
    /// Completions per prompt
    #[arg(long, default_value_t = 1)]
    samples: usize,
    /// Maximum number of tokens in a completion (default: 128, or less if the prompts leave less of the model's
    /// context)
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Text that ends a completion; may be repeated
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Divisor of the logits; 0 always takes the most probable token
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Keep the k most probable tokens; 0 keeps all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Keep the most probable tokens until their probabilities reach this sum
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Seed of the sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    template: TemplateArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Runs the command. Prints a line per completion, or JSON with tokens and log-probabilities.
pub fn run(args: &SampleArgs, json: bool) -> Result<()> {
    let sampler = Sampler { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p };
    sampler.validate().map_err(anyhow::Error::msg)?;
    let checkpoint = session::open_model(args.model.as_deref())?;
    let text = Text::of(&checkpoint)?.with_stop(args.stop.clone())?.with_template_options(args.template.options()?);
    let mut rows: Vec<PromptRow> = args.texts.iter().map(PromptRow::text).collect();
    if let Some(path) = &args.prompts {
        let keys = Keys { prompt: args.prompt_key.clone(), answer: None };
        rows.extend(read_prompts(path, &keys)?);
    }
    template::tell(&text, &rows);
    let place = |row: &PromptRow| match row.origin.line {
        0 => format!("--prompt {:?}", row.prompt.question()),
        _ => row.origin.to_string(),
    };
    let encode = |row: &PromptRow| text.encode_prompt(row).with_context(|| place(row));
    let prompts = rows.iter().map(encode).collect::<Result<Vec<_>>>()?;
    let context = checkpoint.config().max_position_embeddings;
    let longest = prompts.iter().map(Vec::len).enumerate().max_by_key(|(_, len)| *len);
    let left = context.saturating_sub(longest.map_or(0, |(_, len)| len));
    let max_tokens = args.max_tokens.unwrap_or(left.min(128));
    if let Some((row, len)) = longest.filter(|_| max_tokens > left || (left == 0 && args.max_tokens.is_none())) {
        bail!(
            "{}: the prompt has {len} tokens, and the model's context has {context} positions: shorten it, or lower --max-tokens to \
             {left} or less",
            place(&rows[row])
        );
    }
    let slices: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let request = SampleRequest {
        prompts: &slices,
        samples: args.samples,
        max_tokens,
        sampler,
        stream: Stream::new(args.seed, Purpose::Sample),
        step: 0,
    };
    let drawn = on_device!(args.device.open()?, |device| {
        let mut policy = load_policy(device, &checkpoint)?;
        if !args.stop.is_empty() {
            policy.limits.rule = Some(Arc::new(text.clone()));
        }
        Ok(policy.sample(&request)?)
    })?;
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
