// Sums over the rows of a matrix: the gradient of a bias. Always in the same order, by the shape alone.

// sums (columns) += Σ over rows of x (rows, columns). A block has 32 columns, its 8 warps every 8th row.
extern "C" __global__ void column_sum(const store* x, float* sums, u32 rows, u32 columns) {
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    u32 column = blockIdx.x * 32 + lane;
    float sum = 0.0f;
    if (column < columns) {
        for (u32 row = warp; row < rows; row += warps) sum += to_float(x[(u64)row * columns + column]);
    }
    SHARED(float, partial, 8 * 32);
    partial[warp * 32 + lane] = sum;
    __syncthreads();
    if (warp > 0 || column >= columns) return;
    for (u32 w = 1; w < warps; w++) sum += partial[w * 32 + lane];
    sums[column] += sum;
}
