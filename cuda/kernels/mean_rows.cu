// Means of consecutive rows, which represent prompts. A block has 256 columns of one span.

// Sets each row of out (count, d) to the mean of rows start .. start + len of x (rows, d), for (start, len) in spans
// (count, 2). If len is 0, the mean is 0.
extern "C" __global__ void mean_rows(const store* x, const u32* spans, float* out, u32 count, u32 d, u32 rows) {
    u32 start = spans[2 * blockIdx.x], len = spans[2 * blockIdx.x + 1];
    float scale = 1.0f / (float)(len > 0 ? len : 1);
    sum_rows(
        start, start + len, blockIdx.y * 256, 256, d,
        [=](u32 row, u32 column, u32 count, float(&terms)[8]) {
            load_up_to_eight(x + (u64)row * d + column, count, terms);
        },
        [=](u32 column, float sum) { out[(u64)blockIdx.x * d + column] = sum * scale; });
}

// Adds row first + s of d_out (all, d), divided by len, to rows start .. start + len of dx (rows, d), for (start, len)
// in spans (count, 2), where s is the span's index. No two spans may share a row.
extern "C" __global__ void mean_rows_backward(const float* d_out, const u32* spans, store* dx, u32 count, u32 d, u32 rows,
                                              u32 all, u32 first) {
    // A warp has every eighth row, and a lane has eight columns of it.
    u32 column = blockIdx.y * 256 + threadIdx.x % 32 * 8;
    if (column >= d) return;
    u32 start = spans[2 * blockIdx.x], len = spans[2 * blockIdx.x + 1];
    float scale = 1.0f / (float)(len > 0 ? len : 1), share[8], x[8];
    load_up_to_eight(d_out + ((u64)first + blockIdx.x) * d + column, d - column, share);
    for (u32 row = start + threadIdx.x / 32; row < start + len; row += blockDim.x / 32) {
        store* at = dx + (u64)row * d + column;
        load_up_to_eight(at, d - column, x);
        for (int k = 0; k < 8; k++) x[k] += scale * share[k];
        put_up_to_eight(at, d - column, x);
    }
}
