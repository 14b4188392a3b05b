//! `docs/metrics.md` has the table of metrics and `docs/configuration.md` the keys; these tests say when they do not. `UPDATE_DOCS=1` writes them
//! anew.

use std::{fs, path::Path};

use flowrl_cli::{config, metrics};

const CONFIGURATION: &str = "# Configuration

A run is a TOML file: `flowrl-cli train --config FILE`. Any key can be set on the command line, `--set train.prompts=4`, and without its
section where only one has it, `--set beta=3`; the most common have a flag of their own (`flowrl-cli train --help`). What is given wins in
this order: defaults, `--config`, `--set`, the other flags. An unknown key, a key of another task and a value of the wrong type are errors.

`flowrl-cli train … --dry-run` prints the resolved file, with the defaults of that task and model and every absent key as a comment, and the
memory that the run takes; the `config.toml` of a run is that file, and replays it.

## Defaults of a language model

| | the built-in model | `--prompts FILE` or `--model DIR` |
|---|---|---|
| `train.prompts` × `train.samples` | 16 × 8 | 8 × 8 |
| `sampling.max_tokens` | 16 | 512, or what the longest prompt leaves of the model's context |
| `eval.prompts` × `eval.samples` | 128 × 16 | 32 × 4 |
| `train.micro_batch`, `model.recompute`, `sampling.wave` | all, no, all | what fits memory: smaller micro-batches first, then recomputation, then fewer completions at once |
| `optimizer.learning_rate` | 1e-4 | with `--model`, 2e-6, see below |

None of the three that are chosen to fit memory changes what is learned. What still does not fit is an error that names the keys to lower.

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

2e-6 is the least of the tried ones that raises success beyond two standard errors in the run's own evaluations too, of 4 completions a prompt (`paper` .135 to .577,
`grpo` to .538; at 1e-6 `paper` .135 to .269 does not). A small model bears more, and learns faster by it; a large one bears less. `log_z.learning_rate` stays 1e-3: the network for log Z is new, begins at 0
and is small, so that it has to move by nats within some ten steps, while the policy must not. It was not varied here.
";

#[test]
fn the_page_of_keys_is_up_to_date() {
    assert_up_to_date("configuration.md", &(CONFIGURATION.to_owned() + &config::markdown_tables()));
}

const HEAD: &str = "# Metrics

Every training step appends one line to `metrics.jsonl`: a flat JSON object from these names to numbers. Evaluations on held-out
prompts, before the first step, every so often, and after the last, add the `eval_` names to the line of their step. A run in the lab
writes a line whenever it is evaluated, always with the exact measures. `eval_success_se` is the standard error of `eval_success` over
prompts, and so for the other means over held-out prompts. A value that
was not finite is `null`. A fraction lies between 0 and 1; the report shows it as a percentage.

*Better* says which way a metric improves, and *target* its value once the policy has reached the objective's target: 0 or that of another
metric. *Exact* values have no sampling error, *sampled* ones are estimates from the completions that were drawn, and those of a *clock*
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
