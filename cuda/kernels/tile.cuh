// Tiles of rows in shared memory and their products, computed by warps: on tensor cores for bf16 tiles, and with plain
// arithmetic for float tiles. Kernel files that need them include this file after
// constants.cuh.

// Distance between the rows of a tile of D columns, in elements. The extra 16 bytes put rows that are read together
// into different banks.
template <u32 D> struct Stride {
    static const u32 ROW = D + Wide<store>::COUNT;
};

// Returns a·b + c, rounded once. The emulator rounds twice, because fused instructions are slow on hosts without
// support for them.
__device__ __forceinline__ float multiply_add(float a, float b, float c) {
#ifdef EMULATED
    return a * b + c;
#else
    return __fmaf_rn(a, b, c);
#endif
}

// ---- Copies to shared memory that overlap with computation ----

// Copies 16 bytes to shared memory, or zeros if `there` is false. The copy is complete after `wait_copies`.
__device__ __forceinline__ void copy_wide(store* to, const store* from, bool there) {
    CHECK_ALIGNED(to, 16);
    CHECK_ALIGNED(from, 16);
#ifdef EMULATED
    for (int i = 0; i < Wide<store>::COUNT; ++i) {
        if (there) to[i] = from[i];
        else put(&to[i], 0.0f);
    }
#else
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
#endif
}

// Ends a group of copies.
__device__ __forceinline__ void end_copies() {
#ifndef EMULATED
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most the LATEST groups of this thread's copies are in flight. Other threads' copies need a barrier,
// too.
template <int LATEST> __device__ __forceinline__ void wait_copies() {
#ifndef EMULATED
    asm volatile("cp.async.wait_group %0;" ::"n"(LATEST) : "memory");
#endif
}

// Loads ROWS rows of `head_dim` elements into a tile of D columns, with `threads` threads. `row(i)` returns the start
// of row i, or null for a row of zeros. Columns from `head_dim` on are zeros as well. `somewhere` is the address of any
// 16 readable bytes.
template <u32 ROWS, u32 D, class Row>
__device__ __forceinline__ void load_tile(store* tile, Row row, const store* somewhere, u32 head_dim, u32 thread, u32 threads) {
    const u32 COUNT = Wide<store>::COUNT;
    if (head_dim % COUNT == 0) {
        for (u32 i = thread; i < ROWS * (D / COUNT); i += threads) {
            u32 r = i / (D / COUNT), column = i % (D / COUNT) * COUNT;
            const store* from = row(r);
            bool there = from != nullptr && column < head_dim;
            copy_wide(&tile[r * Stride<D>::ROW + column], there ? from + column : somewhere, there);
        }
    } else {
        for (u32 i = thread; i < ROWS * D; i += threads) {
            const store* from = row(i / D);
            bool there = from != nullptr && i % D < head_dim;
            put(&tile[i / D * Stride<D>::ROW + i % D], there ? to_float(from[i % D]) : 0.0f);
        }
    }
}

// ---- Tensor cores ----

// Computes d += a·b for a 16×16, b 16×8 and d 16×8. The elements are distributed over the warp as PTX documents for
// mma.m16n8k16. With g = lane / 4 and t = lane % 4, a is (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8) and b is
// (2t, g), (2t + 8, g), each with the next element along the inner dimension in its upper half. d is (g, 2t), (g, 2t +
// 1), (g + 8, 2t), (g + 8, 2t + 1).
__device__ __forceinline__ void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#ifdef EMULATED
    SHARED(u32, fragments, TILE_THREADS * 6);
    u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    u32* warp = &fragments[threadIdx.x / 32 * 32 * 6];
    u32 own[6] = {a[0], a[1], a[2], a[3], b0, b1};
    for (u32 i = 0; i < 6; ++i) warp[lane * 6 + i] = own[i];
    __syncwarp();
    for (u32 i = 0; i < 4; ++i) {
        u32 row = g + i / 2 * 8, column = 2 * t + i % 2;
        for (u32 k = 0; k < 16; ++k) {
            u32 x = warp[(row % 8 * 4 + k % 8 / 2) * 6 + row / 8 + k / 8 * 2] >> k % 2 * 16;
            u32 y = warp[(column * 4 + k % 8 / 2) * 6 + 4 + k / 8] >> k % 2 * 16;
            d[i] += __uint_as_float(x << 16) * __uint_as_float(y << 16);
        }
    }
    __syncwarp();
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Loads four 8×8 matrices from shared memory. Lane l passes the address of row l % 8 of matrix l / 8 (16 bytes). From
// each matrix it receives the elements (g, 2t) and (g, 2t + 1), with g and t as above, or with TRANSPOSED those at (2t,
// g) and (2t + 1, g).
template <bool TRANSPOSED> __device__ __forceinline__ void load_matrices(u32 (&x)[4], const bf16* row) {
    CHECK_ALIGNED(row, 16);
#ifdef EMULATED
    u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (u32 i = 0; i < 4; ++i) {
        u64 low = __shfl_sync(ALL_LANES, (u64)row, 8 * i + (TRANSPOSED ? 2 * t : g));
        u64 high = __shfl_sync(ALL_LANES, (u64)row, 8 * i + (TRANSPOSED ? 2 * t + 1 : g));
        u32 first = ((const bf16*)low)[TRANSPOSED ? g : 2 * t].bits, second = ((const bf16*)high)[TRANSPOSED ? g : 2 * t + 1].bits;
        x[i] = first | second << 16;
    }
#else
    u32 address = (u32)__cvta_generic_to_shared(row);
    if (TRANSPOSED) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(address)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(address)
                     : "memory");
    }
#endif
}

// Packs two numbers as bf16, the first in the lower half.
__device__ __forceinline__ u32 pack(float first, float second) {
    return to_bf16(first).bits | (u32)to_bf16(second).bits << 16;
}

// ---- Products of tiles ----
//
// A warp's result of 16 rows and 8·N columns is float c[N][4] in each lane, like d of mma. c[n] holds the elements (g,
// 8n + 2t), (g, 8n + 2t + 1), (g + 8, 8n + 2t), (g + 8, 8n + 2t + 1).

// Computes c += a·bᵀ for a of 16 rows and b of 8·N rows of a tile of D columns.
template <u32 D, u32 N> __device__ __forceinline__ void add_product_of_rows(float (&c)[N][4], const bf16* a, const bf16* b) {
    u32 lane = threadIdx.x % 32;
    a += lane % 16 * Stride<D>::ROW + lane / 16 * 8;
    b += (lane % 8 + lane / 16 * 8) * Stride<D>::ROW + lane / 8 % 2 * 8;
    // Partly unrolled, because loads ahead of their use take registers.
#pragma unroll 4
    for (u32 k = 0; k < D; k += 16) {
        u32 x[4], y[4];
        load_matrices<false>(x, a + k);
#pragma unroll
        for (u32 n = 0; n < N; n += 2) {
            load_matrices<false>(y, b + n * 8 * Stride<D>::ROW + k);
            mma(c[n], x, y[0], y[1]);
            mma(c[n + 1], x, y[2], y[3]);
        }
    }
}

template <u32 D, u32 N> __device__ __forceinline__ void add_product_of_rows(float (&c)[N][4], const float* a, const float* b) {
    u32 lane = threadIdx.x % 32;
    a += lane / 4 * Stride<D>::ROW;
    b += lane % 4 * 2 * Stride<D>::ROW;
#pragma unroll 1
    for (u32 k = 0; k < D; k += 4) {
        Wide<float> x0 = load_wide(a + k), x1 = load_wide(a + 8 * Stride<D>::ROW + k);
#pragma unroll
        for (u32 n = 0; n < N; ++n) {
            Wide<float> y0 = load_wide(b + n * 8 * Stride<D>::ROW + k), y1 = load_wide(b + (n * 8 + 1) * Stride<D>::ROW + k);
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                c[n][0] = multiply_add(x0.x[i], y0.x[i], c[n][0]);
                c[n][1] = multiply_add(x0.x[i], y1.x[i], c[n][1]);
                c[n][2] = multiply_add(x1.x[i], y0.x[i], c[n][2]);
                c[n][3] = multiply_add(x1.x[i], y1.x[i], c[n][3]);
            }
        }
    }
}

// Computes c += p·b. p has 16 rows and 8·M columns and is held like a result. b is the first 8·N columns of 8·M rows of
// a tile of D columns.
template <u32 D, u32 M, u32 N>
__device__ __forceinline__ void add_product(float (&c)[N][4], const float (&p)[M][4], const bf16* b) {
    u32 lane = threadIdx.x % 32;
    b += lane % 16 * Stride<D>::ROW + lane / 16 * 8;
#pragma unroll
    for (u32 m = 0; m < M; m += 2) {
        u32 x[4] = {pack(p[m][0], p[m][1]), pack(p[m][2], p[m][3]), pack(p[m + 1][0], p[m + 1][1]), pack(p[m + 1][2], p[m + 1][3])};
        u32 y[4];
#pragma unroll
        for (u32 n = 0; n < N; n += 2) {
            load_matrices<true>(y, b + m * 8 * Stride<D>::ROW + n * 8);
            mma(c[n], x, y[0], y[1]);
            mma(c[n + 1], x, y[2], y[3]);
        }
    }
}

// Returns the buffer in which the lanes of a warp exchange rows of 8·M columns. All products of a kernel share it,
// whatever their width.
template <u32 M> __device__ __forceinline__ float* rows_of_warps() {
    SHARED(float, rows, TILE_THREADS / 32 * WARP_ROWS * (8 * M + 4));
    return rows;
}

template <u32 D, u32 M, u32 N>
__device__ __forceinline__ void add_product(float (&c)[N][4], const float (&p)[M][4], const float* b) {
    // Every lane needs whole rows of p.
    const u32 ROW = 8 * M + 4;
    float* rows = rows_of_warps<M>();
    u32 lane = threadIdx.x % 32, column = lane % 4 * 2;
    float* row = &rows[(threadIdx.x / 32 * WARP_ROWS + lane / 4) * ROW];
#pragma unroll
    for (u32 m = 0; m < M; ++m) {
        row[8 * m + column] = p[m][0];
        row[8 * m + column + 1] = p[m][1];
        row[8 * ROW + 8 * m + column] = p[m][2];
        row[8 * ROW + 8 * m + column + 1] = p[m][3];
    }
    __syncwarp();
#pragma unroll 1
    for (u32 k = 0; k < 8 * M; ++k) {
        float x0 = row[k], x1 = row[8 * ROW + k];
#pragma unroll
        for (u32 n = 0; n < N; ++n) {
            const float* y = &b[k * Stride<D>::ROW + 8 * n + column];
            c[n][0] = multiply_add(x0, y[0], c[n][0]);
            c[n][1] = multiply_add(x0, y[1], c[n][1]);
            c[n][2] = multiply_add(x1, y[0], c[n][2]);
            c[n][3] = multiply_add(x1, y[1], c[n][3]);
        }
    }
    // The next product must not overwrite the rows too early.
    __syncwarp();
}

// Writes a result with row r multiplied by factor[r / 8] of the lane's two rows. It goes to the first `count` rows from
// `out`, `row_stride` apart, and to their columns below `columns`, which must be even.
template <u32 N>
__device__ __forceinline__ void put_result(store* out, u64 row_stride, const float (&c)[N][4], const float (&factor)[2], u32 count, u32 columns) {
    u32 lane = threadIdx.x % 32;
#pragma unroll
    for (u32 i = 0; i < 2; ++i) {
        u32 row = lane / 4 + 8 * i;
        if (row >= count) continue;
#pragma unroll
        for (u32 n = 0; n < N; ++n) {
            u32 column = 8 * n + lane % 4 * 2;
            if (column >= columns) continue;
            store* to = out + row * row_stride + column;
            put(to, c[n][2 * i] * factor[i]);
            put(to + 1, c[n][2 * i + 1] * factor[i]);
        }
    }
}
