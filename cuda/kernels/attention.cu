// Causal attention over packed spans with grouped queries (Ainslie et al., arXiv 2305.13245) and online softmax (Milakov and
// Gimelshein, arXiv 1805.02867): scores of a warp's 32 keys are held at a time, never a row of them.
//
// A row of qkv is (heads + 2·kv_heads)·head_dim: queries, keys, values. `spans` are (start, len, prefix_start, prefix_len): a row of
// a span attends to its prefix and to the rows of its span up to itself. `tiles` are (span, first row in it): a block has one tile
// of 64 queries and one head, a warp every 4th of them.

extern "C" __global__ void attention(const store* qkv, const u32* spans, const u32* tiles, store* out, float* log_sum_exp, u32 rows,
                                     u32 count, u32 blocks, u32 heads, u32 kv_heads, u32 head_dim) {
    SHARED(float, queries, 4 * 256);
    const u32* span = spans + 4 * tiles[2 * blockIdx.x];
    u32 start = span[0], len = span[1], prefix_start = span[2], prefix_len = span[3], first = tiles[2 * blockIdx.x + 1];
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, head = blockIdx.y, kv_head = head / (heads / kv_heads);
    u64 width = (u64)(heads + 2 * kv_heads) * head_dim;
    const store* keys = qkv + (u64)(heads + kv_head) * head_dim;
    const store* values = keys + (u64)kv_heads * head_dim;
    float scale = 1.0f / sqrtf((float)head_dim);
    float* q = queries + warp * 256;
    for (u32 own = first + warp; own < first + 64 && own < len; own += 4) {
        u64 row = start + own;
        __syncwarp(ALL_LANES);
        for (u32 i = lane; i < head_dim; i += 32) q[i] = to_float(qkv[row * width + head * head_dim + i]);
        __syncwarp(ALL_LANES);
        float largest = -INFINITY_F, total = 0.0f, sum[8];
        for (int k = 0; k < 8; k++) sum[k] = 0.0f;
        u32 seen = prefix_len + own + 1;
        for (u32 base = 0; base < seen; base += 32) {
            u32 j = base + lane;
            float score = -INFINITY_F;
            u64 at = (u64)(j < prefix_len ? prefix_start + j : start + j - prefix_len) * width;
            if (j < seen) {
                float dot = 0.0f;
                for (u32 i = 0; i < head_dim; i++) dot += q[i] * to_float(keys[at + i]);
                score = dot * scale;
            }
            float next = Max()(warp_reduce(score, Max()), largest);
            float shrink = exp2_approx((largest - next) * LOG2_E), p = exp2_approx((score - next) * LOG2_E);
            largest = next;
            total = total * shrink + warp_reduce(p, Add());
            for (int k = 0; k < 8; k++) sum[k] *= shrink;
            u32 here = seen - base < 32 ? seen - base : 32;
            for (u32 other = 0; other < here; other++) {
                float weight = __shfl_sync(ALL_LANES, p, other);
                u64 from = __shfl_sync(ALL_LANES, at, other);
                for (u32 k = 0; k < 8; k++) {
                    u32 i = k * 32 + lane;
                    if (i < head_dim) sum[k] += weight * to_float(values[from + i]);
                }
            }
        }
        for (u32 k = 0; k < 8; k++) {
            u32 i = k * 32 + lane;
            if (i < head_dim) put(&out[(row * heads + head) * head_dim + i], sum[k] / total);
        }
        if (lane == 0) log_sum_exp[row * heads + head] = largest + logf(total);
    }
}
