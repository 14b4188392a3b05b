// The names of CUDA C++ for a host compiler. A kernel file that includes this one first compiles for the emulator.
//
// A kernel's threads are fibers of the runtime (runtime.cpp). This file defines the names of the language: indices,
// qualifiers, shared memory, barriers, warp operations, and the macro that exports a kernel. Arithmetic, bit operations
// and atomics are in intrinsics.hpp.
#pragma once

#include "interface.hpp"
#include "intrinsics.hpp"

// ---- Qualifiers ----

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

// ---- Indices ----

#define threadIdx (emulator_thread->index)
#define blockIdx (emulator_thread->place->block)
#define blockDim (emulator_thread->place->block_size)
#define gridDim (emulator_thread->place->grid_size)
constexpr int warpSize = emulator::WARP;

// ---- Shared memory ----

/// `SHARED(float, sums, 32);` declares `float* sums`, an array that the block shares. As on a GPU, it is aligned for
/// its type and no further.
#define SHARED(type, name, count)                                                                              \
    static const emulator::SharedArray name##_array = {#name, sizeof(type) * (count), alignof(type), __FILE__, \
                                                       __LINE__};                                              \
    type* const name = static_cast<type*>(emulator_shared(&name##_array))

/// `DYNAMIC_SHARED(float, row);` declares `float* row`, the dynamic shared memory of the launch, aligned to 16 bytes.
#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(emulator_dynamic_shared())

/// Ends the launch with an error unless the address is a multiple of `bytes`. Vector loads and stores on a GPU need
/// this.
inline void shim_check_aligned(const void* address, unsigned bytes, const char* file = __builtin_FILE(),
                               int line = __builtin_LINE()) {
    if (reinterpret_cast<unsigned long long>(address) % bytes != 0) emulator_misaligned(address, bytes, file, line);
}

// ---- Barriers ----

// The last two arguments of each function default to the place of its call, which error messages name.
#define EMULATOR_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EMULATOR_SITE) {
    const emulator::Call call = {emulator::Operation::BARRIER, 0, 0, 0, 0, file, line};
    emulator_wait(&call);
}

/// Returns whether the predicate holds in any thread of the block.
inline int __syncthreads_or(int predicate, EMULATOR_SITE) {
    const emulator::Call call = {emulator::Operation::BARRIER_OR, 0, predicate != 0, 0, 0, file, line};
    return static_cast<int>(emulator_wait(&call));
}

/// Returns whether the predicate holds in all threads of the block.
inline int __syncthreads_and(int predicate, EMULATOR_SITE) {
    const emulator::Call call = {emulator::Operation::BARRIER_AND, 0, predicate != 0, 0, 0, file, line};
    return static_cast<int>(emulator_wait(&call));
}

/// Returns the number of threads of the block in which the predicate holds.
inline int __syncthreads_count(int predicate, EMULATOR_SITE) {
    const emulator::Call call = {emulator::Operation::BARRIER_COUNT, 0, predicate != 0, 0, 0, file, line};
    return static_cast<int>(emulator_wait(&call));
}

// ---- Warp operations ----

inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATOR_SITE) {
    const emulator::Call call = {emulator::Operation::SYNC_WARP, mask, 0, 0, 0, file, line};
    emulator_wait(&call);
}

namespace emulator {

template <typename T>
T shuffle(Operation operation, unsigned mask, T value, unsigned argument, int width, const char* file, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle exchanges 32 or 64 bits");
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    const Call call = {operation, mask, bits, argument, static_cast<unsigned>(width), file, line};
    bits = emulator_wait(&call);
    __builtin_memcpy(&value, &bits, sizeof(T));
    return value;
}

}  // namespace emulator

/// Returns the value of lane `lane` of the caller's segment of `width` lanes.
template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize, EMULATOR_SITE) {
    return emulator::shuffle(emulator::Operation::SHUFFLE, mask, value, lane, width, file, line);
}

/// Returns the value of the lane `delta` below, or the caller's own value if that lane is outside the segment.
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EMULATOR_SITE) {
    return emulator::shuffle(emulator::Operation::SHUFFLE_UP, mask, value, delta, width, file, line);
}

/// Returns the value of the lane `delta` above, or the caller's own value if that lane is outside the segment.
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EMULATOR_SITE) {
    return emulator::shuffle(emulator::Operation::SHUFFLE_DOWN, mask, value, delta, width, file, line);
}

/// Returns the value of lane `own ^ lane_mask`, where `own` is the caller's lane.
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, EMULATOR_SITE) {
    return emulator::shuffle(emulator::Operation::SHUFFLE_XOR, mask, value, lane_mask, width, file, line);
}

/// Returns the lanes in which the predicate holds, as bits.
inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_SITE) {
    const emulator::Call call = {emulator::Operation::BALLOT, mask, predicate != 0, 0, 0, file, line};
    return static_cast<unsigned>(emulator_wait(&call));
}

inline int __any_sync(unsigned mask, int predicate, EMULATOR_SITE) {
    const emulator::Call call = {emulator::Operation::ANY, mask, predicate != 0, 0, 0, file, line};
    return static_cast<int>(emulator_wait(&call));
}

inline int __all_sync(unsigned mask, int predicate, EMULATOR_SITE) {
    const emulator::Call call = {emulator::Operation::ALL, mask, predicate != 0, 0, 0, file, line};
    return static_cast<int>(emulator_wait(&call));
}

#undef EMULATOR_SITE

// ---- Kernels ----

namespace emulator {

template <auto kernel>
struct Body;

/// Calls a kernel with arguments that are given by pointers, as `cuLaunchKernel` takes them.
template <typename... Parameters, void (*kernel)(Parameters...)>
struct Body<kernel> {
    explicit Body(Parameters... values) { kernel(values...); }

    // Arguments in braces, unlike those in parentheses, are evaluated from left to right.
    static void call([[maybe_unused]] void* const* arguments) { Body{next<Parameters>(arguments)...}; }

    template <typename T>
    static T next(void* const*& arguments) {
        return *static_cast<T*>(*arguments++);
    }
};

}  // namespace emulator

/// Exports a kernel as `emulated_NAME`, which takes the arguments of `emulator_launch` except the kernel, and returns
/// its result.
#define EMULATED_KERNEL(NAME)                                                                                          \
    extern "C" EMULATOR_EXPORT int emulated_##NAME(                                                                    \
        const EmulatorOptions* options, const unsigned grid[3], const unsigned block[3],                               \
        unsigned long long dynamic_shared_bytes, void* const* arguments, char* message, unsigned long long capacity) { \
        const emulator::Kernel kernel = {#NAME, emulator::Body<&NAME>::call};                                          \
        return emulator_launch(&kernel, options, grid, block, dynamic_shared_bytes, arguments, message, capacity);     \
    }
