"""The losses of TRL, verl and prime-rl in float64, with gradients derived by hand: the arithmetic of peers.py.

The formulas come from the peers' sources, but the code does not. Options have the peers' names, or start with `ours_`.
A loss is a function of the tokens' log-probabilities l that also takes complex numbers. Terms that a peer detaches do
not depend on l.
"""

import cmath
import math

# Comparisons use the real part, since a complex step is too small to change their outcome.


def exp(x):
    return cmath.exp(x)


def clamp(x, low=None, high=None):
    if low is not None and x.real < low:
        return low
    return high if high is not None and x.real > high else x


def smaller(a, b):
    return a if a.real <= b.real else b


def larger(a, b):
    return a if a.real >= b.real else b


def k3(l, ref):
    return exp(ref - l) - (ref - l) - 1


def k3_slope(l, ref):
    return 1 - math.exp(ref - l)


def mean(values):
    return sum(values) / len(values)


def variance(values):
    """Returns the unbiased variance."""
    centre = mean(values)
    return sum((v - centre) ** 2 for v in values) / (len(values) - 1)


class Sequence:
    """A completion, with log-probabilities of its tokens under the policy, reference, old policy and sampler."""

    def __init__(self, group, reward, logp, ref, old, rollout):
        self.group, self.reward, self.logp, self.ref, self.given_old, self.rollout = group, reward, logp, ref, old, rollout
        self.truncated = False

    def __len__(self):
        return len(self.logp)

    @property
    def old(self):
        """Returns log-probabilities under the old policy as constants; on policy this is the policy itself."""
        return self.logp if self.given_old is None else self.given_old

    @property
    def log_ratios(self):
        return [l - o for l, o in zip(self.logp, self.old)]


def groups(sequences):
    """Returns the indices of each prompt's completions."""
    members = {}
    for i, s in enumerate(sequences):
        members.setdefault(s.group, []).append(i)
    return members.values()


def result(sequences, advantages, loss, slopes):
    """Returns (loss, advantages, gradient), after a check of the gradient by complex steps of the loss."""
    step = 1e-30
    here = [list(map(complex, s.logp)) for s in sequences]
    size = max(abs(d) for row in slopes for d in row)
    for i, row in enumerate(slopes):
        for t, slope in enumerate(row):
            here[i][t] += step * 1j
            checked = complex(loss(here)).imag / step
            here[i][t] -= step * 1j
            assert abs(checked - slope) <= 1e-11 * max(abs(checked), 1e-3 * size), (i, t, checked, slope)
    return complex(loss(here)).real, advantages, slopes


# TRL, trl/trainer/grpo_trainer.py


def trl_advantages(sequences, scale_rewards):
    """Computes lines 2681-2708: Bessel's correction, eps 1e-4."""
    rewards = [s.reward for s in sequences]
    out = [0.0] * len(sequences)
    for group in groups(sequences):
        own = [rewards[i] for i in group]
        spread = {"group": own, "batch": rewards, "none": None}[scale_rewards]
        for i in group:
            centred = rewards[i] - mean(own)
            out[i] = centred if spread is None else centred / (math.sqrt(variance(spread)) + 1e-4)
    return out


def trl_sampling_weights(s, mode, low, high):
    """Computes lines 2579-2623: a weight for each token."""
    difference = [o - r for o, r in zip(s.old, s.rollout)]
    if mode.startswith("sequence"):
        difference = [sum(difference)] * len(s)
    weights = [math.exp(d) for d in difference]
    if mode.endswith("truncate"):
        return [clamp(w, low, high) for w in weights]
    return [w if clamp(w, low, high) == w else 0.0 for w in weights]


def trl_grpo(
    sequences,
    loss_type="dapo",
    beta=0.0,
    epsilon=0.2,
    epsilon_high=None,
    delta=None,
    importance_sampling_level="token",
    scale_rewards="group",
    max_completion_length=None,
    mask_truncated_completions=False,
    off_policy_mask_threshold=None,
    vllm_importance_sampling_mode=None,
    vllm_importance_sampling_clip_max=3.0,
    vllm_importance_sampling_clip_min=None,
    use_bias_correction_kl=False,
    ours_bound=None,
    ours_kl_max=None,
):
    """Computes _compute_loss, lines 3019-3158. TRL does not have the last two options, the bound of a log-ratio and
    the cap of k3."""
    top = epsilon if epsilon_high is None else epsilon_high
    per_token = importance_sampling_level == "token"
    mode = vllm_importance_sampling_mode
    advantages = trl_advantages(sequences, scale_rewards)
    lengths = [0 if mask_truncated_completions and s.truncated else len(s) for s in sequences]
    count, tokens = len(sequences), sum(lengths)
    # Terms per token times the length would be averaged over padding too.
    assert loss_type != "luspo" or not (per_token or beta or (mode or "").startswith("token"))

    def share(i):
        if loss_type in ("bnpo", "dapo", "cispo"):
            return 1 / tokens
        divisor = {"grpo": lengths[i], "dr_grpo": max_completion_length, "luspo": 1}[loss_type]
        return 1 / (count * divisor)

    def weights(i):
        """Returns get_off_policy_mask times the correction for the sampler."""
        s, keep = sequences[i], 1.0
        if off_policy_mask_threshold is not None and advantages[i] < 0:
            sampled = s.rollout if mode else s.old
            drift = sum(b - l for b, l in zip(sampled, s.logp)) / lengths[i]
            keep = 1.0 if drift <= off_policy_mask_threshold else 0.0
        if mode is None:
            return [keep] * len(s)
        bounds = vllm_importance_sampling_clip_min, vllm_importance_sampling_clip_max
        return [keep * w for w in trl_sampling_weights(s, mode, *bounds)]

    def ratios(i, l):
        """Returns coef_1 of every token."""
        low = None if ours_bound is None else -ours_bound
        logs = [clamp(a - b, low, ours_bound) for a, b in zip(l, sequences[i].old)]
        return [exp(x) for x in (logs if per_token else [mean(logs)] * len(logs))]

    def policy_term(ratio, l, advantage):
        if loss_type == "cispo":
            return -clamp(ratio, None, top).real * advantage * l
        first = clamp(ratio, None, delta)
        second = clamp(ratio, 1 - epsilon, 1 + top)
        return -smaller(first * advantage, second * advantage)

    def loss(l):
        total = 0
        for i, s in enumerate(sequences):
            if lengths[i] == 0:
                continue
            for w, r, a, f in zip(weights(i), ratios(i, l[i]), l[i], s.ref):
                kl = clamp(k3(a, f), None, ours_kl_max) * (r if use_bias_correction_kl else 1)
                total += share(i) * (w * policy_term(r, a, advantages[i]) + beta * kl)
        return total

    def slopes(i):
        s, advantage = sequences[i], advantages[i]
        if lengths[i] == 0:
            return [0.0] * len(s)
        rho = [r.real for r in ratios(i, s.logp)]
        w = weights(i)
        moves = [ours_bound is None or abs(x) <= ours_bound for x in s.log_ratios]
        values = [k3(a, f).real for a, f in zip(s.logp, s.ref)]
        capped = [ours_kl_max is not None and v > ours_kl_max for v in values]
        kl_slopes = [0.0 if c else k3_slope(a, f) for a, f, c in zip(s.logp, s.ref, capped)]

        def by_ratio(t):
            """Returns ∂/∂(log-ratio of token t) of the terms that contain this log-ratio."""
            r = rho[t]
            most = 1 + top if delta is None else max(1 + top, delta)
            held = r > 1 + top if advantage > 0 else r < 1 - epsilon or (delta is not None and r > most)
            policy = 0.0 if held or loss_type == "cispo" else -r * advantage
            weight, kl = (w[t], values[t]) if per_token else (mean(w), mean(values))
            return moves[t] * (weight * policy + (beta * kl * r if use_bias_correction_kl else 0.0))

        out = []
        for t in range(len(s)):
            detached = -w[t] * min(rho[t], top) * advantage if loss_type == "cispo" else 0.0
            kl = beta * kl_slopes[t] * (rho[t] if use_bias_correction_kl else 1.0)
            out.append(share(i) * (by_ratio(t) + detached + kl))
        return out

    return result(sequences, advantages, loss, [slopes(i) for i in range(count)])


# TRL, trl/trainer/rloo_trainer.py


def trl_rloo(sequences, beta=0.05, epsilon=0.2, mask_truncated_completions=False):
    """Computes lines 1526-1554 and 1680-1694."""
    present = [not (mask_truncated_completions and s.truncated) for s in sequences]
    kl = [sum(o - f for o, f in zip(s.old, s.ref)) * p for s, p in zip(sequences, present)]
    rewards = [s.reward - beta * k for s, k in zip(sequences, kl)]
    advantages = [0.0] * len(sequences)
    for group in groups(sequences):
        for i in group:
            advantages[i] = rewards[i] - mean([rewards[j] for j in group if j != i])

    def ratio(i, l):
        return exp(sum(l) - sum(sequences[i].old)) if present[i] else 1

    def loss(l):
        total = 0
        for i, advantage in enumerate(advantages):
            rho = ratio(i, l[i])
            total -= smaller(rho * advantage, clamp(rho, 1 - epsilon, 1 + epsilon) * advantage)
        return total / len(sequences)

    def slope(i):
        rho, advantage = ratio(i, sequences[i].logp).real, advantages[i]
        held = rho > 1 + epsilon if advantage > 0 else rho < 1 - epsilon
        return 0.0 if held or not present[i] else -rho * advantage / len(sequences)

    return result(sequences, advantages, loss, [[slope(i)] * len(s) for i, s in enumerate(sequences)])


# verl, verl/trainer/ppo/core_algos.py


def verl_advantages(sequences, rewards, adv_estimator, norm_adv_by_std_in_grpo, ours_keeps_alone):
    """Computes lines 267-733. In a group of one the mean is 0 and the deviation 1. "maxrl" follows tajwarfahim/maxrl,
    line 403."""
    out = [0.0] * len(sequences)
    for group in groups(sequences):
        own, n = [rewards[i] for i in group], len(group)
        centre, std, factor = (mean(own), math.sqrt(variance(own)), n / (n - 1)) if n > 1 else (0.0, 1.0, 1.0)
        if ours_keeps_alone and n == 1:
            std -= 1e-6
        for i in group:
            centred = rewards[i] - centre
            out[i] = {
                "grpo": centred / (std + 1e-6) if norm_adv_by_std_in_grpo else centred,
                "maxrl": centred / (centre + 1e-6),
                "rloo": centred * factor,
                "reinforce_plus_plus": rewards[i],
                "reinforce_plus_plus_baseline": centred,
            }[adv_estimator]
    if adv_estimator.startswith("reinforce_plus_plus"):
        # masked_whiten runs over tokens, which all have the number of their sequence (γ = 1, and the reward is at the
        # last token). The peer adds 1e-8 to the counts, in float32.
        tokens = [a for a, s in zip(out, sequences) for _ in range(len(s))]
        centre, root = mean(tokens), math.sqrt(variance(tokens) + 1e-8)
        out = [(a - centre) / root for a in out]
    return out


def verl_rollout_weights(s, level, threshold):
    """Computes rollout_corr_helper.py, lines 522-600: a number truncates, (low, high) masks."""
    difference = [o - r for o, r in zip(s.old, s.rollout)]
    if level == "sequence":
        difference = [sum(difference)] * len(s)
    weights = [math.exp(clamp(d, -20, 20)) for d in difference]
    if isinstance(threshold, tuple):
        low, high = threshold
        return [w if low <= w <= high else 0.0 for w in weights]
    return [min(w, threshold) for w in weights]


def verl(
    sequences,
    adv_estimator="grpo",
    norm_adv_by_std_in_grpo=True,
    loss_mode="vanilla",
    clip_ratio_low=0.2,
    clip_ratio_high=0.2,
    clip_ratio_c=3.0,
    loss_agg_mode="token-mean",
    loss_scale_factor=None,
    kl_loss_coef=0.0,
    kl_loss_type="low_var_kl",
    kl_in_reward_coef=0.0,
    rollout_is=None,
    rollout_is_threshold=2.0,
    ours_keeps_alone=False,
):
    """Computes compute_policy_loss_* and agg_loss, with ppo_loss of workers/utils/losses.py. loss_mode "reinforce" is
    bypass_mode, in which the old policy is the sampler. verl does not have the last option, no eps in a group of one."""
    rewards = [s.reward - kl_in_reward_coef * sum(o - f for o, f in zip(s.old, s.ref)) for s in sequences]
    advantages = verl_advantages(sequences, rewards, adv_estimator, norm_adv_by_std_in_grpo, ours_keeps_alone)
    count, tokens = len(sequences), sum(len(s) for s in sequences)
    low, high = 1 - clip_ratio_low, 1 + clip_ratio_high
    if loss_mode == "reinforce":
        low, high = 0, rollout_is_threshold
    detached = loss_mode in ("cispo", "reinforce")
    assert loss_mode != "gspo" or loss_agg_mode == "seq-mean-token-mean", "GSPO's policy term is always aggregated so"

    def share(i):
        if loss_agg_mode == "token-mean":
            return 1 / tokens
        # For seq-mean-token-mean the peer divides by T + 1e-8, which is T in float32.
        length = len(sequences[i])
        divisor = {"seq-mean-token-mean": length, "seq-mean-token-sum": 1, "seq-mean-token-sum-norm": loss_scale_factor}
        return 1 / (count * divisor[loss_agg_mode])

    def weights(s):
        if rollout_is is None or loss_mode == "reinforce":
            return [1.0] * len(s)
        return verl_rollout_weights(s, rollout_is, rollout_is_threshold)

    def logs(s, l):
        """Returns the log-ratios, clamped to their bounds."""
        if loss_mode == "gspo":
            return [clamp(a - b + mean(s.log_ratios), None, 10) for a, b in zip(l, s.logp)]
        return [clamp(a - b, -20, 20) for a, b in zip(l, s.old)]

    def policy_term(ratio, l, advantage):
        clipped = clamp(ratio, low, high)
        if detached:
            return -clipped.real * advantage * l
        term = larger(-advantage * ratio, -advantage * clipped)
        return smaller(-advantage * clip_ratio_c, term) if loss_mode == "vanilla" and advantage < 0 else term

    def kl_term(l, ref):
        if kl_loss_type == "kl":
            return l - ref
        if kl_loss_type == "mse":
            return 0.5 * (l - ref) ** 2
        # low_var_kl also clamps ref - l to ±20, but there k3 is already beyond its own bound.
        return clamp(k3(l, ref), None, 10)

    def loss(l):
        total = 0
        for i, s in enumerate(sequences):
            for w, x, a, f in zip(weights(s), logs(s, l[i]), l[i], s.ref):
                kl = kl_loss_coef * kl_term(a, f) if kl_loss_coef else 0
                total += share(i) * (w * policy_term(exp(x), a, advantages[i]) + kl)
        return total

    def policy_slope(x, advantage):
        """Returns the slope by x, a log-ratio within its bounds that has a gradient only strictly inside them."""
        r = math.exp(x)
        if detached:
            return -advantage * min(max(r, low), high)
        if x >= (10 if loss_mode == "gspo" else 20) or (loss_mode != "gspo" and x <= -20):
            return 0.0
        held = r > high if advantage > 0 else r < low or (loss_mode == "vanilla" and r > clip_ratio_c)
        return 0.0 if held else -advantage * r

    def kl_slope(l, ref):
        if kl_loss_type == "low_var_kl":
            return 0.0 if k3(l, ref).real > 10 else k3_slope(l, ref)
        return {"kl": 1.0, "mse": l - ref}[kl_loss_type]

    def slopes(i):
        s = sequences[i]
        kl = [kl_loss_coef * kl_slope(a, f) for a, f in zip(s.logp, s.ref)] if kl_loss_coef else [0.0] * len(s)
        policy = [w * policy_slope(x, advantages[i]) for w, x in zip(weights(s), logs(s, s.logp))]
        return [share(i) * (p + k) for p, k in zip(policy, kl)]

    return result(sequences, advantages, loss, [slopes(i) for i in range(count)])


def verl_filtered(sequences, **options):
    """Computes filter_groups of the DAPO recipe, dapo_ray_trainer.py, lines 257-265: a prompt stays if its rewards
    differ or if it has one completion. Filtered completions have no advantage and no gradient."""
    kept = []
    for group in groups(sequences):
        if len(group) == 1 or len({sequences[i].reward for i in group}) > 1:
            kept += group
    loss, some_advantages, some_slopes = verl([sequences[i] for i in kept], **options)
    advantages, slopes = [0.0] * len(sequences), [[0.0] * len(s) for s in sequences]
    for i, advantage, row in zip(kept, some_advantages, some_slopes):
        advantages[i], slopes[i] = advantage, row
    return loss, advantages, slopes


# prime-rl


def prime_rl(sequences, algorithm):
    """Computes orchestrator/algo/max_rl.py or grpo.py, and default_loss_fn of trainer/rl/loss.py on policy. There its
    mask (a change of probability beyond 0.2) keeps every token, and its squared log-ratio is 0."""
    assert all(s.given_old is None for s in sequences)
    advantages, tokens = [0.0] * len(sequences), sum(len(s) for s in sequences)
    for group in groups(sequences):
        centre = mean([sequences[i].reward for i in group])
        for i in group:
            advantages[i] = sequences[i].reward - centre
            if algorithm == "max_rl":
                advantages[i] = advantages[i] / centre if centre > 0 else 0.0

    def loss(l):
        terms = ((a, x - o) for a, s, row in zip(advantages, sequences, l) for x, o in zip(row, s.logp))
        return sum(-a * exp(d) + 1e-3 * d**2 for a, d in terms) / tokens

    return result(sequences, advantages, loss, [[-a / tokens] * len(s) for a, s in zip(advantages, sequences)])


def overlong_punishment(length, max_completion_len, soft_punish_cache):
    """Computes get_soft_overlong_punishment of TRL, trl/rewards/other_rewards.py."""
    free = max_completion_len - soft_punish_cache
    if length <= free:
        return 0.0
    return (free - length) / soft_punish_cache if length <= max_completion_len else -1.0
