// Σ x² in double precision, in an order that depends on the length alone.

// partial (parts): element p is the sum over x[p·part .. (p + 1)·part] of x (len).
extern "C" __global__ void sum_squares(const store* x, double* partial, u64 len, u32 parts, u32 part) {
    u64 first = (u64)blockIdx.x * part, end = first + part < len ? first + part : len;
    double sum = 0.0;
    for (u64 i = first + threadIdx.x; i < end; i += blockDim.x) sum += (double)to_float(x[i]) * (double)to_float(x[i]);
    sum = block_reduce(sum, Add(), 0.0);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
