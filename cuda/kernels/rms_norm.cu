// RMS normalisation: y = x·s·w with s = 1/√(mean(x²) + ε) (Zhang and Sennrich, arXiv 1910.07467). A block has one row.

// y (rows, d) from x (rows, d) and w (d); s to inv_rms (rows).
extern "C" __global__ void rms_norm(const store* x, const store* w, store* y, float* inv_rms, u32 rows, u32 d, float eps) {
    x += (u64)blockIdx.x * d;
    y += (u64)blockIdx.x * d;
    float squares = 0.0f;
    if (d % 8 == 0) {
        float v[8], g[8];
        for (u32 i = threadIdx.x * 8; i < d; i += blockDim.x * 8) {
            load_eight(x + i, v);
            for (int k = 0; k < 8; k++) squares += v[k] * v[k];
        }
        float s = 1.0f / sqrtf(block_reduce(squares, Add(), 0.0f) / (float)d + eps);
        // The row is still in the cache.
        for (u32 i = threadIdx.x * 8; i < d; i += blockDim.x * 8) {
            load_eight(x + i, v);
            load_eight(w + i, g);
            for (int k = 0; k < 8; k++) v[k] = v[k] * s * g[k];
            put_eight(y + i, v);
        }
        if (threadIdx.x == 0) inv_rms[blockIdx.x] = s;
        return;
    }
    for (u32 i = threadIdx.x; i < d; i += blockDim.x) squares += to_float(x[i]) * to_float(x[i]);
    float s = 1.0f / sqrtf(block_reduce(squares, Add(), 0.0f) / (float)d + eps);
    for (u32 i = threadIdx.x; i < d; i += blockDim.x) put(&y[i], to_float(x[i]) * s * to_float(w[i]));
    if (threadIdx.x == 0) inv_rms[blockIdx.x] = s;
}

// dx (rows, d) += s·(dy·w − x·s²·mean(dy·w·x)); dy and x are (rows, d), w (d), inv_rms (rows).
extern "C" __global__ void rms_norm_backward_input(const store* dy, const store* x, const store* w, const float* inv_rms,
                                                   store* dx, u32 rows, u32 d) {
    u64 row = (u64)blockIdx.x * d;
    dy += row, x += row, dx += row;
    float s = inv_rms[blockIdx.x], inner = 0.0f;
    if (d % 8 == 0) {
        float g[8], v[8], u[8], out[8];
        for (u32 i = threadIdx.x * 8; i < d; i += blockDim.x * 8) {
            load_eight(dy + i, g);
            load_eight(x + i, v);
            load_eight(w + i, u);
            for (int k = 0; k < 8; k++) inner += g[k] * u[k] * v[k];
        }
        float c = block_reduce(inner, Add(), 0.0f) * s * s / (float)d;
        for (u32 i = threadIdx.x * 8; i < d; i += blockDim.x * 8) {
            load_eight(dy + i, g);
            load_eight(x + i, v);
            load_eight(w + i, u);
            load_eight(dx + i, out);
            for (int k = 0; k < 8; k++) out[k] += s * (g[k] * u[k] - v[k] * c);
            put_eight(dx + i, out);
        }
        return;
    }
    for (u32 i = threadIdx.x; i < d; i += blockDim.x) inner += to_float(dy[i]) * to_float(w[i]) * to_float(x[i]);
    float c = block_reduce(inner, Add(), 0.0f) * s * s / (float)d;
    for (u32 i = threadIdx.x; i < d; i += blockDim.x) {
        put(&dx[i], to_float(dx[i]) + s * (to_float(dy[i]) * to_float(w[i]) - to_float(x[i]) * c));
    }
}

// Row p of partial (parts, d) = Σ of dy·x·s over part p of the rows, part by part of equal length. A thread has one column.
extern "C" __global__ void rms_norm_backward_weight(const store* dy, const store* x, const float* inv_rms, float* partial,
                                                    u32 rows, u32 d, u32 parts) {
    u32 column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= d) return;
    u32 length = (rows + parts - 1) / parts, first = blockIdx.x * length;
    u32 end = first + length < rows ? first + length : rows;
    float sum = 0.0f;
    for (u32 row = first; row < end; row++) {
        u64 at = (u64)row * d + column;
        sum += to_float(dy[at]) * to_float(x[at]) * inv_rms[row];
    }
    partial[(u64)blockIdx.x * d + column] = sum;
}
