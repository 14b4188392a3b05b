// RMS normalisation, y = x·s·w with s = 1/√(mean(x²) + ε) (Zhang and Sennrich, arXiv 1910.07467). A block holds one row
// in its threads' registers. A row that does not fit is read twice.

// Groups of eight elements that a thread holds of a row, or of a piece of a row. A piece has KEPT groups for each
// thread.
const int KEPT = 2;

// Loads a thread's groups of the piece at `piece` of a row of d elements, with zeros beyond the end.
__device__ __forceinline__ void load_piece(const store* row, u32 piece, u32 d, float (&x)[KEPT][8]) {
    for (int g = 0; g < KEPT; g++) {
        u32 i = piece + (g * blockDim.x + threadIdx.x) * 8;
        load_up_to_eight(row + i, i < d ? d - i : 0, x[g]);
    }
}

__device__ __forceinline__ void put_piece(store* row, u32 piece, u32 d, const float (&x)[KEPT][8]) {
    for (int g = 0; g < KEPT; g++) {
        u32 i = piece + (g * blockDim.x + threadIdx.x) * 8;
        put_up_to_eight(row + i, i < d ? d - i : 0, x[g]);
    }
}

// Computes y (rows, d) from x (rows, d) and w (d), and writes s to inv_rms (rows).
extern "C" __global__ void __launch_bounds__(512)
    rms_norm(const store* x, const store* w, store* y, float* inv_rms, u32 rows, u32 d, float eps) {
    u64 row = (u64)blockIdx.x * d;
    u32 length = KEPT * 8 * blockDim.x;
    float v[KEPT][8], u[KEPT][8], squares = 0.0f;
    for (u32 piece = 0; piece < d; piece += length) {
        load_piece(x + row, piece, d, v);
        for (int g = 0; g < KEPT; g++)
            for (int k = 0; k < 8; k++) squares += v[g][k] * v[g][k];
    }
    float s = 1.0f / sqrtf(block_reduce(squares, Add(), 0.0f) / (float)d + eps);
    if (threadIdx.x == 0) inv_rms[blockIdx.x] = s;
    for (u32 piece = 0; piece < d; piece += length) {
        if (d > length) load_piece(x + row, piece, d, v);
        load_piece(w, piece, d, u);
        for (int g = 0; g < KEPT; g++)
            for (int k = 0; k < 8; k++) v[g][k] = v[g][k] * s * u[g][k];
        put_piece(y + row, piece, d, v);
    }
}

// Loads a thread's groups of a row's x and dy·w.
__device__ __forceinline__ void load_products(const store* dy, const store* x, const store* w, u32 piece, u32 d,
                                              float (&v)[KEPT][8], float (&p)[KEPT][8]) {
    float u[KEPT][8];
    load_piece(x, piece, d, v);
    load_piece(dy, piece, d, p);
    load_piece(w, piece, d, u);
    for (int g = 0; g < KEPT; g++)
        for (int k = 0; k < 8; k++) p[g][k] *= u[g][k];
}

// Computes dx (rows, d) += s·(dy·w − x·s²·mean(dy·w·x)). dy and x are (rows, d), w (d), inv_rms (rows).
extern "C" __global__ void __launch_bounds__(512)
    rms_norm_backward_input(const store* dy, const store* x, const store* w, const float* inv_rms, store* dx, u32 rows, u32 d) {
    u64 row = (u64)blockIdx.x * d;
    u32 length = KEPT * 8 * blockDim.x;
    float v[KEPT][8], p[KEPT][8], out[KEPT][8], s = inv_rms[blockIdx.x], inner = 0.0f;
    for (u32 piece = 0; piece < d; piece += length) {
        load_products(dy + row, x + row, w, piece, d, v, p);
        for (int g = 0; g < KEPT; g++)
            for (int k = 0; k < 8; k++) inner += p[g][k] * v[g][k];
    }
    float c = block_reduce(inner, Add(), 0.0f) * s * s / (float)d;
    for (u32 piece = 0; piece < d; piece += length) {
        if (d > length) load_products(dy + row, x + row, w, piece, d, v, p);
        load_piece(dx + row, piece, d, out);
        for (int g = 0; g < KEPT; g++)
            for (int k = 0; k < 8; k++) out[g][k] += s * (p[g][k] - v[g][k] * c);
        put_piece(dx + row, piece, d, out);
    }
}

// Sets row p of partial (parts, d) to the sum of dy·x·s over part p of the rows. dy and x are (rows, d), inv_rms
// (rows). A block has 256 columns.
extern "C" __global__ void rms_norm_backward_weight(const store* dy, const store* x, const float* inv_rms, float* partial,
                                                    u32 rows, u32 d, u32 parts) {
    u32 first, end;
    rows_of_part(rows, parts, first, end);
    sum_rows(
        first, end, blockIdx.y * 256, 256, d,
        [=](u32 row, u32 column, u32 count, float(&terms)[8]) {
            float v[8], s = inv_rms[row];
            load_up_to_eight(dy + (u64)row * d + column, count, terms);
            load_up_to_eight(x + (u64)row * d + column, count, v);
            for (int k = 0; k < 8; k++) terms[k] *= v[k] * s;
        },
        [=](u32 column, float sum) { partial[(u64)blockIdx.x * d + column] = sum; });
}
