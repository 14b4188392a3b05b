// The order in which the threads of a block and the blocks of a grid run.
#pragma once

#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace emulator {

enum class Schedule : unsigned { FORWARD, REVERSE, RANDOM };

/// A pseudo-random generator (SplitMix64).
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}

    uint64_t next() {
        uint64_t mixed = state_ += 0x9e3779b97f4a7c15;
        mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
        return mixed ^ mixed >> 31;
    }

    /// Returns a number below `bound`. The bound is far below 2^32, so the bias is negligible.
    uint64_t below(uint64_t bound) { return (next() >> 32) * bound >> 32; }

private:
    uint64_t state_;
};

/// Fills `order` with the numbers from 0, in the order of the schedule.
template <typename Number>
void arrange(std::vector<Number>& order, Schedule schedule, Random& random) {
    const size_t count = order.size();
    std::iota(order.begin(), order.end(), Number{0});
    if (schedule == Schedule::REVERSE) {
        for (size_t i = 0; i < count; ++i) order[i] = static_cast<Number>(count - 1 - i);
    } else if (schedule == Schedule::RANDOM) {
        for (size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    }
}

/// The set of threads of a block that can run, as positions in the block's order. It holds up to 1024.
class Ready {
public:
    /// Makes the first `count` positions ready, and restarts the search at the first.
    void fill(unsigned count) {
        for (unsigned word = 0; word < WORDS; ++word) {
            const unsigned first = word * 64;
            words_[word] = count >= first + 64 ? ~uint64_t{0}
                           : count > first     ? (uint64_t{1} << (count - first)) - 1
                                               : 0;
        }
        cursor_ = 0;
    }

    void set(unsigned position) { words_[position / 64] |= uint64_t{1} << position % 64; }

    /// Removes and returns the next ready position. The search wraps around; the result is -1 if none is ready.
    int take() {
        const unsigned first = cursor_ / 64;
        for (unsigned i = 0; i <= WORDS; ++i) {
            const unsigned word = (first + i) % WORDS;
            const uint64_t from = i == 0 ? ~uint64_t{0} << cursor_ % 64 : ~uint64_t{0};
            const uint64_t found = words_[word] & from;
            if (found == 0) continue;
            const unsigned position = word * 64 + static_cast<unsigned>(__builtin_ctzll(found));
            words_[word] &= ~(uint64_t{1} << position % 64);
            cursor_ = (position + 1) % (WORDS * 64);
            return static_cast<int>(position);
        }
        return -1;
    }

private:
    static constexpr unsigned WORDS = 16;
    uint64_t words_[WORDS] = {};
    unsigned cursor_ = 0;
};

}  // namespace emulator
