// Common definitions for all kernel files: storage types, 16-byte loads and stores, and reductions. This text is placed
// before that of each kernel file, for NVRTC and for the emulator. Neither includes a CUDA header.

typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef EMULATED
#define CHECK_ALIGNED(pointer, bytes) shim_check_aligned(pointer, bytes)
#else
#define SHARED(type, name, count) __shared__ type name[count]
#define DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) type name[]
#define CHECK_ALIGNED(pointer, bytes)
#endif

#define INFINITY_F __int_as_float(0x7f800000)
#define NAN_F __int_as_float(0x7fffffff)
#define ALL_LANES 0xffffffffu

// bfloat16, the upper half of a float.
struct __align__(2) bf16 {
    unsigned short bits;
};

// Activations and weights are stored as `store`; statistics, gradients of weights and log-probabilities are floats.
#ifdef STORE_BF16
typedef bf16 store;
#else
typedef float store;
#endif

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float((u32)x.bits << 16); }

// Rounds to the nearest bf16, ties to even.
__device__ __forceinline__ bf16 to_bf16(float x) {
    bf16 y;
#ifdef EMULATED
    u32 bits = __float_as_uint(x);
    y.bits = x != x ? 0x7fff : (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#else
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#endif
    return y;
}

__device__ __forceinline__ void put(float* p, float x) { *p = x; }
__device__ __forceinline__ void put(bf16* p, float x) { *p = to_bf16(x); }

// The elements that fit into 16 bytes, the most efficient unit for one thread to move.
template <class T> struct __align__(16) Wide {
    static const int COUNT = 16 / sizeof(T);
    T x[COUNT];
};

template <class T> __device__ __forceinline__ Wide<T> load_wide(const T* p) {
    CHECK_ALIGNED(p, 16);
    return *(const Wide<T>*)p;
}

template <class T> __device__ __forceinline__ void put_wide(T* p, const Wide<T>& w) {
    CHECK_ALIGNED(p, 16);
    *(Wide<T>*)p = w;
}

// Loads eight consecutive elements as floats. The first must be on a 16-byte boundary.
__device__ __forceinline__ void load_eight(const float* p, float (&x)[8]) {
    Wide<float> a = load_wide(p), b = load_wide(p + 4);
    for (int i = 0; i < 4; i++) x[i] = a.x[i], x[i + 4] = b.x[i];
}

__device__ __forceinline__ void load_eight(const bf16* p, float (&x)[8]) {
    Wide<bf16> a = load_wide(p);
    for (int i = 0; i < 8; i++) x[i] = to_float(a.x[i]);
}

__device__ __forceinline__ void put_eight(float* p, const float (&x)[8]) {
    Wide<float> a, b;
    for (int i = 0; i < 4; i++) a.x[i] = x[i], b.x[i] = x[i + 4];
    put_wide(p, a);
    put_wide(p + 4, b);
}

__device__ __forceinline__ void put_eight(bf16* p, const float (&x)[8]) {
    Wide<bf16> a;
    for (int i = 0; i < 8; i++) a.x[i] = to_bf16(x[i]);
    put_wide(p, a);
}

// Loads the first eight of `count` consecutive elements as floats, with zeros for missing ones.
template <class T> __device__ __forceinline__ void load_up_to_eight(const T* p, u32 count, float (&x)[8]) {
    if (count >= 8 && (u64)p % 16 == 0) return load_eight(p, x);
    for (u32 i = 0; i < 8; i++) x[i] = i < count ? to_float(p[i]) : 0.0f;
}

// Stores the first eight of `count` elements, or as many as there are.
template <class T> __device__ __forceinline__ void put_up_to_eight(T* p, u32 count, const float (&x)[8]) {
    if (count >= 8 && (u64)p % 16 == 0) return put_eight(p, x);
    for (u32 i = 0; i < 8; i++) {
        if (i < count) put(p + i, x[i]);
    }
}

// Returns the number of elements before the first one on a 16-byte boundary, at most `count`.
template <class T> __device__ __forceinline__ u32 unaligned_head(const T* p, u32 count) {
    u32 off = (u32)(((u64)p & 15) / sizeof(T));
    u32 head = off == 0 ? 0 : Wide<T>::COUNT - off;
    return head < count ? head : count;
}

struct Add {
    template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a + b; }
};
struct Max {
    template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a > b ? a : b; }
};

// Returns the reduction of a value over the lanes of a warp, in every lane and always in the same order.
template <class T, class F> __device__ __forceinline__ T warp_reduce(T x, F f) {
    for (int offset = 16; offset > 0; offset /= 2) x = f(x, __shfl_xor_sync(ALL_LANES, x, offset));
    return x;
}

// Returns the reduction over a block of whole warps, in every thread. `neutral` must be the neutral element of f.
template <class T, class F> __device__ __forceinline__ T block_reduce(T x, F f, T neutral) {
    SHARED(T, partial, 32);
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    x = warp_reduce(x, f);
    // Every thread must have read the result of the previous reduction.
    __syncthreads();
    if (lane == 0) partial[warp] = x;
    __syncthreads();
    return warp_reduce(lane < warps ? partial[lane] : neutral, f);
}

// Returns the bounds of part blockIdx.x of `rows` rows. The parts have one length, but the last ones may be shorter or
// empty.
__device__ __forceinline__ void rows_of_part(u32 rows, u32 parts, u32& first, u32& end) {
    u32 length = (rows + parts - 1) / parts;
    first = blockIdx.x * length;
    end = first + length < rows ? first + length : rows;
}

// Sums over rows first .. end with a block of 256 threads. The block has columns start .. start + width of `columns`,
// with width ≤ 256. `term(row, column, count, x)` sets x to a row's terms from a column on: eight of them, or the
// `count` remaining ones and zeros. `finish(column, sum)` receives the sum of a column. The order of a sum depends on
// the shape alone.
template <class Term, class Finish>
__device__ __forceinline__ void sum_rows(u32 first, u32 end, u32 start, u32 width, u32 columns, Term term, Finish finish) {
    SHARED(Wide<float>, partial, 2 * 256);
    if (columns - start < width) width = columns - start;
    // The threads form a table. Each of its columns sums eight columns of the matrix, and its lines take turns at the
    // rows.
    u32 groups = (width + 7) / 8, lines = 256 / groups;
    u32 column = start + threadIdx.x % groups * 8, line = threadIdx.x / groups;
    float sum[8] = {}, x[8];
    if (line < lines) {
#pragma unroll 4
        for (u32 row = first + line; row < end; row += lines) {
            term(row, column, columns - column, x);
            for (int k = 0; k < 8; k++) sum[k] += x[k];
        }
    }
    put_eight((float*)(partial + 2 * threadIdx.x), sum);
    __syncthreads();
    if (threadIdx.x >= width) return;
    float total = 0.0f;
    for (u32 i = 0; i < lines && first + i < end; i++) total += ((const float*)partial)[i * groups * 8 + threadIdx.x];
    finish(start + threadIdx.x, total);
}

// Returns 2^x to 2 units in the last place, or 0 for a subnormal result.
__device__ __forceinline__ float exp2_approx(float x) {
    float y;
#ifdef EMULATED
    y = exp2f(x);
    if (y < 1.175494351e-38f) y = 0.0f;
#else
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
#endif
    return y;
}

#define LOG2_E 1.4426950408889634f

// Returns whether x is neither infinite nor NaN.
__device__ __forceinline__ bool is_finite(double x) { return x - x == 0.0; }

// The measurements of an objective for one sequence, in the order in which the host's objective/launches.rs reads them.
// The loss is NaN if an input or a result is not finite.
struct Measured {
    double loss, advantage, residual, log_z, weight, clipped, kept, ref_log_ratio, old_log_ratio_max, dropped, outliers, capped,
        slope_sum, slope_max;
};

// Visits tokens first .. last of up to three arrays, with one thread of the block for each token. f(t, l, ref, old)
// receives the values at t, with l in place of an absent `ref` or `old`, and its result is stored in `out`. Absent
// arrays are null. All arrays start on 16-byte boundaries.
template <class F>
__device__ __forceinline__ void for_tokens(const float* l, const float* ref, const float* old, float* out, u64 first, u64 last,
                                           F f) {
    u64 wide = min((first + 3) / 4 * 4, last), rest = max(last / 4 * 4, wide);
    for (u64 t = wide + 4 * threadIdx.x; t < rest; t += 4 * blockDim.x) {
        Wide<float> a = {}, y;
        if (l) a = load_wide(l + t);
        Wide<float> b = ref ? load_wide(ref + t) : a, c = old ? load_wide(old + t) : a;
        // Without unrolling, indices unknown at compile time would put the arrays into local memory.
#pragma unroll
        for (int k = 0; k < 4; k++) y.x[k] = f(t + k, a.x[k], b.x[k], c.x[k]);
        if (out) put_wide(out + t, y);
    }
    // Up to three tokens remain at either end.
    u64 head = wide - first, tail = last - rest;
    if (threadIdx.x < head + tail) {
        u64 t = threadIdx.x < head ? first + threadIdx.x : rest + (threadIdx.x - head);
        float a = l ? l[t] : 0.0f;
        float y = f(t, a, ref ? ref[t] : a, old ? old[t] : a);
        if (out) out[t] = y;
    }
}

// The bounds of an importance weight and their logarithms. Absent bounds are 0 and infinity.
struct Clip {
    double low, high, log_low, log_high;

    // Returns exp(log_weight) within the bounds, and whether they changed it. The logarithm is clamped before the
    // exponential, which therefore cannot overflow.
    __device__ __forceinline__ double weight(double log_weight, bool& clipped) const {
        clipped = log_weight > log_high || log_weight < log_low;
        if (log_weight > log_high) return high;
        return log_weight < log_low ? low : exp(log_weight);
    }

    // Returns the logarithm of the bounded weight.
    __device__ __forceinline__ double log(double log_weight) const { return min(max(log_weight, log_low), log_high); }
};
