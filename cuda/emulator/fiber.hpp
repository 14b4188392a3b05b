// Fibers: their stacks, and the switch from one to another. The switch is in assembly for x86-64 and AArch64, and uses
// ucontext on other processors. ucontext saves the signal mask, which takes a system call: with it, the test of the
// backward pass of attention takes 3.9 times as much processor time (16.1 s instead of 4.1 s on x86-64 Linux).
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define EMULATOR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATOR_ASAN 1
#endif
#endif

#ifdef EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(EMULATOR_UCONTEXT)
#define EMULATOR_UCONTEXT 1
#endif

#ifdef EMULATOR_UCONTEXT
#include <ucontext.h>
#else
/// Saves the callee-saved registers on the stack and its pointer at `from`, and continues from the state saved in `to`.
extern "C" __attribute__((visibility("hidden"))) void emulator_switch_stack(void** from, void* to);

#ifdef __APPLE__
#define EMULATOR_SYMBOL "_emulator_switch_stack"
#else
#define EMULATOR_SYMBOL "emulator_switch_stack"
#endif

#ifdef __x86_64__
asm(".text\n"
    ".p2align 4\n" EMULATOR_SYMBOL
    ":\n"
    "pushq %rbp\n"
    "pushq %rbx\n"
    "pushq %r12\n"
    "pushq %r13\n"
    "pushq %r14\n"
    "pushq %r15\n"
    "movq %rsp, (%rdi)\n"
    "movq %rsi, %rsp\n"
    "popq %r15\n"
    "popq %r14\n"
    "popq %r13\n"
    "popq %r12\n"
    "popq %rbx\n"
    "popq %rbp\n"
    // Fibers mostly wait at the same place, so processors predict this return, and those after it, as without a switch.
    "ret\n");
#else
asm(".text\n"
    ".p2align 4\n" EMULATOR_SYMBOL
    ":\n"
    "sub sp, sp, #160\n"
    "stp x19, x20, [sp]\n"
    "stp x21, x22, [sp, #16]\n"
    "stp x23, x24, [sp, #32]\n"
    "stp x25, x26, [sp, #48]\n"
    "stp x27, x28, [sp, #64]\n"
    "stp x29, x30, [sp, #80]\n"
    "stp d8, d9, [sp, #96]\n"
    "stp d10, d11, [sp, #112]\n"
    "stp d12, d13, [sp, #128]\n"
    "stp d14, d15, [sp, #144]\n"
    "mov x9, sp\n"
    "str x9, [x0]\n"
    "mov sp, x1\n"
    "ldp x19, x20, [sp]\n"
    "ldp x21, x22, [sp, #16]\n"
    "ldp x23, x24, [sp, #32]\n"
    "ldp x25, x26, [sp, #48]\n"
    "ldp x27, x28, [sp, #64]\n"
    "ldp x29, x30, [sp, #80]\n"
    "ldp d8, d9, [sp, #96]\n"
    "ldp d10, d11, [sp, #112]\n"
    "ldp d12, d13, [sp, #128]\n"
    "ldp d14, d15, [sp, #144]\n"
    "add sp, sp, #160\n"
    "ret\n");
#endif
#endif

namespace emulator {

#ifdef EMULATOR_ASAN
// AddressSanitizer makes frames larger: it puts red zones between the variables of each.
constexpr size_t STACK_BYTES = 512 << 10;
#else
constexpr size_t STACK_BYTES = 64 << 10;
#endif
/// Slack below a stack, in which an overflow does no harm until it is detected. Below the slack is an inaccessible
/// guard of 64 KiB, the page size of some systems.
constexpr size_t SLACK_BYTES = 64 << 10;
constexpr size_t GUARD_BYTES = 64 << 10;
constexpr uint64_t CANARY = 0x5bd1e995c0ffee11;

/// A stack and the saved state of the computation on it. A thread of the operating system is represented by a fiber
/// too, which has no stack of its own here.
class Fiber {
public:
    /// Creates the fiber that represents the running thread of the operating system.
    Fiber() = default;

    /// Creates a fiber with a new stack. Its number shifts its frames, so that stacks do not compete for the same lines
    /// of the cache.
    explicit Fiber(size_t number) : colour_(number % 32 * 128) {
        void* const map = mmap(nullptr, MAP_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (map == MAP_FAILED) return;
        map_ = static_cast<char*>(map);
        if (mprotect(map_ + GUARD_BYTES, MAP_BYTES - GUARD_BYTES, PROT_READ | PROT_WRITE) != 0) return;
        limit_ = map_ + GUARD_BYTES + SLACK_BYTES;
    }

    /// Returns whether the system had memory for the stack.
    bool has_stack() const { return limit_ != nullptr; }

    ~Fiber() {
        if (map_ != nullptr) munmap(map_, MAP_BYTES);
    }

    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    /// Makes the next switch to this fiber call `entry`, which must not return. Discards the computation on the stack.
    void prepare(void (*entry)()) {
        for (size_t i = 0; i < CANARIES; ++i) canaries()[i] = CANARY;
        char* const top = map_ + MAP_BYTES - colour_;
#ifdef EMULATOR_ASAN
        ASAN_UNPOISON_MEMORY_REGION(limit_, STACK_BYTES);
        bottom_ = limit_;
        size_ = STACK_BYTES;
        shadow_ = nullptr;
#endif
#if defined(EMULATOR_UCONTEXT)
        getcontext(&context_);
        context_.uc_stack.ss_sp = limit_;
        context_.uc_stack.ss_size = static_cast<size_t>(top - limit_);
        context_.uc_link = nullptr;
        makecontext(&context_, entry, 0);
#elif defined(__x86_64__)
        // Six registers, the address of `entry`, and an empty return address. A function expects the stack pointer to
        // be 8 modulo 16 when it is entered.
        void** const frame = reinterpret_cast<void**>(top - 16) - 6;
        memset(frame, 0, 8 * sizeof(void*));
        frame[6] = reinterpret_cast<void*>(entry);
        context_ = frame;
#else
        void** const frame = reinterpret_cast<void**>(top - 160);
        memset(frame, 0, 160);
        frame[11] = reinterpret_cast<void*>(entry);
        context_ = frame;
#endif
    }

    /// Continues with another fiber, and returns when one switches back to this fiber. That must not happen if it is
    /// `done`.
    void switch_to(Fiber& next, [[maybe_unused]] bool done = false) {
#ifdef EMULATOR_ASAN
        next.origin_ = this;
        __sanitizer_start_switch_fiber(done ? nullptr : &shadow_, next.bottom_, next.size_);
#endif
#ifdef EMULATOR_UCONTEXT
        swapcontext(&context_, &next.context_);
#else
        emulator_switch_stack(&context_, next.context_);
#endif
        arrived();
    }

    /// Tells AddressSanitizer which stack is in use. A fiber must call this first.
    void arrived() {
#ifdef EMULATOR_ASAN
        __sanitizer_finish_switch_fiber(shadow_, &origin_->bottom_, &origin_->size_);
#endif
    }

    /// Returns whether the caller's frame lies within the stack proper, above the slack.
    bool fits() const { return static_cast<char*>(__builtin_frame_address(0)) >= limit_; }

    /// Returns whether the canaries just below the stack were overwritten.
    bool overflowed() const {
        for (size_t i = 0; i < CANARIES; ++i) {
            if (canaries()[i] != CANARY) return true;
        }
        return false;
    }

private:
    static constexpr size_t MAP_BYTES = GUARD_BYTES + SLACK_BYTES + STACK_BYTES;
    static constexpr size_t CANARIES = 8;

    uint64_t* canaries() const { return reinterpret_cast<uint64_t*>(limit_) - CANARIES; }

#ifdef EMULATOR_UCONTEXT
    ucontext_t context_;
#else
    void* context_ = nullptr;
#endif
    char* map_ = nullptr;
    char* limit_ = nullptr;
    size_t colour_ = 0;
#ifdef EMULATOR_ASAN
    const void* bottom_ = nullptr;
    size_t size_ = 0;
    void* shadow_ = nullptr;
    Fiber* origin_ = nullptr;
#endif
};

/// Keeps fibers for reuse.
class FiberPool {
public:
    /// Returns a fiber to prepare, or null if the system has no memory for another stack.
    Fiber* take() {
        if (!free_.empty()) {
            Fiber* const fiber = free_.back();
            free_.pop_back();
            return fiber;
        }
        auto fiber = std::make_unique<Fiber>(all_.size() + 1);
        if (!fiber->has_stack()) return nullptr;
        all_.push_back(std::move(fiber));
        return all_.back().get();
    }

    void give_back(Fiber& fiber) { free_.push_back(&fiber); }

    /// Takes all fibers back, including those that are still in use.
    void abandon() {
        free_.clear();
        for (const auto& fiber : all_) free_.push_back(fiber.get());
    }

private:
    std::vector<std::unique_ptr<Fiber>> all_;
    std::vector<Fiber*> free_;
};

}  // namespace emulator
