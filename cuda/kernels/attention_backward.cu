// Gradients of causal attention. With p = exp(s − log Σ exp) and inner = d_out·out of a row, dv = pᵀ·d_out, ds =
// p·(d_out·vᵀ − inner)/√d, dq = ds·k and dk = dsᵀ·q. A block sums the gradients of queries over the keys they see, or
// those of keys over the queries that see them (Dao, FlashAttention-2, arXiv 2307.08691). So many queries see a
// prompt's keys that several blocks share the work. All sums have a fixed order.
#include "constants.cuh"
#include "tile.cuh"
#include "spans.cuh"

// Computes inner = d_out·out for each row and head, with one warp for each. out and d_out are (pairs, head_dim), inner
// (pairs).
extern "C" __global__ void attention_inner(const store* out, const store* d_out, float* inner, u64 pairs, u32 head_dim) {
    u64 pair = (u64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (pair >= pairs) return;
    float sum = 0.0f;
    for (u32 i = threadIdx.x % 32; i < head_dim; i += 32) {
        sum += to_float(out[pair * head_dim + i]) * to_float(d_out[pair * head_dim + i]);
    }
    sum = warp_reduce(sum, Add());
    if (threadIdx.x % 32 == 0) inner[pair] = sum;
}

// Positions within a row of qkv, and the widths of the rows of qkv and of out.
struct Rows {
    u64 width, out_width;
    u32 key, value;
};

__device__ __forceinline__ Rows rows_of(u32 heads, u32 kv_heads, u32 head_dim, u32 kv_head) {
    u64 width = (u64)(heads + 2 * kv_heads) * head_dim;
    u32 key = (heads + kv_head) * head_dim;
    return Rows{width, (u64)heads * head_dim, key, key + kv_heads * head_dim};
}

// Computes dq of one tile of queries of one head, over tiles of KEYS keys.
template <u32 D, u32 KEYS>
__device__ __forceinline__ void query_gradient(const store* qkv, const float* log_sum_exp, const store* d_out, const float* inner,
                                               const u32* spans, const u32* tiles, store* d_qkv, u32 heads, u32 kv_heads, u32 head_dim) {
    DYNAMIC_SHARED(store, queries);
    store* d_outs = queries + TILE_ROWS * Stride<D>::ROW;
    store* keys = d_outs + TILE_ROWS * Stride<D>::ROW;
    store* values = keys + KEYS * Stride<D>::ROW;
    Span span = span_at(spans, tiles[2 * blockIdx.x]);
    u32 first = tiles[2 * blockIdx.x + 1], head = blockIdx.y, thread = threadIdx.x, lane = thread % 32;
    u32 count = min(TILE_ROWS, span.len - first), warp_row = thread / 32 * WARP_ROWS;
    Rows at = rows_of(heads, kv_heads, head_dim, head / (heads / kv_heads));
    u64 start = span.start + first;
    const store* query = qkv + start * at.width + head * head_dim;
    const store* d_outs_from = d_out + start * at.out_width + head * head_dim;
    auto query_row = [&](u32 i) { return i < count ? query + i * at.width : nullptr; };
    auto d_out_row = [&](u32 i) { return i < count ? d_outs_from + i * at.out_width : nullptr; };
    load_tile<TILE_ROWS, D>(queries, query_row, qkv, head_dim, thread, TILE_THREADS);
    load_tile<TILE_ROWS, D>(d_outs, d_out_row, qkv, head_dim, thread, TILE_THREADS);

    float log_sum[2] = {}, own_inner[2] = {};
    for (u32 i = 0; i < 2; ++i) {
        u32 row = warp_row + lane / 4 + 8 * i;
        if (row >= count) continue;
        log_sum[i] = log_sum_exp[(start + row) * heads + head];
        own_inner[i] = inner[(start + row) * heads + head];
    }
    float scale = 1.0f / sqrtf((float)head_dim);
    float dq[D / 8][4] = {};
    u32 count_tiles = key_tiles<KEYS>(span, first + count - 1);
    for (u32 i = 0; i < count_tiles; ++i) {
        KeyTile tile = key_tile<KEYS>(span, first, i);
        auto key_row = [&](u32 j) { return j < tile.count ? qkv + (tile.row + j) * at.width + at.key : nullptr; };
        auto value_row = [&](u32 j) { return j < tile.count ? qkv + (tile.row + j) * at.width + at.value : nullptr; };
        load_tile<KEYS, D>(keys, key_row, qkv, head_dim, thread, TILE_THREADS);
        end_copies();
        load_tile<KEYS, D>(values, value_row, qkv, head_dim, thread, TILE_THREADS);
        end_copies();
        wait_copies<1>();
        __syncthreads();
        float s[KEYS / 8][4] = {}, dp[KEYS / 8][4] = {};
        add_product_of_rows<D>(s, queries + warp_row * Stride<D>::ROW, keys);
        if (tile.seen < (int)KEYS) hide(s, tile, warp_row);
        wait_copies<0>();
        __syncthreads();
        add_product_of_rows<D>(dp, d_outs + warp_row * Stride<D>::ROW, values);
#pragma unroll
        for (u32 m = 0; m < KEYS / 8; ++m) {
#pragma unroll
            for (u32 j = 0; j < 4; ++j) {
                float p = exp2_approx((s[m][j] * scale - log_sum[j / 2]) * LOG2_E);
                s[m][j] = p * (dp[m][j] - own_inner[j / 2]) * scale;
            }
        }
        add_product<D>(dq, s, keys);
        __syncthreads();
    }
    const float one[2] = {1.0f, 1.0f};
    if (warp_row >= count) return;
    put_result(d_qkv + (start + warp_row) * at.width + head * head_dim, at.width, dq, one, count - warp_row, head_dim);
}

// Overwrites the queries' part of d_qkv. qkv and d_qkv are (rows, (heads + 2·kv_heads)·head_dim), log_sum_exp and inner
// (rows, heads), d_out (rows, heads·head_dim) and spans (count, 4). tiles (blocks, 2) are a span and the first of up to
// 64 rows in it. Grid (blocks, heads); head_dim at most 64.
extern "C" __global__ void __launch_bounds__(TILE_THREADS)
    attention_backward_query_64(const store* qkv, const float* log_sum_exp, const store* d_out, const float* inner, const u32* spans,
                                const u32* tiles, store* d_qkv, u32 rows, u32 count, u32 blocks, u32 heads, u32 kv_heads,
                                u32 head_dim) {
    if (head_dim <= 16) query_gradient<16, 64>(qkv, log_sum_exp, d_out, inner, spans, tiles, d_qkv, heads, kv_heads, head_dim);
    else query_gradient<64, ATTENTION_KEYS>(qkv, log_sum_exp, d_out, inner, spans, tiles, d_qkv, heads, kv_heads, head_dim);
}

// As attention_backward_query_64, for head_dim at most 128.
extern "C" __global__ void __launch_bounds__(TILE_THREADS)
    attention_backward_query_128(const store* qkv, const float* log_sum_exp, const store* d_out, const float* inner, const u32* spans,
                                 const u32* tiles, store* d_qkv, u32 rows, u32 count, u32 blocks, u32 heads, u32 kv_heads,
                                 u32 head_dim) {
    query_gradient<128, TILE_BYTES_64 / sizeof(store)>(qkv, log_sum_exp, d_out, inner, spans, tiles, d_qkv, heads, kv_heads, head_dim);
}

// As attention_backward_query_64, for head_dim at most 256.
extern "C" __global__ void __launch_bounds__(TILE_THREADS)
    attention_backward_query_256(const store* qkv, const float* log_sum_exp, const store* d_out, const float* inner, const u32* spans,
                                 const u32* tiles, store* d_qkv, u32 rows, u32 count, u32 blocks, u32 heads, u32 kv_heads,
                                 u32 head_dim) {
    query_gradient<256, TILE_BYTES_32 / sizeof(store)>(qkv, log_sum_exp, d_out, inner, spans, tiles, d_qkv, heads, kv_heads, head_dim);
}

// Columns of dk and dv that fit into registers, and rows of a tile of queries for wide heads. Plain sums need more
// registers than tensor cores. For sm_100 the compiler keeps more addresses in registers and would spill with the tiles
// of sm_90.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
const u32 HELD_COLUMNS = 64, WIDE_QUERIES = 16;
#else
const u32 HELD_COLUMNS = 16 * Wide<store>::COUNT, WIDE_QUERIES = TILE_BYTES_64 / sizeof(store);
#endif

// The numbers of a part, which is the work of a block on a tile of keys: the keys' span, the tile's first row in it,
// heads [FIRST_HEAD, LAST_HEAD) of the group, and sources [FIRST_SOURCE, LAST_SOURCE). Source 0 is the keys' own span,
// and the others are its followers. If SLOT is 0 the block's sums are dk and dv themselves, otherwise partial sums for
// slot SLOT − 1.
enum Part { SPAN, FIRST, FIRST_HEAD, LAST_HEAD, FIRST_SOURCE, LAST_SOURCE, SLOT };
static_assert(SLOT + 1 == PART_NUMBERS, "the host writes as many numbers");

// Writes a warp's sums to `count` rows of (dk, dv) in floats, up to column `columns`.
template <u32 N> __device__ __forceinline__ void put_part(float* out, const float (&c)[N][4], u32 count, u32 columns, u32 head_dim) {
    u32 lane = threadIdx.x % 32;
#pragma unroll
    for (u32 n = 0; n < N; ++n) {
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
            u32 row = lane / 4 + j / 2 * 8, column = 8 * n + lane % 4 * 2 + j % 2;
            if (row < count && column < columns) out[row * 2 * head_dim + column] = c[n][j];
        }
    }
}

// Computes a part of dk and dv for one tile of keys of one key head, over tiles of QUERIES queries. C columns of the
// sums are held in registers, and wider heads take another round for the rest.
template <u32 D, u32 QUERIES, u32 C>
__device__ __forceinline__ void key_value_gradient(const store* qkv, const float* log_sum_exp, const store* d_out, const float* inner,
                                                   const u32* spans, const u32* parts, const u32* starts, const u32* followers,
                                                   store* d_qkv, float* partial, u32 heads, u32 kv_heads, u32 head_dim) {
    DYNAMIC_SHARED(store, keys);
    store* values = keys + TILE_ROWS * Stride<D>::ROW;
    store* queries = values + TILE_ROWS * Stride<D>::ROW;
    store* d_outs = queries + QUERIES * Stride<D>::ROW;
    SHARED(float, log_sums, QUERIES);
    SHARED(float, inners, QUERIES);
    // Registers are scarce, so the part is read where it is used.
    const u32* part = parts + PART_NUMBERS * blockIdx.x;
    u32 own = part[SPAN], first = part[FIRST], thread = threadIdx.x, lane = thread % 32;
    Span span = span_at(spans, own);
    u32 count = min(TILE_ROWS, span.len - first), warp_row = thread / 32 * WARP_ROWS, kv_head = blockIdx.y;
    u32 first_of_group = kv_head * (heads / kv_heads);
    Rows at = rows_of(heads, kv_heads, head_dim, kv_head);
    u64 start = span.start + first;
    auto key_row = [&](u32 i) { return i < count ? qkv + (start + i) * at.width + at.key : nullptr; };
    auto value_row = [&](u32 i) { return i < count ? qkv + (start + i) * at.width + at.value : nullptr; };
    load_tile<TILE_ROWS, D>(keys, key_row, qkv, head_dim, thread, TILE_THREADS);
    load_tile<TILE_ROWS, D>(values, value_row, qkv, head_dim, thread, TILE_THREADS);
    float scale = 1.0f / sqrtf((float)head_dim);

    for (u32 column = 0; column < D; column += C) {
        if (C < D && column >= head_dim) break;
        float dk[C / 8][4] = {}, dv[C / 8][4] = {};
        for (u32 head = first_of_group + part[FIRST_HEAD]; head < first_of_group + part[LAST_HEAD]; ++head) {
            for (u32 source = part[FIRST_SOURCE]; source < part[LAST_SOURCE]; ++source) {
                Span from = source == 0 ? span : span_at(spans, followers[starts[own] + source - 1]);
                for (u32 query = source == 0 ? first : 0; query < from.len; query += QUERIES) {
                    u64 row = from.start + query;
                    u32 some = min(QUERIES, from.len - query);
                    auto query_row = [&](u32 i) { return i < some ? qkv + (row + i) * at.width + head * head_dim : nullptr; };
                    auto d_out_row = [&](u32 i) { return i < some ? d_out + (row + i) * at.out_width + head * head_dim : nullptr; };
                    load_tile<QUERIES, D>(queries, query_row, qkv, head_dim, thread, TILE_THREADS);
                    end_copies();
                    load_tile<QUERIES, D>(d_outs, d_out_row, qkv, head_dim, thread, TILE_THREADS);
                    end_copies();
                    if (thread < some) {
                        log_sums[thread] = log_sum_exp[(row + thread) * heads + head];
                        inners[thread] = inner[(row + thread) * heads + head];
                    }
                    wait_copies<1>();
                    __syncthreads();
                    float p[QUERIES / 8][4] = {}, dp[QUERIES / 8][4] = {};
                    add_product_of_rows<D>(p, keys + warp_row * Stride<D>::ROW, queries);
#pragma unroll
                    for (u32 m = 0; m < QUERIES / 8; ++m) {
#pragma unroll
                        for (u32 j = 0; j < 4; ++j) {
                            u32 key = first + warp_row + lane / 4 + j / 2 * 8, i = 8 * m + lane % 4 * 2 + j % 2;
                            bool sees = source == 0 ? key <= query + i : span.start + key - from.prefix_start < from.prefix_len;
                            bool there = sees && i < some;
                            p[m][j] = there ? exp2_approx((p[m][j] * scale - log_sums[i]) * LOG2_E) : 0.0f;
                        }
                    }
                    wait_copies<0>();
                    __syncthreads();
                    add_product<D>(dv, p, d_outs + column);
                    add_product_of_rows<D>(dp, values + warp_row * Stride<D>::ROW, d_outs);
#pragma unroll
                    for (u32 m = 0; m < QUERIES / 8; ++m) {
#pragma unroll
                        for (u32 j = 0; j < 4; ++j) {
                            u32 i = 8 * m + lane % 4 * 2 + j % 2;
                            p[m][j] = i < some ? p[m][j] * (dp[m][j] - inners[i]) * scale : 0.0f;
                        }
                    }
                    add_product<D>(dk, p, queries + column);
                    __syncthreads();
                }
            }
        }
        if (warp_row >= count) continue;
        if (part[SLOT] != 0) {
            float* to = partial + (((u64)(part[SLOT] - 1) * kv_heads + kv_head) * TILE_ROWS + warp_row) * 2 * head_dim;
            put_part(to + column, dk, count - warp_row, head_dim - column, head_dim);
            put_part(to + head_dim + column, dv, count - warp_row, head_dim - column, head_dim);
            continue;
        }
        const float one[2] = {1.0f, 1.0f};
        store* to = d_qkv + (start + warp_row) * at.width + column;
        put_result(to + at.key, at.width, dk, one, count - warp_row, head_dim - column);
        put_result(to + at.value, at.width, dv, one, count - warp_row, head_dim - column);
    }
}

// Computes the keys' and values' part of d_qkv, with arguments as for attention_backward_query_64. parts are (blocks,
// 7), starts (count + 1) and partial (slots, kv_heads, 64, 2, head_dim). followers[starts[s] .. starts[s + 1]] are the
// spans with a prefix that includes rows of span s. Grid (blocks, kv_heads); head_dim at most 64.
extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2)
    attention_backward_key_value_64(const store* qkv, const float* log_sum_exp, const store* d_out, const float* inner,
                                    const u32* spans, const u32* parts, const u32* starts, const u32* followers, store* d_qkv, float* partial, u32 rows,
                                    u32 count, u32 blocks, u32 slots, u32 heads, u32 kv_heads, u32 head_dim) {
    if (head_dim <= 16) {
        key_value_gradient<16, 32, 16>(qkv, log_sum_exp, d_out, inner, spans, parts, starts, followers, d_qkv, partial, heads, kv_heads, head_dim);
    } else {
        key_value_gradient<64, GRADIENT_QUERIES, 64>(qkv, log_sum_exp, d_out, inner, spans, parts, starts, followers, d_qkv, partial, heads, kv_heads, head_dim);
    }
}

// As attention_backward_key_value_64, for head_dim at most 128.
extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2)
    attention_backward_key_value_128(const store* qkv, const float* log_sum_exp, const store* d_out, const float* inner,
                                     const u32* spans, const u32* parts, const u32* starts, const u32* followers, store* d_qkv, float* partial,
                                     u32 rows, u32 count, u32 blocks, u32 slots, u32 heads, u32 kv_heads, u32 head_dim) {
    key_value_gradient<128, WIDE_QUERIES, HELD_COLUMNS>(qkv, log_sum_exp, d_out, inner, spans, parts, starts, followers, d_qkv, partial, heads, kv_heads, head_dim);
}

// As attention_backward_key_value_64, for head_dim at most 256.
extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2)
    attention_backward_key_value_256(const store* qkv, const float* log_sum_exp, const store* d_out, const float* inner,
                                     const u32* spans, const u32* parts, const u32* starts, const u32* followers, store* d_qkv, float* partial,
                                     u32 rows, u32 count, u32 blocks, u32 slots, u32 heads, u32 kv_heads, u32 head_dim) {
    key_value_gradient<256, TILE_BYTES_32 / sizeof(store), 64>(qkv, log_sum_exp, d_out, inner, spans, parts, starts, followers, d_qkv, partial, heads, kv_heads, head_dim);
}

// Adds the partial sums of keys, in the order of their slots. `merges` (count, 4) are a span, a tile's first row in it,
// its first slot and its number of slots; the other arguments are as above. Grid (count·16, kv_heads), with one block
// for 4 rows of a tile.
extern "C" __global__ void merge_gradients(const float* partial, const u32* spans, const u32* merges, store* d_qkv, u32 rows,
                                           u32 span_count, u32 count, u32 slots, u32 heads, u32 kv_heads, u32 head_dim) {
    const u32 BLOCKS = TILE_ROWS / MERGED_ROWS;
    const u32* merge = merges + blockIdx.x / BLOCKS * 4;
    Span span = span_at(spans, merge[0]);
    u32 first = blockIdx.x % BLOCKS * MERGED_ROWS, kv_head = blockIdx.y, row_elements = 2 * head_dim;
    Rows at = rows_of(heads, kv_heads, head_dim, kv_head);
    u64 next = (u64)kv_heads * TILE_ROWS * row_elements;
    for (u32 i = threadIdx.x; i < MERGED_ROWS * row_elements; i += blockDim.x) {
        u32 row = first + i / row_elements, column = i % row_elements;
        if (merge[1] + row >= span.len) continue;
        const float* from = partial + merge[2] * next + ((u64)kv_head * TILE_ROWS + row) * row_elements + column;
        float sum = 0.0f;
        for (u32 j = 0; j < merge[3]; ++j) sum += from[j * next];
        u32 to = column < head_dim ? at.key + column : at.value + column - head_dim;
        put(&d_qkv[(u64)(span.start + merge[1] + row) * at.width + to], sum);
    }
}
