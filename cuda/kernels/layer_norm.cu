// quick
extern "C" __global__ void layer_norm(const float* x, const float* gamma, const float* beta, float* y, float* mean, float* inv_std,
                                      u32 rows, u32 columns, float eps) {
    x += (u64)blockIdx.x * columns, y += (u64)blockIdx.x * columns;
    float sum = 0.0f, squares = 0.0f;
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) sum += x[i];
    float m = block_reduce(sum, Add(), 0.0f) / (float)columns;
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) squares += (x[i] - m) * (x[i] - m);
    float s = 1.0f / sqrtf(block_reduce(squares, Add(), 0.0f) / (float)columns + eps);
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) y[i] = (x[i] - m) * s * gamma[i] + beta[i];
    if (threadIdx.x == 0) mean[blockIdx.x] = m, inv_std[blockIdx.x] = s;
}
extern "C" __global__ void layer_norm_backward_input(const float* x, const float* gamma, const float* mean, const float* inv_std,
                                                     float* dy, u32 rows, u32 columns) {
    x += (u64)blockIdx.x * columns, dy += (u64)blockIdx.x * columns;
    float m = mean[blockIdx.x], s = inv_std[blockIdx.x], a = 0.0f, b = 0.0f;
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) { float g = dy[i] * gamma[i]; a += g; b += g * (x[i] - m) * s; }
    a = block_reduce(a, Add(), 0.0f) / (float)columns;
    b = block_reduce(b, Add(), 0.0f) / (float)columns;
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) dy[i] = s * (dy[i] * gamma[i] - a - (x[i] - m) * s * b);
}
extern "C" __global__ void layer_norm_backward_weight(const float* x, const float* mean, const float* inv_std, const float* dy,
                                                      float* d_gamma, float* d_beta, u32 rows, u32 columns) {
    u32 column = blockIdx.x * 32 + threadIdx.x;
    if (threadIdx.x >= 32 || column >= columns) return;
    float g = 0.0f, b = 0.0f;
    for (u32 row = 0; row < rows; row++) { u64 at = (u64)row * columns + column; g += dy[at] * (x[at] - mean[row]) * inv_std[row]; b += dy[at]; }
    d_gamma[column] += g, d_beta[column] += b;
}
