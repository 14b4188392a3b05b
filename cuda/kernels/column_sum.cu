// Sums over the rows of a matrix, as in the gradient of a bias. Their order depends on the shape alone.

// Adds the sum over the rows of x (rows, columns) to `sums` (columns). A block has 64 columns.
extern "C" __global__ void column_sum(const store* x, float* sums, u32 rows, u32 columns) {
    sum_rows(
        0, rows, blockIdx.y * 64, 64, columns,
        [=](u32 row, u32 column, u32 count, float(&terms)[8]) {
            load_up_to_eight(x + (u64)row * columns + column, count, terms);
        },
        [=](u32 column, float sum) { sums[column] += sum; });
}

// Sets row p of partial (parts, columns) to the sum over part p of the rows of x (rows, columns). A block has one part
// of 256 columns.
extern "C" __global__ void column_sum_parts(const store* x, float* partial, u32 rows, u32 columns, u32 parts) {
    u32 first, end;
    rows_of_part(rows, parts, first, end);
    sum_rows(
        first, end, blockIdx.y * 256, 256, columns,
        [=](u32 row, u32 column, u32 count, float(&terms)[8]) {
            load_up_to_eight(x + (u64)row * columns + column, count, terms);
        },
        [=](u32 column, float sum) { partial[(u64)blockIdx.x * columns + column] = sum; });
}
