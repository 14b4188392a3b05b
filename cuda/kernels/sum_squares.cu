// Σ x² in double precision, in an order that depends on the length alone.

// Sets partial[b] to the sum over part b of x. A part has `part` elements, a multiple of 8, or the remaining ones. x is
// (len), partial (parts). One block for each part.
extern "C" __global__ void sum_squares(const store* x, double* partial, u64 len, u32 parts, u32 part) {
    const u32 N = Wide<store>::COUNT;
    u64 start = (u64)blockIdx.x * part, left = len - start;
    u32 count = left < part ? (u32)left : part;
    x += start;
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < count / N; i += blockDim.x) {
        Wide<store> wide = load_wide(x + i * N);
#pragma unroll
        for (u32 j = 0; j < N; j++) sum += (double)to_float(wide.x[j]) * to_float(wide.x[j]);
    }
    u32 last = count / N * N + threadIdx.x;
    if (last < count) sum += (double)to_float(x[last]) * to_float(x[last]);
    sum = block_reduce(sum, Add(), 0.0);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
