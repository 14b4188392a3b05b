// The keys that queries of a span attend to, in tiles, and a softmax over them. For kernel files that include tile.cuh.

// Consecutive rows, and the rows that precede them in their sequence, as in Rust.
struct Span {
    u32 start, len, prefix_start, prefix_len;
};

__device__ __forceinline__ Span span_at(const u32* spans, u32 i) {
    return Span{spans[4 * i], spans[4 * i + 1], spans[4 * i + 2], spans[4 * i + 3]};
}

// A tile of keys as queries see it: its rows, the number of its keys that query 0 sees, and how many more each further
// query sees.
struct KeyTile {
    u32 row, count;
    int seen, more;
};

// Returns the number of tiles of KEYS keys that the queries up to row `last` of the span see.
template <u32 KEYS> __device__ __forceinline__ u32 key_tiles(Span span, u32 last) {
    return (span.prefix_len + KEYS - 1) / KEYS + last / KEYS + 1;
}

// Returns tile i of these, for queries from row `first` of the span. The prefix comes before the span itself.
template <u32 KEYS> __device__ __forceinline__ KeyTile key_tile(Span span, u32 first, u32 i) {
    u32 prefix_tiles = (span.prefix_len + KEYS - 1) / KEYS;
    if (i < prefix_tiles) {
        u32 at = i * KEYS, count = min(KEYS, span.prefix_len - at);
        return KeyTile{span.prefix_start + at, count, (int)count, 0};
    }
    u32 at = (i - prefix_tiles) * KEYS;
    return KeyTile{span.start + at, min(KEYS, span.len - at), (int)first - (int)at + 1, 1};
}

// Continues a softmax over scores that arrive tile by tile (Milakov and Gimelshein, arXiv 1805.02867). s becomes
// 2^(factor·(s − max)) with the largest score of the row so far. If that grows, `out` and each lane's part of the sum
// are rescaled. A score of −∞ stands for no score, but every row must have had a finite one.
template <u32 M, u32 N>
__device__ __forceinline__ void soften(float (&s)[M][4], float (&out)[N][4], float (&max_score)[2], float (&sum)[2], float factor) {
#pragma unroll
    for (u32 i = 0; i < 2; ++i) {
        float largest = max_score[i];
#pragma unroll
        for (u32 m = 0; m < M; ++m) largest = max(largest, max(s[m][2 * i], s[m][2 * i + 1]));
        largest = max(largest, __shfl_xor_sync(ALL_LANES, largest, 1));
        largest = max(largest, __shfl_xor_sync(ALL_LANES, largest, 2));
        float keep = exp2_approx((max_score[i] - largest) * factor);
        max_score[i] = largest;
        sum[i] *= keep;
#pragma unroll
        for (u32 m = 0; m < M; ++m) {
#pragma unroll
            for (u32 j = 2 * i; j < 2 * i + 2; ++j) {
                s[m][j] = exp2_approx((s[m][j] - largest) * factor);
                sum[i] += s[m][j];
            }
        }
#pragma unroll
        for (u32 n = 0; n < N; ++n) {
            out[n][2 * i] *= keep;
            out[n][2 * i + 1] *= keep;
        }
    }
}

// Returns a row's sum, of which each of four lanes has a part.
__device__ __forceinline__ float sum_of_row(float part) {
    part += __shfl_xor_sync(ALL_LANES, part, 1);
    return part + __shfl_xor_sync(ALL_LANES, part, 2);
}

// Sets the scores of keys that a query does not see to −∞. The warp's queries start at row `query` of the block's tile.
template <u32 M> __device__ __forceinline__ void hide(float (&s)[M][4], KeyTile keys, u32 query) {
    u32 lane = threadIdx.x % 32;
#pragma unroll
    for (u32 i = 0; i < 2; ++i) {
        int seen = keys.seen + keys.more * (int)(query + lane / 4 + 8 * i);
#pragma unroll
        for (u32 m = 0; m < M; ++m) {
#pragma unroll
            for (u32 j = 0; j < 2; ++j) {
                if ((int)(8 * m + lane % 4 * 2 + j) >= seen) s[m][2 * i + j] = -INFINITY_F;
            }
        }
    }
}
