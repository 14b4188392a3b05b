"""The FlowRL objective of the preset `paper` in eager PyTorch, as in a typical trainer."""

import math

BETA, CLIP_LOW, CLIP_HIGH, EPS = 15.0, 0.8, 1.2, 1e-6


def group_normalise(rewards, group_size):
    """Returns (r − mean) / (std + eps) within each group. `rewards` is (B,), and groups are contiguous."""
    r = rewards.view(-1, group_size)
    return ((r - r.mean(1, keepdim=True)) / (r.std(1, keepdim=True) + EPS)).view(-1)


def masked_sum(x, mask):
    """Sums over the tokens kept by the mask, or over all if there is none: (B, T) → (B,)."""
    return x.sum(1) if mask is None else (x * mask).sum(1)


def masked_mean(x, mask):
    """Averages over the tokens kept by the mask, or over all if there is none: (B, T) → (B,)."""
    return x.mean(1) if mask is None else masked_sum(x, mask) / mask.sum(1)


def loss(log_z, logp, ref_logp, old_logp, mask, advantage):
    """Returns mean_i w_i δ_i², with δ = log Z + L/T − β r̂ − L_ref/T. `log_z` and the `advantage` r̂ are (B,), the
    others (B, T)."""
    log_weight = masked_sum(logp.detach() - old_logp, mask)
    weight = log_weight.clamp(math.log(CLIP_LOW), math.log(CLIP_HIGH)).exp()
    residual = log_z + masked_mean(logp, mask) - BETA * advantage - masked_mean(ref_logp, mask)
    return (weight * residual.square()).mean()
