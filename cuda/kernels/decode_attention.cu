// Attention of new rows over cached ones, as in generating text. A row's keys are divided into parts of 256, depending
// only on their number. A few rows with long contexts can therefore fill a GPU, and no row's sums depend on the batch.
// A block reads its part once for all query heads that share it, which are the rows of its tile.
#include "constants.cuh"
#include "tile.cuh"
#include "spans.cuh"

const u32 WARPS = TILE_THREADS / 32;

// Copies the keys and values of row r of qkv (rows, (heads + 2·kv_heads)·head_dim) to row slots[r] of the cache
// (capacity, 2·kv_heads·head_dim). Grid (rows).
extern "C" __global__ void cache_store(const store* qkv, const u32* slots, store* cache, u32 rows, u32 heads, u32 kv_heads,
                                       u32 head_dim, u32 capacity) {
    u32 kept = 2 * kv_heads * head_dim, COUNT = Wide<store>::COUNT;
    const store* from = qkv + (u64)blockIdx.x * (heads * head_dim + kept) + heads * head_dim;
    store* to = cache + (u64)slots[blockIdx.x] * kept;
    u32 wide = head_dim % COUNT == 0 ? kept / COUNT : 0;
    for (u32 i = threadIdx.x; i < wide; i += blockDim.x) put_wide(to + i * COUNT, load_wide(from + i * COUNT));
    for (u32 i = wide * COUNT + threadIdx.x; i < kept; i += blockDim.x) to[i] = from[i];
}

// Processes one part of the keys of one row, for up to 16 query heads of one key head. Each warp takes a quarter of the
// part.
template <u32 D, u32 KEYS>
__device__ __forceinline__ void attend_part(const store* qkv, const store* cache, const u32* spans, const u32* parts, store* out,
                                            float* partial, u32 heads, u32 kv_heads, u32 head_dim) {
    // The queries, then the keys and values of each warp, which its sums replace at the end.
    DYNAMIC_SHARED(store, queries);
    SHARED(float, max_scores, WARPS * WARP_ROWS);
    SHARED(float, totals, WARPS * WARP_ROWS);
    const u32 WARP_TILES = 2 * KEYS * Stride<D>::ROW;
    u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    store* keys = queries + WARP_ROWS * Stride<D>::ROW + warp * WARP_TILES;
    store* values = keys + KEYS * Stride<D>::ROW;
    u32 row = parts[3 * blockIdx.x], first = parts[3 * blockIdx.x + 1], slot = parts[3 * blockIdx.x + 2];
    Span span = span_at(spans, row);
    u32 group = heads / kv_heads, chunks = (group + WARP_ROWS - 1) / WARP_ROWS, kv_head = blockIdx.y / chunks;
    u32 head = kv_head * group + blockIdx.y % chunks * WARP_ROWS, count = min(WARP_ROWS, (kv_head + 1) * group - head);
    u64 width = (u64)(heads + 2 * kv_heads) * head_dim, cache_width = (u64)2 * kv_heads * head_dim;
    u32 key = kv_head * head_dim, value = key + kv_heads * head_dim;
    const store* query = qkv + row * width + head * head_dim;
    auto query_row = [&](u32 i) { return i < count ? query + i * head_dim : nullptr; };
    load_tile<WARP_ROWS, D>(queries, query_row, qkv, head_dim, thread, TILE_THREADS);
    end_copies();
    wait_copies<0>();
    __syncthreads();

    u32 last = min(span.prefix_len + span.len, first + (warp + 1) * (PART_KEYS / WARPS));
    float scale = 1.0f / sqrtf((float)head_dim);
    float sums[D / 8][4] = {}, max_score[2] = {-INFINITY_F, -INFINITY_F}, sum[2] = {};
    for (u32 at = first + warp * (PART_KEYS / WARPS); at < last; at += KEYS) {
        auto cached = [&](u32 i) {
            u64 where = at + i < span.prefix_len ? span.prefix_start + at + i : span.start + at + i - span.prefix_len;
            return at + i < last ? cache + where * cache_width : nullptr;
        };
        auto key_row = [&](u32 i) { const store* from = cached(i); return from ? from + key : nullptr; };
        auto value_row = [&](u32 i) { const store* from = cached(i); return from ? from + value : nullptr; };
        load_tile<KEYS, D>(keys, key_row, cache, head_dim, lane, 32);
        end_copies();
        load_tile<KEYS, D>(values, value_row, cache, head_dim, lane, 32);
        end_copies();
        wait_copies<1>();
        __syncwarp();
        float s[KEYS / 8][4] = {};
        add_product_of_rows<D>(s, queries, keys);
        if (last - at < KEYS) hide(s, KeyTile{0, 0, (int)(last - at), 0}, 0);
        soften(s, sums, max_score, sum, scale * LOG2_E);
        wait_copies<0>();
        __syncwarp();
        add_product<D>(sums, s, values);
        __syncwarp();
    }

    // The warps' sums, (16, D) floats each, replace their tiles.
    float* own = (float*)keys;
    for (u32 i = 0; i < 2; ++i) {
        u32 r = lane / 4 + 8 * i;
        float total = sum_of_row(sum[i]);
        if (lane % 4 == 0) {
            max_scores[warp * WARP_ROWS + r] = max_score[i];
            totals[warp * WARP_ROWS + r] = total;
        }
        for (u32 n = 0; n < D / 8; ++n) {
            own[r * D + 8 * n + lane % 4 * 2] = sums[n][2 * i];
            own[r * D + 8 * n + lane % 4 * 2 + 1] = sums[n][2 * i + 1];
        }
    }
    __syncthreads();
    const store* tiles = queries + WARP_ROWS * Stride<D>::ROW;
    for (u32 i = thread; i < count * head_dim; i += TILE_THREADS) {
        u32 r = i / head_dim, column = i % head_dim;
        float largest = -INFINITY_F, total = 0.0f, result = 0.0f;
        for (u32 w = 0; w < WARPS; ++w) largest = max(largest, max_scores[w * WARP_ROWS + r]);
        for (u32 w = 0; w < WARPS; ++w) {
            float weight = exp2_approx((max_scores[w * WARP_ROWS + r] - largest) * (scale * LOG2_E));
            total += weight * totals[w * WARP_ROWS + r];
            result += weight * ((const float*)(tiles + w * WARP_TILES))[r * D + column];
        }
        if (slot == 0) {
            put(&out[((u64)row * heads + head + r) * head_dim + column], result / total);
        } else {
            float* to = partial + ((u64)(slot - 1) * heads + head + r) * (head_dim + 2);
            to[2 + column] = result;
            if (column == 0) to[0] = largest;
            if (column == 1) to[1] = total;
        }
    }
}

// qkv is (rows, (heads + 2·kv_heads)·head_dim), cache (capacity, 2·kv_heads·head_dim) and out (rows, heads·head_dim).
// spans (rows, 4) refer to the cache's rows. parts (blocks, 3) are a row, its first key, and 0 if these are all of its
// keys or else 1 + the slot of its sums in `partial`. partial (slots, heads, 2 + head_dim) holds the largest q·k, Σ exp
// and Σ exp·value. Grid (blocks, kv_heads·⌈heads / kv_heads / 16⌉); head_dim at most 64.
extern "C" __global__ void __launch_bounds__(TILE_THREADS) cached_attention_64(const store* qkv, const store* cache, const u32* spans,
                                                                      const u32* parts, store* out, float* partial, u32 rows,
                                                                      u32 blocks, u32 slots, u32 heads, u32 kv_heads, u32 head_dim,
                                                                      u32 capacity) {
    if (head_dim <= 16) attend_part<16, 32>(qkv, cache, spans, parts, out, partial, heads, kv_heads, head_dim);
    else attend_part<64, CACHED_KEYS>(qkv, cache, spans, parts, out, partial, heads, kv_heads, head_dim);
}

// As cached_attention_64, for head_dim at most 128.
extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2) cached_attention_128(const store* qkv, const store* cache, const u32* spans,
                                                                       const u32* parts, store* out, float* partial, u32 rows,
                                                                       u32 blocks, u32 slots, u32 heads, u32 kv_heads, u32 head_dim,
                                                                       u32 capacity) {
    attend_part<128, TILE_BYTES_64 / sizeof(store)>(qkv, cache, spans, parts, out, partial, heads, kv_heads, head_dim);
}

// As cached_attention_64, for head_dim at most 256.
extern "C" __global__ void __launch_bounds__(TILE_THREADS) cached_attention_256(const store* qkv, const store* cache, const u32* spans,
                                                                       const u32* parts, store* out, float* partial, u32 rows,
                                                                       u32 blocks, u32 slots, u32 heads, u32 kv_heads, u32 head_dim,
                                                                       u32 capacity) {
    attend_part<256, TILE_BYTES_32 / sizeof(store)>(qkv, cache, spans, parts, out, partial, heads, kv_heads, head_dim);
}

// Merges a row's parts, in their order. `merges` (count, 3) are a row, its first slot and its number of slots; the
// other arguments are as above. Grid (count, heads).
extern "C" __global__ void merge_parts(const float* partial, const u32* merges, store* out, u32 rows, u32 count, u32 slots, u32 heads,
                                       u32 head_dim) {
    u32 row = merges[3 * blockIdx.x], first = merges[3 * blockIdx.x + 1], parts = merges[3 * blockIdx.x + 2], head = blockIdx.y;
    u64 next = (u64)heads * (head_dim + 2);
    const float* from = partial + first * next + head * (head_dim + 2);
    float factor = LOG2_E / sqrtf((float)head_dim), largest = -INFINITY_F;
    for (u32 i = 0; i < parts; ++i) largest = max(largest, from[i * next]);
    for (u32 column = threadIdx.x; column < head_dim; column += blockDim.x) {
        float total = 0.0f, result = 0.0f;
        for (u32 i = 0; i < parts; ++i) {
            float weight = exp2_approx((from[i * next] - largest) * factor);
            total += weight * from[i * next + 1];
            result += weight * from[i * next + 2 + column];
        }
        put(&out[((u64)row * heads + head) * head_dim + column], result / total);
    }
}
