// Kernels with one planted fault each, which would be an error or undefined behaviour on a GPU.

/// Reads another thread's value without a barrier in between. In forward order each value is there in time.
extern "C" __global__ void missing_barrier(const float* values, float* out) {
    SHARED(float, shared, 256);
    shared[threadIdx.x] = values[threadIdx.x];
    const unsigned before = threadIdx.x == 0 ? 0 : threadIdx.x - 1;
    out[threadIdx.x] = shared[before];
}

extern "C" __global__ void barrier_after_return(unsigned threads) {
    if (threadIdx.x >= threads) return;
    __syncthreads();
}

extern "C" __global__ void barriers_of_two_branches() {
    if (threadIdx.x < 40) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

extern "C" __global__ void shuffle_with_returned_lane(float* out) {
    if (threadIdx.x == 37) return;
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}

extern "C" __global__ void shuffle_outside_of_own_mask(float* out) {
    out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1.0f, 1);
}

extern "C" __global__ void shuffle_of_lanes_that_are_not_there(float* out) {
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}

extern "C" __global__ void different_operations(unsigned* out) {
    if (threadIdx.x < 8) {
        out[threadIdx.x] = __ballot_sync(0xffffffffu, 1);
    } else {
        out[threadIdx.x] = __any_sync(0xffffffffu, 1);
    }
}

extern "C" __global__ void different_masks() {
    __syncwarp(threadIdx.x < 16 ? 0xffffffffu : 0xffff0000u);
    __syncwarp();
}

/// Half of each warp waits for the other half, which waits for the first at the barrier.
extern "C" __global__ void wait_for_each_other() {
    if (threadIdx.x % 32 < 16) __syncwarp();
    __syncthreads();
}

extern "C" __global__ void write_beside_shared(int index) {
    SHARED(float, first, 8);
    SHARED(float, row, 100);
    first[0] = 0.0f;
    row[index] = 1.0f;
}

extern "C" __global__ void write_beside_dynamic_shared(int index) {
    DYNAMIC_SHARED(float, row);
    row[index] = 1.0f;
}

extern "C" __global__ void misaligned_load(const float* values, float* out) {
    const float* const address = values + threadIdx.x;
    shim_check_aligned(address, 16);
    *out = *address;
}

/// A static array is aligned only for its type, which is not enough for a 16-byte load.
extern "C" __global__ void misaligned_shared() {
    SHARED(float, row, 32);
    shim_check_aligned(row, 16);
}

extern "C" __global__ void too_much_static_shared() {
    SHARED(float, row, 12289);
    row[0] = 0.0f;
}

extern "C" __global__ void static_and_dynamic_shared() {
    SHARED(float, row, 1024);
    row[0] = 0.0f;
}

/// Writes `kibibytes` of local memory, far more than a GPU thread could have.
extern "C" __global__ void deep_stack(unsigned kibibytes) {
    volatile char* const local = static_cast<volatile char*>(__builtin_alloca(kibibytes * 1024));
    for (unsigned i = 0; i < kibibytes * 1024; ++i) local[i] = 1;
}

/// Reserves as much local memory at a barrier but writes hardly any of it.
extern "C" __global__ void deep_stack_at_barrier(unsigned kibibytes) {
    volatile char* const local = static_cast<volatile char*>(__builtin_alloca(kibibytes * 1024));
    local[0] = 1;
    __syncthreads();
}

extern "C" __global__ void fault_in_block(unsigned x, unsigned y) {
    if (blockIdx.x == x && blockIdx.y == y && threadIdx.x == 5) return;
    __syncthreads();
}

extern "C" __global__ void read_out_of_bounds(const float* values, float* out, unsigned length) {
    out[threadIdx.x] = values[length + threadIdx.x];
}

/// Computes the offset of a row of logits in signed 32 bits.
extern "C" __global__ void offset_overflow(int row, int vocabulary, long long* out) { *out = row * vocabulary; }
