//! Generation: batched, with a cache of keys and values. Completions of one prompt share its prefill and its part of the cache,
//! and a finished completion leaves the batch.

use flowrl_core::Real;
use flowrl_core::backend::SampleKeys;
use flowrl_core::policy::{Completions, SampleRequest};

use crate::backend::{Span, TransformerBackend};
use crate::model::{Attend, Packed, Transformer, Weights};

/// A completion on its way.
struct Draft<T> {
    /// Its number in the request, which names its random numbers.
    number: usize,
    prompt: (usize, usize),
    /// First row of its own part of the cache.
    start: usize,
    tokens: Vec<u32>,
    log_probs: Vec<T>,
    entropies: Vec<T>,
    ended: bool,
}

/// Elements of keys and values held at most, over all layers: 1 GiB in f32. More prompts than fit are sampled in waves, which
/// changes no bit of the result.
const CACHE_ELEMENTS: usize = 256 << 20;

/// Samples completions; those of one prompt stand together.
pub(crate) fn sample<B: TransformerBackend>(
    model: &mut Transformer<B>,
    weights: &Weights<B::Buffer>,
    stop: &[u32],
    request: &SampleRequest<'_>,
) -> Result<Completions<B::Real>, B::Error> {
    let dims = model.dims();
    let per_row = (dims.layers * 2 * dims.heads.kv_width()).max(1);
    let limit = CACHE_ELEMENTS / per_row;
    let mut drafts = Vec::with_capacity(request.prompts.len() * request.samples);
    let mut first = 0;
    while first < request.prompts.len() {
        let mut rows = 0;
        let fits = |prompt: &&&[u32]| {
            rows += prompt.len() + request.samples * request.max_tokens;
            rows <= limit
        };
        let count = request.prompts[first..].iter().take_while(fits).count().max(1);
        drafts.extend(wave(model, weights, stop, request, first, count)?);
        first += count;
    }
    Ok(collect(drafts, request.samples))
}

/// Samples the completions of `count` prompts from `first` on.
fn wave<B: TransformerBackend>(
    model: &mut Transformer<B>,
    weights: &Weights<B::Buffer>,
    stop: &[u32],
    request: &SampleRequest<'_>,
    first: usize,
    count: usize,
) -> Result<Vec<Draft<B::Real>>, B::Error> {
    let packed = Packed::new(&request.prompts[first..first + count], &[], &[]);
    let own = request.max_tokens.saturating_sub(1);
    let mut drafts: Vec<Draft<B::Real>> = (0..count * request.samples)
        .map(|i| Draft {
            number: first * request.samples + i,
            prompt: packed.prompts[i / request.samples],
            start: packed.len() + i * own,
            tokens: Vec::new(),
            log_probs: Vec::new(),
            entropies: Vec::new(),
            ended: false,
        })
        .collect();
    if request.max_tokens == 0 || drafts.is_empty() {
        return Ok(drafts);
    }
    let dims = model.dims();
    let rows = packed.len() + drafts.len() * own;
    let width = 2 * dims.heads.kv_width();
    let mut cache = (0..dims.layers).map(|_| model.backend().zeros(rows * width)).collect::<Result<Vec<_>, _>>()?;

    let slots: Vec<u32> = (0..packed.len() as u32).collect();
    let last: Vec<u32> = drafts.iter().map(|d| (d.prompt.0 + d.prompt.1 - 1) as u32).collect();
    let prefill = Attend::Prefill(&packed.layout, &mut cache, &slots);
    model.logits(weights, &packed.ids, &packed.positions, prefill, &last)?;
    let mut active: Vec<usize> = (0..drafts.len()).collect();
    draw(model, request, stop, &mut drafts, &mut active)?;

    while !active.is_empty() {
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
        model.logits(weights, &ids, &positions, Attend::Decode(&mut cache, &slots, &spans), &all)?;
        draw(model, request, stop, &mut drafts, &mut active)?;
    }
    Ok(drafts)
}

/// Draws the next token of every active draft from the logits of the last pass; those that end leave `active`.
fn draw<B: TransformerBackend>(
    model: &Transformer<B>,
    request: &SampleRequest<'_>,
    stop: &[u32],
    drafts: &mut [Draft<B::Real>],
    active: &mut Vec<usize>,
) -> Result<(), B::Error> {
    let rows = active.len();
    let sequence: Vec<u32> = active.iter().map(|&i| drafts[i].number as u32).collect();
    let token: Vec<u32> = active.iter().map(|&i| drafts[i].tokens.len() as u32).collect();
    let keys = SampleKeys { stream: request.stream, step: request.step, sequence: &sequence, token: &token };
    let mut tokens = vec![0; rows];
    let mut log_probs = vec![B::Real::of(0.0); rows];
    let mut entropies = log_probs.clone();
    let shape = (rows, model.dims().vocab);
    let logits = model.last_logits();
    model.backend().sample(logits, shape, &request.sampler, keys, &mut tokens, &mut log_probs, &mut entropies)?;
    for (row, &i) in active.iter().enumerate() {
        let draft = &mut drafts[i];
        draft.tokens.push(tokens[row]);
        draft.log_probs.push(log_probs[row]);
        draft.entropies.push(entropies[row]);
        draft.ended = stop.contains(&tokens[row]);
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
        all.offsets.push(all.tokens.len());
        all.ended.push(draft.ended);
    }
    all
}
