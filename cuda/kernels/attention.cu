// Causal attention over packed spans, out = softmax(q·kᵀ/√d)·v. Each span attends to its prefix and causally to itself.
// Scores are held for one tile of keys at a time (Dao et al., FlashAttention, arXiv 2205.14135).
#include "constants.cuh"
#include "tile.cuh"
#include "spans.cuh"

// Processes one tile of queries of one head. Tiles start with their span, so a row's sums do not depend on the rest of
// the batch.
template <u32 D, u32 KEYS>
__device__ __forceinline__ void attend(const store* qkv, const u32* spans, const u32* tiles, store* out, float* log_sum_exp, u32 heads,
                       u32 kv_heads, u32 head_dim) {
    DYNAMIC_SHARED(store, queries);
    store* keys = queries + TILE_ROWS * Stride<D>::ROW;
    store* values = keys + KEYS * Stride<D>::ROW;
    Span span = span_at(spans, tiles[2 * blockIdx.x]);
    u32 first = tiles[2 * blockIdx.x + 1], head = blockIdx.y, thread = threadIdx.x;
    u32 count = min(TILE_ROWS, span.len - first);
    u64 width = (u64)(heads + 2 * kv_heads) * head_dim;
    u32 key = (heads + head / (heads / kv_heads)) * head_dim, value = key + kv_heads * head_dim;
    const store* query = qkv + (span.start + first) * width + head * head_dim;
    auto load = [&](store* tile, KeyTile rows, u32 offset) {
        auto row = [&](u32 i) { return i < rows.count ? qkv + (rows.row + i) * width + offset : nullptr; };
        load_tile<KEYS, D>(tile, row, qkv, head_dim, thread, TILE_THREADS);
        end_copies();
    };

    u32 count_tiles = key_tiles<KEYS>(span, first + count - 1);
    auto query_row = [&](u32 i) { return i < count ? query + i * width : nullptr; };
    load_tile<TILE_ROWS, D>(queries, query_row, qkv, head_dim, thread, TILE_THREADS);
    load(keys, key_tile<KEYS>(span, first, 0), key);

    u32 warp_row = thread / 32 * WARP_ROWS, lane = thread % 32;
    float scale = 1.0f / sqrtf((float)head_dim);
    float sums[D / 8][4] = {}, max_score[2] = {-INFINITY_F, -INFINITY_F}, sum[2] = {};
    for (u32 i = 0; i < count_tiles; ++i) {
        KeyTile tile = key_tile<KEYS>(span, first, i);
        // While the keys are in use the values are in flight, and the other way round.
        load(values, tile, value);
        wait_copies<1>();
        __syncthreads();
        float s[KEYS / 8][4] = {};
        add_product_of_rows<D>(s, queries + warp_row * Stride<D>::ROW, keys);
        __syncthreads();
        if (i + 1 < count_tiles) load(keys, key_tile<KEYS>(span, first, i + 1), key);
        else end_copies();
        if (tile.seen < (int)KEYS) hide(s, tile, warp_row);
        soften(s, sums, max_score, sum, scale * LOG2_E);
        wait_copies<1>();
        __syncthreads();
        add_product<D>(sums, s, values);
        __syncthreads();
    }

    float inverse[2];
    for (u32 i = 0; i < 2; ++i) {
        float total = sum_of_row(sum[i]);
        inverse[i] = 1.0f / total;
        u32 row = warp_row + lane / 4 + 8 * i;
        if (lane % 4 == 0 && row < count) log_sum_exp[(u64)(span.start + first + row) * heads + head] = max_score[i] * scale + logf(total);
    }
    if (warp_row >= count) return;
    u64 out_width = (u64)heads * head_dim;
    store* to = out + (span.start + first + warp_row) * out_width + head * head_dim;
    put_result(to, out_width, sums, inverse, count - warp_row, head_dim);
}

// qkv is (rows, (heads + 2·kv_heads)·head_dim), spans (count, 4), out (rows, heads·head_dim) and log_sum_exp (rows,
// heads), with natural logarithms. tiles (blocks, 2) are a span and the first of up to 64 rows in it. Grid (blocks,
// heads); head_dim at most 64.
extern "C" __global__ void __launch_bounds__(TILE_THREADS, 3) attention_64(const store* qkv, const u32* spans, const u32* tiles, store* out,
                                                               float* log_sum_exp, u32 rows, u32 count, u32 blocks, u32 heads,
                                                               u32 kv_heads, u32 head_dim) {
    if (head_dim <= 16) attend<16, 64>(qkv, spans, tiles, out, log_sum_exp, heads, kv_heads, head_dim);
    else attend<64, ATTENTION_KEYS>(qkv, spans, tiles, out, log_sum_exp, heads, kv_heads, head_dim);
}

// As attention_64, for head_dim at most 128.
extern "C" __global__ void __launch_bounds__(TILE_THREADS) attention_128(const store* qkv, const u32* spans, const u32* tiles, store* out,
                                                                float* log_sum_exp, u32 rows, u32 count, u32 blocks, u32 heads,
                                                                u32 kv_heads, u32 head_dim) {
    attend<128, TILE_BYTES_128 / sizeof(store)>(qkv, spans, tiles, out, log_sum_exp, heads, kv_heads, head_dim);
}

// As attention_64, for head_dim at most 256.
extern "C" __global__ void __launch_bounds__(TILE_THREADS) attention_256(const store* qkv, const u32* spans, const u32* tiles, store* out,
                                                                float* log_sum_exp, u32 rows, u32 count, u32 blocks, u32 heads,
                                                                u32 kv_heads, u32 head_dim) {
    attend<256, TILE_BYTES_64 / sizeof(store)>(qkv, spans, tiles, out, log_sum_exp, heads, kv_heads, head_dim);
}
