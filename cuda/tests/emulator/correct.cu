// Kernels without a fault, which must give the same bits in every schedule on any number of operating-system threads.

/// Computes the sum of each row by shuffles within warps and shared memory between them.
extern "C" __global__ void __launch_bounds__(1024)
    row_sum(const float* __restrict__ rows, float* out, unsigned length) {
    SHARED(float, sums, 32);
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < length; i += blockDim.x) sum += rows[blockIdx.x * length + i];
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < blockDim.x / 32 ? sums[threadIdx.x] : 0.0f;
        for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
        if (threadIdx.x == 0) out[blockIdx.x] = sum;
    }
}

/// Computes prefix sums of a block of any size. Its last warp may be partial, as the mask says.
extern "C" __global__ void prefix_sum(const int* values, int* out) {
    SHARED(int, totals, 32);
    const unsigned thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const unsigned lanes = min(32u, blockDim.x - warp * 32);
    const unsigned mask = lanes == 32 ? 0xffffffffu : (1u << lanes) - 1;
    int sum = values[thread];
    for (unsigned distance = 1; distance < 32; distance *= 2) {
        const int below = __shfl_up_sync(mask, sum, distance);
        if (lane >= distance) sum += below;
    }
    if (lane == lanes - 1) totals[warp] = sum;
    __syncthreads();
    for (unsigned before = 0; before < warp; ++before) sum += totals[before];
    out[thread] = sum;
}

/// Writes each thread's indices, in three dimensions, to its place.
extern "C" __global__ void indices(unsigned* out) {
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z +
                                                                   1000 * blockIdx.x + 10000 * blockIdx.y +
                                                                   100000 * blockIdx.z;
}

/// Computes a histogram in shared memory and adds it to one in global memory, the largest value, and a maximum of
/// floats by compare-and-swap.
extern "C" __global__ void atomics(const unsigned* values, unsigned length, unsigned* histogram, int* largest,
                                   float* maximum, float* sum) {
    SHARED(unsigned, counts, 16);
    if (threadIdx.x < 16) counts[threadIdx.x] = 0;
    __syncthreads();
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < length) {
        atomicAdd(&counts[values[i] % 16], 1u);
        atomicMax(largest, static_cast<int>(values[i]));
        unsigned* const bits = reinterpret_cast<unsigned*>(maximum);
        unsigned before = *bits;
        while (__uint_as_float(before) < static_cast<float>(values[i])) {
            const unsigned found = atomicCAS(bits, before, __float_as_uint(static_cast<float>(values[i])));
            if (found == before) break;
            before = found;
        }
        // The values are small integers, so the sum does not depend on the order.
        atomicAdd(sum, static_cast<float>(values[i]));
    }
    __syncthreads();
    if (threadIdx.x < 16) atomicAdd(&histogram[threadIdx.x], counts[threadIdx.x]);
}

/// Reverses each block's part through dynamic shared memory, four values at a time.
extern "C" __global__ void reverse(const float4* values, float4* out) {
    DYNAMIC_SHARED(float4, part);
    shim_check_aligned(&values[threadIdx.x], 16);
    shim_check_aligned(&part[threadIdx.x], 16);
    part[threadIdx.x] = values[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    const float4 four = part[blockDim.x - 1 - threadIdx.x];
    out[blockIdx.x * blockDim.x + threadIdx.x] = make_float4(four.w, four.z, four.y, four.x);
}

/// Runs every shuffle on 32 and 64 bits, in segments of `width` lanes: six results for each thread.
extern "C" __global__ void shuffles(const double* values, double* out, int width) {
    const unsigned thread = threadIdx.x;
    const double value = values[thread];
    const float small = static_cast<float>(value);
    double* const row = out + 6 * thread;
    row[0] = __shfl_sync(0xffffffffu, value, 3, width);
    row[1] = __shfl_up_sync(0xffffffffu, value, 2, width);
    row[2] = __shfl_down_sync(0xffffffffu, value, 2, width);
    row[3] = __shfl_xor_sync(0xffffffffu, small, 1, width);
    // Each half of a warp shuffles by itself.
    const unsigned half = thread % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
    row[4] = __shfl_xor_sync(half, value, 4);
    row[5] = __shfl_sync(half, static_cast<int>(value), thread % 32 < 16 ? 5 : 21);
}

/// Runs the votes of warps and of the block: seven results for each thread.
extern "C" __global__ void votes(const int* predicates, unsigned* out) {
    const int holds = predicates[threadIdx.x];
    unsigned* const row = out + 7 * threadIdx.x;
    row[0] = __ballot_sync(0xffffffffu, holds);
    row[1] = __any_sync(0xffffffffu, holds);
    row[2] = __all_sync(0xffffffffu, holds);
    row[3] = __syncthreads_or(holds);
    row[4] = __syncthreads_and(holds);
    row[5] = __syncthreads_count(holds);
    // A lane writes a value that its neighbour reads after the warp has met.
    SHARED(int, shared, 1024);
    shared[threadIdx.x] = holds;
    __syncwarp();
    row[6] = shared[threadIdx.x ^ 1];
}

/// Reads shared memory before writing to it: two words in each block, one of a static array and one of dynamic memory.
extern "C" __global__ void unwritten_shared(unsigned* out) {
    SHARED(unsigned, words, 1);
    DYNAMIC_SHARED(unsigned, dynamic);
    out[2 * blockIdx.x] = words[0];
    out[2 * blockIdx.x + 1] = dynamic[0];
    words[0] = dynamic[0] = blockIdx.x;
}

/// Records the turn at which each thread begins and the turn at which it continues after a barrier.
extern "C" __global__ void turns(unsigned* counter, unsigned* out) {
    const unsigned threads = gridDim.x * blockDim.x, thread = blockIdx.x * blockDim.x + threadIdx.x;
    out[thread] = atomicAdd(counter, 1u);
    __syncthreads();
    out[threads + thread] = atomicAdd(counter, 1u);
}
