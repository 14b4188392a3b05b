// Log-probabilities of chosen tokens under softmax(z·s), s = 1/temperature, and their gradient in place of the logits. One pass
// over memory each, with a running maximum (Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv 1805.02867).
#include "softmax.cuh"

// logits are (rows, vocab), the rest (rows). One block for each row.
extern "C" __global__ void __launch_bounds__(256) log_prob(const store* logits, const u32* targets, float* target_log_prob,
                                                           float* log_sum_exp, float* entropy, u32 rows, u32 vocab, float scale) {
    const store* row = logits + (u64)blockIdx.x * vocab;
    float k = scale * LOG2_E;
    Softmax softmax = {LOWEST, 0.0f, 0.0f};
    visit_row<false>(row, vocab, [&](auto& x, auto) { softmax.add(x, k); });
    softmax = softmax.over_block(k);
    if (threadIdx.x == 0) {
        target_log_prob[blockIdx.x] = softmax.log_prob(to_float(row[targets[blockIdx.x]]), scale);
        log_sum_exp[blockIdx.x] = softmax.log_sum_exp(scale);
        entropy[blockIdx.x] = softmax.entropy();
    }
}

// zⱼ ← c·s·([j = target] − pⱼ) with c = d_log_prob of the row, and zeros where c = 0. logits are (rows, vocab), the rest (rows).
// 1 − p at the target is the sum of the other probabilities, which is exact to a few roundings however close p is to 1.
extern "C" __global__ void __launch_bounds__(256) log_prob_backward(store* logits, const u32* targets, const float* log_sum_exp,
                                                                    const float* d_log_prob, u32 rows, u32 vocab, float scale) {
    store* row = logits + (u64)blockIdx.x * vocab;
    u32 target = targets[blockIdx.x];
    float total = log_sum_exp[blockIdx.x], c = d_log_prob[blockIdx.x] * scale;
    if (c == 0.0f) {
        visit_row<true>(row, vocab, [](auto& x, auto) {
            for (float& z : x) z = 0.0f;
        });
        return;
    }
    float others = 0.0f;
    visit_row<true>(row, vocab, [&](auto& x, auto places) {
        const u32 n = sizeof(x) / sizeof(float);
#pragma unroll
        for (u32 i = 0; i < n; i++) {
            float p = exp2_approx((x[i] * scale - total) * LOG2_E);
            if (places.at(i) == target) p = 0.0f;
            others += p;
            x[i] = -c * p;
        }
    });
    others = block_reduce(others, Add(), 0.0f);
    // The barriers of the reduction stand between this and what the loop put there.
    if (threadIdx.x == 0) put(&row[target], c * others);
}

// The same from logits that are floats whatever activations are: they stay, and the gradient, d_logits (rows, vocab), lies apart.
extern "C" __global__ void __launch_bounds__(256) log_prob_gradient(const float* logits, const u32* targets, const float* log_sum_exp,
                                                                    const float* d_log_prob, store* d_logits, u32 rows, u32 vocab,
                                                                    float scale) {
    const float* row = logits + (u64)blockIdx.x * vocab;
    store* to = d_logits + (u64)blockIdx.x * vocab;
    u32 target = targets[blockIdx.x];
    float total = log_sum_exp[blockIdx.x], c = d_log_prob[blockIdx.x] * scale, others = 0.0f;
    for (u32 i = threadIdx.x; i < vocab; i += blockDim.x) {
        float p = i == target ? 0.0f : exp2_approx((row[i] * scale - total) * LOG2_E);
        others += p;
        put(&to[i], c == 0.0f ? 0.0f : -c * p);
    }
    others = block_reduce(others, Add(), 0.0f);
    // The barriers of the reduction stand between this and what the loop put there.
    if (threadIdx.x == 0) put(&to[target], c == 0.0f ? 0.0f : c * others);
}
