// Runs one case in one schedule: `driver CASE SCHEDULE THREADS SEED`.
//
// A case without a fault compares its results with the exact ones and prints their bits. A case with a fault prints the
// launch's error message and shows that the process lives on.
#include "driver.hpp"

#include "shim.hpp"

#include "correct.cu"
#include "faults.cu"

EMULATED_KERNEL(row_sum)
EMULATED_KERNEL(prefix_sum)
EMULATED_KERNEL(indices)
EMULATED_KERNEL(atomics)
EMULATED_KERNEL(reverse)
EMULATED_KERNEL(shuffles)
EMULATED_KERNEL(votes)
EMULATED_KERNEL(unwritten_shared)
EMULATED_KERNEL(turns)
EMULATED_KERNEL(missing_barrier)
EMULATED_KERNEL(barrier_after_return)
EMULATED_KERNEL(barriers_of_two_branches)
EMULATED_KERNEL(shuffle_with_returned_lane)
EMULATED_KERNEL(shuffle_outside_of_own_mask)
EMULATED_KERNEL(shuffle_of_lanes_that_are_not_there)
EMULATED_KERNEL(different_operations)
EMULATED_KERNEL(different_masks)
EMULATED_KERNEL(wait_for_each_other)
EMULATED_KERNEL(write_beside_shared)
EMULATED_KERNEL(write_beside_dynamic_shared)
EMULATED_KERNEL(misaligned_load)
EMULATED_KERNEL(misaligned_shared)
EMULATED_KERNEL(too_much_static_shared)
EMULATED_KERNEL(static_and_dynamic_shared)
EMULATED_KERNEL(deep_stack)
EMULATED_KERNEL(deep_stack_at_barrier)
EMULATED_KERNEL(fault_in_block)
EMULATED_KERNEL(read_out_of_bounds)
EMULATED_KERNEL(offset_overflow)

namespace {

std::vector<float> row_sums(unsigned threads) {
    const unsigned rows = 37, length = 1001;
    std::vector<float> values(rows * length), out(rows);
    for (size_t i = 0; i < values.size(); ++i) values[i] = sinf(static_cast<float>(i));
    const std::string error = launch(emulated_row_sum, rows, threads, 0, values.data(), out.data(), length);
    expect(error.empty(), error.c_str());
    for (unsigned row = 0; row < rows; ++row) {
        double truth = 0.0;
        for (unsigned i = 0; i < length; ++i) truth += values[row * length + i];
        expect(fabs(out[row] - truth) < 1e-4, "sum of a row");
    }
    return out;
}

void sums_of_rows() {
    for (unsigned threads : {32, 256, 1024}) print_bits(row_sums(threads));
}

void prefix_sums() {
    for (unsigned threads : {1, 31, 33, 72, 1023}) {
        std::vector<int> values(threads), out(threads);
        for (unsigned i = 0; i < threads; ++i) values[i] = static_cast<int>(i * 7919 % 101) - 50;
        const std::string error = launch(emulated_prefix_sum, 1, threads, 0, values.data(), out.data());
        expect(error.empty(), error.c_str());
        int truth = 0;
        for (unsigned i = 0; i < threads; ++i) expect(out[i] == (truth += values[i]), "prefix sum");
        print_bits(out);
    }
}

void indices_in_three_dimensions() {
    const dim3 grid(3, 2, 4), block(5, 3, 2);
    std::vector<unsigned> out(24 * 30);
    const std::string error = launch(emulated_indices, grid, block, 0, out.data());
    expect(error.empty(), error.c_str());
    size_t next = 0;
    for (unsigned block_z = 0; block_z < 4; ++block_z)
        for (unsigned block_y = 0; block_y < 2; ++block_y)
            for (unsigned block_x = 0; block_x < 3; ++block_x)
                for (unsigned z = 0; z < 2; ++z)
                    for (unsigned y = 0; y < 3; ++y)
                        for (unsigned x = 0; x < 5; ++x, ++next)
                            expect(
                                out[next] == x + 10 * y + 100 * z + 1000 * block_x + 10000 * block_y + 100000 * block_z,
                                "an index");
    print_bits(out);
}

void atomic_updates() {
    const unsigned length = 5000;
    std::vector<unsigned> values(length), histogram(16), truth(16);
    float maximum = 0.0f, sum = 0.0f;
    int largest = -1;
    unsigned total = 0, most = 0;
    for (unsigned i = 0; i < length; ++i) {
        values[i] = i * 7919 % 1009;
        ++truth[values[i] % 16];
        total += values[i];
        most = max(most, values[i]);
    }
    const std::string error =
        launch(emulated_atomics, 20, 256, 0, values.data(), length, histogram.data(), &largest, &maximum, &sum);
    expect(error.empty(), error.c_str());
    expect(histogram == truth, "histogram");
    expect(largest == static_cast<int>(most) && maximum == static_cast<float>(most), "maximum");
    expect(sum == static_cast<float>(total), "sum");
    print_bits(histogram);
}

void dynamic_shared_memory() {
    const unsigned blocks = 3, threads = 96;
    std::vector<float4> values(blocks * threads), out(blocks * threads);
    for (unsigned i = 0; i < 4 * values.size(); ++i) (&values[0].x)[i] = static_cast<float>(i);
    const std::string error =
        launch(emulated_reverse, blocks, threads, threads * sizeof(float4), values.data(), out.data());
    expect(error.empty(), error.c_str());
    for (unsigned i = 0; i < 4 * values.size(); ++i) {
        const unsigned block = i / (4 * threads);
        expect((&out[0].x)[i] == static_cast<float>(4 * threads * (2 * block + 1) - 1 - i), "reversed value");
    }
    print_bits(out);
}

void shuffles_of_segments() {
    for (int width : {1, 2, 4, 8, 16, 32}) {
        const int threads = 64;
        std::vector<double> values(threads), out(6 * threads);
        for (int i = 0; i < threads; ++i) values[i] = i + 0.5;
        const std::string error = launch(emulated_shuffles, 1, threads, 0, values.data(), out.data(), width);
        expect(error.empty(), error.c_str());
        for (int i = 0; i < threads; ++i) {
            const int first = i / width * width;
            const double* const row = &out[6 * i];
            expect(row[0] == values[first + 3 % width], "__shfl_sync");
            expect(row[1] == values[i - 2 >= first ? i - 2 : i], "__shfl_up_sync");
            expect(row[2] == values[i + 2 < first + width ? i + 2 : i], "__shfl_down_sync");
            expect(row[3] == values[width > 1 ? i ^ 1 : i & 1 ? i ^ 1 : i], "__shfl_xor_sync");
            expect(row[4] == values[i ^ 4], "__shfl_xor_sync in half a warp");
            expect(row[5] == i / 16 * 16 + 5, "__shfl_sync in half a warp");
        }
        print_bits(out);
    }
}

void votes_of_warps_and_blocks() {
    const unsigned threads = 128;
    std::vector<int> predicates(threads);
    std::vector<unsigned> out(7 * threads);
    // Warp 0: none. Warp 1: all. Warps 2 and 3: every third.
    unsigned count = 0, ballots[4] = {};
    for (unsigned i = 0; i < threads; ++i) {
        predicates[i] = i < 32 ? 0 : i < 64 ? 7 : i % 3 == 0;
        if (predicates[i] == 0) continue;
        ++count;
        ballots[i / 32] |= 1u << i % 32;
    }
    const std::string error = launch(emulated_votes, 1, threads, 0, predicates.data(), out.data());
    expect(error.empty(), error.c_str());
    for (unsigned i = 0; i < threads; ++i) {
        const unsigned* const row = &out[7 * i];
        expect(row[0] == ballots[i / 32], "__ballot_sync");
        expect(row[1] == (i >= 32) && row[2] == (i / 32 == 1), "__any_sync, __all_sync");
        expect(row[3] == 1 && row[4] == 0 && row[5] == count, "__syncthreads_or, _and, _count");
        expect(row[6] == static_cast<unsigned>(predicates[i ^ 1]), "__syncwarp");
    }
    print_bits(out);
}

/// Launches from several host threads at once.
void launches_at_once() {
    const std::vector<float> truth = row_sums(256);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] { expect(row_sums(256) == truth, "a launch beside another"); });
    for (std::thread& thread : threads) thread.join();
    print_bits(truth);
}

void numbers_and_bits() {
    expect(__popc(0xf0f0u) == 8 && __clz(0) == 32 && __clz(1) == 31 && __ffs(0) == 0 && __ffs(8) == 4, "counted bits");
    expect(__umulhi(0xffffffffu, 0xffffffffu) == 0xfffffffeu && __umul64hi(1ull << 63, 6) == 3, "upper halves");
    expect(__float_as_uint(1.0f) == 0x3f800000u && __int_as_float(0x40490fdb) == 3.14159274f, "bits of floats");
    expect(min(1u, 2u) == 1 && max(-1, 2) == 2 && max(__int_as_float(0x7fc00000), 1.0f) == 1.0f, "minimum and maximum");
    expect(rsqrtf(4.0f) == 0.5f && fmaf(3.0f, 5.0f, -15.0f) == 0.0f && exp2f(3.0f) == 8.0f, "functions");
    print_bits(std::vector<float>{expf(1.0f), logf(2.0f), erff(0.5f), tanhf(0.5f), rsqrtf(3.0f)});
}

/// Each block must find 0xFF in shared memory rather than the values of the block before it.
void unwritten_shared_memory() {
    std::vector<unsigned> out(2 * 50);
    const std::string error = launch(emulated_unwritten_shared, 50, 1, sizeof(unsigned), out.data());
    expect(error.empty(), error.c_str());
    for (unsigned word : out) expect(word == 0xffffffffu, "poison");
    print_bits(out);
}

/// Checks the order of threads in a block and of blocks in a grid, on one operating-system thread.
void order_of_threads() {
    const unsigned blocks = 40, threads = 70;
    for (const bool whole_blocks : {false, true}) {
        const unsigned grid = whole_blocks ? blocks : 1, block = whole_blocks ? 1 : threads, count = grid * block;
        std::vector<unsigned> out(2 * count);
        unsigned counter = 0;
        const std::string error = launch(emulated_turns, grid, block, 0, &counter, out.data());
        expect(error.empty(), error.c_str());
        expect(counter == 2 * count, "a turn for each thread");
        std::vector<unsigned> first(out.begin(), out.begin() + count), second(out.begin() + count, out.end());
        // A block of one thread continues right after its barrier; several threads wait for each other.
        for (unsigned& turn : first) turn = whole_blocks ? turn / 2 : turn;
        for (unsigned& turn : second) turn = whole_blocks ? turn / 2 : turn - count;
        std::vector<unsigned> ascending(count), descending(count);
        for (unsigned i = 0; i < count; ++i) ascending[i] = descending[count - 1 - i] = i;
        switch (options.schedule) {
            case 0: expect(first == ascending && second == ascending, "forward order"); break;
            case 1: expect(first == descending && second == descending, "reverse order"); break;
            default:
                expect(first != ascending && first != descending, "random order");
                expect(whole_blocks ? first == second : first != second, "another order after the barrier");
                std::sort(first.begin(), first.end());
                expect(first == ascending, "an order");
        }
        print_bits(out);
    }
}

/// Reads past a missing barrier, which gives the right result in forward order alone.
void missing_barrier_case() {
    std::vector<float> values(256, 1.0f), out(256);
    const std::string error = launch(emulated_missing_barrier, 1, 256, 0, values.data(), out.data());
    expect(error.empty(), error.c_str());
    expect(out == values, "a value was read before it was written");
    print_bits(out);
}

/// Prints the error of a launch, then runs one without a fault.
void fault(const std::string& error) {
    expect(!error.empty(), "a fault was not seen");
    printf("%s\n", error.c_str());
    row_sums(256);
    printf("alive\n");
}

/// Returns the pages of the process's address space, as Linux counts them, or 0 on other systems.
long address_space() {
    long pages = 0;
    FILE* const file = fopen("/proc/self/statm", "r");
    if (file == nullptr) return 0;
    if (fscanf(file, "%ld", &pages) != 1) pages = 0;
    fclose(file);
    return pages;
}

/// A launch that fails repeatedly takes no more memory than its first failures.
void memory_of_many_faults() {
    long before = 0;
    for (int i = 0; i < 400; ++i) {
        if (i == 40) before = address_space();
        expect(!launch(emulated_fault_in_block, dim3(7, 5), 512, 64, 4u, 3u).empty(), "a fault was not seen");
    }
    // One leaked stack per launch would be over 16000 pages.
    expect(address_space() - before < 1000, "failed launches keep memory");
}

float numbers[1024];
unsigned words[1024];

struct Case {
    const char* name;
    std::function<void()> run;
};

const Case CASES[] = {
    {"sums_of_rows", sums_of_rows},
    {"prefix_sums", prefix_sums},
    {"indices", indices_in_three_dimensions},
    {"atomics", atomic_updates},
    {"dynamic_shared_memory", dynamic_shared_memory},
    {"shuffles", shuffles_of_segments},
    {"votes", votes_of_warps_and_blocks},
    {"launches_at_once", launches_at_once},
    {"numbers_and_bits", numbers_and_bits},
    {"memory_of_many_faults", memory_of_many_faults},
    {"unwritten_shared_memory", unwritten_shared_memory},
    {"order_of_threads", order_of_threads},
    {"missing_barrier", missing_barrier_case},
    {"barrier_after_return", [] { fault(launch(emulated_barrier_after_return, 1, 64, 0, 40u)); }},
    {"barriers_of_two_branches", [] { fault(launch(emulated_barriers_of_two_branches, 1, 64, 0)); }},
    {"shuffle_with_returned_lane", [] { fault(launch(emulated_shuffle_with_returned_lane, 1, 64, 0, numbers)); }},
    {"shuffle_outside_of_own_mask", [] { fault(launch(emulated_shuffle_outside_of_own_mask, 1, 32, 0, numbers)); }},
    {"lanes_not_there", [] { fault(launch(emulated_shuffle_of_lanes_that_are_not_there, 1, 48, 0, numbers)); }},
    {"different_operations", [] { fault(launch(emulated_different_operations, 1, 32, 0, words)); }},
    {"different_masks", [] { fault(launch(emulated_different_masks, 1, 32, 0)); }},
    {"wait_for_each_other", [] { fault(launch(emulated_wait_for_each_other, 1, 64, 0)); }},
    {"write_behind_shared", [] { fault(launch(emulated_write_beside_shared, 1, 1, 0, 100)); }},
    {"write_before_shared", [] { fault(launch(emulated_write_beside_shared, 1, 1, 0, -1)); }},
    {"write_behind_dynamic_shared", [] { fault(launch(emulated_write_beside_dynamic_shared, 1, 1, 40, 10)); }},
    {"write_before_dynamic_shared", [] { fault(launch(emulated_write_beside_dynamic_shared, 1, 1, 40, -1)); }},
    {"misaligned_load", [] { fault(launch(emulated_misaligned_load, 1, 1, 0, &numbers[1], &numbers[0])); }},
    {"misaligned_shared", [] { fault(launch(emulated_misaligned_shared, 1, 1, 0)); }},
    {"too_many_threads", [] { fault(launch(emulated_different_masks, 1, dim3(32, 33), 0)); }},
    {"empty_grid", [] { fault(launch(emulated_different_masks, dim3(1, 0), 32, 0)); }},
    {"too_much_dynamic_shared", [] { fault(launch(emulated_write_beside_dynamic_shared, 1, 1, 232449, 0)); }},
    {"too_much_static_shared", [] { fault(launch(emulated_too_much_static_shared, 1, 1, 0)); }},
    {"static_and_dynamic_shared", [] { fault(launch(emulated_static_and_dynamic_shared, 1, 1, 232448 - 4095)); }},
    {"stack_overflow", [] { fault(launch(emulated_deep_stack, 1, 64, 0, 80u)); }},
    {"stack_overflow_at_barrier", [] { fault(launch(emulated_deep_stack_at_barrier, 1, 64, 0, 80u)); }},
    {"fault_in_block", [] { fault(launch(emulated_fault_in_block, dim3(7, 5), 32, 0, 4u, 3u)); }},
    {"read_out_of_bounds",
     [] {
         const std::vector<float> values(100);
         launch(emulated_read_out_of_bounds, 1, 32, 0, values.data(), numbers, 100u);
     }},
    {"offset_overflow",
     [] {
         long long offset;
         launch(emulated_offset_overflow, 1, 1, 0, 16383, 151936, &offset);
     }},
};

}  // namespace

int main(int count, char** arguments) {
    if (count != 5) return 3;
    options = {static_cast<unsigned>(atoi(arguments[2])), static_cast<unsigned>(atoi(arguments[3])),
               static_cast<unsigned long long>(atoi(arguments[4]))};
    for (const Case& one : CASES) {
        if (strcmp(one.name, arguments[1]) != 0) continue;
        one.run();
        return 0;
    }
    printf("no case %s\n", arguments[1]);
    return 3;
}
