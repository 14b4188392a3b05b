// The execution of a block: its threads as fibers, and its barrier.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "fiber.hpp"
#include "interface.hpp"
#include "order.hpp"
#include "shared.hpp"

namespace emulator {

class Worker;

constexpr const char* NO_STACK = "the system has no memory for another thread's stack";

/// A thread of the running block.
struct Lane : Thread {
    Worker* worker;
    /// The fiber that runs the thread, or null before it has begun.
    Fiber* fiber;
    /// The operation that the thread waits in, or null if it does not wait.
    const Call* call;
    /// The result of the last warp operation.
    uint64_t result;
    bool returned;
};

/// The parameters of a launch, which all of its blocks share.
struct Launch {
    const Kernel* kernel;
    void* const* arguments;
    dim3 grid, block;
    Schedule schedule;
    uint64_t seed;
    uint64_t dynamic_bytes;
};

/// Runs blocks, one after the other, on one thread of the operating system.
class __attribute__((visibility("hidden"))) Worker {
public:
    void begin_launch(const Launch& launch);
    void end_launch() { shared_.end_launch(); }

    /// Runs the block with this number. Returns an error message, empty if there is none.
    std::string run_block(uint64_t number);

    // Called by the kernel's threads.
    uint64_t wait(const Call& call) {
        return call.operation <= Operation::BARRIER_COUNT ? barrier(call) : warp_operation(call);
    }
    void* shared(const SharedArray& array);
    void* dynamic_shared() const { return shared_.dynamic(); }

    /// Records an error of the running thread; `leave` then ends the block. These are two functions because the stack
    /// that calls `leave` is abandoned: a string still in scope there would leak.
    void report_thread(const std::string& what);
    [[noreturn]] void leave();

private:
    static void entry();
    [[noreturn]] void run_threads();
    void arrange_threads();
    Lane* take_next();
    void suspend();
    uint64_t barrier(const Call& call);
    uint64_t warp_operation(const Call& call);
    void exchange(unsigned warp, const Call& call);

    // Error messages, defined in report.hpp.
    std::string kernel_and_block() const;
    std::string explain_stall() const;
    std::string explain_warp(unsigned warp, const Call& call) const;
    std::string who_waits_where() const;

    unsigned number_of(const Lane& lane) const { return static_cast<unsigned>(&lane - lanes_.data()); }

    uint32_t existing_lanes(unsigned warp) const {
        const unsigned rest = count_ - warp * WARP;
        return rest >= WARP ? ~uint32_t{0} : (uint32_t{1} << rest) - 1;
    }

    const Launch* launch_ = nullptr;
    Place place_;
    unsigned count_ = 0;
    std::vector<Lane> lanes_;
    SharedMemory shared_;
    FiberPool fibers_;
    /// The fiber in which `run_block` waits for the threads.
    Fiber home_;
    Lane* current_ = nullptr;

    /// The threads in the order in which they run, and each thread's position in it.
    std::vector<uint16_t> order_, position_;
    Ready ready_;
    Random random_{0};

    /// The current barrier: the call of the first thread to arrive, the number of threads that have arrived, and the
    /// number of those in which the predicate holds.
    Call barrier_;
    unsigned arrived_ = 0, holds_ = 0;
    /// The result of the last complete barrier.
    uint64_t outcome_ = 0;
    unsigned returned_ = 0;
    /// For each warp, the lanes that wait in a warp operation.
    std::vector<uint32_t> waiting_;

    std::string error_;
};

inline void Worker::begin_launch(const Launch& launch) {
    launch_ = &launch;
    place_.block_size = launch.block;
    place_.grid_size = launch.grid;
    count_ = launch.block.x * launch.block.y * launch.block.z;
    lanes_.resize(count_);
    order_.resize(count_);
    position_.resize(count_);
    waiting_.resize((count_ + WARP - 1) / WARP);
    unsigned number = 0;
    for (unsigned z = 0; z < launch.block.z; ++z) {
        for (unsigned y = 0; y < launch.block.y; ++y) {
            for (unsigned x = 0; x < launch.block.x; ++x) {
                lanes_[number].index = {x, y, z};
                lanes_[number].place = &place_;
                lanes_[number].worker = this;
                ++number;
            }
        }
    }
    shared_.begin_launch(launch.dynamic_bytes);
    arrange_threads();
}

inline void Worker::arrange_threads() {
    arrange(order_, launch_->schedule, random_);
    for (unsigned position = 0; position < count_; ++position)
        position_[order_[position]] = static_cast<uint16_t>(position);
}

inline std::string Worker::run_block(uint64_t number) {
    place_.block.x = static_cast<unsigned>(number % launch_->grid.x);
    place_.block.y = static_cast<unsigned>(number / launch_->grid.x % launch_->grid.y);
    place_.block.z = static_cast<unsigned>(number / launch_->grid.x / launch_->grid.y);
    for (Lane& lane : lanes_) {
        lane.fiber = nullptr;
        lane.call = nullptr;
        lane.returned = false;
    }
    std::fill(waiting_.begin(), waiting_.end(), 0);
    arrived_ = 0;
    returned_ = 0;
    shared_.begin_block();
    if (launch_->schedule == Schedule::RANDOM) {
        // A block's order depends only on the seed and the block's number, not on the worker that runs it.
        random_ = Random(launch_->seed + number * 0x9e3779b97f4a7c15);
        arrange_threads();
    }
    ready_.fill(count_);

    current_ = take_next();
    current_->fiber = fibers_.take();
    if (current_->fiber == nullptr) return kernel_and_block() + ": " + NO_STACK;
    current_->fiber->prepare(entry);
    emulator_thread = current_;
    home_.switch_to(*current_->fiber);
    emulator_thread = nullptr;

    if (!error_.empty()) {
        fibers_.abandon();
        return std::exchange(error_, {});
    }
    const std::string overrun = shared_.overrun();
    return overrun.empty() ? overrun : kernel_and_block() + ": " + overrun;
}

inline void Worker::entry() {
    Worker& worker = *static_cast<const Lane*>(emulator_thread)->worker;
    worker.current_->fiber->arrived();
    worker.run_threads();
}

/// The body of a fiber: runs threads that have not begun, one after the other, until none is left or the next thread
/// has a fiber of its own. A thread that never waits thus costs a call and no switch.
inline void Worker::run_threads() {
    Fiber& fiber = *current_->fiber;
    for (;;) {
        launch_->kernel->body(launch_->arguments);
        current_->returned = true;
        ++returned_;
        if (fiber.overflowed()) {
            report_thread("the stack of " + std::to_string(STACK_BYTES >> 10) + " KiB overflowed");
            leave();
        }
        Lane* const next = take_next();
        if (next == nullptr) {
            if (returned_ == count_) {
                fibers_.give_back(fiber);
            } else {
                error_ = explain_stall();
            }
            leave();
        }
        current_ = next;
        emulator_thread = next;
        if (next->fiber != nullptr) {
            fibers_.give_back(fiber);
            fiber.switch_to(*next->fiber, true);
            __builtin_unreachable();
        }
        next->fiber = &fiber;
    }
}

inline void Worker::leave() {
    current_->fiber->switch_to(home_, true);
    __builtin_unreachable();
}

inline Lane* Worker::take_next() {
    const int position = ready_.take();
    return position < 0 ? nullptr : &lanes_[order_[static_cast<unsigned>(position)]];
}

/// Lets other threads run, and returns when it is this thread's turn again.
inline void Worker::suspend() {
    Lane& self = *current_;
    if (!self.fiber->fits()) {
        report_thread("the stack of " + std::to_string(STACK_BYTES >> 10) + " KiB overflowed");
        leave();
    }
    Lane* const next = take_next();
    if (next == nullptr) {
        error_ = explain_stall();
        leave();
    }
    if (next == &self) return;
    if (next->fiber == nullptr) {
        next->fiber = fibers_.take();
        if (next->fiber == nullptr) {
            report_thread(NO_STACK);
            leave();
        }
        next->fiber->prepare(entry);
    }
    current_ = next;
    emulator_thread = next;
    self.fiber->switch_to(*next->fiber);
}

inline uint64_t Worker::barrier(const Call& call) {
    current_->call = &call;
    if (arrived_ == 0) {
        barrier_ = call;
        holds_ = 0;
    } else if (call.operation != barrier_.operation || call.line != barrier_.line ||
               (call.file != barrier_.file && strcmp(call.file, barrier_.file) != 0)) {
        error_ = kernel_and_block() + ": divergent barrier: " + who_waits_where();
        leave();
    }
    ++arrived_;
    holds_ += static_cast<unsigned>(call.value);
    if (arrived_ == count_) {
        switch (call.operation) {
            case Operation::BARRIER_OR: outcome_ = holds_ > 0; break;
            case Operation::BARRIER_AND: outcome_ = holds_ == count_; break;
            default: outcome_ = holds_;
        }
        for (Lane& lane : lanes_) lane.call = nullptr;
        arrived_ = 0;
        if (launch_->schedule == Schedule::RANDOM) arrange_threads();
        ready_.fill(count_);
    }
    suspend();
    return outcome_;
}

inline void* Worker::shared(const SharedArray& array) {
    void* const data = shared_.get(&array);
    if (data == nullptr) {
        report_thread(shared_.excess(array));
        leave();
    }
    return data;
}

}  // namespace emulator
