// The warp operations of a block, which complete when every lane of their mask has arrived.
#pragma once

#include "block.hpp"
#include "report.hpp"

namespace emulator {

inline uint64_t Worker::warp_operation(const Call& call) {
    Lane& lane = *current_;
    const unsigned number = number_of(lane), warp = number / WARP;
    lane.call = &call;
    if ((call.mask >> number % WARP & 1) == 0) {
        report_thread("calls " + describe(call) + ", whose mask lacks its own lane " + std::to_string(number % WARP));
        leave();
    }
    if ((call.mask & ~existing_lanes(warp)) != 0) {
        report_thread("calls " + describe(call) + ", whose mask has " + lanes(call.mask & ~existing_lanes(warp)) +
                      ", which this block lacks in warp " + std::to_string(warp));
        leave();
    }
    if (call.operation >= Operation::SHUFFLE && call.operation <= Operation::SHUFFLE_XOR &&
        (call.width == 0 || call.width > WARP || (call.width & (call.width - 1)) != 0)) {
        report_thread("calls " + describe(call) + " with width " + std::to_string(call.width) +
                      ", expected 1, 2, 4, 8, 16 or 32");
        leave();
    }
    waiting_[warp] |= uint32_t{1} << number % WARP;
    if ((waiting_[warp] & call.mask) == call.mask) {
        exchange(warp, call);
    } else {
        suspend();
    }
    return lane.result;
}

/// Gives each lane of the mask its result and makes it ready to run. The caller, which arrived last, continues at once.
inline void Worker::exchange(unsigned warp, const Call& call) {
    Lane* const members = &lanes_[warp * WARP];
    uint32_t ballot = 0;
    for (uint32_t rest = call.mask; rest != 0; rest &= rest - 1) {
        const unsigned lane = static_cast<unsigned>(__builtin_ctz(rest));
        const Call& other = *members[lane].call;
        if (other.operation != call.operation || other.mask != call.mask) {
            error_ = explain_warp(warp, call);
            leave();
        }
        if (other.value != 0) ballot |= uint32_t{1} << lane;
    }
    for (uint32_t rest = call.mask; rest != 0; rest &= rest - 1) {
        const unsigned lane = static_cast<unsigned>(__builtin_ctz(rest));
        const Call& own = *members[lane].call;
        const unsigned last = lane | (own.width - 1), first = lane & ~(own.width - 1), argument = own.argument % WARP;
        unsigned source = lane;
        switch (call.operation) {
            case Operation::SHUFFLE: source = first | (argument & (own.width - 1)); break;
            case Operation::SHUFFLE_UP: source = lane >= first + argument ? lane - argument : lane; break;
            case Operation::SHUFFLE_DOWN: source = lane + argument <= last ? lane + argument : lane; break;
            case Operation::SHUFFLE_XOR: source = (lane ^ argument) <= last ? lane ^ argument : lane; break;
            case Operation::BALLOT: members[lane].result = ballot; continue;
            case Operation::ANY: members[lane].result = ballot != 0; continue;
            case Operation::ALL: members[lane].result = ballot == call.mask; continue;
            default: continue;
        }
        // A value from a lane outside the mask is undefined. Like fresh shared memory, it reads as all ones, a NaN.
        const bool inside = call.mask >> source & 1;
        members[lane].result = inside ? members[source].call->value : ~uint64_t{0};
    }
    for (uint32_t rest = call.mask; rest != 0; rest &= rest - 1) {
        Lane& lane = members[__builtin_ctz(rest)];
        lane.call = nullptr;
        if (&lane != current_) ready_.set(position_[number_of(lane)]);
    }
    waiting_[warp] &= ~call.mask;
}

}  // namespace emulator
