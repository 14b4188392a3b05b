//! Batched generation with a cache of keys and values.
//!
//! Completions of one prompt share its prefill and its part of the cache, and a finished completion leaves the
//! batch. Each worker of the device samples a part of the sequences.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use flowrl_core::Real;
use flowrl_core::backend::{Drawn, Role, SampleKeys, split};
use flowrl_core::policy::{Completions, SampleRequest};

use crate::backend::{Span, TransformerBackend};
use crate::model::{Attend, Packed, Prepared, Transformer, Weights};

/// Returns whether the operation in progress should be given up. It is called often.
pub type Interrupt = Arc<dyn Fn() -> bool + Send + Sync>;

/// A rule, other than an end token, that ends completions, such as a stop text.
pub trait StopRule: fmt::Debug + Send + Sync {
    /// Returns whether a completion ends with its last token.
    fn is_met(&self, completion: &[u32]) -> bool;
}

/// A report on completions that were sampled together.
#[derive(Clone, Copy, Debug)]
pub struct Wave {
    /// Number of completions.
    pub completions: usize,
    /// Number of tokens of all these completions.
    pub tokens: usize,
    /// Time taken, in seconds.
    pub seconds: f64,
}

/// Called after each wave of completions, by the thread that sampled it.
pub type WaveListener = Arc<dyn Fn(Wave) + Send + Sync>;

/// The limits of sampling: rules that end completions, and tokens that are never drawn.
pub struct Limits<I> {
    /// Tokens each of which ends a completion.
    pub end: Vec<u32>,
    /// A further rule that ends completions.
    pub rule: Option<Arc<dyn StopRule>>,
    /// Largest number of completions sampled at once; 0 means as many as the device's cache holds. Smaller waves need
    /// less memory and change no bit of the result.
    pub wave: usize,
    pub(crate) excluded: Option<I>,
    /// Called after each wave. The report on the first one allows an estimate of the total time.
    pub listener: Option<WaveListener>,
    /// Makes sampling (between two tokens) and scoring (between two calls) return
    /// [`PolicyError::Interrupted`](crate::PolicyError::Interrupted) once it returns true. An update is never
    /// interrupted. An interruption leaves the policy as it was, so the same call gives the same bits later.
    pub interrupt: Option<Interrupt>,
}

impl<I> Limits<I> {
    /// Returns whether sampling should stop now.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|interrupt| interrupt())
    }
}

impl<I> fmt::Debug for Limits<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("end", &self.end).field("rule", &self.rule).finish_non_exhaustive()
    }
}

/// A completion in progress.
struct Draft<T> {
    /// Number of the completion in the request, which selects its random numbers.
    number: usize,
    prompt: (usize, usize),
    /// First row of its own part of the cache.
    start: usize,
    tokens: Vec<u32>,
    log_probs: Vec<T>,
    entropies: Vec<T>,
    excluded: Vec<T>,
    ended: bool,
}

/// Number of sequences that justify a lane, about as many as a matrix product processes at once.
const LANE_ROWS: usize = 16;

/// Largest model, in elements of weights, that every lane may read for itself: 64 MiB in f32.
const SMALL_MODEL: usize = 16 << 20;

/// Returns how many lanes sample side by side. A lane runs on one worker of the device and samples a part of
/// the sequences, from the prompt to the last token.
///
/// A small model uses lanes as soon as there are rows for two, because splitting its short operations costs
/// more than it saves. A large model is read from memory once per lane, which pays only if every worker has
/// many rows; otherwise each operation is split.
fn lanes(sequences: usize, workers: usize, elements: usize) -> usize {
    let lanes = if elements <= SMALL_MODEL {
        workers.min(sequences / LANE_ROWS)
    } else if sequences >= workers * LANE_ROWS * 8 {
        workers
    } else {
        1
    };
    lanes.max(1)
}

/// The parts of a request that all lanes share.
struct Job<'a, T, I> {
    weights: &'a Weights<T>,
    prepared: Option<Prepared<T>>,
    limits: &'a Limits<I>,
    /// Largest number of sequences that a lane samples together.
    wave: usize,
    /// Number of lanes that sample side by side.
    lanes: usize,
    request: &'a SampleRequest<'a>,
}

/// Samples completions; those of one prompt are contiguous.
pub(crate) fn sample<B: TransformerBackend>(
    model: &mut Transformer<B>,
    weights: &Weights<B::Buffer>,
    limits: &Limits<B::Index>,
    request: &SampleRequest<'_>,
) -> Result<Completions<B::Real>, B::Error> {
    let (prompts, samples) = (request.prompts.len(), request.samples);
    let elements = Weights::elements(model.dims());
    let lanes = lanes(prompts * samples, model.backend().workers(), elements);
    // A large model is not prepared, because that doubles its memory.
    let prepared = if elements <= SMALL_MODEL { Prepared::new(model.backend(), model.dims(), weights)? } else { None };
    let (lanes, wave) = match limits.wave {
        0 => (lanes, usize::MAX),
        most => (lanes.min(most), most / lanes.min(most)),
    };
    let (job, cache) = (Job { weights, prepared, limits, wave, lanes, request }, model.backend().cache_limit());
    let drafts = if lanes == 1 {
        waves(model, &job, 0..prompts * samples, cache)?
    } else {
        // Lanes get whole prompts if there are enough of them, so that each prompt is read once.
        let unit = if prompts >= lanes { samples } else { 1 };
        let parts: Vec<_> = split(prompts * samples / unit, lanes).map(|r| r.start * unit..r.end * unit).collect();
        let dims = model.dims();
        let drawn = model.backend().side_by_side(parts, |worker, part| {
            let mut model = Transformer::new(worker, dims.clone())?;
            waves(&mut model, &job, part, cache / lanes)
        });
        let mut drafts = Vec::with_capacity(prompts * samples);
        for part in drawn {
            drafts.extend(part?);
        }
        drafts
    };
    Ok(collect(drafts, samples))
}

/// Samples the sequences of these numbers, as many at a time as `elements` of cache hold.
///
/// If no product of the device depends on its number of rows, waves change no bit of the result.
fn waves<B: TransformerBackend>(
    model: &mut Transformer<B>,
    job: &Job<'_, B::Buffer, B::Index>,
    sequences: Range<usize>,
    elements: usize,
) -> Result<Vec<Draft<B::Real>>, B::Error> {
    let (dims, request) = (model.dims(), job.request);
    let limit = elements / (dims.layers * 2 * dims.heads.kv_width()).max(1);
    let mut drafts = Vec::with_capacity(sequences.len());
    let mut first = sequences.start;
    // After an interrupt `Policy::sample` returns an error, so the missing completions are never used.
    while first < sequences.end && !job.limits.is_interrupted() {
        let mut rows = 0;
        let fits = |&number: &usize| {
            let prompt = if number == first || number % request.samples == 0 {
                request.prompts[number / request.samples].len()
            } else {
                0
            };
            rows += prompt + request.max_tokens;
            rows <= limit
        };
        let count = (first..sequences.end).take(job.wave).take_while(fits).count().max(1);
        let start = Instant::now();
        let drawn = wave(model, job, first..first + count)?;
        if let Some(listener) = &job.limits.listener {
            // The other lanes are assumed to be as fast as this one.
            let tokens = job.lanes * drawn.iter().map(|draft| draft.tokens.len()).sum::<usize>();
            listener(Wave { completions: job.lanes * count, tokens, seconds: start.elapsed().as_secs_f64() });
        }
        drafts.extend(drawn);
        first += count;
    }
    Ok(drafts)
}

/// Samples the sequences of these numbers together.
fn wave<B: TransformerBackend>(
    model: &mut Transformer<B>,
    job: &Job<'_, B::Buffer, B::Index>,
    sequences: Range<usize>,
) -> Result<Vec<Draft<B::Real>>, B::Error> {
    let Job { weights, prepared, request, .. } = job;
    let first = sequences.start / request.samples;
    let prompts = &request.prompts[first..sequences.end.div_ceil(request.samples)];
    let packed = Packed::new(prompts, &[], &[]);
    let own = request.max_tokens.saturating_sub(1);
    let mut drafts: Vec<Draft<B::Real>> = sequences
        .enumerate()
        .map(|(i, number)| Draft {
            number,
            prompt: packed.prompts[number / request.samples - first],
            start: packed.ids.len() + i * own,
            tokens: Vec::new(),
            log_probs: Vec::new(),
            entropies: Vec::new(),
            excluded: Vec::new(),
            ended: false,
        })
        .collect();
    if request.max_tokens == 0 {
        return Ok(drafts);
    }
    let dims = model.dims();
    let rows = packed.ids.len() + drafts.len() * own;
    let width = 2 * dims.heads.kv_width();
    let mut cache = (0..dims.layers)
        .map(|_| model.backend().zeros_for(Role::Activation, rows * width))
        .collect::<Result<Vec<_>, _>>()?;

    let slots: Vec<u32> = (0..packed.ids.len() as u32).collect();
    let last: Vec<u32> = drafts.iter().map(|d| (d.prompt.0 + d.prompt.1 - 1) as u32).collect();
    let prefill = Attend::Prefill(&packed.layout, &mut cache, &slots);
    model.logits(weights, prepared.as_ref(), &packed.ids, &packed.positions, prefill, &last)?;
    let mut active: Vec<usize> = (0..drafts.len()).collect();
    draw(model, job, &mut drafts, &mut active)?;

    while !active.is_empty() && !job.limits.is_interrupted() {
        let ids: Vec<u32> = active.iter().filter_map(|&i| drafts[i].tokens.last().copied()).collect();
        let fed = drafts[active[0]].tokens.len();
        let positions: Vec<u32> = active.iter().map(|&i| (drafts[i].prompt.1 + fed - 1) as u32).collect();
        let slots: Vec<u32> = active.iter().map(|&i| (drafts[i].start + fed - 1) as u32).collect();
        let span = |&i: &usize| {
            let (prefix_start, prefix_len) = drafts[i].prompt;
            Span { start: drafts[i].start, len: fed, prefix_start, prefix_len }
        };
        let spans: Vec<Span> = active.iter().map(span).collect();
        let all: Vec<u32> = (0..active.len() as u32).collect();
        model.logits(weights, prepared.as_ref(), &ids, &positions, Attend::Decode(&mut cache, &slots, &spans), &all)?;
        draw(model, job, &mut drafts, &mut active)?;
    }
    Ok(drafts)
}

/// Draws the next token of every active draft from the logits of the last pass. Drafts that end leave `active`.
fn draw<B: TransformerBackend>(
    model: &Transformer<B>,
    job: &Job<'_, B::Buffer, B::Index>,
    drafts: &mut [Draft<B::Real>],
    active: &mut Vec<usize>,
) -> Result<(), B::Error> {
    let (request, rows) = (job.request, active.len());
    let sequence: Vec<u32> = active.iter().map(|&i| drafts[i].number as u32).collect();
    let token: Vec<u32> = active.iter().map(|&i| drafts[i].tokens.len() as u32).collect();
    let keys = SampleKeys { stream: request.stream, step: request.step, sequence: &sequence, token: &token };
    let mut tokens = vec![0; rows];
    let mut log_probs = vec![B::Real::of(0.0); rows];
    let (mut entropies, mut mass) = (log_probs.clone(), log_probs.clone());
    let shape = (rows, model.dims().vocab);
    let Limits { end, rule, excluded, .. } = job.limits;
    let drawn = Drawn { tokens: &mut tokens, log_prob: &mut log_probs, entropy: &mut entropies, excluded: &mut mass };
    model.backend().sample(model.last_logits(), shape, &request.sampler, excluded.as_ref(), keys, drawn)?;
    for (row, &i) in active.iter().enumerate() {
        let draft = &mut drafts[i];
        draft.tokens.push(tokens[row]);
        draft.log_probs.push(log_probs[row]);
        draft.entropies.push(entropies[row]);
        if excluded.is_some() {
            draft.excluded.push(mass[row]);
        }
        draft.ended = end.contains(&tokens[row]) || rule.as_ref().is_some_and(|rule| rule.is_met(&draft.tokens));
    }
    active.retain(|&i| !drafts[i].ended && drafts[i].tokens.len() < request.max_tokens);
    Ok(())
}

fn collect<T: Real>(drafts: Vec<Draft<T>>, samples: usize) -> Completions<T> {
    let mut all = Completions { offsets: vec![0], ..Completions::default() };
    for draft in drafts {
        all.prompt_of.push(draft.number / samples.max(1));
        all.tokens.extend(draft.tokens);
        all.log_probs.extend(draft.log_probs);
        all.entropies.extend(draft.entropies);
        all.excluded.extend(draft.excluded);
        all.offsets.push(all.tokens.len());
        all.ended.push(draft.ended);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_follow_the_size_of_the_model_and_the_number_of_sequences() {
        assert_eq!(lanes(0, 2, 1000), 1);
        assert_eq!(lanes(31, 2, 1000), 1);
        assert_eq!(lanes(32, 2, 1000), 2);
        assert_eq!(lanes(100, 64, 1000), 6);
        assert_eq!(lanes(255, 2, SMALL_MODEL + 1), 1);
        assert_eq!(lanes(256, 2, SMALL_MODEL + 1), 2);
    }
}
