// The mean of consecutive rows: the representation of a prompt. A thread has one column of one span.

// out (count, d) = the mean of rows start .. start + len of x (rows, d) for each (start, len) of spans (count, 2); 0 for len 0.
extern "C" __global__ void mean_rows(const store* x, const u32* spans, float* out, u32 count, u32 d, u32 rows) {
    u32 column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= d) return;
    u32 start = spans[2 * blockIdx.x], len = spans[2 * blockIdx.x + 1];
    float sum = 0.0f;
    for (u32 row = start; row < start + len; row++) sum += to_float(x[(u64)row * d + column]);
    out[(u64)blockIdx.x * d + column] = sum * (1.0f / (float)(len > 0 ? len : 1));
}

// Rows start .. start + len of dx (rows, d) += d_out / len, for each span in order; d_out is (count, d).
extern "C" __global__ void mean_rows_backward(const float* d_out, const u32* spans, store* dx, u32 count, u32 d, u32 rows) {
    u32 column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= d) return;
    u32 start = spans[2 * blockIdx.x], len = spans[2 * blockIdx.x + 1];
    float share = d_out[(u64)blockIdx.x * d + column] * (1.0f / (float)(len > 0 ? len : 1));
    for (u32 row = start; row < start + len; row++) {
        u64 at = (u64)row * d + column;
        put(&dx[at], to_float(dx[at]) + share);
    }
}
