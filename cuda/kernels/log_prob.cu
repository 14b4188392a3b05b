// Log-probabilities of chosen tokens under softmax(z·s) with s = 1/temperature, and the gradient of the logits. Each of
// the two takes one pass over memory, with a running maximum for the first (Milakov and Gimelshein, "Online normalizer
// calculation for softmax", arXiv 1805.02867).
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

// The gradient of a row of logits: −k·qⱼ, and at the target minus the sum of the others. Let c = d_log_prob, e =
// d_entropy, and H the row's entropy. qⱼ = pⱼ and k = c·s give c·s·([j = target] − pⱼ). qⱼ = pⱼ·(c + e·(log pⱼ + H))
// and k = s add the entropy's gradient −e·s·pⱼ·(log pⱼ + H), which also sums to 0. At the target, 1 − p is computed as
// the sum of the other probabilities. This sum is exact to a few roundings however close p is to 1.
struct RowGradient {
    float total, scale, c, e, entropy;

    // entropies and d_entropies may be null.
    __device__ __forceinline__ RowGradient(u32 row, const float* log_sum_exp, const float* d_log_prob, const float* entropies,
                                           const float* d_entropies, float s)
        : total(log_sum_exp[row]), scale(s), c(d_log_prob[row]), e(d_entropies ? d_entropies[row] : 0.0f),
          entropy(d_entropies ? entropies[row] : 0.0f) {}

    __device__ __forceinline__ bool is_zero() const { return c * scale == 0.0f && e == 0.0f; }
    __device__ __forceinline__ float k() const { return e == 0.0f ? c * scale : scale; }

    template <bool ENTROPY> __device__ __forceinline__ float q(float z) const {
        float log_p = z * scale - total, p = exp2_approx(log_p * LOG2_E);
        return ENTROPY ? p * (c + e * (fmaxf(log_p, FLOOR) + entropy)) : p;
    }
};

template <bool ENTROPY>
__device__ __forceinline__ void replace_row(store* row, u32 vocab, u32 target, const RowGradient& gradient) {
    float others = 0.0f, k = gradient.k();
    visit_row<true>(row, vocab, [&](auto& x, auto places) {
        const u32 n = sizeof(x) / sizeof(float);
#pragma unroll
        for (u32 i = 0; i < n; i++) {
            float q = gradient.template q<ENTROPY>(x[i]);
            if (places.at(i) == target) q = 0.0f;
            others += q;
            x[i] = -k * q;
        }
    });
    others = block_reduce(others, Add(), 0.0f);
    // The barriers of the reduction order this write after those of the loop.
    if (threadIdx.x == 0) put(&row[target], k * others);
}

// Replaces logits (rows, vocab) by their gradient, which is zero if d_log_prob and d_entropy of the row are 0. The
// other arguments are (rows).
extern "C" __global__ void __launch_bounds__(256) log_prob_backward(store* logits, const u32* targets, const float* log_sum_exp,
                                                                    const float* d_log_prob, const float* entropies,
                                                                    const float* d_entropies, u32 rows, u32 vocab, float scale) {
    store* row = logits + (u64)blockIdx.x * vocab;
    u32 target = targets[blockIdx.x];
    RowGradient gradient(blockIdx.x, log_sum_exp, d_log_prob, entropies, d_entropies, scale);
    if (gradient.is_zero()) {
        visit_row<true>(row, vocab, [](auto& x, auto) {
            for (float& z : x) z = 0.0f;
        });
    } else if (gradient.e == 0.0f) {
        replace_row<false>(row, vocab, target, gradient);
    } else {
        replace_row<true>(row, vocab, target, gradient);
    }
}

// As log_prob_backward, but for float logits regardless of the storage of activations. The logits remain, and the
// gradient goes to d_logits (rows, vocab).
extern "C" __global__ void __launch_bounds__(256) log_prob_gradient(const float* logits, const u32* targets, const float* log_sum_exp,
                                                                    const float* d_log_prob, const float* entropies,
                                                                    const float* d_entropies, store* d_logits, u32 rows, u32 vocab,
                                                                    float scale) {
    const float* row = logits + (u64)blockIdx.x * vocab;
    store* to = d_logits + (u64)blockIdx.x * vocab;
    u32 target = targets[blockIdx.x];
    RowGradient gradient(blockIdx.x, log_sum_exp, d_log_prob, entropies, d_entropies, scale);
    bool zero = gradient.is_zero(), plain = gradient.e == 0.0f;
    float others = 0.0f, k = gradient.k();
    for (u32 i = threadIdx.x; i < vocab; i += blockDim.x) {
        float q = i == target ? 0.0f : plain ? gradient.template q<false>(row[i]) : gradient.template q<true>(row[i]);
        others += q;
        put(&to[i], zero ? 0.0f : -k * q);
    }
    others = block_reduce(others, Add(), 0.0f);
    // The barriers of the reduction order this write after those of the loop.
    if (threadIdx.x == 0) put(&to[target], zero ? 0.0f : k * others);
}
