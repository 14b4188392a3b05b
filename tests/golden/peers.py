#!/usr/bin/env python3
"""Golden batch files with the numbers of TRL, verl and prime-rl: tests/golden/peers/NAME.json.

    python3 tests/golden/peers.py            write the files
    python3 tests/golden/peers.py --check    recompute them and compare

A file has our options ("objective"), those of the peer ("peer"), and the numbers that the peer computes. If ours differ
on purpose, the name of the file ends in `-ours` and "note" says how. The formulas are in peer_losses.py. The script
needs only the standard library.
"""

import json
import math
import sys
from pathlib import Path

from peer_losses import Sequence, overlong_punishment, prime_rl, trl_grpo, trl_rloo, verl, verl_filtered

FOLDER = Path(__file__).parent / "peers"
TRL = "TRL f2cd57710ae345ea6428ae95363267fcf38a3dc8"
VERL = "verl 1dda039b9c6311889a9c9a26040677e1254814f9"
RECIPE = "verl-recipe 48ea0a797fa29867ea0ad92aff7d284eec7d4be3"
MAX_RL = "tajwarfahim/maxrl c0698ebb439a81ae1c6b01a842df3f2541816b4d"
PRIME_RL = "prime-rl 559b44772e471d1538537b8805cc77f3824a5e64"


class Stream:
    """Knuth's MMIX generator, which gives the same numbers in every version of Python."""

    def __init__(self, seed):
        self.state = seed

    def uniform(self, low, high):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return round(low + (high - low) * (self.state >> 11) / 2**53, 4)


def batch(seed, sizes, rewards, drift):
    """Returns completions of 2 to 9 tokens, `sizes` per prompt, with log-ratios within ±drift."""
    stream, sequences = Stream(seed), []
    for group, size in enumerate(sizes):
        for _ in range(size):
            near = lambda values, width: [min(round(v + stream.uniform(-width, width), 4), -0.001) for v in values]
            old = [stream.uniform(-3, -0.05) for _ in range(int(stream.uniform(2, 10)))]
            logp, ref, rollout = near(old, drift), near(old, 0.8), near(old, 0.6)
            sequences.append(Sequence(group, rewards[len(sequences)], logp, ref, old, rollout))
    assert len(sequences) == len(rewards)
    return sequences


def graded(seed, drift=0.5):
    """Returns three prompts with four completions each, since TRL's groups all have the same size."""
    rewards = [0.5, 0.25, 1.0, 0.125, -0.5, 0.75, 0.375, 2.0, 0.0, 1.5, -1.0, 0.625]
    return batch(seed, [4, 4, 4], rewards, drift)


def binary(seed, drift=0.5):
    """Returns three prompts with four completions each and rewards of 0 or 1, which are equal in the last group."""
    return batch(seed, [4, 4, 4], [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0], drift)


def uneven(seed, drift=0.5):
    """Returns groups of four, of three, and of two with equal rewards."""
    return batch(seed, [4, 3, 2], [1.0, 0.25, 0.0, 0.75, -0.5, 1.5, 0.375, 1.0, 1.0], drift)


def alone(seed, drift=0.5):
    """Returns groups of four, of one, of three, and of two with equal rewards."""
    return batch(seed, [4, 1, 3, 2], [1.0, 0.25, 0.0, 0.75, 0.5, -0.5, 1.5, 0.375, 1.0, 1.0], drift)


def on_policy(sequences):
    for s in sequences:
        s.given_old = None
    return sequences


def truncated(sequences, *which):
    for i in which:
        sequences[i].truncated = True
    return sequences


def moved(sequences, *ratios):
    """Sets ratios, given as (sequence, token or None for all, ratio)."""
    for i, token, ratio in ratios:
        s = sequences[i]
        for t in range(len(s)) if token is None else [token]:
            s.old[t] = round(s.logp[t] - math.log(ratio), 4)
    return sequences


def outliers(sequences, *which):
    """Sets log-ratios of 25 and -25 in each of these sequences."""
    for i in which:
        s = sequences[i]
        s.logp[:2], s.old[:2], s.ref[:2] = [-0.5, -25.75], [-25.5, -0.75], [-0.9, -25.5]
    return sequences


def spike(sequences, i):
    """Sets a token that the reference considers almost certain and the policy almost impossible."""
    s = sequences[i]
    s.logp[0], s.ref[0], s.old[0] = -40.0, -0.01, -39.9
    return sequences


def resting(sequences, computed):
    """Drops the gradient of the policy's term beyond a log-ratio of 20, as ours does even if the ratio is detached."""
    loss, advantages, slopes = computed
    rows = zip(sequences, slopes)
    return loss, advantages, [[0.0 if abs(x) > 20 else d for x, d in zip(s.log_ratios, row)] for s, row in rows]


def options(settings):
    return ", ".join(f"{key}={value!r}" for key, value in settings.items() if not key.startswith("ours_"))


def ours(advantage, aggregate, ratio="token", clip=(0.8, 1.2), kl=0.0, **others):
    """Returns our options. Those of every file come first."""
    (low, high), preset = clip, {"preset": "grpo", "advantage": advantage}
    return preset | {"ratio": ratio, "clip_low": low, "clip_high": high, "kl": kl, "aggregate": aggregate} | others


SM, TM = "sequence-mean", "token-mean"
GSPO = dict(importance_sampling_level="sequence", epsilon=0.03, epsilon_high=0.04)
SEQUENCE = dict(ratio="sequence", clip=(0.97, 1.04))
CISPO = dict(ratio="detached", clip=(None, 1.5))


def trl(name, sequences, mapped, note=None, **settings):
    return name, f"{TRL}: GRPOConfig({options(settings)})", mapped, sequences, trl_grpo(sequences, **settings), note


def trl_ours(aggregate, advantage="group", **others):
    """Returns our options for TRL, which has an eps of 1e-4 and does not cap k3."""
    eps = {} if advantage == "center" else {"reward_eps": 1e-4}
    cap = {"kl_max": None} if "kl" in others else {}
    return ours(advantage, aggregate, **eps | cap | others)


def trl_loss_types():
    yield trl("trl-grpo", graded(1), trl_ours(SM), loss_type="grpo")
    yield trl("trl-grpo-on-policy", on_policy(binary(2)), trl_ours(SM), "the last group's rewards are equal", loss_type="grpo")
    yield trl("trl-grpo-kl", graded(3), trl_ours(SM, kl=0.04), loss_type="grpo", beta=0.04)
    yield trl("trl-bnpo", graded(4), trl_ours(TM), loss_type="bnpo")
    yield trl("trl-dapo", binary(5), trl_ours(TM, clip=(0.8, 1.28)), loss_type="dapo", epsilon_high=0.28)
    yield trl("trl-dapo-kl-on-policy", on_policy(graded(6)), trl_ours(TM, kl=0.1), loss_type="dapo", beta=0.1)
    fixed = dict(loss_type="dr_grpo", max_completion_length=16)
    yield trl("trl-dr-grpo", graded(7), trl_ours({"fixed": 16}), "it keeps the division by the standard deviation", **fixed)
    yield trl("trl-dr-grpo-scale-none", graded(8), trl_ours({"fixed": 16}, "center"), scale_rewards="none", **fixed)
    yield trl("trl-scale-none", binary(9), trl_ours(SM, "center"), loss_type="grpo", scale_rewards="none")
    batch_wide = dict(scale_rewards="batch")
    yield trl("trl-scale-batch", graded(10), trl_ours(TM, "group-batch"), loss_type="dapo", **batch_wide)
    equal = "the last group's rewards are equal and still count in the deviation"
    yield trl("trl-scale-batch-equal", binary(11), trl_ours(SM, "group-batch"), equal, loss_type="grpo", **batch_wide)
    bound = "epsilon_high is the bound itself, and there is no lower one"
    yield trl("trl-cispo", graded(12, 0.8), trl_ours(TM, **CISPO), bound, loss_type="cispo", epsilon_high=1.5)
    yield trl("trl-gspo", graded(13, 0.2), trl_ours(SM, **SEQUENCE), loss_type="grpo", **GSPO)
    yield trl("trl-gspo-dapo-kl", graded(14, 0.2), trl_ours(TM, kl=0.04, **SEQUENCE), loss_type="dapo", beta=0.04, **GSPO)
    padded = "with a KL, or with a ratio per token, TRL's mean is over padding too: not here"
    yield trl("trl-luspo", graded(15, 0.2), trl_ours({"fixed": 1}, **SEQUENCE), padded, loss_type="luspo", **GSPO)


def trl_bounds_and_masks():
    far = moved(graded(20), (1, 0, 30), (7, 1, 5))
    note = "a ratio of 30 with A < 0; delta is verl's clip_ratio_c as long as it is at least 1 + epsilon_high"
    yield trl("trl-delta", far, trl_ours(SM, dual_clip=2.0), note, loss_type="grpo", delta=2.0)
    note = "the ratio of the fifth sequence is e, with A < 0"
    drifted = moved(graded(21, 0.2), (4, None, math.e))
    yield trl("trl-delta-gspo", drifted, trl_ours(SM, dual_clip=1.5, **SEQUENCE), note, loss_type="grpo", delta=1.5, **GSPO)

    unbiased = dict(kl=0.1, kl_unbiased=True)
    corrected = dict(beta=0.1, use_bias_correction_kl=True)
    yield trl("trl-bias-correction-kl", graded(22), trl_ours(SM, **unbiased), loss_type="grpo", **corrected)
    note = "the ratio is 1 and still has its gradient"
    constant = on_policy(graded(23))
    yield trl("trl-bias-correction-kl-on-policy", constant, trl_ours(TM, **unbiased), note, loss_type="dapo", **corrected)
    note = "the factor is the sequence's ratio, before any clip"
    mapped = trl_ours(SM, **unbiased, **SEQUENCE)
    yield trl("trl-bias-correction-kl-gspo", graded(24, 0.2), mapped, note, loss_type="grpo", **GSPO, **corrected)
    note = "the factor is neither clipped nor detached"
    mapped = trl_ours(TM, **unbiased, **CISPO)
    yield trl("trl-bias-correction-kl-cispo", graded(25), mapped, note, loss_type="cispo", epsilon_high=1.5, **corrected)

    masked = dict(mask_truncated_completions=True)
    note = "masked rewards count in their group; the mean is over all sequences, masked ones too"
    mapped = trl_ours(SM, kl=0.04, mask_truncated=True)
    yield trl("trl-mask-truncated", truncated(graded(26), 2, 5), mapped, note, loss_type="grpo", beta=0.04, **masked)
    cut = truncated(binary(27), 0, 9)
    yield trl("trl-mask-truncated-dapo", cut, trl_ours(TM, mask_truncated=True), loss_type="dapo", **masked)
    yield trl("trl-truncated-counted", cut, trl_ours(TM), "`truncated` does nothing without the mask", loss_type="dapo")

    far_off = dict(off_policy_mask_threshold=0.1)
    note = "a masked sequence keeps its KL term, and counts in every mean"
    mapped = trl_ours(TM, kl=0.04, mask_off_policy=0.1)
    yield trl("trl-off-policy-mask", graded(28), mapped, note, loss_type="dapo", beta=0.04, **far_off)


def trl_rollout_correction():
    note = "the weight is on the policy's term alone, not on the KL"
    for mode in ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"):
        kind = mode.replace("_", "-")
        mapped = trl_ours(TM, kl=0.04, rollout_correction=kind, rollout_max=1.5)
        sampler = dict(vllm_importance_sampling_mode=mode, vllm_importance_sampling_clip_max=1.5)
        yield trl(f"trl-vllm-{kind}", graded(30), mapped, note, loss_type="dapo", beta=0.04, **sampler)
    mapped = trl_ours(SM, rollout_correction="sequence-mask", rollout_max=3.0, **SEQUENCE)
    sampler = dict(vllm_importance_sampling_mode="sequence_mask", vllm_importance_sampling_clip_max=3.0)
    yield trl("trl-vllm-default-gspo", graded(31, 0.2), mapped, "TRL's defaults for vLLM", loss_type="grpo", **sampler, **GSPO)
    corrected = dict(rollout_correction="token-truncate", rollout_max=1.5)
    sampler = dict(vllm_importance_sampling_mode="token_truncate", vllm_importance_sampling_clip_max=1.5)
    note = "with the sampler's log-probabilities the drift is from them: mean(s - l)"
    mapped = trl_ours(SM, mask_off_policy=0.1, **corrected)
    yield trl("trl-vllm-off-policy-mask", graded(33), mapped, note, loss_type="grpo", off_policy_mask_threshold=0.1, **sampler)


def trl_differences():
    note = (
        "log-ratios of ±25: TRL has no bound and a loss of 9e8. Ours is clamped to ±20, as verl's, and has no gradient beyond. "
        "Without these tokens ours is TRL's: trl-bnpo"
    )
    yield trl("trl-outliers-ours", outliers(graded(35), 3, 7), trl_ours(TM), note, loss_type="dapo", ours_bound=20.0)
    note = (
        "a k3 of 2e17, which TRL does not cap. Ours is capped at 10, as verl's, and has no gradient beyond. "
        "Without this token, or with kl_max null, ours is TRL's: trl-grpo-kl"
    )
    mapped = trl_ours(SM, kl=0.04, kl_max=10.0)
    yield trl("trl-kl-spike-ours", spike(graded(36), 5), mapped, note, loss_type="grpo", beta=0.04, ours_kl_max=10.0)


def trl_rloo_rows():
    def row(name, sequences, note=None, mapped=None, **settings):
        peer = f"{TRL}: RLOOConfig({options(settings)})"
        kl = settings["beta"]
        penalty = dict(kl=kl, kl_in="raw-reward") if kl else {}
        mapped = ours("leave-one-out", SM, ratio="trajectory", **penalty, **mapped or {})
        return name, peer, mapped, sequences, trl_rloo(sequences, **settings), note

    yield row("trl-rloo", graded(40, 0.15), beta=0.0)
    yield row("trl-rloo-kl", graded(41, 0.15), "Σ(o - f) off the reward, before the baseline", beta=0.05)
    yield row("trl-rloo-kl-on-policy", on_policy(binary(42)), beta=0.05)
    note = "a masked sequence has no KL in its reward. TRL's loss has its -A besides, a constant without gradient; ours has not"
    cut, masked = truncated(graded(43, 0.15), 1, 10), dict(mask_truncated=True)
    masked_too = row("trl-rloo-mask-truncated-ours", cut, note, masked, beta=0.05, mask_truncated_completions=True)
    *before, (loss, advantages, slopes), note = masked_too
    loss += sum(a for a, s in zip(advantages, cut) if s.truncated) / len(cut)
    yield *before, (loss, advantages, slopes), note


def of_verl(name, sequences, mapped, note=None, **settings):
    return name, f"{VERL}: {options(settings)}", mapped, sequences, verl(sequences, **settings), note


def verl_ours(advantage="group", aggregate=TM, **others):
    """Returns our options for verl, which clips twice by default and caps k3."""
    eps = {"group": {"reward_eps": 1e-6}, "token": {"reward_eps": 1e-8}, "center-token": {"reward_eps": 1e-8}}.get(advantage, {})
    cap = {"kl_max": 10.0} if others.get("kl_estimator", "k3") == "k3" and others.get("kl_in") is None and "kl" in others else {}
    return ours(advantage, aggregate, **eps | {"dual_clip": 3.0} | cap | others)


def verl_advantages():
    yield of_verl("verl-grpo", uneven(50), verl_ours(), adv_estimator="grpo")
    note = "a group of one keeps its reward. verl divides it by 1 + 1e-6, ours by 1; all else is verl's"
    yield of_verl("verl-grpo-alone-ours", alone(59), verl_ours(), note, adv_estimator="grpo", ours_keeps_alone=True)
    note = "a group of one keeps its reward"
    yield of_verl("verl-grpo-no-std", alone(51), verl_ours("center"), note, norm_adv_by_std_in_grpo=False)
    yield of_verl("verl-rloo", alone(52), verl_ours("leave-one-out"), note, adv_estimator="rloo")
    note = "(r - m) / sqrt(v + 1e-8) over tokens, v unbiased: the 1e-8 is under the root"
    yield of_verl("verl-reinforce-plus-plus", alone(53), verl_ours("token"), note, adv_estimator="reinforce_plus_plus")
    note = "a group of one keeps its reward, which is then whitened with the others"
    estimator = dict(adv_estimator="reinforce_plus_plus_baseline")
    yield of_verl("verl-reinforce-plus-plus-baseline", alone(54), verl_ours("center-token"), note, **estimator)

    penalty, mapped = dict(kl_in_reward_coef=0.05), dict(kl=0.05, kl_in="raw-reward")
    note = "use_kl_in_reward with kl_penalty=kl. Equal rewards differ after it: the last group has advantages"
    yield of_verl("verl-kl-in-reward", uneven(55), verl_ours(**mapped), note, adv_estimator="grpo", **penalty)
    note = "use_kl_in_reward with kl_penalty=kl"
    constant, mapped = on_policy(alone(56)), verl_ours("leave-one-out", **mapped)
    yield of_verl("verl-kl-in-reward-on-policy", constant, mapped, note, adv_estimator="rloo", **penalty)

    note = "the last group's rewards are equal: left out, of the count too. A group of one stays"
    peer = f"{RECIPE}: algorithm.filter_groups.enable=True; {VERL}: loss_agg_mode="
    left = alone(57)
    computed, mapped = verl_filtered(left, norm_adv_by_std_in_grpo=False), verl_ours("center", mask_degenerate=True)
    yield "verl-filter-groups", f"{peer}'{TM}', norm_adv_by_std_in_grpo=False", mapped, left, computed, note
    left, mean = binary(58), "seq-mean-token-mean"
    computed, mapped = verl_filtered(left, loss_agg_mode=mean), verl_ours(aggregate=SM, mask_degenerate=True)
    yield "verl-filter-groups-sequence-mean", f"{peer}'{mean}'", mapped, left, computed, note.split(". ")[0]


def verl_policy_terms():
    note = "A < 0 with ratios of 30, beyond the bound, and 2.5, within"
    far = lambda seed: moved(uneven(seed), (2, 0, 30), (4, 1, 2.5))
    yield of_verl("verl-dual-clip", far(60), verl_ours(), note, clip_ratio_c=3.0)
    mapped, higher = verl_ours(clip=(0.8, 1.28), dual_clip=10.0), dict(clip_ratio_low=0.2, clip_ratio_high=0.28)
    yield of_verl("verl-clip-higher", far(61), mapped, note, clip_ratio_c=10.0, **higher)
    note = "log-ratios of ±25, clamped to ±20 without gradient beyond. The KL of these tokens keeps its gradient"
    yield of_verl("verl-outliers", outliers(uneven(62), 2, 5), verl_ours(kl=0.1), note, kl_loss_coef=0.1)
    mapped = ours("group", SM, reward_eps=1e-6, **SEQUENCE)
    gspo = dict(loss_mode="gspo", clip_ratio_low=0.03, clip_ratio_high=0.04, loss_agg_mode="seq-mean-token-mean")
    yield of_verl("verl-gspo", uneven(63, 0.2), mapped, "no dual clip there", **gspo)
    note = "a token's weight is on its own gradient. TRL's has the mean weight of the sequence there: not here"
    mapped = mapped | dict(rollout_correction="token-truncate", rollout_max=1.5)
    gspo |= dict(rollout_is="token", rollout_is_threshold=1.5)
    yield of_verl("verl-gspo-rollout-is-token", uneven(67, 0.2), mapped, note, **gspo)
    mapped = ours("group", TM, ratio="detached", clip=(0.5, 1.28), reward_eps=1e-6)
    cispo = dict(loss_mode="cispo", clip_ratio_low=0.5, clip_ratio_high=0.28)
    yield of_verl("verl-cispo", uneven(64), mapped, "no dual clip there", **cispo)
    note = (
        "log-ratios of ±25: verl's loss, but these tokens have no gradient. In verl they have, as the ratio is detached. "
        "Without these tokens ours is verl's: verl-cispo"
    )
    far_out = outliers(uneven(65), 2, 5)
    name, peer, *_, computed, _ = of_verl("verl-cispo-outliers-ours", far_out, mapped, **cispo)
    yield name, peer, mapped, far_out, resting(far_out, computed), note
    mapped = ours("group", {"fixed": 1}, ratio="detached", clip=(None, 2.0), reward_eps=1e-6)
    note = "rollout_correction.bypass_mode with loss_type=reinforce, rollout_is=token: old_logp is the sampler's"
    bypass = dict(loss_mode="reinforce", rollout_is_threshold=2.0, loss_agg_mode="seq-mean-token-sum")
    yield of_verl("verl-bypass-reinforce", uneven(66, 1.2), mapped, note, **bypass)


def verl_rest():
    aggregates = {"seq-mean-token-mean": (SM, {}), "seq-mean-token-sum": ({"fixed": 1}, {})}
    aggregates["seq-mean-token-sum-norm"] = ({"fixed": 12}, {"loss_scale_factor": 12})
    for agg, (aggregate, factor) in aggregates.items():
        mapped = verl_ours(aggregate=aggregate, kl=0.05)
        yield of_verl(f"verl-{agg}", uneven(70), mapped, loss_agg_mode=agg, kl_loss_coef=0.05, **factor)
    for kind, estimator in (("kl", "k1"), ("mse", "k2"), ("low_var_kl", "k3")):
        mapped = verl_ours(kl=0.1, kl_estimator=estimator)
        yield of_verl(f"verl-kl-{estimator}", uneven(71), mapped, kl_loss_coef=0.1, kl_loss_type=kind)
    note = "log π is -40 and the reference's -0.01: capped at 10, without gradient beyond"
    mapped = verl_ours(kl=0.1, kl_estimator="k3")
    yield of_verl("verl-kl-k3-spike", spike(uneven(72), 2), mapped, note, kl_loss_coef=0.1, kl_loss_type="low_var_kl")
    for level in ("token", "sequence"):
        mapped = verl_ours(rollout_correction=f"{level}-truncate", rollout_max=2.0)
        yield of_verl(f"verl-rollout-is-{level}", uneven(73), mapped, rollout_is=level, rollout_is_threshold=2.0)
        mapped = verl_ours(rollout_correction=f"{level}-mask", rollout_max=1.5)
        note = "IcePop; no weight is below its lower bound, which verl asks for"
        yield of_verl(f"verl-icepop-{level}", uneven(74), mapped, note, rollout_is=level, rollout_is_threshold=(1e-6, 1.5))


def others():
    # The punishment is part of the reward. Its numbers are under "overlong".
    long = binary(80)
    lengths = dict(max_completion_len=8, soft_punish_cache=4)
    penalties = [overlong_punishment(len(s), **lengths) for s in long]
    numbers = {"max_tokens": 8, "cache": 4, "rewards": [s.reward for s in long], "penalties": penalties}
    for s, penalty in zip(long, penalties):
        s.reward += penalty
    note = f"get_soft_overlong_punishment({options(lengths)}): `reward` is `overlong.rewards` plus `overlong.penalties`"
    yield *trl("trl-soft-overlong", long, trl_ours(TM), note, loss_type="dapo"), {"overlong": numbers}

    def of_prime_rl(name, sequences, mapped, note, algorithm):
        peer = f"{PRIME_RL}: orchestrator.algo.type={algorithm!r}, on policy"
        return name, peer, mapped, on_policy(sequences), prime_rl(sequences, algorithm), note

    rewards = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.25, 1.0, 0.75, 1.0, 1.0]
    several = lambda seed: batch(seed, [4, 2, 4, 2], rewards, 0.5)
    normed = ours("mean", TM, reward_eps=0.0)
    note = "off policy its loss has a mask on probabilities and a squared log-ratio, which are not here"
    yield of_prime_rl("prime-rl-grpo", several(81), ours("center", TM), note, "grpo")
    yield of_prime_rl("prime-rl-max-rl", several(82), normed, f"no eps; {note}", "max_rl")
    negative = batch(83, [1, 3, 2, 3], [0.5, 1.0, 0.0, 0.5, -1.0, 0.5, -1.0, 0.0, 1.0], 0.5)
    note = "A is 0 in a group of one, and if the mean is not above 0"
    yield of_prime_rl("prime-rl-max-rl-zero", negative, normed, note, "max_rl")
    sequences, mapped = several(84), ours("mean", TM, reward_eps=1e-6)
    note = "the paper's code, in PPO's loss; it gives a group of one r / 1e-6, which ours does not"
    computed = verl(sequences, adv_estimator="maxrl", clip_ratio_c=10.0)
    yield "maxrl", f"{MAX_RL}: adv_estimator='maxrl'", mapped, sequences, computed, note


def rows():
    """Yields (name, peer, our options, sequences, (loss, advantages, gradient), note, further keys of the file)."""
    for some in (trl_loss_types, trl_bounds_and_masks, trl_rollout_correction, trl_differences, trl_rloo_rows):
        yield from some()
    for some in (verl_advantages, verl_policy_terms, verl_rest, others):
        yield from some()


def record(s, mapped):
    """Returns the parts of a sequence that the objective reads."""
    out = {"group": s.group, "reward": s.reward, "logp": s.logp}
    if mapped["kl"]:
        out["ref_logp"] = s.ref
    if s.given_old is not None:
        out["old_logp"] = s.given_old
    if "rollout_correction" in mapped:
        out["rollout_logp"] = s.rollout
    return out | ({"truncated": True} if s.truncated else {})


def files():
    for name, peer, mapped, sequences, (loss, advantages, slopes), note, *further in rows():
        content = {"peer": peer} | ({"note": note} if note else {}) | {"objective": mapped}
        for keys in further:
            content |= keys
        content["sequences"] = [record(s, mapped) for s in sequences]
        expected = [{"advantage": a, "d_logp": d} for a, d in zip(advantages, slopes)]
        yield name, content | {"expected": {"loss": loss, "sequences": expected}}


def text(content):
    """Returns the text of a file, with one line per sequence."""

    def lines(items):
        return "[\n" + ",\n".join(f"    {json.dumps(item)}" for item in items) + "\n  ]"

    header = {key: value for key, value in content.items() if key not in ("sequences", "expected")}
    parts = [f'  "{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in header.items()]
    parts.append(f'  "sequences": {lines(content["sequences"])}')
    expected = content["expected"]
    parts.append(f'  "expected": {{"loss": {json.dumps(expected["loss"])}, "sequences": {lines(expected["sequences"])}}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def differences(got, want, at):
    """Yields the differences between two files. Numbers may differ by 1e-12, since exponentials depend on the platform."""
    if isinstance(want, dict) and isinstance(got, dict) and got.keys() == want.keys():
        for key in want:
            yield from differences(got[key], want[key], f"{at}.{key}")
    elif isinstance(want, list) and isinstance(got, list) and len(got) == len(want):
        for i, pair in enumerate(zip(got, want)):
            yield from differences(*pair, f"{at}[{i}]")
    elif isinstance(want, float) and isinstance(got, float) and abs(got - want) <= 1e-12 * max(abs(want), 1e-3):
        return
    elif got != want:
        yield f"{at}: {got}, in the file {want}"


def check(computed):
    stored = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")}
    for name in sorted({*stored, *computed}):
        if name not in computed or name not in stored:
            yield f"{name}.json is not written by this script" if name in stored else f"{name}.json is missing"
        else:
            yield from differences(json.loads(text(computed[name])), stored[name], f"{name}.json")


def main():
    computed = dict(files())
    if sys.argv[1:] == ["--check"]:
        faults = list(check(computed))
        sys.exit("\n".join(faults) or print(f"{len(computed)} files agree"))
    if sys.argv[1:]:
        sys.exit(__doc__)
    FOLDER.mkdir(exist_ok=True)
    for name, content in computed.items():
        (FOLDER / f"{name}.json").write_text(text(content), encoding="utf-8")
    print(f"{len(computed)} files in {FOLDER}")


if __name__ == "__main__":
    main()
