// Error messages, which explain where threads wait and why they cannot continue.
#pragma once

#include "block.hpp"

namespace emulator {

/// Formats ascending numbers as ranges, for example "0-30, 32".
inline std::string ranges(const std::vector<unsigned>& numbers) {
    std::string text;
    for (size_t first = 0; first < numbers.size();) {
        size_t last = first;
        while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
        if (!text.empty()) text += ", ";
        text += std::to_string(numbers[first]);
        if (last > first) text += "-" + std::to_string(numbers[last]);
        first = last + 1;
    }
    return text;
}

/// Formats lanes, for example "lane 5" or "lanes 0-4, 6".
inline std::string lanes(uint32_t bits) {
    std::vector<unsigned> numbers;
    for (unsigned lane = 0; lane < WARP; ++lane) {
        if (bits >> lane & 1) numbers.push_back(lane);
    }
    return (numbers.size() == 1 ? "lane " : "lanes ") + ranges(numbers);
}

inline std::string coordinates(uint3 at) {
    return "(" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) + ")";
}

inline std::string hexadecimal(uint64_t number, int digits) {
    std::string text;
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) text += "0123456789abcdef"[number >> shift & 15];
    return "0x" + text;
}

/// Formats a source location without its folder, for example "kernel.cu:12".
inline std::string place(const char* file, int line) {
    const char* const slash = strrchr(file, '/');
    return std::string(slash == nullptr ? file : slash + 1) + ":" + std::to_string(line);
}

/// Formats a call, for example "__syncwarp(0xffffffff) at kernel.cu:12".
inline std::string describe(const Call& call) {
    static const char* const names[] = {
        "__syncthreads",  "__syncthreads_or", "__syncthreads_and", "__syncthreads_count", "__syncwarp", "__shfl_sync",
        "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync",   "__ballot_sync",       "__any_sync", "__all_sync"};
    std::string text = names[static_cast<unsigned>(call.operation)];
    text += call.operation <= Operation::BARRIER_COUNT ? "()" : "(" + hexadecimal(call.mask, 8) + ")";
    return text + " at " + place(call.file, call.line);
}

inline std::string Worker::kernel_and_block() const {
    return std::string("kernel ") + launch_->kernel->name + ", block " + coordinates(place_.block);
}

inline void Worker::report_thread(const std::string& what) {
    error_ = kernel_and_block() + ", thread " + coordinates(current_->index) + ": " + what;
}

/// Lists the state of all threads, for example "threads in __syncthreads() at kernel.cu:12: 0-31; returned: 32-63".
inline std::string Worker::who_waits_where() const {
    std::vector<std::pair<std::string, std::vector<unsigned>>> groups;
    for (const Lane& lane : lanes_) {
        const std::string state = lane.returned          ? "returned"
                                  : lane.call == nullptr ? "not arrived yet"
                                                         : "in " + describe(*lane.call);
        auto group =
            std::find_if(groups.begin(), groups.end(), [&](const auto& group) { return group.first == state; });
        if (group == groups.end()) group = groups.insert(groups.end(), {state, {}});
        group->second.push_back(number_of(lane));
    }
    std::string text;
    for (const auto& [state, threads] : groups)
        text += (text.empty() ? "threads " : "; ") + state + ": " + ranges(threads);
    return text;
}

/// Explains why the lanes of a mask cannot meet. The text is empty if they still may.
inline std::string Worker::explain_warp(unsigned warp, const Call& call) const {
    uint32_t returned = 0, elsewhere = 0, here = 0;
    for (uint32_t rest = call.mask; rest != 0; rest &= rest - 1) {
        const unsigned lane = static_cast<unsigned>(__builtin_ctz(rest));
        const Lane& other = lanes_[warp * WARP + lane];
        const uint32_t bit = uint32_t{1} << lane;
        if (other.returned) {
            returned |= bit;
        } else if (other.call != nullptr) {
            (other.call->operation == call.operation && other.call->mask == call.mask ? here : elsewhere) |= bit;
        }
    }
    if (returned == 0 && elsewhere == 0) return {};
    const std::string meeting = kernel_and_block() + ", warp " + std::to_string(warp) + ": " + describe(call) + " of " +
                                lanes(here) + " waits for ";
    if (returned != 0) return meeting + lanes(returned) + ", which returned";
    return meeting + lanes(elsewhere) + ": " + who_waits_where();
}

/// Explains why no thread of the block can continue although some have not returned.
inline std::string Worker::explain_stall() const {
    for (const Lane& lane : lanes_) {
        if (lane.returned || lane.call->operation <= Operation::BARRIER_COUNT) continue;
        const std::string reason = explain_warp(number_of(lane) / WARP, *lane.call);
        if (!reason.empty()) return reason;
    }
    return kernel_and_block() + ": divergent barrier: " + who_waits_where();
}

}  // namespace emulator
