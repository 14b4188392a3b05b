// Dropout (Srivastava et al., JMLR 2014) with the same masks as on the CPU.
#include "philox.cuh"

// Multiplies each element of x (rows, columns) by 0 with probability `rate`, and otherwise by `keep` = 1/(1 − rate).
// Row r draws from (step, first_row + r, column).
extern "C" __global__ void dropout(float* x, u32 rows, u32 columns, double rate, float keep, u32 key_low, u32 key_high,
                                   u32 purpose, u32 step, u32 first_row) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (u64)rows * columns) return;
    u32 row = (u32)(i / columns), column = (u32)(i % columns);
    double u = uniform(key_low, key_high, purpose, step, first_row + row, column);
    x[i] *= u < rate ? 0.0f : keep;
}
