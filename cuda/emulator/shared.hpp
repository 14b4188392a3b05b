// A block's shared memory. Each array has an allocation of its own, so that writes past its end are detected.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "fiber.hpp"
#include "interface.hpp"

namespace emulator {

/// The bytes of shared memory that a block may use, and those that its static arrays may take of them.
constexpr uint64_t SHARED_LIMIT = 227 << 10;
constexpr uint64_t STATIC_SHARED_LIMIT = 48 << 10;

/// An allocation with canaries on both sides. AddressSanitizer poisons them, so that it detects reads as well.
class SharedAllocation {
public:
    /// Aligns the memory to `alignment` and to no larger power of two, so that no kernel can rely on more.
    SharedAllocation(const SharedArray* array, uint64_t bytes, uint64_t alignment) : array_(array), bytes_(bytes) {
#ifdef EMULATOR_ASAN
        // Poisoned regions end at multiples of 8 bytes.
        alignment = alignment < 8 ? 8 : alignment;
#endif
        const uint64_t before = (CANARY_BYTES + alignment - 1) / alignment * alignment;
        offset_ = before % (2 * alignment) == 0 ? before + alignment : before;
        base_ = static_cast<char*>(::operator new(offset_ + bytes_ + CANARY_BYTES, ALIGNMENT));
#ifdef EMULATOR_ASAN
        ASAN_POISON_MEMORY_REGION(base_, offset_);
        ASAN_POISON_MEMORY_REGION(base_ + offset_ + bytes_, CANARY_BYTES);
#endif
    }

    ~SharedAllocation() {
        if (base_ == nullptr) return;
#ifdef EMULATOR_ASAN
        ASAN_UNPOISON_MEMORY_REGION(base_, offset_ + bytes_ + CANARY_BYTES);
#endif
        ::operator delete(base_, ALIGNMENT);
    }

    SharedAllocation(SharedAllocation&& other) noexcept
        : filled(other.filled), array_(other.array_), base_(other.base_), bytes_(other.bytes_), offset_(other.offset_) {
        other.base_ = nullptr;
    }

    const SharedArray* array() const { return array_; }
    char* data() const { return base_ + offset_; }
    uint64_t bytes() const { return bytes_; }

    /// Fills the array with 0xFF, which is NaN in every floating-point format, and the canaries with a pattern.
    void fill() {
        memset(data(), 0xFF, bytes_);
#ifndef EMULATOR_ASAN
        memset(base_, PATTERN, offset_);
        memset(data() + bytes_, PATTERN, CANARY_BYTES);
#endif
        filled = true;
    }

    /// Returns "before" or "past" if something was written on that side of the array, or else null.
    const char* overrun() const {
#ifndef EMULATOR_ASAN
        for (uint64_t i = 0; i < offset_; ++i) {
            if (base_[i] != PATTERN) return "before";
        }
        for (uint64_t i = 0; i < CANARY_BYTES; ++i) {
            if (data()[bytes_ + i] != PATTERN) return "past";
        }
#endif
        return nullptr;
    }

    /// Whether the running block has used the array.
    bool filled = false;

private:
    static constexpr uint64_t CANARY_BYTES = 64;
    static constexpr std::align_val_t ALIGNMENT{256};
    static constexpr char PATTERN = 0x5a;

    const SharedArray* array_;
    char* base_;
    uint64_t bytes_, offset_;
};

/// All shared memory of the running block. The allocations are kept from block to block of a launch.
class SharedMemory {
public:
    void begin_launch(uint64_t dynamic_bytes) {
        arrays_.clear();
        arrays_.reserve(8);
        arrays_.emplace_back(nullptr, dynamic_bytes, 16);
        static_bytes_ = 0;
    }

    void begin_block() {
        for (SharedAllocation& array : arrays_) array.filled = false;
        arrays_[0].fill();
    }

    void* dynamic() const { return arrays_[0].data(); }

    /// Returns the memory of a static array. It is null if the block exceeds its limit, which `excess` then explains.
    void* get(const SharedArray* array) {
        for (SharedAllocation& known : arrays_) {
            if (known.array() != array) continue;
            if (!known.filled) known.fill();
            return known.data();
        }
        static_bytes_ += array->bytes;
        if (static_bytes_ > STATIC_SHARED_LIMIT || static_bytes_ + arrays_[0].bytes() > SHARED_LIMIT) return nullptr;
        arrays_.emplace_back(array, array->bytes, array->alignment).fill();
        return arrays_.back().data();
    }

    /// Returns the error message for a static array that exceeds the block's limit.
    std::string excess(const SharedArray& array) const {
        const std::string all = std::to_string(static_bytes_) + " bytes of static shared memory with " + array.name;
        if (static_bytes_ > STATIC_SHARED_LIMIT) {
            return all + ": at most " + std::to_string(STATIC_SHARED_LIMIT) + ", use dynamic shared memory for more";
        }
        return all + " and " + std::to_string(arrays_[0].bytes()) + " of dynamic: at most " +
               std::to_string(SHARED_LIMIT) + " in all";
    }

    /// Describes a write outside the arrays. The text is empty if there was none.
    std::string overrun() const {
        for (const SharedAllocation& array : arrays_) {
            if (!array.filled) continue;
            const char* const side = array.overrun();
            if (side == nullptr) continue;
            const std::string name =
                array.array() == nullptr ? "dynamic shared memory" : std::string("shared array ") + array.array()->name;
            return "something was written " + std::string(side) + " the " + std::to_string(array.bytes()) +
                   " bytes of " + name;
        }
        return {};
    }

    void end_launch() { arrays_.clear(); }

private:
    /// The first is the dynamic memory, the others the static arrays in the order of their first use.
    std::vector<SharedAllocation> arrays_;
    uint64_t static_bytes_ = 0;
};

}  // namespace emulator
