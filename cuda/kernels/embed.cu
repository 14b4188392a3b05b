// Table lookup by row numbers, and its gradient.

// Copies the rows `ids` (rows) of table (table_rows, d) to out (rows, d). A block copies one row.
extern "C" __global__ void embed(const store* table, const u32* ids, store* out, u32 rows, u32 d, u32 table_rows) {
    const store* from = table + (u64)ids[blockIdx.x] * d;
    store* to = out + (u64)blockIdx.x * d;
    const u32 width = Wide<store>::COUNT;
    if (d % width == 0) {
        for (u32 i = threadIdx.x * width; i < d; i += blockDim.x * width) put_wide(to + i, load_wide(from + i));
    } else {
        for (u32 i = threadIdx.x; i < d; i += blockDim.x) to[i] = from[i];
    }
}

// Adds rows order[starts[g] .. starts[g + 1]] of d_out (rows, d), which have equal ids, to one row of the table. A
// block has 256 columns of one group.
template <class T>
__device__ __forceinline__ void add_group(const store* d_out, const u32* ids, const u32* order, const u32* starts, T* d_table,
                                          u32 d) {
    u32 first = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    T* to = d_table + (u64)ids[order[first]] * d;
    sum_rows(
        first, end, blockIdx.y * 256, 256, d,
        [=](u32 i, u32 column, u32 count, float(&terms)[8]) {
            load_up_to_eight(d_out + (u64)order[i] * d + column, count, terms);
        },
        [=](u32 column, float sum) { put(to + column, to_float(to[column]) + sum); });
}

// Adds the rows of d_out (rows, d) to d_table (table_rows, d) at their `ids` (rows). `order` (rows) sorts them by id,
// and `starts` (groups + 1) gives the start of each id's rows.
extern "C" __global__ void scatter_add(const store* d_out, const u32* ids, const u32* order, const u32* starts, float* d_table,
                                       u32 groups, u32 rows, u32 d, u32 table_rows) {
    add_group(d_out, ids, order, starts, d_table, d);
}

// As scatter_add, for a table that is stored as activations are.
extern "C" __global__ void scatter_add_store(const store* d_out, const u32* ids, const u32* order, const u32* starts,
                                             store* d_table, u32 groups, u32 rows, u32 d, u32 table_rows) {
    add_group(d_out, ids, order, starts, d_table, d);
}
