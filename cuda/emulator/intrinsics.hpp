// CUDA's functions on numbers, bits and addresses, for the host. Arithmetic is correctly rounded. The errors of the
// GPU's approximations are not emulated; the tolerances of the tests have to cover them.
#pragma once

#include <math.h>

#include "interface.hpp"

// ---- Vectors ----

#define EMULATOR_VECTORS(type, name)                                        \
    struct alignas(2 * sizeof(type)) name##2 {                              \
        type x, y;                                                          \
    };                                                                      \
    struct alignas(4 * sizeof(type) > 16 ? 16 : 4 * sizeof(type)) name##4 { \
        type x, y, z, w;                                                    \
    };                                                                      \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }        \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
EMULATOR_VECTORS(float, float)
EMULATOR_VECTORS(double, double)
EMULATOR_VECTORS(int, int)
EMULATOR_VECTORS(unsigned, uint)
EMULATOR_VECTORS(unsigned short, ushort)
#undef EMULATOR_VECTORS

// ---- The same bits as another type ----

#define EMULATOR_BIT_CAST(name, from, to)            \
    inline to name(from value) {                     \
        to bits;                                     \
        __builtin_memcpy(&bits, &value, sizeof(to)); \
        return bits;                                 \
    }
EMULATOR_BIT_CAST(__float_as_uint, float, unsigned)
EMULATOR_BIT_CAST(__float_as_int, float, int)
EMULATOR_BIT_CAST(__uint_as_float, unsigned, float)
EMULATOR_BIT_CAST(__int_as_float, int, float)
EMULATOR_BIT_CAST(__double_as_longlong, double, long long)
EMULATOR_BIT_CAST(__longlong_as_double, long long, double)
#undef EMULATOR_BIT_CAST

// ---- Bits and integers ----

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }
/// Returns the number of leading zeros, which is 32 for zero.
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline int __clzll(long long bits) { return bits == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(bits)); }
/// Returns the position of the lowest set bit, counted from 1, or 0 if no bit is set.
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __ffsll(long long bits) { return __builtin_ffsll(bits); }
/// Returns the upper half of a product.
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

// ---- Minimum and maximum: for floating-point numbers, they ignore a NaN ----

#define EMULATOR_MIN_MAX(type)                                \
    inline type min(type a, type b) { return b < a ? b : a; } \
    inline type max(type a, type b) { return a < b ? b : a; }
EMULATOR_MIN_MAX(int)
EMULATOR_MIN_MAX(unsigned)
EMULATOR_MIN_MAX(long)
EMULATOR_MIN_MAX(unsigned long)
EMULATOR_MIN_MAX(long long)
EMULATOR_MIN_MAX(unsigned long long)
#undef EMULATOR_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

// ---- Floating-point functions that the C library lacks: it has expf, logf, erff, tanhf, fmaf and others ----

inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
// Some C libraries declare functions with these names.
#define rsqrtf emulator_rsqrtf
inline float rsqrtf(float a) { return static_cast<float>(1.0 / sqrt(static_cast<double>(a))); }
#define rsqrt emulator_rsqrt
inline double rsqrt(double a) { return 1.0 / sqrt(a); }

// ---- Memory ----

template <typename T>
T __ldg(const T* address) {
    return *address;
}

// Blocks run on several threads of the operating system, and these fences order memory between them.
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// ---- Atomics: relaxed like CUDA's, each returns the old value; like CUDA, without a maximum of floats ----

namespace emulator {

/// Atomically replaces a value by a function of it, and returns the old value.
template <typename T, typename Bits, typename Function>
T atomic_update(T* address, Function function) {
    static_assert(sizeof(T) == sizeof(Bits), "bits of the same size");
    Bits* const bits = reinterpret_cast<Bits*>(address);
    Bits before = __atomic_load_n(bits, __ATOMIC_RELAXED);
    for (;;) {
        T value;
        __builtin_memcpy(&value, &before, sizeof(T));
        const T next = function(value);
        Bits after;
        __builtin_memcpy(&after, &next, sizeof(T));
        if (__atomic_compare_exchange_n(bits, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return value;
    }
}

}  // namespace emulator

#define EMULATOR_ATOMICS(type)                                                                                        \
    inline type atomicAdd(type* address, type value) { return __atomic_fetch_add(address, value, __ATOMIC_RELAXED); } \
    inline type atomicExch(type* address, type value) {                                                               \
        return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);                                                 \
    }                                                                                                                 \
    inline type atomicMax(type* address, type value) {                                                                \
        return emulator::atomic_update<type, type>(address, [=](type old) { return max(old, value); });               \
    }                                                                                                                 \
    inline type atomicMin(type* address, type value) {                                                                \
        return emulator::atomic_update<type, type>(address, [=](type old) { return min(old, value); });               \
    }                                                                                                                 \
    inline type atomicCAS(type* address, type expected, type value) {                                                 \
        __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);            \
        return expected;                                                                                              \
    }
EMULATOR_ATOMICS(int)
EMULATOR_ATOMICS(unsigned)
EMULATOR_ATOMICS(unsigned long long)
#undef EMULATOR_ATOMICS

inline float atomicAdd(float* address, float value) {
    return emulator::atomic_update<float, unsigned>(address, [=](float old) { return old + value; });
}
inline double atomicAdd(double* address, double value) {
    return emulator::atomic_update<double, unsigned long long>(address, [=](double old) { return old + value; });
}
inline float atomicExch(float* address, float value) {
    return emulator::atomic_update<float, unsigned>(address, [=](float) { return value; });
}
