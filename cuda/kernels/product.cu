// Matrix products and their biases for shapes that cuBLASLt refuses. These kernels take every shape but are slow.

// Sets each row of y (rows, columns) to `bias` (columns), so that a product can be added to it. One block for each row.
extern "C" __global__ void put_bias(const store* bias, store* y, u32 rows, u32 columns) {
    store* row = y + (u64)blockIdx.x * columns;
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x) row[i] = bias[i];
}

// Rows and columns of C that a block computes, with 8 by 32 threads, and the steps of the inner dimension that it holds
// at once.
#define SIDE 32
#define THREAD_ROWS 8
// Distance between rows in shared memory, in elements. It puts neighbours in a column into different banks.
#define LINE (SIDE + 1)

// Computes C (rows, columns) = op(A)·op(B) (+ bias) (+ C), column-major as in cuBLASLt. op(A) is (rows, inner) and
// op(B) (inner, columns), and a transposed matrix is stored as its transpose. Sums are floats in the order of the inner
// dimension, rounded once to the type of C.
template <class Out>
__device__ __forceinline__ void multiply_tile(const store* a, const store* b, const Out* bias, Out* c, u32 rows, u32 inner, u32 columns,
                                              u32 a_transposed, u32 b_transposed, u32 accumulate) {
    SHARED(float, left, SIDE * LINE);
    SHARED(float, right, SIDE * LINE);
    u32 x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
    u32 first_row = blockIdx.x * SIDE, first_column = blockIdx.y * SIDE;
    float sum[SIDE / THREAD_ROWS] = {};
    for (u64 k = 0; k < inner; k += SIDE) {
        for (u32 line = y; line < SIDE; line += THREAD_ROWS) {
            // Neighbouring threads read neighbouring elements.
            u32 i = a_transposed ? line : x, from_a = a_transposed ? x : line;
            u32 j = b_transposed ? x : line, from_b = b_transposed ? line : x;
            u64 row = first_row + i, column = first_column + j, at_a = k + from_a, at_b = k + from_b;
            float of_a = 0.0f, of_b = 0.0f;
            if (row < rows && at_a < inner) of_a = to_float(a[a_transposed ? row * inner + at_a : at_a * rows + row]);
            if (column < columns && at_b < inner) of_b = to_float(b[b_transposed ? at_b * columns + column : column * inner + at_b]);
            left[from_a * LINE + i] = of_a;
            right[from_b * LINE + j] = of_b;
        }
        __syncthreads();
        for (u32 step = 0; step < SIDE; step++) {
            for (u32 n = 0; n < SIDE / THREAD_ROWS; n++) sum[n] += left[step * LINE + x] * right[step * LINE + y + n * THREAD_ROWS];
        }
        __syncthreads();
    }
    u64 row = first_row + x;
    for (u32 n = 0; n < SIDE / THREAD_ROWS; n++) {
        u64 column = first_column + y + n * THREAD_ROWS;
        if (row >= rows || column >= columns) continue;
        Out* to = c + column * rows + row;
        put(to, (accumulate ? to_float(*to) : 0.0f) + sum[n] + (bias ? to_float(bias[row]) : 0.0f));
    }
}

extern "C" __global__ void __launch_bounds__(256) multiply(const store* a, const store* b, const store* bias, store* c, u32 rows,
                                                           u32 inner, u32 columns, u32 a_transposed, u32 b_transposed, u32 accumulate) {
    multiply_tile(a, b, bias, c, rows, inner, columns, a_transposed, b_transposed, accumulate);
}

// Computes a product with a float result, for any storage type of A and B.
extern "C" __global__ void __launch_bounds__(256) multiply_to_f32(const store* a, const store* b, const float* bias, float* c, u32 rows,
                                                                  u32 inner, u32 columns, u32 a_transposed, u32 b_transposed,
                                                                  u32 accumulate) {
    multiply_tile(a, b, bias, c, rows, inner, columns, a_transposed, b_transposed, accumulate);
}
