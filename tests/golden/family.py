#!/usr/bin/env python3
"""Golden batches for the relatives of FlowRL.

    family.py            writes family/*.json in this folder
    family.py --check    computes the files again and compares them

Both commands check every gradient by finite differences. The script uses only the standard library, double precision
and seeded random numbers, and shares no code with the library that it tests.
"""

import argparse
import json
import math
import random
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "family"

# ---------------------------------------------------------------------------------------------------------------------
# The objective over a batch.

DEFAULTS = {
    "beta": 15.0, "length": "mean", "reward": "group", "reward_ddof": 1, "reward_eps": 1e-6, "importance": "sequence",
    "clip_low": 0.8, "clip_high": 1.2, "log_z": "given", "shape": "squared", "huber_delta": 1.0,
    # The other options of the relatives.
    "reference_power": 1.0,        # alpha of the target pi_ref^alpha exp(beta r); 0 is no reference
    "residual_clip_low": None,     # the residual at the old policy is bounded by -low and +high
    "residual_clip_high": None,
    "pair_gap": 0.0,               # log_z "pairwise": pairs with |beta (r_i - r_j)| of at most this do not count
}
LEARNED = ("network", "scalar", "table", "given")


def clip(x, low, high):
    """Returns x clipped to the bounds; None is no bound."""
    x = x if low is None else max(x, low)
    return x if high is None else min(x, high)


def penalty(o, x):
    """Returns the penalty of a residual and half its derivative."""
    h = o["huber_delta"]
    if o["shape"] == "huber" and abs(x) > h:
        return 2 * h * abs(x) - h * h, math.copysign(h, x)
    return x * x, x


def groups_of(sequences):
    members = {}
    for i, s in enumerate(sequences):
        members.setdefault(s["group"], []).append(i)
    return list(members.values())


def advantages(o, sequences):
    rewards = [s["reward"] for s in sequences]
    if o["reward"] == "raw":
        return rewards
    out = [0.0] * len(sequences)
    for group in groups_of(sequences):
        mean = math.fsum(rewards[i] for i in group) / len(group)
        n = len(group) - o["reward_ddof"]
        for i in group:
            out[i] = rewards[i] - mean
            if len(group) == 1:
                out[i] = rewards[i]
            elif o["reward"] == "group":
                var = math.fsum((rewards[j] - mean) ** 2 for j in group) / n
                out[i] /= math.sqrt(var) + o["reward_eps"]
    return out


class Sums:
    """The sums over one sequence that the loss needs."""

    def __init__(self, o, s, advantage):
        self.length = len(s["logp"])
        if isinstance(o["length"], dict):
            self.divisor = o["length"]["fixed"]
        else:
            self.divisor = max(self.length, 1) if o["length"] == "mean" else 1
        self.now = math.fsum(s["logp"])
        self.old = math.fsum(s.get("old_logp", s["logp"]))
        self.base = o["reference_power"] * math.fsum(s["ref_logp"]) / self.divisor + o["beta"] * advantage

    def without_log_z(self, log_prob):
        return log_prob / self.divisor - self.base


def weight_of(o, sums):
    if o["importance"] == "none":
        return 1.0
    log_w = sums.now - sums.old
    if o["importance"] == "geometric":
        log_w /= max(sums.length, 1)
    low, high = o["clip_low"], o["clip_high"]
    return math.exp(clip(log_w, low and math.log(low), high and math.log(high)))


def clips(o):
    return o["residual_clip_low"] is not None or o["residual_clip_high"] is not None


def detached(o, sequences):
    """Returns the constants of a batch, which have no gradient."""
    advantage = advantages(o, sequences)
    sums = [Sums(o, s, a) for s, a in zip(sequences, advantage)]
    weights = [weight_of(o, s) for s in sums]
    log_z = [s.get("log_z", 0.0) for s in sequences]
    for group in groups_of(sequences):
        u = {i: sums[i].without_log_z(sums[i].now) for i in group}
        old = {i: sums[i].without_log_z(sums[i].old) for i in group}
        for i in group:
            others = [j for j in group if j != i]
            if o["log_z"] == "group-mean":
                log_z[i] = -math.fsum(weights[j] * u[j] for j in group) / math.fsum(weights[j] for j in group)
            elif o["log_z"] == "leave-one-out":
                total = math.fsum(weights[j] for j in others)
                log_z[i] = -math.fsum(weights[j] * u[j] for j in others) / total if others else 0.0
            elif o["log_z"] == "old-group-mean":
                log_z[i] = -math.fsum(old.values()) / len(group)
            elif o["log_z"] in ("zero", "pairwise"):
                log_z[i] = 0.0
    gaps = None
    if clips(o):
        low, high = o["residual_clip_low"], o["residual_clip_high"]
        gaps = [clip(z + s.without_log_z(s.old), None if low is None else -low, high) for z, s in zip(log_z, sums)]
    return advantage, sums, weights, log_z, gaps


def loss_of(o, sequences, constants, log_probs, log_z):
    """Returns the loss, as a function of L and log Z of every sequence, and its residuals. The rest is constant."""
    _, sums, weights, held, gaps = constants
    count = len(sequences)
    if o["log_z"] == "pairwise":
        u = [s.without_log_z(l) for s, l in zip(sums, log_probs)]
        scaled = [o["beta"] * a for a in constants[0]]
        total, residuals = 0.0, [0.0] * count
        for group in groups_of(sequences):
            for a, i in enumerate(group):
                for j in group[a + 1:]:
                    if o["pair_gap"] > 0.0 and abs(scaled[i] - scaled[j]) <= o["pair_gap"]:
                        continue
                    value, half = penalty(o, u[i] - u[j])
                    total += value / (len(group) - 1)
                    residuals[i] += half / (len(group) - 1)
                    residuals[j] -= half / (len(group) - 1)
        return total / count, residuals
    residuals = []
    for i, s in enumerate(sums):
        if gaps is None:
            residuals.append(log_z[i] + s.without_log_z(log_probs[i]))
        else:
            # The value is bounded, but the derivative is that of the unbounded residual: 1 for log Z and 1/divisor for L.
            residuals.append(gaps[i] + (log_z[i] - held[i]) + (log_probs[i] - s.old) / s.divisor)
    total = math.fsum(w * penalty(o, r)[0] for w, r in zip(weights, residuals))
    return total / count, residuals


def evaluate(options, sequences):
    """Returns the numbers that a golden file expects."""
    o = {**DEFAULTS, **options}
    constants = detached(o, sequences)
    advantage, sums, weights, log_z, _ = constants
    if o["log_z"] == "pairwise":
        weights = [1.0] * len(sequences)
    loss, residuals = loss_of(o, sequences, constants, [s.now for s in sums], log_z)
    out = []
    for i, s in enumerate(sums):
        half = residuals[i] if o["log_z"] == "pairwise" else weights[i] * penalty(o, residuals[i])[1]
        slope = 2 * half / len(sequences)
        out.append({
            "advantage": advantage[i], "residual": residuals[i], "weight": weights[i],
            "d_log_z": slope if o["log_z"] in LEARNED else 0.0, "d_logp": [slope / s.divisor] * s.length,
        })
    return {"loss": loss, "sequences": out}


def check_gradient(name, options, sequences, expected):
    """Compares the gradient with central differences of the loss, with the constants held."""
    o = {**DEFAULTS, **options}
    constants = detached(o, sequences)
    log_probs = [s.now for s in constants[1]]
    log_z = list(constants[3])
    step = 1e-5

    def slope(values, i):
        middle = values[i]
        values[i] = middle + step
        up = loss_of(o, sequences, constants, log_probs, log_z)[0]
        values[i] = middle - step
        down = loss_of(o, sequences, constants, log_probs, log_z)[0]
        values[i] = middle
        return (up - down) / (2 * step)

    for i, want in enumerate(expected["sequences"]):
        pairs = [("d_logp", slope(log_probs, i), want["d_logp"][0] if want["d_logp"] else None)]
        if o["log_z"] in LEARNED:
            pairs.append(("d_log_z", slope(log_z, i), want["d_log_z"]))
        for key, got, exact in pairs:
            if exact is not None and abs(got - exact) > 1e-7 * max(1.0, abs(exact), expected["loss"]):
                raise SystemExit(f"{name}: sequence {i}, {key}: {exact} by formula, {got} by differences")


# ---------------------------------------------------------------------------------------------------------------------
# The golden batches.

def batch(seed, groups, size, rewards, drift=0.15, old=True, longest=12):
    rng = random.Random(seed)
    sequences = []
    for group in range(groups):
        for _ in range(size if group else size - 1):
            length = rng.randint(1, longest)
            logp = [min(-0.001, -rng.expovariate(0.7)) for _ in range(length)]
            near = lambda spread: [min(-0.001, l + rng.gauss(0.0, spread)) for l in logp]
            s = {"group": group, "reward": rewards(rng), "log_z": rng.gauss(0.0, 0.6)}
            s.update(logp=logp, ref_logp=near(0.2))
            if old:
                s["old_logp"] = near(drift)
            sequences.append(s)
    return sequences


def binary(rng):
    return float(rng.random() < 0.5)


def graded(rng):
    return rng.gauss(0.0, 1.0)


def format_penalty(rng):
    return -0.5 * float(rng.random() < 0.4)


GFLOWRL = {
    "beta": 8.0, "length": "mean", "reward": "raw", "importance": "geometric", "clip_low": None, "clip_high": 2.0,
    "log_z": "old-group-mean", "residual_clip_low": 0.2, "residual_clip_high": 0.28,
}
GFLOWRL_SUM = {**GFLOWRL, "length": "sum", "importance": "sequence", "clip_high": 1.2}
POWERFLOW = {
    "beta": 4.0, "length": "mean", "reward": "raw", "importance": "sequence", "clip_low": 0.8, "clip_high": 1.2,
    "log_z": "given", "reference_power": 4.0,
}
PLAIN = {"beta": 1.0, "length": "sum", "reward": "raw", "importance": "none"}
PAIRWISE = {**PLAIN, "log_z": "pairwise"}


def cases():
    def case(name, options, *arguments, **more):
        return name, options, batch(*arguments, **more)

    wide = {"residual_clip_low": 2.7, "residual_clip_high": 3.8}
    huber = {"shape": "huber", "huber_delta": 0.25}
    pruned = {"pair_gap": 0.5, "shape": "huber", "huber_delta": 1.0}
    yield case("gflowrl-0", GFLOWRL, 1, 2, 6, binary, old=False)
    yield case("gflowrl-1", GFLOWRL, 2, 3, 5, binary)
    yield case("gflowrl-2", {**GFLOWRL, **wide, "beta": 2.5}, 3, 2, 8, graded, drift=0.4)
    yield case("gflowrl-far", GFLOWRL, 4, 2, 5, binary, drift=2.0)
    yield case("gflowrl-degenerate", GFLOWRL, 5, 2, 5, lambda rng: 1.0)
    yield case("gflowrl-sum-0", GFLOWRL_SUM, 6, 2, 6, binary)
    yield case("gflowrl-sum-1", {**GFLOWRL_SUM, "beta": 2.0, "residual_clip_high": None}, 7, 3, 4, graded)
    yield case("gflowrl-fixed", {**GFLOWRL, "length": {"fixed": 16}, "beta": 1.0}, 22, 2, 5, graded)
    yield case("residual-clip-learned", {**GFLOWRL, "log_z": "given", "reward": "group", "beta": 1.0}, 8, 2, 6, graded)
    yield case("residual-clip-huber", {**GFLOWRL, **huber}, 9, 2, 6, binary)
    yield case("powerflow-0", POWERFLOW, 10, 2, 6, format_penalty)
    yield case("powerflow-1", {**POWERFLOW, "reference_power": 0.5, "beta": 0.5}, 11, 2, 6, format_penalty)
    yield case("powerflow-2", {**POWERFLOW, "reference_power": 2.0, "beta": 2.0, "log_z": "group-mean"}, 12, 3, 5, format_penalty)
    yield case("frozen-log-z-0", {"log_z": "frozen"}, 15, 2, 6, binary)
    yield case("frozen-log-z-1", {**PLAIN, "log_z": "frozen", "beta": 3.0}, 16, 2, 6, binary)
    yield case("table-log-z", {**PLAIN, "log_z": "table", "beta": 3.0}, 17, 3, 4, graded)
    yield case("pairwise-0", PAIRWISE, 18, 2, 5, graded)
    yield case("pairwise-1", {**PAIRWISE, **pruned, "beta": 4.0}, 19, 2, 6, binary)
    yield case("pairwise-2", {**PAIRWISE, "length": "mean", "reward": "group", "beta": 2.0, "pair_gap": 1.5}, 20, 3, 6, graded)
    yield case("stable-gfn", {**PAIRWISE, **pruned, "reference_power": 0.0}, 23, 2, 6, graded)
    yield case("pairwise-alone", PAIRWISE, 21, 1, 2, graded)


def golden(options, sequences):
    """Returns the text of a file: the options that differ from the defaults, the batch and the expected numbers."""
    text = json.dumps({"objective": {"kind": "flowrl", **options}, "sequences": sequences,
                       "expected": evaluate(options, sequences)})
    return text + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compute the files again and compare them")
    check = parser.parse_args().check
    wrong = 0
    for name, options, sequences in cases():
        check_gradient(name, options, sequences, evaluate(options, sequences))
        text, path = golden(options, sequences), FOLDER / f"{name}.json"
        if not check:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path} differs from the output of this script", file=sys.stderr)
            wrong += 1
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
