// CUDA C++ as a host compiler sees it: included before a kernel file, it lets that file be compiled for the emulator.
//
// A kernel's threads are fibers of the runtime (runtime.cpp). Here are the language's names: indices, qualifiers,
// shared memory, barriers, warp operations, and the macro that exports a kernel. Arithmetic, bits and atomics stand in
// intrinsics.hpp.
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

/// `SHARED(float, sums, 32);` declares `float* sums`, an array of the block. It is aligned for its type and no further,
/// as on a GPU.
#define SHARED(type, name, count)                                                                              \
    static const emulator::SharedArray name##_array = {#name, sizeof(type) * (count), alignof(type), __FILE__, \
                                                       __LINE__};                                              \
    type* const name = static_cast<type*>(emulator_shared(&name##_array))

/// `DYNAMIC_SHARED(float, row);` declares `float* row`, the dynamic shared memory of the launch, aligned to 16 bytes.
#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(emulator_dynamic_shared())

/// Ends the launch unless an address is a multiple of `bytes`, as a GPU does at vector loads and stores.
inline void shim_check_aligned(const void* address, unsigned bytes, const char* file = __builtin_FILE(),
                               int line = __builtin_LINE()) {
    if (reinterpret_cast<unsigned long long>(address) % bytes != 0) emulator_misaligned(address, bytes, file, line);
}

// ---- Barriers ----

// Each function's last two arguments are the place of its call, which error messages name.
#define EMULATOR_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EMULATOR_SITE) {
    const emulator::Call call = {emulator::Operation::BARRIER, 0, 0, 0, 0, file, line};
    emulator_wait(&call);
}

/// Whether the predicate holds in any thread of the block.
inline int __syncthreads_or(int predicate, EMULATOR_SITE) {
    const emulator::Call call = {emulator::Operation::BARRIER_OR, 0, predicate != 0, 0, 0, file, line};
    return static_cast<int>(emulator_wait(&call));
}

/// Whether the predicate holds in all threads of the block.
inline int __syncthreads_and(int predicate, EMULATOR_SITE) {
    const emulator::Call call = {emulator::Operation::BARRIER_AND, 0, predicate != 0, 0, 0, file, line};
    return static_cast<int>(emulator_wait(&call));
}

/// In how many threads of the block the predicate holds.
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

/// The value of lane `lane` of each segment of `width` lanes.
template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize, EMULATOR_SITE) {
    return emulator::shuffle(emulator::Operation::SHUFFLE, mask, value, lane, width, file, line);
}

/// The value of the lane `delta` below, or the own value where the segment begins.
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EMULATOR_SITE) {
    return emulator::shuffle(emulator::Operation::SHUFFLE_UP, mask, value, delta, width, file, line);
}

/// The value of the lane `delta` above, or the own value where the segment ends.
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EMULATOR_SITE) {
    return emulator::shuffle(emulator::Operation::SHUFFLE_DOWN, mask, value, delta, width, file, line);
}

/// The value of the lane whose number is the own one, exclusive or `lane_mask`.
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, EMULATOR_SITE) {
    return emulator::shuffle(emulator::Operation::SHUFFLE_XOR, mask, value, lane_mask, width, file, line);
}

/// The lanes in which the predicate holds.
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

/// Calls a kernel with arguments that lie behind pointers, as `cuLaunchKernel` takes them.
template <typename... Parameters, void (*kernel)(Parameters...)>
struct Body<kernel> {
    explicit Body(Parameters... values) { kernel(values...); }

    // In braces, unlike in parentheses, the arguments are evaluated from left to right.
    static void call([[maybe_unused]] void* const* arguments) { Body{next<Parameters>(arguments)...}; }

    template <typename T>
    static T next(void* const*& arguments) {
        return *static_cast<T*>(*arguments++);
    }
};

}  // namespace emulator

/// Exports a kernel as `emulated_NAME`, which takes what `cuLaunchKernel` takes and returns what `emulator_launch`
/// returns.
#define EMULATED_KERNEL(NAME)                                                                                          \
    extern "C" EMULATOR_EXPORT int emulated_##NAME(                                                                    \
        const EmulatorOptions* options, const unsigned grid[3], const unsigned block[3],                               \
        unsigned long long dynamic_shared_bytes, void* const* arguments, char* message, unsigned long long capacity) { \
        const emulator::Kernel kernel = {#NAME, emulator::Body<&NAME>::call};                                          \
        return emulator_launch(&kernel, options, grid, block, dynamic_shared_bytes, arguments, message, capacity);     \
    }
