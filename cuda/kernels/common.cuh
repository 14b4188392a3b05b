// What every kernel file may use: storage types, 16-byte loads and stores, reductions. The text of this file stands before
// that of a kernel file, for NVRTC as for the emulator; neither includes a CUDA header.

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

// bfloat16: the upper half of a float.
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

// The nearest bf16, ties to even.
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

// As many elements as fit into 16 bytes: what one thread moves best.
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

// Eight consecutive elements as floats, the first of them on a 16-byte boundary.
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

// The first eight of `count` consecutive elements as floats, zeros where they are fewer.
template <class T> __device__ __forceinline__ void load_up_to_eight(const T* p, u32 count, float (&x)[8]) {
    if (count >= 8 && (u64)p % 16 == 0) return load_eight(p, x);
    for (u32 i = 0; i < 8; i++) x[i] = i < count ? to_float(p[i]) : 0.0f;
}

// The way back: the first eight of `count` elements, or as many as there are.
template <class T> __device__ __forceinline__ void put_up_to_eight(T* p, u32 count, const float (&x)[8]) {
    if (count >= 8 && (u64)p % 16 == 0) return put_eight(p, x);
    for (u32 i = 0; i < 8; i++) {
        if (i < count) put(p + i, x[i]);
    }
}

// Elements before the first one on a 16-byte boundary, at most `count`.
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

// The reduction of a value over the lanes of a warp, in every lane; always in the same order.
template <class T, class F> __device__ __forceinline__ T warp_reduce(T x, F f) {
    for (int offset = 16; offset > 0; offset /= 2) x = f(x, __shfl_xor_sync(ALL_LANES, x, offset));
    return x;
}

// The reduction over a block of whole warps, in every thread. `neutral` changes nothing under f.
template <class T, class F> __device__ __forceinline__ T block_reduce(T x, F f, T neutral) {
    SHARED(T, partial, 32);
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    x = warp_reduce(x, f);
    // Of the reduction before this one, every thread must have read its result.
    __syncthreads();
    if (lane == 0) partial[warp] = x;
    __syncthreads();
    return warp_reduce(lane < warps ? partial[lane] : neutral, f);
}

// Part blockIdx.x of `rows` rows in `parts` parts of one length, the last ones maybe shorter or empty.
__device__ __forceinline__ void rows_of_part(u32 rows, u32 parts, u32& first, u32& end) {
    u32 length = (rows + parts - 1) / parts;
    first = blockIdx.x * length;
    end = first + length < rows ? first + length : rows;
}

// Sums over rows first .. end, for a block of 256 threads that has columns start .. start + width of `columns`; width ≤ 256.
// `term(row, column, count, x)` sets x to a row's terms from a column on, eight or the `count` that are left and zeros, and
// `finish(column, sum)` takes a column's sum. The order of a sum follows from the shape alone.
template <class Term, class Finish>
__device__ __forceinline__ void sum_rows(u32 first, u32 end, u32 start, u32 width, u32 columns, Term term, Finish finish) {
    SHARED(Wide<float>, partial, 2 * 256);
    if (columns - start < width) width = columns - start;
    // The threads form a table: a column of it sums eight columns of the matrix, its lines take turns at the rows.
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

// 2^x to 2 units in the last place; what would be subnormal is 0.
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

// Neither infinite nor NaN.
__device__ __forceinline__ bool is_finite(double x) { return x - x == 0.0; }

// What an objective reports of one sequence; the columns of `Measured` in the host's objective.rs. The loss is NaN where an input or a result
// is not finite.
struct Measured {
    double loss, advantage, residual, log_z, weight, clipped, kept, ref_log_ratio, old_log_ratio_max, dropped, outliers, capped,
        slope_sum, slope_max;
};

// Tokens first .. last of up to three arrays, each token by one thread of the block. f(t, l, ref, old) is called with what the arrays hold
// at t, in place of an absent `ref` or `old` with l, and what it returns goes to `out`; absent arrays are null. All start on 16-byte boundaries.
template <class F>
__device__ __forceinline__ void for_tokens(const float* l, const float* ref, const float* old, float* out, u64 first, u64 last,
                                           F f) {
    u64 wide = min((first + 3) / 4 * 4, last), rest = max(last / 4 * 4, wide);
    for (u64 t = wide + 4 * threadIdx.x; t < rest; t += 4 * blockDim.x) {
        Wide<float> a = {}, y;
        if (l) a = load_wide(l + t);
        Wide<float> b = ref ? load_wide(ref + t) : a, c = old ? load_wide(old + t) : a;
        // Indices that are not known would put the arrays into local memory.
#pragma unroll
        for (int k = 0; k < 4; k++) y.x[k] = f(t + k, a.x[k], b.x[k], c.x[k]);
        if (out) put_wide(out + t, y);
    }
    // Up to three tokens at either end.
    u64 head = wide - first, tail = last - rest;
    if (threadIdx.x < head + tail) {
        u64 t = threadIdx.x < head ? first + threadIdx.x : rest + (threadIdx.x - head);
        float a = l ? l[t] : 0.0f;
        float y = f(t, a, ref ? ref[t] : a, old ? old[t] : a);
        if (out) out[t] = y;
    }
}

// Bounds of an importance weight beside their logarithms; 0 and infinity where there is none.
struct Clip {
    double low, high, log_low, log_high;

    // exp(log_weight) within the bounds, and whether they changed it. Clamped before the exponential, so that it cannot overflow.
    __device__ __forceinline__ double weight(double log_weight, bool& clipped) const {
        clipped = log_weight > log_high || log_weight < log_low;
        if (log_weight > log_high) return high;
        return log_weight < log_low ? low : exp(log_weight);
    }

    // The logarithm of that weight.
    __device__ __forceinline__ double log(double log_weight) const { return min(max(log_weight, log_low), log_high); }
};
