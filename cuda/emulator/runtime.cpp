// The emulator's runtime: launches, and the functions that kernels call. Fibers are in fiber.hpp, a block's threads and
// its barrier in block.hpp, warp operations in warp.hpp, shared memory in shared.hpp, error messages in report.hpp.
//
// A block runs on a single thread of the operating system, so its threads never run simultaneously. A missing barrier
// therefore never causes a data race, but it makes results depend on the order in which the threads run.
#include <atomic>
#include <mutex>
#include <system_error>
#include <thread>

#include "block.hpp"
#include "report.hpp"
#include "warp.hpp"

EMULATOR_TLS const emulator::Thread* emulator_thread = nullptr;

namespace emulator {
namespace {

constexpr unsigned THREADS_LIMIT = 1024;

/// Keeps workers and their stacks from one launch to the next.
class WorkerPool {
public:
    std::unique_ptr<Worker> take() {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (free_.empty()) return std::make_unique<Worker>();
        std::unique_ptr<Worker> worker = std::move(free_.back());
        free_.pop_back();
        return worker;
    }

    void give_back(std::unique_ptr<Worker> worker) {
        const std::lock_guard<std::mutex> lock(mutex_);
        free_.push_back(std::move(worker));
    }

private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<Worker>> free_;
};

WorkerPool& workers() {
    static WorkerPool pool;
    return pool;
}

/// The blocks of a launch, from which several threads of the operating system take one at a time.
class Blocks {
public:
    Blocks(const Launch& launch, uint64_t count) : launch_(launch), count_(count) {
        if (launch.schedule != Schedule::RANDOM) return;
        order_.resize(count);
        Random random(launch.seed);
        arrange(order_, launch.schedule, random);
    }

    /// Runs blocks until none is left or one has failed.
    void run() {
        std::unique_ptr<Worker> worker = workers().take();
        worker->begin_launch(launch_);
        while (!failed_.load(std::memory_order_relaxed)) {
            const uint64_t position = next_.fetch_add(1, std::memory_order_relaxed);
            if (position >= count_) break;
            std::string error = worker->run_block(block_at(position));
            if (error.empty()) continue;
            const std::lock_guard<std::mutex> lock(mutex_);
            if (!failed_.exchange(true)) error_ = std::move(error);
        }
        worker->end_launch();
        workers().give_back(std::move(worker));
    }

    const std::string& error() const { return error_; }

private:
    uint64_t block_at(uint64_t position) const {
        switch (launch_.schedule) {
            case Schedule::FORWARD: return position;
            case Schedule::REVERSE: return count_ - 1 - position;
            case Schedule::RANDOM: break;
        }
        return order_[position];
    }

    const Launch& launch_;
    const uint64_t count_;
    std::vector<uint64_t> order_;
    std::atomic<uint64_t> next_{0};
    std::atomic<bool> failed_{false};
    std::mutex mutex_;
    std::string error_;
};

/// Checks the options and sizes of a launch. Returns an error message, empty if there is none.
std::string check(const EmulatorOptions& options, const unsigned grid[3], const unsigned block[3],
                  uint64_t dynamic_bytes) {
    const auto sizes = [](const unsigned size[3]) { return coordinates({size[0], size[1], size[2]}); };
    if (options.schedule > 2) return "schedule " + std::to_string(options.schedule) + ": expected 0, 1 or 2";
    if (options.threads == 0) return "0 threads of the operating system: expected at least 1";
    for (int axis = 0; axis < 3; ++axis) {
        const unsigned most = axis == 0 ? 0x7fffffff : 0xffff;
        if (grid[axis] == 0 || grid[axis] > most)
            return "grid " + sizes(grid) + ": at least 1 each, at most 2147483647, 65535, 65535";
    }
    const uint64_t threads = uint64_t{block[0]} * block[1] * block[2];
    if (block[0] == 0 || block[1] == 0 || block[2] == 0)
        return "block " + sizes(block) + ": at least 1 thread along each axis";
    if (block[0] > THREADS_LIMIT || block[1] > THREADS_LIMIT || block[2] > 64 || threads > THREADS_LIMIT) {
        return "block " + sizes(block) + ": at most 1024 threads, and 64 along z";
    }
    if (dynamic_bytes > SHARED_LIMIT) {
        return std::to_string(dynamic_bytes) + " bytes of dynamic shared memory: at most " +
               std::to_string(SHARED_LIMIT);
    }
    return {};
}

std::string run(const Launch& launch, unsigned threads) {
    const uint64_t count = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
    Blocks blocks(launch, count);
    std::vector<std::thread> others;
    for (uint64_t i = 1; i < std::min<uint64_t>(threads, count); ++i) {
        try {
            others.emplace_back([&] { blocks.run(); });
        } catch (const std::system_error&) {
            // If the system refuses another thread, the ones that there are do all the work.
            break;
        }
    }
    blocks.run();
    for (std::thread& other : others) other.join();
    return blocks.error();
}

Worker& worker() { return *static_cast<const Lane*>(emulator_thread)->worker; }

}  // namespace
}  // namespace emulator

unsigned long long emulator_wait(const emulator::Call* call) { return emulator::worker().wait(*call); }

void* emulator_shared(const emulator::SharedArray* array) { return emulator::worker().shared(*array); }

void* emulator_dynamic_shared() { return emulator::worker().dynamic_shared(); }

void emulator_misaligned(const void* address, unsigned bytes, const char* file, int line) {
    emulator::worker().report_thread("misaligned access at " + emulator::place(file, line) + ": address " +
                                     emulator::hexadecimal(reinterpret_cast<uintptr_t>(address), 16) +
                                     " is not a multiple of " + std::to_string(bytes) + " bytes");
    emulator::worker().leave();
}

int emulator_launch(const emulator::Kernel* kernel, const EmulatorOptions* options, const unsigned grid[3],
                    const unsigned block[3], unsigned long long dynamic_shared_bytes, void* const* arguments,
                    char* message, unsigned long long capacity) {
    std::string error = emulator::check(*options, grid, block, dynamic_shared_bytes);
    if (!error.empty()) {
        error = "kernel " + std::string(kernel->name) + ": " + error;
    } else {
        const emulator::Launch launch = {kernel,
                                         arguments,
                                         dim3(grid[0], grid[1], grid[2]),
                                         dim3(block[0], block[1], block[2]),
                                         static_cast<emulator::Schedule>(options->schedule),
                                         options->seed,
                                         dynamic_shared_bytes};
        error = emulator::run(launch, options->threads);
    }
    if (error.empty()) return 0;
    if (capacity > 0) {
        const size_t length = std::min<size_t>(error.size(), capacity - 1);
        memcpy(message, error.data(), length);
        message[length] = '\0';
    }
    return 1;
}
