//! An update of a whole model: log-probabilities of given completions, the backward pass, and a step of AdamW.

use flowrl_core::backend::{Backend, Role};
use flowrl_core::optim::AdamW;
use flowrl_core::policy::{Policy, Sequences};
use flowrl_cuda::CudaBackend;
use flowrl_lm::TransformerPolicy;
use flowrl_lm::model::{Dimensions, Part, Weights};

use crate::group::{Amount, Check, Group, Light, Row};
use crate::inputs::{fingerprint, table, tile};
use crate::peer::Case;
use crate::sizes::{Texts, config, parameters};
use crate::{Bench, Failure};

/// Returns a policy without a reference model. The formula gives its weights: norms near 1, matrices within ±1/√inputs.
pub(crate) fn policy(gpu: &CudaBackend, dims: &Dimensions) -> Result<TransformerPolicy<CudaBackend>, Failure> {
    let weights = Weights::build(dims, |parts| {
        let mut buffer = gpu.zeros_for(Role::Weight, Part::total(parts))?;
        for part in parts {
            let (scale, offset) = match part.shape.last() {
                _ if part.name.ends_with("norm.weight") => (0.5, 1.0),
                _ if part.name.ends_with("embed_tokens.weight") => (0.25, 0.0),
                Some(&inputs) if part.shape.len() == 2 => (2.0 * (inputs as f64).powf(-0.5), 0.0),
                _ => (0.5, 0.0),
            };
            tile(gpu, &mut buffer, part.offset, part.elements(), &table(&part.name, scale, offset))?;
        }
        Ok::<_, Failure>(buffer)
    })?;
    let mut policy = TransformerPolicy::new(gpu.clone(), dims.clone(), weights, Vec::new())?;
    policy.drop_reference();
    Ok(policy)
}

/// Returns the same prompts and completions as the peer's script.
pub(crate) fn texts(texts: &Texts, vocab: usize) -> [Vec<Vec<u32>>; 2] {
    let token = |i: usize| (i * 31 % vocab) as u32;
    [
        (0..texts.prompts).map(|p| (0..texts.prompt_len).map(|i| token(p + i)).collect()).collect(),
        (0..texts.completions()).map(|s| (0..texts.len).map(|i| token(s + 3 * i)).collect()).collect(),
    ]
}

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    println!(
        "light of an update: 6 P N + 6 d V n + 12 layers heads head_dim pairs FLOP at the rate of the products, plus\n\
         32 bytes per parameter at the rate of the copy (gradient written and read, AdamW's weights and two moments\n\
         read and written), 2 more for weights in bf16. P: parameters of the layers' matrices; N: tokens, each prompt\n\
         once; n: scored tokens; pairs: (token, attended token).\n"
    );
    let sizes = bench.sizes.updates;
    sizes.iter().try_for_each(|sizes| of_sizes(bench, sizes))
}

fn of_sizes(bench: &mut Bench, sizes: &Texts) -> Result<(), Failure> {
    let (gpu, turns, dims) = (bench.gpu.clone(), bench.sizes.turns.min(10), bench.sizes.model.clone());
    let dtype = bench.dtype();
    let mut policy = policy(&gpu, &dims)?;
    let [prompts, completions] = texts(sizes, dims.vocab);
    let prompt_of: Vec<usize> = (0..sizes.completions()).map(|s| s / sizes.samples).collect();
    let (prompt_slices, completion_slices): (Vec<_>, Vec<_>) =
        (prompts.iter().map(Vec::as_slice).collect(), completions.iter().map(Vec::as_slice).collect());
    let sequences = Sequences { prompts: &prompt_slices, completions: &completion_slices, prompt_of: &prompt_of };
    let n = sizes.scored();
    let d_log_probs: Vec<f32> = table("d_log_probs", 2_f64.powi(-9), 0.0).into_iter().cycle().take(n).collect();

    let scores = policy.forward(&sequences, 1.0, None)?;
    policy.backward(&d_log_probs, None, None)?;
    let mut check = vec![fingerprint(&scores.log_probs)];
    let compared =
        ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "model.layers.0.mlp.down_proj.weight"];
    for name in compared {
        let parts = Weights::parts(&dims);
        let part = parts.iter().find(|part| part.name == name).ok_or_else(|| format!("the model has no {name}"))?;
        let grads = policy.grads().ok_or("the backward pass left no gradient")?;
        check.push(fingerprint(&policy.read_part(grads, part)?));
    }
    policy.zero_grad()?;

    let (all, matrices) = parameters(&dims);
    let heads = (dims.layers * dims.heads.heads * dims.heads.head_dim) as f64;
    let flops = 6.0 * matrices * sizes.tokens() as f64
        + 6.0 * (dims.hidden * dims.vocab) as f64 * n as f64
        + 12.0 * heads * sizes.pairs();
    let bytes = 32.0 + if dtype == "bf16" { 2.0 } else { 0.0 };
    let step = AdamW { weight_decay: 0.0, ..AdamW::default() }.step(1e-6, 1, 1.0);
    let Texts { prompts, samples, prompt_len, len } = *sizes;
    let peer = |name, mode| {
        let sizes = [("prompts", prompts), ("samples", samples), ("prompt-length", prompt_len), ("length", len)];
        Case::new(name, "gpu/update.py", mode, &sizes, 1).with("model", config(&dims))
    };
    Group {
        title: format!(
            "update of {:.2} G parameters in {dtype}: {prompts} x {samples}, {prompt_len} + {len} tokens",
            all / 1e9
        ),
        rows: vec![Row::new("ours, each prompt read once".to_owned(), Amount::Tokens(sizes.tokens() as f64), || {
            policy.forward(&sequences, 1.0, None)?;
            policy.backward(&d_log_probs, None, None)?;
            Ok(policy.update(&step)?)
        })],
        ours: 0,
        light: Light::Seconds(bench.rates.light(flops, bytes * all)),
        turns,
        peers: vec![
            peer("transformers, the prompt read for each completion", "eager"),
            peer("transformers, torch.compile", "compile"),
        ],
        // Rounding errors in bf16 accumulate through the layers.
        check: Some(Check { fingerprints: check, tolerance: 1e-1 }),
    }
    .run(bench)
}
