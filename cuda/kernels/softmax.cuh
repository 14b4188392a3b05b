// Traversal of rows of logits, and the running sums of a softmax over them.

// Loads 16 bytes from an unaligned element, using the two aligned words around it.
template <class T> __device__ __forceinline__ Wide<T> load_unaligned(const T* p) {
    u32 off = (u32)((u64)p & 15);
    const u32* word = (const u32*)((u64)p - off);
    Wide<u32> low = load_wide(word), high = load_wide(word + 4);
    u32 by_two[6], by_one[5];
    Wide<T> wide;
#pragma unroll
    for (u32 i = 0; i < 6; i++) {
        u32 near = i < 4 ? low.x[i % 4] : high.x[i % 4], far = i < 2 ? low.x[(i + 2) % 4] : high.x[(i + 2) % 4];
        by_two[i] = off & 8 ? far : near;
    }
#pragma unroll
    for (u32 i = 0; i < 5; i++) by_one[i] = off & 4 ? by_two[i + 1] : by_two[i];
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        ((u32*)&wide)[i] = (u32)(((u64)by_one[i + 1] << 32 | by_one[i]) >> (off % 4 * 8));
    }
    return wide;
}

// The positions of the elements that a thread processes together: several wides, `stride` elements apart.
template <u32 N> struct Places {
    u32 first, stride;
    __device__ __forceinline__ u32 at(u32 i) const { return first + i / N * stride + i % N; }
};

// Calls f(x, places) on G wides of a row, with `x` as an array of floats. With CHANGE, the values that f leaves in x
// are stored back.
template <bool CHANGE, bool ALIGNED, u32 G, class T, class F>
__device__ __forceinline__ void visit_wides(T* row, u32 wide, F& f) {
    const u32 N = Wide<store>::COUNT;
    Wide<store> wides[G];
    float x[G * N];
    Places<N> places = {wide * N, blockDim.x * N};
#pragma unroll
    for (u32 g = 0; g < G; g++) {
        const store* p = row + places.at(g * N);
        wides[g] = ALIGNED ? load_wide(p) : load_unaligned(p);
    }
#pragma unroll
    for (u32 i = 0; i < G * N; i++) x[i] = to_float(wides[i / N].x[i % N]);
    f(x, places);
    if constexpr (CHANGE) {
#pragma unroll
        for (u32 i = 0; i < G * N; i++) {
            put(&wides[i / N].x[i % N], x[i]);
            if (!ALIGNED) row[places.at(i)] = wides[i / N].x[i % N];
        }
#pragma unroll
        for (u32 g = 0; g < G; g++) {
            if (ALIGNED) put_wide(row + places.at(g * N), wides[g]);
        }
    }
}

// Calls f on the first `wides` wides of a row. A thread takes four at once as long as enough are left.
template <bool CHANGE, bool ALIGNED, class T, class F>
__device__ __forceinline__ void visit_all_wides(T* row, u32 wides, F& f) {
    u32 i = threadIdx.x;
    for (; i + 3 * blockDim.x < wides; i += 4 * blockDim.x) visit_wides<CHANGE, ALIGNED, 4>(row, i, f);
    for (; i < wides; i += blockDim.x) visit_wides<CHANGE, ALIGNED, 1>(row, i, f);
}

// Calls f(x, places) until the block has visited the whole row. The assignment and order of the elements depend only on
// `count` and the block, not on the row's address.
template <bool CHANGE, class T, class F> __device__ __forceinline__ void visit_row(T* row, u32 count, F f) {
    const u32 N = Wide<store>::COUNT;
    // An unaligned load may read to the end of the next wide. Fewer than 2·N ≤ 16 elements remain.
    u32 wides = count < N ? 0 : count / N - 1;
    if (((u64)row & 15) == 0) {
        visit_all_wides<CHANGE, true>(row, wides, f);
    } else {
        visit_all_wides<CHANGE, false>(row, wides, f);
    }
    u32 last = wides * N + threadIdx.x;
    if (last < count) {
        float x[1] = {to_float(row[last])};
        f(x, Places<N>{last, 0});
        if constexpr (CHANGE) put(&row[last], x[0]);
    }
}

// Stand-ins for −∞ in differences and products that would otherwise be NaN. No logit is below LOWEST, and no exponent
// that matters is below FLOOR.
#define LOWEST -3.402823466e38f
#define FLOOR -1e30f

// The running result of a softmax over some logits x: max x, Σ 2ᵗ and Σ t·2ᵗ with t = (x − max)·k and k =
// log₂(e)/temperature.
struct Softmax {
    float max, sum, weighted;

    // Returns this result relative to another maximum, which must be at least as large.
    __device__ __forceinline__ Softmax relative_to(float larger, float k) const {
        float shift = fmaxf((max - larger) * k, FLOOR);
        float factor = exp2_approx(shift);
        return {larger, factor * sum, factor * (weighted + shift * sum)};
    }

    // Adds n logits, with one exponential for each and a single one for the maximum.
    template <int n> __device__ __forceinline__ void add(const float (&x)[n], float k) {
        float larger = max;
#pragma unroll
        for (int i = 0; i < n; i++) larger = fmaxf(larger, x[i]);
        *this = relative_to(larger, k);
#pragma unroll
        for (int i = 0; i < n; i++) {
            float t = (x[i] - larger) * k;
            float e = exp2_approx(t);
            sum += e;
            weighted += e * fmaxf(t, FLOOR);
        }
    }

    // Returns the result over all threads' logits, in every thread. The sum is NaN instead of 0 if no logit is finite.
    __device__ __forceinline__ Softmax over_block(float k) const {
        Softmax all = relative_to(block_reduce(max, Max(), LOWEST), k);
        all.weighted = block_reduce(all.weighted, Add(), 0.0f);
        all.sum = block_reduce(all.sum, Add(), 0.0f);
        if (all.sum == 0.0f) all.sum = __int_as_float(0x7fc00000);
        return all;
    }

    // Returns the log-probability of logit x. The large terms are subtracted first, so that they cancel exactly.
    __device__ __forceinline__ float log_prob(float x, float scale) const { return (x - max) * scale - logf(sum); }

    __device__ __forceinline__ float log_sum_exp(float scale) const { return max * scale + logf(sum); }

    // Returns the entropy −Σ p·log p.
    __device__ __forceinline__ float entropy() const { return logf(sum) - 0.6931471805599453f * (weighted / sum); }
};
