//! Tests that `docs/metrics.md` and `docs/configuration.md` agree with the tables of metrics and of keys.
//! `UPDATE_DOCS=1` rewrites the two pages.

use std::fs;
use std::path::Path;

use flowrl_cli::{config, metrics};

const CONFIGURATION: &str = "# Configuration

A TOML file describes a run: `flowrl-cli train --config FILE`. Any key can be set on the command line, for example `--set train.prompts=4`.
The section may be left out if no other section has the key, as in `--set beta=3`. The most common keys have flags of their own
(`flowrl-cli train --help`). Later sources override earlier ones, in the order defaults, `--config`, `--set`, other flags. Unknown keys, keys
of another task and values of the wrong type are errors.

`flowrl-cli train … --dry-run` prints the resolved file, with the defaults of the task and the model and with every absent key as a comment,
and the memory that the run will take. The `config.toml` of a run is this file, and replays the run.

## Defaults of a language model

| | the built-in model | `--prompts FILE` or `--model DIR` |
|---|---|---|
| `train.prompts` × `train.samples` | 16 × 8 | 8 × 8 |
| `sampling.max_tokens` | 16 | 512, or less if the longest prompt leaves less of the model's context |
| `eval.prompts` × `eval.samples` | 128 × 16 | 32 × 4 |
| `train.micro_batch`, `model.recompute`, `sampling.wave` | all, no, all | chosen to fit memory: first smaller micro-batches, then recomputation, then fewer completions at once |
| `optimizer.learning_rate` | 1e-4 | with `--model`, 2e-6, see below |

The three settings that are chosen to fit memory do not change the result of training. If a run still does not fit, an error names the keys
to lower.

## The learning rate of a real model

SmolLM2-135M-Instruct, 121 prompts `What is a + b? Answer in one short sentence.` with a and b from 2 to 12, of which 13 are held out, one seed:

```text
flowrl-cli train --model SMOLLM2 --prompts sums.jsonl --verifier number --steps 60 --max-tokens 32 --samples 6 --set train.prompts=6 --objective paper --learning-rate 2e-6
flowrl-cli eval RUN --set eval.samples=16
```

| held-out success, ± standard error over prompts | `paper` | `grpo` |
|---|--:|--:|
| before | .149 ± .034 | .149 ± .034 |
| 1e-6, 60 steps | .365 ± .058 | .356 ± .067 |
| 2e-6, 60 steps | .606 ± .072 | .606 ± .076 |

2e-6 is the smallest rate tried that also raises success by more than two standard errors in the run's own evaluations, which have 4
completions per prompt (`paper` from .135 to .577, `grpo` to .538; at 1e-6, the rise of `paper` from .135 to .269 is too small). A smaller
model tolerates a higher rate and learns faster with it; a larger one needs a lower rate. `log_z.learning_rate` stays 1e-3: the network
for log Z is small and starts at 0, so it must move by nats within about ten steps, while the policy must not. It was not varied here.
";

#[test]
fn the_page_of_keys_is_up_to_date() {
    assert_up_to_date("configuration.md", &(CONFIGURATION.to_owned() + &config::markdown_tables()));
}

const HEAD: &str = "# Metrics

Every training step appends one line to `metrics.jsonl`: a flat JSON object that maps these names to numbers. Evaluations on held-out
prompts, which take place before the first step, at regular intervals and after the last step, add the `eval_` names to the line of their
step. A run in the lab writes a line only when it is evaluated, always with the exact measures. `eval_success_se` is the standard error of
`eval_success` over prompts, and the other means over held-out prompts have such an error too. A value that was not finite is `null`. A
fraction lies between 0 and 1; the report shows it as a percentage.

*Better* is the direction in which a metric improves, and *target* is its value once the policy has reached the objective's target: 0, or the
value of another metric. *Exact* values have no sampling error, *sampled* values are estimates from sampled completions, and *clock* values
depend on the machine.

Symbols are those of [the mathematics](mathematics.md): π policy, π_ref reference, δ residual, r̂ shaped reward, w importance
weight, C the set of correct answers, T or |y| the length of a completion, B the number of sequences in the batch.
";

#[test]
fn the_page_of_metrics_is_up_to_date() {
    assert_up_to_date("metrics.md", &(HEAD.to_owned() + &metrics::markdown_tables()));
}

#[track_caller]
fn assert_up_to_date(page: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(found == wanted, "docs/{page} is out of date: run this test with UPDATE_DOCS=1");
}
