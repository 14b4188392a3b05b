// Losses and gradients of the policy gradients, token by token. They are REINFORCE; the clipped surrogate −min(ρA,
// clip(ρ)A) of PPO (Schulman and others, arXiv 1707.06347), with the ratio of a token or of a sequence (GSPO, Zheng and
// others, arXiv 2507.18071); and −clip(ρ)·A·l with the weight detached (CISPO, MiniMax, arXiv 2506.13585). The KL to
// the reference is k1, k2 or k3 of d = l_ref − l. There may be an entropy bonus.
#include "constants.cuh"

// A ratio has no gradient if its logarithm is further from 0 than this.
#define MAX_LOG_RATIO 20.0

// A term of the loss and its derivative with respect to the token's log-probability.
struct Term {
    double loss, slope;
    bool clipped, outlier;
};

__device__ __forceinline__ double within(double log_ratio) { return min(max(log_ratio, -MAX_LOG_RATIO), MAX_LOG_RATIO); }

// Returns the term −min(ρA, clip(ρ)A). It equals −ρ′A, with ρ′ bounded only on the side that `min` selects, and by
// `dual` if A < 0. ρ is its own derivative.
__device__ __forceinline__ Term surrogate(Clip clip, double dual, double log_dual, double log_ratio, double advantage) {
    Term term = {};
    term.outlier = fabs(log_ratio) > MAX_LOG_RATIO;
    if (advantage == 0.0) return term.loss = term.slope = -advantage, term;
    if (advantage > 0.0) clip.low = 0.0, clip.log_low = -(double)INFINITY_F;
    else clip.high = dual, clip.log_high = log_dual;
    term.loss = -clip.weight(within(log_ratio), term.clipped) * advantage;
    term.slope = term.clipped || term.outlier ? 0.0 : term.loss;
    return term;
}

__device__ __forceinline__ Term token_term(u32 ratio, Clip clip, double dual, double log_dual, double l, double log_ratio,
                                           double advantage) {
    if (ratio == RATIO_TOKEN) return surrogate(clip, dual, log_dual, log_ratio, advantage);
    Term term = {0.0, -advantage, false, false};
    double weight = 1.0;
    if (ratio == RATIO_DETACHED) {
        weight = clip.weight(within(log_ratio), term.clipped);
        term.outlier = fabs(log_ratio) > MAX_LOG_RATIO;
        term.slope = term.outlier ? 0.0 : -weight * advantage;
    }
    term.loss = -weight * advantage * l;
    return term;
}

// Returns the estimate of a token's KL, bounded by `most` if it is k3.
__device__ __forceinline__ Term kl_term(u32 estimator, double most, double d) {
    Term term = {-d, 1.0, false, false};
    if (estimator == KLESTIMATOR_K2) term.loss = 0.5 * d * d, term.slope = -d;
    if (estimator == KLESTIMATOR_K3) {
        double growth = expm1(d);
        term.loss = growth - d, term.slope = -growth;
        if (term.loss > most) term.loss = most, term.slope = 0.0, term.clipped = true;
    }
    return term;
}

// Multiplies a term by a ratio. `slope_of_ratio` is the part of the derivative that comes from the ratio.
__device__ __forceinline__ Term times(Term term, double log_ratio, double slope_of_ratio) {
    double ratio = exp(within(log_ratio));
    term.slope = fabs(log_ratio) > MAX_LOG_RATIO ? 0.0 : ratio * term.slope + slope_of_ratio;
    term.loss *= ratio;
    return term;
}

// Returns exp(log_weight) clamped to least .. most, or 0 for a value outside if `masks` is set.
__device__ __forceinline__ double rollout_weight(double log_weight, double least, double most, bool masks) {
    double weight = exp(log_weight), bounded = min(max(weight, least), most);
    return masks && bounded != weight ? 0.0 : bounded;
}

// One block for each sequence. log_probs, ref_log_probs, old_log_probs, rollout_log_probs, entropies (any but the first
// may be null) and the gradients of log_probs and entropies are (tokens), offsets (sequences + 1), and the rest
// (sequences). d_entropies is needed if `entropy`, the coefficient of the bonus, is not 0. masks may be null and is not
// 0 for a sequence outside the loss. The options' numbers are those of constants.cuh. A token's term is divided by
// `divisor`, and if by_length is set also by the length of its sequence. max_behind bounds the mean of l_old − l of a
// sequence with A < 0.
extern "C" __global__ void __launch_bounds__(256, 2)
    policy_gradient(const float* log_probs, const float* ref_log_probs, const float* old_log_probs,
                    const float* rollout_log_probs, const float* entropies, const u32* offsets, const float* advantages,
                    const u32* masks, float* d_log_probs, float* d_entropies, float* d_log_z, float* used_log_z, float* residuals, float* weights, Measured* measured,
                    u32 sequences, u32 tokens, u32 ratio, double clip_low, double clip_high, double log_low, double log_high,
                    double dual, double log_dual, double kl, u32 kl_in, u32 kl_estimator, double kl_max, u32 kl_unbiased,
                    double entropy, double divisor, u32 by_length, double max_behind, u32 correction, double rollout_min,
                    double rollout_max) {
    u32 i = blockIdx.x;
    u64 first = offsets[i], last = offsets[i + 1];
    u32 length = (u32)(last - first);
    Clip clip = {clip_low, clip_high, log_low, log_high};
    double advantage = advantages[i], sequence_log_ratio = 0.0, policy_weight = 1.0;
    Term sequence_term = {};
    bool of_sequence = ratio == RATIO_SEQUENCE || ratio == RATIO_TRAJECTORY, kept = !masks || !masks[i], dropped = !kept;
    bool corrects = correction != ROLLOUTCORRECTION_NONE && old_log_probs && rollout_log_probs;
    bool of_tokens = correction == ROLLOUTCORRECTION_TOKEN_TRUNCATE || correction == ROLLOUTCORRECTION_TOKEN_MASK;
    bool cuts = correction == ROLLOUTCORRECTION_TOKEN_MASK || correction == ROLLOUTCORRECTION_SEQUENCE_MASK;
    double rollout_sum = 0.0, slope_of_ratio = 0.0;

    // Sums that every token depends on come first. Other objectives read each log-probability only once.
    if (of_sequence || (kl != 0.0 && kl_in == KLIN_REWARD) || rollout_log_probs || is_finite(max_behind)) {
        double ref_sum = 0.0, old_sum = 0.0, l_sum = 0.0, kl_sum = 0.0;
        for_tokens(log_probs, ref_log_probs, old_log_probs, nullptr, first, last, [&](u64 t, float l, float ref, float old) {
            ref_sum += (double)l - ref;
            old_sum += (double)l - old;
            if (of_sequence && kl_unbiased) kl_sum += kl_term(kl_estimator, kl_max, (double)ref - l).loss;
            if (rollout_log_probs) {
                rollout_sum += (double)old - rollout_log_probs[t];
                l_sum += (double)l - rollout_log_probs[t];
            }
            return 0.0f;
        });
        ref_sum = block_reduce(ref_sum, Add(), 0.0);
        old_sum = block_reduce(old_sum, Add(), 0.0);
        l_sum = block_reduce(l_sum, Add(), 0.0);
        kl_sum = block_reduce(kl_sum, Add(), 0.0);
        rollout_sum = block_reduce(rollout_sum, Add(), 0.0);
        if (kl_in == KLIN_REWARD) advantage -= kl * ref_sum;
        double mean = 1.0 / (length > 1 ? length : 1);
        if (of_sequence) {
            sequence_log_ratio = ratio == RATIO_TRAJECTORY ? old_sum : old_sum * mean;
            sequence_term = surrogate(clip, dual, log_dual, sequence_log_ratio, advantage);
            // The ratio of a mean has 1/T of this derivative with respect to each token, a factor that `share`
            // includes.
            if (ratio == RATIO_TRAJECTORY) sequence_term.slope *= length;
            slope_of_ratio = exp(within(sequence_log_ratio)) * kl_sum * (ratio == RATIO_TRAJECTORY ? 1.0 : mean);
        }
        dropped |= advantage < 0.0 && -(rollout_log_probs ? l_sum : old_sum) * mean > max_behind;
        if (corrects && !of_tokens) policy_weight = rollout_weight(rollout_sum, rollout_min, rollout_max, cuts);
    }
    if (dropped) policy_weight = 0.0;

    double share = 1.0 / (divisor * (by_length && length > 1 ? length : 1));
    double loss = 0.0, ref_sum = 0.0, old_sum = 0.0, old_max = 0.0, slope_sum = 0.0, slope_max = 0.0;
    u32 clipped = 0, outliers = 0, capped = 0, bad = 0;
    for_tokens(log_probs, ref_log_probs, old_log_probs, d_log_probs, first, last, [&](u64 t, float l, float ref, float old) {
        double to_ref = (double)l - ref, to_old = (double)l - old;
        ref_sum += to_ref;
        old_sum += to_old;
        old_max = max(old_max, fabs(to_old));
        if (entropy != 0.0) d_entropies[t] = kept ? (float)(-share * entropy) : 0.0f;
        if (!kept) return 0.0f;
        Term term = of_sequence ? sequence_term : token_term(ratio, clip, dual, log_dual, l, to_old, advantage);
        double weight = policy_weight;
        if (corrects && of_tokens) weight *= rollout_weight((double)old - rollout_log_probs[t], rollout_min, rollout_max, cuts);
        term.loss *= weight;
        term.slope *= weight;
        if (kl != 0.0 && kl_in == KLIN_LOSS) {
            Term penalty = kl_term(kl_estimator, kl_max, -to_ref);
            if (kl_unbiased && of_sequence) penalty = times(penalty, sequence_log_ratio, slope_of_ratio);
            else if (kl_unbiased) penalty = times(penalty, to_old, exp(within(to_old)) * penalty.loss);
            term.loss += kl * penalty.loss;
            term.slope += kl * penalty.slope;
            capped += penalty.clipped;
        }
        if (entropy != 0.0) term.loss -= entropy * entropies[t];
        double slope = share * term.slope;
        float gradient = (float)slope;
        loss += term.loss;
        slope_sum += fabs(slope);
        slope_max = max(slope_max, fabs(slope));
        clipped += term.clipped;
        outliers += term.outlier;
        bad |= !is_finite(gradient) || !is_finite(term.loss);
        return gradient;
    });
    loss = block_reduce(loss, Add(), 0.0);
    ref_sum = block_reduce(ref_sum, Add(), 0.0);
    old_sum = block_reduce(old_sum, Add(), 0.0);
    old_max = block_reduce(old_max, Max(), 0.0);
    slope_sum = block_reduce(slope_sum, Add(), 0.0);
    slope_max = block_reduce(slope_max, Max(), 0.0);
    clipped = block_reduce(clipped, Add(), 0u);
    outliers = block_reduce(outliers, Add(), 0u);
    capped = block_reduce(capped, Add(), 0u);
    bad = block_reduce(bad, Max(), 0u);
    if (threadIdx.x != 0) return;
    double weight = !kept ? 0.0 : of_sequence ? exp(within(sequence_log_ratio)) : 1.0;
    d_log_z[i] = 0.0f;
    used_log_z[i] = 0.0f;
    residuals[i] = 0.0f;
    weights[i] = (float)weight;
    // If there is no reference or old policy, l − l is still NaN for a non-finite l.
    bool finite = !bad && is_finite(advantage) && is_finite(ref_sum) && is_finite(old_sum) && is_finite(rollout_sum);
    measured[i] = Measured{finite ? share * loss : (double)NAN_F, advantage, 0.0, 0.0, weight, (double)clipped,
                           kept ? (double)length : 0.0, ref_sum, old_max, (double)dropped, (double)outliers, (double)capped,
                           slope_sum, slope_max};
}

// Computes PPO's value loss ½·mean (V − r)² and its derivative. rewards, values and d_values are (count), and
// `sequences` is B of the whole batch. A single block suffices, because a batch has few sequences.
extern "C" __global__ void value_loss(const float* rewards, const float* values, float* d_values, double* loss, u32 count,
                                      double sequences) {
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < count; i += blockDim.x) {
        double error = (double)values[i] - rewards[i];
        d_values[i] = (float)(error / sequences);
        sum += 0.5 * error * error / sequences;
    }
    sum = block_reduce(sum, Add(), 0.0);
    if (threadIdx.x == 0) *loss = sum;
}
