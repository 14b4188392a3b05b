// Losses and gradients of the policy-gradient baselines, token by token: REINFORCE; the clipped surrogate −min(ρA, clip(ρ)A) of PPO
// (Schulman and others, arXiv 1707.06347), with the ratio of a token or of a sequence (GSPO, Zheng and others, arXiv 2507.18071);
// −clip(ρ)·A·l with the weight detached (CISPO, MiniMax, arXiv 2506.13585). KL to the reference as k3 = eᵈ − d − 1, d = l_ref − l.

// A term of the loss and its derivative with respect to the token's log-probability.
struct Term {
    double loss, slope;
    bool clipped;
};

// −min(ρA, clip(ρ)A) is −ρ′A with ρ′ bounded on the side that `min` chooses only. ρ is its own derivative.
__device__ __forceinline__ Term surrogate(Clip clip, double log_ratio, double advantage) {
    if (advantage == 0.0) return Term{-advantage, -advantage, false};
    if (advantage > 0.0) clip.low = 0.0, clip.log_low = -(double)INFINITY_F;
    else clip.high = clip.log_high = (double)INFINITY_F;
    Term term;
    term.loss = -clip.weight(log_ratio, term.clipped) * advantage;
    term.slope = term.clipped ? 0.0 : term.loss;
    return term;
}

enum Kind { REINFORCE, TOKEN_RATIO, SEQUENCE_RATIO, DETACHED_RATIO };

__device__ __forceinline__ Term token_term(u32 kind, Clip clip, double l, double log_ratio, double advantage) {
    if (kind == TOKEN_RATIO) return surrogate(clip, log_ratio, advantage);
    Term term = {0.0, -advantage, false};
    if (kind == DETACHED_RATIO) term.slope = -clip.weight(log_ratio, term.clipped) * advantage;
    term.loss = term.slope * l;
    return term;
}

// A block for each sequence. log_probs, ref_log_probs and old_log_probs (may be null) and d_log_probs are (tokens), offsets
// (sequences + 1), the rest (sequences). kl_loss is the coefficient of k3 in the loss, kl_reward that of L − L_ref in the reward. A
// token's term is divided by `divisor`, and by the length of its sequence where by_length.
extern "C" __global__ void __launch_bounds__(256, 2)
    baseline(const float* log_probs, const float* ref_log_probs, const float* old_log_probs, const u32* offsets,
             const float* advantages, float* d_log_probs, float* d_log_z, float* used_log_z, float* residuals, float* weights,
             Measured* measured, u32 sequences, u32 tokens, u32 kind, double clip_low, double clip_high, double log_low,
             double log_high, double kl_loss, double kl_reward, double divisor, u32 by_length) {
    u32 i = blockIdx.x;
    u64 first = offsets[i], last = offsets[i + 1];
    u32 length = (u32)(last - first);
    Clip clip = {clip_low, clip_high, log_low, log_high};
    double advantage = advantages[i], sequence_log_ratio = 0.0;
    Term sequence_term = {};

    // What every token depends on is summed first; other objectives read each log-probability once.
    if (kind == SEQUENCE_RATIO || kl_reward != 0.0) {
        double ref_sum = 0.0, old_sum = 0.0;
        for_tokens(log_probs, ref_log_probs, old_log_probs, nullptr, first, last, [&](float l, float ref, float old) {
            ref_sum += (double)l - ref;
            old_sum += (double)l - old;
            return 0.0f;
        });
        advantage -= kl_reward * block_reduce(ref_sum, Add(), 0.0);
        sequence_log_ratio = block_reduce(old_sum, Add(), 0.0) / (length > 1 ? length : 1);
        sequence_term = surrogate(clip, sequence_log_ratio, advantage);
    }

    double share = 1.0 / (divisor * (by_length && length > 1 ? length : 1));
    double loss = 0.0, ref_sum = 0.0, old_sum = 0.0, old_max = 0.0;
    u32 clipped = 0, bad = 0;
    for_tokens(log_probs, ref_log_probs, old_log_probs, d_log_probs, first, last, [&](float l, float ref, float old) {
        double to_ref = (double)l - ref, to_old = (double)l - old;
        Term term = kind == SEQUENCE_RATIO ? sequence_term : token_term(kind, clip, l, to_old, advantage);
        if (kl_loss != 0.0) {
            double growth = expm1(-to_ref);
            term.loss += kl_loss * (growth + to_ref);
            term.slope -= kl_loss * growth;
        }
        float gradient = (float)(share * term.slope);
        loss += term.loss;
        ref_sum += to_ref;
        old_sum += to_old;
        old_max = max(old_max, fabs(to_old));
        clipped += term.clipped;
        bad |= !is_finite(gradient) || !is_finite(term.loss);
        return gradient;
    });
    loss = block_reduce(loss, Add(), 0.0);
    ref_sum = block_reduce(ref_sum, Add(), 0.0);
    old_sum = block_reduce(old_sum, Add(), 0.0);
    old_max = block_reduce(old_max, Max(), 0.0);
    clipped = block_reduce(clipped, Add(), 0u);
    bad = block_reduce(bad, Max(), 0u);
    if (threadIdx.x != 0) return;
    double weight = kind == SEQUENCE_RATIO ? exp(sequence_log_ratio) : 1.0;
    d_log_z[i] = 0.0f;
    used_log_z[i] = 0.0f;
    residuals[i] = 0.0f;
    weights[i] = (float)weight;
    // Where no reference or old policy is given, l − l is not 0 if l is not finite.
    bool finite = !bad && is_finite(advantage) && is_finite(ref_sum) && is_finite(old_sum) && is_finite((float)weight);
    measured[i] = Measured{finite ? share * loss : (double)NAN_F, advantage, 0.0, 0.0, weight, (double)clipped, (double)length,
                           ref_sum, old_max};
}

// ½·mean (V − r)², PPO's loss of the value network, and its derivative; rewards, values and d_values are (count). `sequences` is B of the
// whole batch. One block: a batch has few sequences.
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
