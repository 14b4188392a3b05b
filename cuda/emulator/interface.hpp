// The interface between a compiled kernel file and the emulator's runtime: their common types, and the runtime's
// functions.
#pragma once

#include <stddef.h>

#if __has_include(<features.h>)
#include <features.h>
#endif

// glibc reserves space for the thread-local variables of libraries that are loaded later, so ours can have a fixed
// offset.
#ifdef __GLIBC__
#define EMULATOR_TLS __thread __attribute__((tls_model("initial-exec")))
#else
#define EMULATOR_TLS __thread
#endif
#define EMULATOR_EXPORT __attribute__((visibility("default")))

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

/// Options for running a launch. The results of a correct kernel depend on none of them.
struct EmulatorOptions {
    /// The order of the threads in a block and of the blocks in the grid: 0 is forward, 1 is reverse, 2 is random, with
    /// a new order of threads after each barrier.
    unsigned schedule;
    /// The number of threads of the operating system that share the blocks, at least 1.
    unsigned threads;
    /// The seed of the random order.
    unsigned long long seed;
};

namespace emulator {

constexpr unsigned WARP = 32;

/// The position of a block in its grid, which is the same for all of its threads.
struct Place {
    uint3 block;
    dim3 block_size, grid_size;
};

/// The part of a thread's state that its kernel can read.
struct Thread {
    uint3 index;
    const Place* place;
};

/// An operation that a thread can wait in.
enum class Operation : unsigned {
    BARRIER,
    BARRIER_OR,
    BARRIER_AND,
    BARRIER_COUNT,
    SYNC_WARP,
    SHUFFLE,
    SHUFFLE_UP,
    SHUFFLE_DOWN,
    SHUFFLE_XOR,
    BALLOT,
    ANY,
    ALL,
};

/// One thread's call of a barrier or a warp operation. It lives on that thread's stack while the thread waits.
struct Call {
    Operation operation;
    /// The lanes that take part in a warp operation.
    unsigned mask;
    /// The bits that a shuffle exchanges, or a predicate (0 or 1).
    unsigned long long value;
    /// The lane, distance or lane mask of a shuffle, and the width of its segments.
    unsigned argument, width;
    const char* file;
    int line;
};

/// The declaration of an array in static shared memory.
struct SharedArray {
    const char* name;
    unsigned long long bytes, alignment;
    const char* file;
    int line;
};

/// A kernel as its file passes it to the runtime.
struct Kernel {
    const char* name;
    /// Calls the kernel with the values that the arguments point to.
    void (*body)(void* const* arguments);
};

}  // namespace emulator

extern "C" {
/// The running thread of the kernel.
extern EMULATOR_TLS EMULATOR_EXPORT const emulator::Thread* emulator_thread;

/// Waits in a barrier or warp operation until all threads that take part have arrived. Returns its result for this
/// thread.
EMULATOR_EXPORT unsigned long long emulator_wait(const emulator::Call* call);

/// Returns this block's memory for a static shared array, filled with 0xFF before the first thread sees it.
EMULATOR_EXPORT void* emulator_shared(const emulator::SharedArray* array);

/// Returns this block's dynamic shared memory.
EMULATOR_EXPORT void* emulator_dynamic_shared();

/// Ends the launch with an error about an access of `bytes` bytes at an address that is not a multiple of `bytes`.
[[noreturn]] EMULATOR_EXPORT void emulator_misaligned(const void* address, unsigned bytes, const char* file, int line);

/// Runs a kernel over a grid. Returns 0, or 1 with an error message, which is truncated to the capacity.
EMULATOR_EXPORT int emulator_launch(const emulator::Kernel* kernel, const EmulatorOptions* options,
                                    const unsigned grid[3], const unsigned block[3],
                                    unsigned long long dynamic_shared_bytes, void* const* arguments, char* message,
                                    unsigned long long capacity);
}
