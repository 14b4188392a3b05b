// Attention of new rows to a cache of keys and values, (capacity, 2·kv_heads·head_dim): keys, values.

extern "C" __global__ void cache_store(const store* qkv, const u32* slots, store* cache, u32 rows, u32 heads, u32 kv_heads,
                                       u32 head_dim, u32 capacity) {
    u32 kept = 2 * kv_heads * head_dim;
    const store* from = qkv + ((u64)blockIdx.x * (heads + 2 * kv_heads) + heads) * head_dim;
    store* to = cache + (u64)slots[blockIdx.x] * kept;
    for (u32 i = threadIdx.x; i < kept; i += blockDim.x) to[i] = from[i];
}

// out (rows, heads·head_dim): row r's query attends to rows `spans[r]` of the cache. A block has one query and one head.
extern "C" __global__ void cached_attention(const store* qkv, const store* cache, const u32* spans, store* out, u32 rows, u32 heads,
                                            u32 kv_heads, u32 head_dim, u32 capacity) {
    SHARED(float, q, 256);
    SHARED(float, sums, 4 * 256);
    SHARED(float, largests, 4);
    SHARED(float, totals, 4);
    const u32* span = spans + 4 * blockIdx.x;
    u32 start = span[0], len = span[1], prefix_start = span[2], prefix_len = span[3];
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, head = blockIdx.y, kv_head = head / (heads / kv_heads);
    u64 width = 2 * (u64)kv_heads * head_dim;
    const store* keys = cache + (u64)kv_head * head_dim;
    const store* values = keys + (u64)kv_heads * head_dim;
    float scale = 1.0f / sqrtf((float)head_dim);
    for (u32 i = threadIdx.x; i < head_dim; i += blockDim.x) {
        q[i] = to_float(qkv[((u64)blockIdx.x * (heads + 2 * kv_heads) + head) * head_dim + i]);
    }
    __syncthreads();
    float largest = -INFINITY_F, total = 0.0f, sum[8];
    for (int k = 0; k < 8; k++) sum[k] = 0.0f;
    u32 seen = prefix_len + len;
    for (u32 base = warp * 32; base < seen; base += 128) {
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
    for (u32 k = 0; k < 8; k++) sums[warp * 256 + k * 32 + lane] = sum[k];
    if (lane == 0) largests[warp] = largest, totals[warp] = total;
    __syncthreads();
    float top = largests[0];
    for (u32 w = 1; w < 4; w++) top = Max()(largests[w], top);
    float all = 0.0f;
    for (u32 w = 0; w < 4; w++) all += totals[w] * exp2_approx((largests[w] - top) * LOG2_E);
    for (u32 i = threadIdx.x; i < head_dim; i += blockDim.x) {
        float result = 0.0f;
        for (u32 w = 0; w < 4; w++) result += sums[w * 256 + i] * exp2_approx((largests[w] - top) * LOG2_E);
        put(&out[((u64)blockIdx.x * heads + head) * head_dim + i], result / all);
    }
}
