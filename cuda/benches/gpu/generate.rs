//! Sampling completions from a whole model.

use flowrl_core::backend::Sampler;
use flowrl_core::policy::{Policy, SampleRequest};
use flowrl_core::random::{Purpose, Stream};

use crate::group::{Amount, Group, Light, Row};
use crate::peer::Case;
use crate::sizes::{Texts, config, parameters};
use crate::update::{policy, texts};
use crate::{Bench, Failure};

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    println!(
        "light of sampling: 2 FLOP per parameter of the layers' matrices and token of a prompt, at the rate of the\n\
         products, plus memory traffic at the rate of the copy: for every token of a completion the weights, and the\n\
         keys and values of all earlier tokens, those of a prompt once for all of its completions.\n"
    );
    let (gpu, turns, dims) = (bench.gpu.clone(), bench.sizes.turns.min(5), bench.sizes.model.clone());
    let sizes = bench.sizes.updates[0];
    let mut policy = policy(&gpu, &dims)?;
    let [prompts, _] = texts(&sizes, dims.vocab);
    let prompt_slices: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let Texts { prompts, samples, prompt_len, len } = sizes;

    let (all, matrices) = parameters(&dims);
    let cached =
        (prompts * prompt_len) as f64 * len as f64 + sizes.completions() as f64 * (len * (len - 1)) as f64 / 2.0;
    let of_token = (2 * dims.layers * dims.heads.kv_heads * dims.heads.head_dim) as f64;
    let light = bench
        .rates
        .light(2.0 * matrices * (prompts * prompt_len) as f64, bench.width() * (all * len as f64 + of_token * cached));
    let peer = |name, script: &str| {
        let mut words = vec![script.to_owned(), config(&dims)];
        words.extend([prompts, samples, prompt_len, len].map(|size| size.to_string()));
        Case::of(name, words)
    };
    let mut step = 0;
    Group {
        title: format!("sampling in {}: {prompts} x {samples}, {prompt_len} + {len} tokens", bench.dtype()),
        rows: vec![Row::new("ours".to_owned(), Amount::Tokens(sizes.scored() as f64), || {
            step += 1;
            policy.sample(&SampleRequest {
                prompts: &prompt_slices,
                samples,
                max_tokens: len,
                sampler: Sampler::default(),
                stream: Stream::new(0, Purpose::Sample),
                step,
            })?;
            Ok(())
        })],
        ours: 0,
        light: Light::Seconds(light),
        turns,
        peers: vec![
            peer("PyTorch eager, caches allocated once", "generate.py"),
            peer("transformers' generate", "generate_transformers.py"),
        ],
        // Samples are random, so they cannot be compared.
        check: None,
    }
    .run(bench)
}
