// Draws one token from each row of logits: the most probable one, or one from softmax(z/temperature), possibly cut to
// the k most probable tokens and to the fewest tokens with a total probability of p (Holtzman et al., arXiv
// 1904.09751). Excluded tokens are not drawn but count in the softmax of the whole row.
//
// This needs no sorting. The probability mass of a token is an integer, so that sums of masses do not depend on their
// order. A cut is found by radix selection, with histograms of the masses over the digits of keys in the order of the
// logits. The random number equals the CPU's.
#include "philox.cuh"
#include "softmax.cuh"

// Mass of the most probable token. 2²⁴ times this mass fits into 64 bits.
#define UNIT 1099511627776.0f

// The index in a row, in some order, at which the sum of the weights first exceeds `threshold`, and the sum before it.
// The index is the row's length if the total weight is not large enough.
struct Crossing {
    u32 index;
    u64 threshold, before;
};

// Finds the index at which the sum of weight(0), …, weight(count − 1) first exceeds threshold_of(their sum), and
// returns it in every thread. Each warp sums a part, then all warps divide up the part that holds the index, until it
// is short enough for one warp.
template <class W, class F> __device__ Crossing first_crossing(u32 count, W weight, F threshold_of) {
    SHARED(u64, part, 32);
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    u32 start = 0, end = count;
    Crossing found = {count, 0, 0};
    do {
        u32 each = (end - start + warps - 1) / warps;
        u32 from = min(start + warp * each, end), to = min(from + each, end);
        u64 sum = 0;
#pragma unroll 4
        for (u32 i = from + lane; i < to; i += 32) sum += weight(i);
        sum = warp_reduce(sum, Add());
        // Every warp must have read the parts of the previous round.
        __syncthreads();
        if (lane == 0) part[warp] = sum;
        __syncthreads();
        if (end - start == count) {
            u64 total = 0;
            for (u32 w = 0; w < warps; w++) total += part[w];
            found.threshold = threshold_of(total);
        }
        u32 w = 0;
        for (; w + 1 < warps && found.before + part[w] <= found.threshold; w++) found.before += part[w];
        start = min(start + w * each, end);
        end = min(start + each, end);
    } while (end - start > 128 && warps > 1);
    for (u32 first = start; first < end; first += 32) {
        u64 own = first + lane < end ? weight(first + lane) : 0, sum = own;
#pragma unroll
        for (u32 offset = 1; offset < 32; offset *= 2) {
            u64 below = __shfl_up_sync(ALL_LANES, sum, offset);
            if (lane >= offset) sum += below;
        }
        u32 over = __ballot_sync(ALL_LANES, found.before + sum > found.threshold);
        if (over != 0) {
            u32 at = __ffs(over) - 1;
            found.before += __shfl_sync(ALL_LANES, sum - own, at);
            found.index = first + at;
            return found;
        }
        found.before += __shfl_sync(ALL_LANES, sum, 31);
    }
    return found;
}

// Returns an integer key with as many bits as the stored logit and the order of the logits. −0 and 0 have equal keys.
__device__ __forceinline__ u32 key_of(float x) {
    u32 bits = __float_as_uint(x + 0.0f);
    u32 key = bits >> 31 ? ~bits : bits | 0x80000000u;
    return key >> (32 - 8 * sizeof(store));
}

// The tokens to keep: those with larger keys, and of those with this key the ones up to index `last`.
struct Cut {
    u32 key, last;

    __device__ __forceinline__ bool keeps(float x, u32 index) const {
        u32 own = key_of(x);
        return own > key || (own == key && index <= last);
    }

    // Returns the cut that keeps the tokens kept by both.
    __device__ __forceinline__ Cut and_also(Cut other) const {
        bool tighter = other.key > key || (other.key == key && other.last < last);
        return tighter ? other : *this;
    }
};

#define DIGIT_BITS 11
#define DIGITS (1 << DIGIT_BITS)

// 64-bit sums in two halves each, because shared memory has no 64-bit atomic addition.
struct Histogram {
    u32 *low, *high;

    __device__ __forceinline__ void add(u32 digit, u64 weight) const {
        u32 part = (u32)weight;
        u32 carry = atomicAdd(&low[digit], part) + part < part;
        u32 rest = (u32)(weight >> 32) + carry;
        if (rest != 0) atomicAdd(&high[digit], rest);
    }

    __device__ __forceinline__ void remove(u32 digit, u64 weight) const {
        u32 part = (u32)weight;
        u32 borrow = atomicAdd(&low[digit], 0u - part) < part;
        u32 rest = (u32)(weight >> 32) + borrow;
        if (rest != 0) atomicAdd(&high[digit], 0u - rest);
    }

    __device__ __forceinline__ u64 sum(u32 digit) const { return (u64)high[digit] << 32 | low[digit]; }
};

// A bit mask of tokens that are not drawn, or null if there are none.
struct Excluded {
    const u32* mask;

    __device__ __forceinline__ bool has(u32 i) const { return mask != 0 && (mask[i / 32] >> i % 32 & 1); }

    // Calls f(index) for each excluded token, from one thread. There are few of them, so loops over a row need not
    // check the mask for every token.
    template <class F> __device__ __forceinline__ void each(u32 vocab, F f) const {
        if (mask == 0) return;
#pragma unroll 1
        for (u32 word = threadIdx.x; word < (vocab + 31) / 32; word += blockDim.x) {
            for (u32 bits = mask[word]; bits != 0; bits &= bits - 1) f(word * 32 + __ffs(bits) - 1);
        }
    }
};

// Keeps tokens of row (vocab) in descending order of their logits, and equal ones in ascending order of their indices,
// until the sum of weight(logit) over those that are not excluded exceeds threshold_of(their total). Keeps every token
// if it never does.
template <class W, class F>
__device__ Cut select(const store* row, u32 vocab, Excluded excluded, Histogram histogram, W weight, F threshold_of) {
    u32 prefix = 0;
    u64 threshold = 0;
    for (u32 known = 0, bits = 8 * sizeof(store); known < bits; known += DIGIT_BITS) {
        // Bits of the key that are not known yet, and bits that follow this digit.
        u32 unknown = bits - known, after = unknown > DIGIT_BITS ? unknown - DIGIT_BITS : 0;
        u32 mask = (1u << (unknown - after)) - 1;
        __syncthreads();
        for (u32 i = threadIdx.x; i < DIGITS; i += blockDim.x) histogram.low[i] = histogram.high[i] = 0;
        __syncthreads();
        visit_row<false>(row, vocab, [&](auto& x, auto) {
            const u32 n = sizeof(x) / sizeof(float);
#pragma unroll
            for (u32 i = 0; i < n; i++) {
                u32 key = key_of(x[i]);
                if (known == 0 || key >> unknown == prefix) histogram.add(key >> after & mask, weight(x[i]));
            }
        });
        __syncthreads();
        excluded.each(vocab, [&](u32 i) {
            float x = to_float(row[i]);
            u32 key = key_of(x);
            if (known == 0 || key >> unknown == prefix) histogram.remove(key >> after & mask, weight(x));
        });
        if (excluded.mask != 0) __syncthreads();
        auto threshold_here = [&](u64 total) { return known == 0 ? threshold_of(total) : threshold; };
        Crossing digit = first_crossing(mask + 1, [&](u32 i) { return histogram.sum(mask - i); }, threshold_here);
        if (digit.index > mask) return {0, vocab};
        prefix = prefix << (unknown - after) | (mask - digit.index);
        threshold = digit.threshold - digit.before;
    }
    auto tied = [&](u32 i) {
        float z = to_float(row[i]);
        return key_of(z) == prefix && !excluded.has(i) ? weight(z) : 0;
    };
    return {prefix, first_crossing(vocab, tied, [&](u64) { return threshold; }).index};
}

// logits is (rows, vocab). mask has a bit for each token, set if the token is not drawn, or is null. places (rows, 2)
// are the sequence and the number of the token to draw. tokens (rows) receives the token, and values (rows, 3) its
// log-probability, the entropy and the probability of the excluded tokens. One block for each row; vocab is below 2²⁴.
extern "C" __global__ void __launch_bounds__(512) sample(const store* logits, const u32* mask, const u32* places, u32* tokens,
                                                          float* values, u32 rows, u32 vocab, float scale, u32 greedy, u32 top_k,
                                                          double top_p, u32 key_low, u32 key_high, u32 purpose, u32 step) {
    SHARED(u32, low, DIGITS);
    SHARED(u32, high, DIGITS);
    const store* row = logits + (u64)blockIdx.x * vocab;
    float k = scale * LOG2_E;
    Softmax softmax = {LOWEST, 0.0f, 0.0f};
    visit_row<false>(row, vocab, [&](auto& x, auto) { softmax.add(x, k); });
    softmax = softmax.over_block(k);
    float largest = softmax.max, excluded_mass = 0.0f;
    Excluded excluded = {mask};
    if (mask != 0) {
        Softmax out = {LOWEST, 0.0f, 0.0f};
        excluded.each(vocab, [&](u32 i) {
            float x[1] = {to_float(row[i])};
            out.add(x, k);
        });
        float highest = block_reduce(out.max, Max(), LOWEST);
        float sum = block_reduce(out.relative_to(highest, k).sum, Add(), 0.0f);
        excluded_mass = exp2_approx((highest - largest) * k) * (sum / softmax.sum);
        // If the most probable token is excluded, the largest logit of the others may be far below it.
        if (highest == largest) {
            largest = LOWEST;
#pragma unroll 1
            for (u32 i = threadIdx.x; i < vocab; i += blockDim.x) {
                if (!excluded.has(i)) largest = fmaxf(largest, to_float(row[i]));
            }
            largest = block_reduce(largest, Max(), LOWEST);
        }
    }
    // The mass is 0 for −∞ and NaN. An excluded token may be above the largest of the others.
    auto mass = [&](float x) {
        float e = exp2_approx((x - largest) * k);
        return e > 0.0f ? (u64)(fminf(e, 1.0f) * UNIT) : 0;
    };

    u32 token;
    if (greedy) {
        auto is_largest = [&](u32 i) { return (u64)(to_float(row[i]) == largest && !excluded.has(i)); };
        token = first_crossing(vocab, is_largest, [](u64) { return (u64)0; }).index;
    } else {
        Cut cut = {0, vocab};
        Histogram histogram = {low, high};
        // The cut by number comes before the cut by probability. Both keep the most probable tokens, so together they
        // keep the shorter list.
#pragma unroll 1
        for (u32 by_mass = 0; by_mass < 2; by_mass++) {
            if (by_mass ? top_p >= 1.0 : top_k == 0 || top_k >= vocab) continue;
            auto weight = [&](float x) { return by_mass ? mass(x) : 1; };
            // Sums are integers, so a sum is at least `wanted` if it exceeds `wanted` − 1.
            auto threshold_of = [&](u64 total) {
                u64 wanted = by_mass ? (u64)ceil(top_p * (double)total) : top_k;
                return wanted > 0 ? wanted - 1 : 0;
            };
            cut = cut.and_also(select(row, vocab, excluded, histogram, weight, threshold_of));
        }
        if (cut.key > 0) {
            softmax = {LOWEST, 0.0f, 0.0f};
            if (mask == 0) {
                visit_row<false>(row, vocab, [&](auto& x, auto at) {
                    const u32 n = sizeof(x) / sizeof(float);
#pragma unroll
                    for (u32 i = 0; i < n; i++) x[i] = cut.keeps(x[i], at.at(i)) ? x[i] : -INFINITY_F;
                    softmax.add(x, k);
                });
            } else {
#pragma unroll 1
                for (u32 i = threadIdx.x; i < vocab; i += blockDim.x) {
                    float z = to_float(row[i]);
                    float x[1] = {cut.keeps(z, i) && !excluded.has(i) ? z : -INFINITY_F};
                    softmax.add(x, k);
                }
            }
            softmax = softmax.over_block(k);
        }
        // Converts the 53 bits to a fraction of 2⁶⁴.
        u64 u = random_bits(key_low, key_high, purpose, step, places[2 * blockIdx.x], places[2 * blockIdx.x + 1]) << 11;
        auto kept = [&](u32 i) {
            float x = to_float(row[i]);
            return cut.keeps(x, i) && !excluded.has(i) ? mass(x) : 0;
        };
        token = first_crossing(vocab, kept, [&](u64 total) { return __umul64hi(u, total); }).index;
    }
    // If no logit is finite there is nothing to draw, and the values are NaN.
    if (token == vocab) token = 0;
    if (threadIdx.x == 0) {
        tokens[blockIdx.x] = token;
        values[3 * blockIdx.x] = softmax.log_prob(to_float(row[token]), scale);
        values[3 * blockIdx.x + 1] = softmax.entropy();
        values[3 * blockIdx.x + 2] = excluded_mass;
    }
}
