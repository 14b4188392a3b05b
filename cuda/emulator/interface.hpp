// What a compiled kernel file and the emulator's runtime say to each other: the types both know, and the runtime's
// functions.
#pragma once

#include <stddef.h>

#if __has_include(<features.h>)
#include <features.h>
#endif

// glibc keeps room for thread-local variables of libraries that are loaded later, so ours can lie at a fixed offset.
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

/// How a launch is run. The results of a correct kernel depend on none of this.
struct EmulatorOptions {
    /// The order of threads in a block and of blocks in the grid: 0 forward, 1 reverse, 2 random, anew after each
    /// barrier.
    unsigned schedule;
    /// How many threads of the operating system share the blocks, at least 1.
    unsigned threads;
    /// The seed of the random order.
    unsigned long long seed;
};

namespace emulator {

constexpr unsigned WARP = 32;

/// Where a block stands: the same for all of its threads.
struct Place {
    uint3 block;
    dim3 block_size, grid_size;
};

/// What a kernel reads of its own thread.
struct Thread {
    uint3 index;
    const Place* place;
};

/// What a thread can wait in.
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

/// One thread's call of a barrier or a warp operation. It lives on that thread's stack for as long as it waits.
struct Call {
    Operation operation;
    /// The lanes that take part, in a warp operation.
    unsigned mask;
    /// What a shuffle exchanges, or a predicate (0 or 1).
    unsigned long long value;
    /// A shuffle's lane, distance or lane mask, and the width of its segments.
    unsigned argument, width;
    const char* file;
    int line;
};

/// One declaration of static shared memory.
struct SharedArray {
    const char* name;
    unsigned long long bytes, alignment;
    const char* file;
    int line;
};

/// A kernel as its unit hands it to the runtime.
struct Kernel {
    const char* name;
    /// Calls the kernel with the values that the arguments point to.
    void (*body)(void* const* arguments);
};

}  // namespace emulator

extern "C" {
/// The thread that runs now.
extern EMULATOR_TLS EMULATOR_EXPORT const emulator::Thread* emulator_thread;

/// Waits in a barrier or warp operation until all who take part have arrived; returns its result for this thread.
EMULATOR_EXPORT unsigned long long emulator_wait(const emulator::Call* call);

/// This block's memory for a static shared array, filled with 0xFF before the first thread sees it.
EMULATOR_EXPORT void* emulator_shared(const emulator::SharedArray* array);

/// This block's dynamic shared memory.
EMULATOR_EXPORT void* emulator_dynamic_shared();

/// Ends the launch with an error: an access of so many bytes at an address that is not a multiple of them.
[[noreturn]] EMULATOR_EXPORT void emulator_misaligned(const void* address, unsigned bytes, const char* file, int line);

/// Runs a kernel over a grid. Returns 0, or 1 with a message that is cut to the capacity.
EMULATOR_EXPORT int emulator_launch(const emulator::Kernel* kernel, const EmulatorOptions* options,
                                    const unsigned grid[3], const unsigned block[3],
                                    unsigned long long dynamic_shared_bytes, void* const* arguments, char* message,
                                    unsigned long long capacity);
}
