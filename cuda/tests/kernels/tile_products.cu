// A kernel for testing the products of tiles.
#include "constants.cuh"
#include "tile.cuh"

// Writes a warp's result to rows of floats.
template <u32 N> __device__ void write_result(float* out, const float (&c)[N][4]) {
    u32 lane = threadIdx.x % 32, warp_row = threadIdx.x / 32 * WARP_ROWS;
    for (u32 n = 0; n < N; ++n) {
        for (u32 j = 0; j < 4; ++j) out[(warp_row + lane / 4 + j / 2 * 8) * 8 * N + 8 * n + lane % 4 * 2 + j % 2] = c[n][j];
    }
}

// Computes by_rows = a·bᵀ (64, 32) for a (64, 48) and b (32, 48), and product = by_rows·b (64, 48). One block of 128
// threads.
extern "C" __global__ void tile_products(const store* a, const store* b, float* by_rows, float* product) {
    const u32 D = 48, KEYS = 32;
    SHARED(store, a_tile, TILE_ROWS * Stride<D>::ROW + 16);
    SHARED(store, b_tile, KEYS * Stride<D>::ROW + 16);
    // Static memory is aligned only for its type.
    store* x = a_tile + unaligned_head(a_tile, 16);
    store* y = b_tile + unaligned_head(b_tile, 16);
    load_tile<TILE_ROWS, D>(x, [=](u32 i) { return a + i * D; }, a, D, threadIdx.x, TILE_THREADS);
    load_tile<KEYS, D>(y, [=](u32 i) { return b + i * D; }, b, D, threadIdx.x, TILE_THREADS);
    end_copies();
    wait_copies<0>();
    __syncthreads();
    float s[KEYS / 8][4] = {}, out[D / 8][4] = {};
    add_product_of_rows<D>(s, x + threadIdx.x / 32 * WARP_ROWS * Stride<D>::ROW, y);
    add_product<D>(out, s, y);
    write_result(by_rows, s);
    write_result(product, out);
}
