// Layer normalisation (Ba, Kiros and Hinton, arXiv 1607.06450) of each row: y = x̂·γ + β with x̂ = (x − mean)/√(var +
// ε).

// Returns the sum of term(0), …, term(n − 1) over the block, in every thread and always in the same order.
template <class F> __device__ __forceinline__ float block_sum(u32 n, F term) {
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) sum += term(i);
    return block_reduce(sum, Add(), 0.0f);
}

// x and y are (rows, columns), gamma and beta (columns), mean and inv_std (rows). One block for each row.
extern "C" __global__ void layer_norm(const float* x, const float* gamma, const float* beta, float* y, float* mean,
                                      float* inv_std, u32 rows, u32 columns, float eps) {
    u64 start = (u64)blockIdx.x * columns;
    x += start;
    y += start;
    float m = block_sum(columns, [=](u32 i) { return x[i]; }) / columns;
    float variance = block_sum(columns, [=](u32 i) { return (x[i] - m) * (x[i] - m); }) / columns;
    float s = 1.0f / sqrtf(variance + eps);
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) y[i] = (x[i] - m) * s * gamma[i] + beta[i];
    if (threadIdx.x == 0) {
        mean[blockIdx.x] = m;
        inv_std[blockIdx.x] = s;
    }
}

// Replaces dy by dx: with g = dy·γ, dx = (g − mean(g) − x̂·mean(g·x̂))·inv_std. x and dy are (rows, columns). One block
// for each row.
extern "C" __global__ void layer_norm_backward_input(const float* x, const float* gamma, const float* mean,
                                                     const float* inv_std, float* dy, u32 rows, u32 columns) {
    u64 start = (u64)blockIdx.x * columns;
    x += start;
    dy += start;
    float m = mean[blockIdx.x], s = inv_std[blockIdx.x];
    float mean_g = block_sum(columns, [=](u32 i) { return dy[i] * gamma[i]; }) / columns;
    float mean_gx = block_sum(columns, [=](u32 i) { return dy[i] * gamma[i] * (x[i] - m); }) * s / columns;
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) {
        dy[i] = (dy[i] * gamma[i] - mean_g - (x[i] - m) * s * mean_gx) * s;
    }
}

// Adds Σ dy·x̂ over the rows to d_gamma (columns) and Σ dy to d_beta (columns). A block has 32 columns. Each of its 8
// warps sums every eighth row, and the first warp adds the eight sums.
extern "C" __global__ void layer_norm_backward_weight(const float* x, const float* mean, const float* inv_std, const float* dy,
                                                      float* d_gamma, float* d_beta, u32 rows, u32 columns) {
    SHARED(float, gammas, 8 * 32);
    SHARED(float, betas, 8 * 32);
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
    float gamma = 0.0f, beta = 0.0f;
    if (column < columns) {
        for (u32 r = warp; r < rows; r += 8) {
            u64 i = (u64)r * columns + column;
            gamma += dy[i] * (x[i] - mean[r]) * inv_std[r];
            beta += dy[i];
        }
    }
    gammas[threadIdx.x] = gamma;
    betas[threadIdx.x] = beta;
    __syncthreads();
    if (warp > 0 || column >= columns) return;
    for (u32 w = 1; w < 8; w++) {
        gamma += gammas[w * 32 + lane];
        beta += betas[w * 32 + lane];
    }
    d_gamma[column] += gamma;
    d_beta[column] += beta;
}
