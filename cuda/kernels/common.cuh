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
