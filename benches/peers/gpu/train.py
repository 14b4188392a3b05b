"""Compares the default training run with PyTorch: train.py --ours NAME=METRICS.jsonl ... [--device cuda] [--rates BENCH.json].

Prints the milliseconds of a step and of its parts, and tokens per second. Our numbers come from the records of
`flowrl-cli train`. PyTorch's come from generate.py and train_step.py in the parent folder, run one after the other on
the same shapes of model and prompts. Every completion is as long as the longest of ours, as in a padded batch. Only our step
also scores the completions under the reference and judges them.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

FOLDER = Path(__file__).parent.parent
PROMPTS, SAMPLES, PROMPT_LENGTH, PARAMETERS = 16, 8, 14, 791_168
# The first steps compile kernels and are left out.
LEFT_OUT = 5


def steps(path):
    """Returns the records of training steps after the first ones."""
    with open(path, encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    kept = [record for record in records if "step_s" in record][LEFT_OUT:]
    if not kept:
        sys.exit(f"{path}: no more than {LEFT_OUT} steps")
    return kept


def middle(records, name):
    return median(record[name] for record in records)


def peer(script, length, device, turns):
    """Returns the median seconds of an iteration of a peer, or the reason why there are none."""
    sizes = map(str, (PROMPTS, SAMPLES, PROMPT_LENGTH, length))
    process = subprocess.Popen(
        [sys.executable, FOLDER / script, FOLDER / "model.json", *sizes],
        env={**os.environ, "PEER_DEVICE": device, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    answers = process.communicate("run\n" * turns)[0].split("\n")
    if answers[0] != "ready":
        return answers[0].removeprefix("absent ") or f"{script} ended without an answer"
    return median(float(answer) for answer in answers[1:] if answer)


def light(rates, length_mean, length_max):
    """Returns the seconds of a step of a bf16 model at the machine's own rates.

    This counts 10 FLOP per parameter and token (2 to sample it, 2 for the reference, 6 to train on it), with each
    prompt once. The weights are read once per token of the longest completion, and the update moves 34 bytes per
    parameter.
    """
    tokens = PROMPTS * PROMPT_LENGTH + PROMPTS * SAMPLES * length_mean
    flops, size = 10 * PARAMETERS * tokens, PARAMETERS * (2 * length_max + 34)
    return flops / rates["products_flop_per_s"] + size / rates["copy_bytes_per_s"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", action="append", required=True, metavar="NAME=METRICS")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--rates", metavar="BENCH.json")
    args = parser.parse_args()
    ours = [(name, steps(path)) for name, path in (word.split("=", 1) for word in args.ours)]
    first = ours[0][1]
    mean, longest = middle(first, "length_mean"), round(middle(first, "length_max"))
    tokens = PROMPTS * SAMPLES * mean
    floor = None
    if args.rates and Path(args.rates).exists():
        floor = light(json.loads(Path(args.rates).read_text(encoding="utf-8"))["rates"], mean, longest)

    def row(name, sample, update, step):
        share = f"{100 * floor / step:.2f} %" if floor else "-"
        print(f"{name:28} {step * 1e3:9.2f} {sample * 1e3:9.2f} {update * 1e3:9.2f} {tokens / step:12.0f} {share:>9}")

    print(f"{PROMPTS} prompts of {PROMPT_LENGTH} tokens, {SAMPLES} completions each, {mean:.1f} tokens on average, at most {longest}")
    print(f"{'':28} {'step ms':>9} {'sample ms':>9} {'update ms':>9} {'tokens/s':>12} {'of light':>9}")
    for name, records in ours:
        row(name, *(middle(records, column) for column in ("sample_s", "update_s", "step_s")))
    parts = [peer(script, longest, args.device, args.turns) for script in ("generate.py", "train_step.py")]
    if all(isinstance(part, float) for part in parts):
        row(f"PyTorch eager, {args.device}", *parts, sum(parts))
    else:
        print(f"PyTorch: absent: {'; '.join(part for part in parts if isinstance(part, str))}")
    if not floor:
        print("of light is absent: no rates of this machine; `run.sh bench` leaves them")


if __name__ == "__main__":
    main()
