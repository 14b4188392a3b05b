// FlowRL's loss and gradient: ℓ = (1/B) Σ w δ² with δ = log Z + (L − αL_ref)/divisor − βr̂, ∂ℓ/∂l_t = 2wδ / (divisor·B)
// for every token and ∂ℓ/∂log Z = 2wδ / B (Zhu and others, arXiv 2509.15207; trajectory balance: Malkin and others,
// arXiv 2201.13259). The weight w is clip(exp(Σ (l − l_old))), or the same of the mean, without a gradient. δ may be
// bounded relative to its value under the policy that sampled, or compared in pairs, as the host's objective/flowrl.rs
// explains.
//
// There are two launches, each with one block per sequence. `trajectory_sums` reads every log-probability once, and
// `trajectory_balance` writes every gradient. Sums are double, in an order that depends only on the sequence's place
// and length. The results of the first launch are rounded to float in between.

#include "constants.cuh"

static_assert(sizeof(Measured) == MEASURES * sizeof(double), "the host reads as many columns");

// The mask of a sequence's tokens. It drops those with a ratio beyond the bound in the direction of the advantage.
struct Mask {
    double sign, bound;

    __device__ __forceinline__ bool keeps(float l, float old) const { return !(sign * ((double)l - old) > bound); }
};

// Returns the mask of one sequence. `low` and `high` are logarithms. If the mask does not apply or the advantage is 0,
// it keeps everything.
__device__ __forceinline__ Mask mask_of(bool applies, double advantage, double low, double high) {
    if (!applies || advantage == 0.0) return Mask{0.0, 0.0};
    return advantage > 0.0 ? Mask{1.0, high} : Mask{-1.0, -low};
}

// Returns the divisor of a sequence's sums: `length`, or the number of its tokens (at least 1) if `length` is 0.
__device__ __forceinline__ double divisor_of(double length, double tokens) {
    return length > 0.0 ? length : tokens > 1.0 ? tokens : 1.0;
}

// Computes (u, log w, (L − L_old)/divisor) of each sequence in `parts`, with u = (L − αL_ref)/divisor − βr̂ or NaN if
// an input is not finite, and this launch's fields of `measured`.
//
// log_probs, ref_log_probs and old_log_probs (null if on policy) are (tokens), offsets (sequences + 1), advantages
// (sequences). α is `power`; if it is 0, ref_log_probs may be null. masks may be null and is not 0 for a sequence
// outside the loss. The options' numbers are those of constants.cuh.
extern "C" __global__ void trajectory_sums(const float* log_probs, const float* ref_log_probs, const float* old_log_probs,
                                           const u32* offsets, const float* advantages, const u32* masks, float* parts,
                                           Measured* measured, u32 sequences, u32 tokens, double beta, double power, double length, u32 importance,
                                           u32 masked, double mask_log_low, double mask_log_high) {
    u32 i = blockIdx.x;
    double advantage = advantages[i];
    Mask mask = mask_of(masked && old_log_probs, advantage, mask_log_low, mask_log_high);
    double ref_sum = 0.0, kept_ref = 0.0, kept_old = 0.0, kept_sum = 0.0, old_max = 0.0;
    u32 kept = 0;
    for_tokens(log_probs, ref_log_probs, old_log_probs, nullptr, offsets[i], offsets[i + 1], [&](u64, float l, float ref, float old) {
        double to_ref = (double)l - ref, to_old = (double)l - old;
        ref_sum += to_ref;
        old_max = max(old_max, fabs(to_old));
        if (mask.keeps(l, old)) {
            kept_ref += to_ref;
            kept_old += to_old;
            kept_sum += l;
            kept++;
        }
        return 0.0f;
    });
    ref_sum = block_reduce(ref_sum, Add(), 0.0);
    kept_ref = block_reduce(kept_ref, Add(), 0.0);
    kept_old = block_reduce(kept_old, Add(), 0.0);
    kept_sum = block_reduce(kept_sum, Add(), 0.0);
    old_max = block_reduce(old_max, Max(), 0.0);
    kept = block_reduce(kept, Add(), 0u);
    if (threadIdx.x != 0) return;
    double divisor = divisor_of(length, kept);
    if (power != 1.0) kept_ref = power * kept_ref + (1.0 - power) * kept_sum;
    double u = kept_ref / divisor - beta * advantage;
    double log_weight = importance == IMPORTANCE_NONE       ? 0.0
                        : importance == IMPORTANCE_SEQUENCE ? kept_old
                                                            : kept_old / divisor_of(0.0, kept);

    // A NaN is never dropped and an infinity is the largest value, so these three values reveal both.
    bool finite = is_finite(ref_sum) && is_finite(kept_old) && is_finite(old_max);
    parts[PARTS * i] = finite ? (float)u : NAN_F;
    parts[PARTS * i + 1] = (float)log_weight;
    parts[PARTS * i + 2] = (float)(kept_old / divisor);
    measured[i].advantage = advantage;
    measured[i].kept = kept;
    measured[i].ref_log_ratio = ref_sum;
    measured[i].old_log_ratio_max = old_max;
    measured[i].dropped = masks && masks[i];
    measured[i].outliers = measured[i].capped = measured[i].slope_sum = measured[i].slope_max = 0.0;
}

// Returns Σw and Σwu over members first .. last of a group except `without`, relative to the largest w.
struct GroupSum {
    double largest, weights, products;
};

__device__ __forceinline__ GroupSum group_sum(const u32* members, u32 first, u32 last, u32 without, const u32* masks,
                                              const float* parts, Clip clip) {
    GroupSum sum = {-(double)INFINITY_F, 0.0, 0.0};
    for (u32 k = first + threadIdx.x; k < last; k += blockDim.x)
        if (members[k] != without && (!masks || !masks[members[k]]))
            sum.largest = max(sum.largest, clip.log(parts[PARTS * members[k] + 1]));
    sum.largest = block_reduce(sum.largest, Max(), -(double)INFINITY_F);
    for (u32 k = first + threadIdx.x; k < last; k += blockDim.x) {
        u32 j = members[k];
        if (j == without || (masks && masks[j])) continue;
        double w = exp(clip.log(parts[PARTS * j + 1]) - sum.largest);
        sum.weights += w;
        sum.products += w * parts[PARTS * j];
    }
    sum.weights = block_reduce(sum.weights, Add(), 0.0);
    sum.products = block_reduce(sum.products, Add(), 0.0);
    return sum;
}

// Returns −Σwu/Σw over the group of sequence i or over its other members, or 0 if there are none.
__device__ __forceinline__ double log_z_of_group(u32 i, const u32* members, u32 first, u32 last, bool leave_one_out,
                                                 const u32* masks, const float* parts, Clip clip) {
    const u32 nobody = 0xffffffffu;
    GroupSum all = group_sum(members, first, last, nobody, masks, parts, clip);
    if (!leave_one_out) return -all.products / all.weights;
    double own = exp(clip.log(parts[PARTS * i + 1]) - all.largest);
    // Subtracting more than half of the sum would cancel.
    if (own <= 0.5 * all.weights) return -(all.products - own * parts[PARTS * i]) / (all.weights - own);
    GroupSum others = group_sum(members, first, last, i, masks, parts, clip);
    return others.weights > 0.0 ? -others.products / others.weights : 0.0;
}

// Returns −mean of u over the group, under the policy that sampled.
__device__ __forceinline__ double log_z_of_old(const u32* members, u32 first, u32 last, const u32* masks, const float* parts) {
    double sum = 0.0;
    u32 count = 0;
    for (u32 k = first + threadIdx.x; k < last; k += blockDim.x) {
        u32 j = members[k];
        if (masks && masks[j]) continue;
        sum += (double)parts[PARTS * j] - parts[PARTS * j + 2];
        count++;
    }
    sum = block_reduce(sum, Add(), 0.0);
    return -sum / block_reduce(count, Add(), 0u);
}

// Returns the penalty of a residual: δ², or Huber's penalty beyond `huber`.
__device__ __forceinline__ double penalty_of(double residual, double huber) {
    double size = fabs(residual);
    return size > huber ? 2.0 * huber * size - huber * huber : residual * residual;
}

// Returns half the derivative of the penalty.
__device__ __forceinline__ double half_slope_of(double residual, double huber) {
    return fabs(residual) > huber ? copysign(huber, residual) : residual;
}

// Half the penalties of all pairs with sequence i, and half their derivatives with respect to u_i, both divided by the
// number of other members.
struct Pairs {
    double penalty, half_slope;
};

__device__ __forceinline__ Pairs pairs_of(u32 i, const u32* members, u32 first, u32 last, const u32* masks, const float* parts,
                                          const float* advantages, double beta, double gap, double huber) {
    Pairs sum = {0.0, 0.0};
    u32 others = 0;
    double own = beta * (double)advantages[i];
    for (u32 k = first + threadIdx.x; k < last; k += blockDim.x) {
        u32 j = members[k];
        if (j == i || (masks && masks[j])) continue;
        others++;
        if (gap > 0.0 && fabs(own - beta * (double)advantages[j]) <= gap) continue;
        double difference = (double)parts[PARTS * i] - parts[PARTS * j];
        sum.penalty += 0.5 * penalty_of(difference, huber);
        sum.half_slope += half_slope_of(difference, huber);
    }
    others = max(block_reduce(others, Add(), 0u), 1u);
    sum.penalty = block_reduce(sum.penalty, Add(), 0.0) / others;
    sum.half_slope = block_reduce(sum.half_slope, Add(), 0.0) / others;
    return sum;
}

// Runs after `trajectory_sums`, with the same arguments. log_z (sequences) is an input if it is not null. Otherwise log
// Z is 0, unless its estimator uses the group. Group g has members[starts[g] .. starts[g + 1]], and sequence i is in
// group_of[i]. total is B of the whole batch, and huber is the bound of the Huber penalty, infinite for δ². learned
// says whether log_z has a gradient. bound_low and bound_high are those of the residual, infinite if absent.
// d_log_probs is (tokens); d_log_z, used_log_z, residuals and weights are (sequences).
extern "C" __global__ void trajectory_balance(const float* log_probs, const float* old_log_probs, const u32* offsets,
                                              const float* advantages, const float* log_z, const u32* masks, const u32* members,
                                              const u32* starts, const u32* group_of, const float* parts, float* d_log_probs,
                                              float* d_log_z, float* used_log_z, float* residuals, float* weights,
                                              Measured* measured, u32 sequences, u32 tokens, u32 groups, double total,
                                              double length, u32 estimator, double clip_low, double clip_high, double log_low,
                                              double log_high, double huber, u32 masked, double mask_log_low,
                                              double mask_log_high, u32 learned, double bound_low, double bound_high,
                                              double beta, double gap) {
    u32 i = blockIdx.x, group = group_of[i];
    Clip clip = {clip_low, clip_high, log_low, log_high};
    u32 first = starts[group], last = starts[group + 1];
    bool dropped = masks && masks[i], of_group = estimator == LOGZ_GROUP_MEAN || estimator == LOGZ_LEAVE_ONE_OUT;
    double estimate = dropped    ? 0.0
                      : of_group ? log_z_of_group(i, members, first, last, estimator == LOGZ_LEAVE_ONE_OUT, masks, parts, clip)
                      : estimator == LOGZ_OLD_GROUP_MEAN ? log_z_of_old(members, first, last, masks, parts)
                      : log_z                            ? log_z[i]
                                                         : 0.0f;
    float used = (float)estimate;
    double residual = (double)used + (double)parts[PARTS * i], moved = parts[PARTS * i + 2];
    // A bound must not hide a NaN.
    bool bounded = is_finite(residual) && (is_finite(bound_low) || is_finite(bound_high));
    if (bounded) residual = min(max(residual - moved, bound_low), bound_high) + moved;
    bool clipped;
    double weight = clip.weight(parts[PARTS * i + 1], clipped), share = weight / total;
    double penalty = penalty_of(residual, huber), slope = share * (2.0 * half_slope_of(residual, huber)), loss = share * penalty;
    if (estimator == LOGZ_PAIRWISE && !dropped) {
        Pairs pairs = pairs_of(i, members, first, last, masks, parts, advantages, beta, gap, huber);
        // A value that the first launch found to be non-finite stays NaN.
        residual = is_finite(parts[PARTS * i]) ? pairs.half_slope : (double)NAN_F;
        slope = 2.0 * residual / total, loss = pairs.penalty / total;
    }
    float scale = (float)slope;
    if (dropped) {
        for_tokens(nullptr, nullptr, nullptr, d_log_probs, offsets[i], offsets[i + 1],
                   [=](u64, float, float, float) { return 0.0f; });
        if (threadIdx.x != 0) return;
        d_log_z[i] = used_log_z[i] = residuals[i] = weights[i] = 0.0f;
        measured[i].loss = is_finite(parts[PARTS * i]) ? 0.0 : (double)NAN_F;
        measured[i].residual = measured[i].log_z = measured[i].weight = measured[i].clipped = 0.0;
        return;
    }

    double advantage = advantages[i], kept = measured[i].kept;
    float gradient = (float)(1.0 / divisor_of(length, kept)) * scale;
    if (masked && old_log_probs && advantage != 0.0) {
        Mask mask = mask_of(true, advantage, mask_log_low, mask_log_high);
        for_tokens(log_probs, nullptr, old_log_probs, d_log_probs, offsets[i], offsets[i + 1],
                   [=](u64, float l, float, float old) { return mask.keeps(l, old) ? gradient : 0.0f; });
    } else {
        for_tokens(nullptr, nullptr, nullptr, d_log_probs, offsets[i], offsets[i + 1],
                   [=](u64, float, float, float) { return gradient; });
    }
    if (threadIdx.x != 0) return;
    d_log_z[i] = learned ? scale : 0.0f;
    used_log_z[i] = used;
    residuals[i] = (float)residual;
    weights[i] = (float)weight;
    bool finite = is_finite((float)weight) && is_finite((float)residual) && is_finite((float)loss) && is_finite(scale);
    measured[i].loss = finite ? loss : (double)NAN_F;
    measured[i].residual = residual;
    measured[i].log_z = used;
    measured[i].weight = weight;
    measured[i].clipped = clipped;
}
