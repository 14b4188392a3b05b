// Log-probability of a chosen token, its entropy, and the gradient in place of the logits. A block has one row.

// log_prob, log_sum_exp and entropy (rows) of logits (rows, vocab) times `scale` at targets (rows).
extern "C" __global__ void log_prob(const store* logits, const u32* targets, float* log_prob, float* log_sum_exp, float* entropy,
                                    u32 rows, u32 vocab, float scale) {
    logits += (u64)blockIdx.x * vocab;
    float largest = -INFINITY_F;
    for (u32 i = threadIdx.x; i < vocab; i += blockDim.x) largest = Max()(to_float(logits[i]) * scale, largest);
    largest = block_reduce(largest, Max(), -INFINITY_F);
    float sum = 0.0f, weighted = 0.0f;
    for (u32 i = threadIdx.x; i < vocab; i += blockDim.x) {
        float z = to_float(logits[i]) * scale - largest, e = exp2_approx(z * LOG2_E);
        sum += e;
        weighted += e > 0.0f ? e * z : 0.0f;
    }
    sum = block_reduce(sum, Add(), 0.0f);
    weighted = block_reduce(weighted, Add(), 0.0f);
    if (threadIdx.x > 0) return;
    float log_total = logf(sum);
    log_prob[blockIdx.x] = (to_float(logits[targets[blockIdx.x]]) * scale - largest) - log_total;
    log_sum_exp[blockIdx.x] = largest + log_total;
    entropy[blockIdx.x] = log_total - weighted / sum;
}

// Logits (rows, vocab) become d_log_prob·scale·([j = target] − p_j).
extern "C" __global__ void log_prob_backward(store* logits, const u32* targets, const float* log_sum_exp, const float* d_log_prob,
                                             u32 rows, u32 vocab, float scale) {
    logits += (u64)blockIdx.x * vocab;
    u32 target = targets[blockIdx.x];
    float c = d_log_prob[blockIdx.x] * scale, others = 0.0f;
    for (u32 i = threadIdx.x; i < vocab; i += blockDim.x) {
        float p = exp2_approx((to_float(logits[i]) * scale - log_sum_exp[blockIdx.x]) * LOG2_E);
        if (i == target) continue;
        others += p;
        put(&logits[i], -c * p);
    }
    others = block_reduce(others, Add(), 0.0f);
    if (threadIdx.x == 0) put(&logits[target], c * others);
}
