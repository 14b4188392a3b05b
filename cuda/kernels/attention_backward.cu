// The backward pass of attention: with p = exp(s − lse) and D = d_out·out, ds = p·(d_out·v − D)/√d, dq = Σ ds·k, dk = Σ ds·q,
// dv = Σ p·d_out. Scores are computed again; nothing is added by atomics.

extern "C" __global__ void attention_inner(const store* out, const store* d_out, float* inner, u32 rows, u32 heads, u32 head_dim) {
    u64 at = ((u64)blockIdx.x * heads + blockIdx.y) * head_dim;
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < head_dim; i += 32) sum += to_float(out[at + i]) * to_float(d_out[at + i]);
    sum = warp_reduce(sum, Add());
    if (threadIdx.x == 0) inner[(u64)blockIdx.x * heads + blockIdx.y] = sum;
}

extern "C" __global__ void attention_backward_query(const store* qkv, const float* log_sum_exp, const store* d_out, const float* inner,
                                                    const u32* spans, const u32* tiles, store* d_qkv, u32 rows, u32 count, u32 blocks,
                                                    u32 heads, u32 kv_heads, u32 head_dim) {
    SHARED(float, queries, 4 * 256);
    SHARED(float, upstream, 4 * 256);
    const u32* span = spans + 4 * tiles[2 * blockIdx.x];
    u32 start = span[0], len = span[1], prefix_start = span[2], prefix_len = span[3], first = tiles[2 * blockIdx.x + 1];
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, head = blockIdx.y, kv_head = head / (heads / kv_heads);
    u64 width = (u64)(heads + 2 * kv_heads) * head_dim;
    const store* keys = qkv + (u64)(heads + kv_head) * head_dim;
    const store* values = keys + (u64)kv_heads * head_dim;
    float scale = 1.0f / sqrtf((float)head_dim);
    float *q = queries + warp * 256, *d = upstream + warp * 256;
    for (u32 own = first + warp; own < first + 64 && own < len; own += 4) {
        u64 row = start + own;
        __syncwarp(ALL_LANES);
        for (u32 i = lane; i < head_dim; i += 32) {
            q[i] = to_float(qkv[row * width + head * head_dim + i]);
            d[i] = to_float(d_out[(row * heads + head) * head_dim + i]);
        }
        __syncwarp(ALL_LANES);
        float lse = log_sum_exp[row * heads + head], dot_out = inner[row * heads + head], sum[8];
        for (int k = 0; k < 8; k++) sum[k] = 0.0f;
        u32 seen = prefix_len + own + 1;
        for (u32 base = 0; base < seen; base += 32) {
            u32 j = base + lane;
            u64 at = (u64)(j < prefix_len ? prefix_start + j : start + j - prefix_len) * width;
            float ds = 0.0f;
            if (j < seen) {
                float score = 0.0f, dv = 0.0f;
                for (u32 i = 0; i < head_dim; i++) score += q[i] * to_float(keys[at + i]), dv += d[i] * to_float(values[at + i]);
                ds = exp2_approx((score * scale - lse) * LOG2_E) * (dv - dot_out) * scale;
            }
            u32 here = seen - base < 32 ? seen - base : 32;
            for (u32 other = 0; other < here; other++) {
                float weight = __shfl_sync(ALL_LANES, ds, other);
                u64 from = __shfl_sync(ALL_LANES, at, other);
                for (u32 k = 0; k < 8; k++) {
                    u32 i = k * 32 + lane;
                    if (i < head_dim) sum[k] += weight * to_float(keys[from + i]);
                }
            }
        }
        for (u32 k = 0; k < 8; k++) {
            u32 i = k * 32 + lane;
            if (i < head_dim) put(&d_qkv[row * width + head * head_dim + i], sum[k]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(128) attention_backward_key_value(const store* qkv, const float* log_sum_exp, const store* d_out,
                                                        const float* inner, const u32* spans, const u32* tiles, const u32* starts,
                                                        const u32* followers, store* d_qkv, u32 rows, u32 count, u32 blocks, u32 heads,
                                                        u32 kv_heads, u32 head_dim) {
    SHARED(float, key_rows, 4 * 256);
    SHARED(float, value_rows, 4 * 256);
    u32 number = tiles[2 * blockIdx.x], first = tiles[2 * blockIdx.x + 1];
    u32 start = spans[4 * number], len = spans[4 * number + 1];
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, kv_head = blockIdx.y, group = heads / kv_heads;
    u64 width = (u64)(heads + 2 * kv_heads) * head_dim, key_at = (u64)(heads + kv_head) * head_dim;
    u64 value_at = key_at + (u64)kv_heads * head_dim;
    float scale = 1.0f / sqrtf((float)head_dim);
    float *key = key_rows + warp * 256, *value = value_rows + warp * 256;
    for (u32 own = first + warp; own < first + 64 && own < len; own += 4) {
        u32 row = start + own;
        __syncwarp(ALL_LANES);
        for (u32 i = lane; i < head_dim; i += 32) {
            key[i] = to_float(qkv[row * width + key_at + i]);
            value[i] = to_float(qkv[row * width + value_at + i]);
        }
        __syncwarp(ALL_LANES);
        float dk[8], dv[8];
        for (int k = 0; k < 8; k++) dk[k] = dv[k] = 0.0f;
        // Its own span's rows from this one on, then all rows of the spans whose prefix it is in.
        for (u32 f = starts[number]; f <= starts[number + 1]; f++) {
            bool is_own = f == starts[number];
            const u32* other = spans + 4 * (is_own ? number : followers[f - 1]);
            if (!is_own && (row < other[2] || row >= other[2] + other[3])) continue;
            u32 from = is_own ? row : other[0], end = other[0] + other[1];
            for (u32 g = 0; g < group; g++) {
                u32 head = kv_head * group + g;
                for (u32 base = from; base < end; base += 32) {
                    u32 query = base + lane;
                    float p = 0.0f, ds = 0.0f;
                    if (query < end) {
                        const store* q = qkv + query * width + head * head_dim;
                        const store* d = d_out + ((u64)query * heads + head) * head_dim;
                        float score = 0.0f, product = 0.0f;
                        for (u32 i = 0; i < head_dim; i++) score += to_float(q[i]) * key[i], product += to_float(d[i]) * value[i];
                        p = exp2_approx((score * scale - log_sum_exp[(u64)query * heads + head]) * LOG2_E);
                        ds = p * (product - inner[(u64)query * heads + head]) * scale;
                    }
                    u32 here = end - base < 32 ? end - base : 32;
                    for (u32 l = 0; l < here; l++) {
                        float weight_k = __shfl_sync(ALL_LANES, ds, l), weight_v = __shfl_sync(ALL_LANES, p, l);
                        const store* q = qkv + (base + l) * width + head * head_dim;
                        const store* d = d_out + ((u64)(base + l) * heads + head) * head_dim;
                        for (u32 k = 0; k < 8; k++) {
                            u32 i = k * 32 + lane;
                            if (i < head_dim) dk[k] += weight_k * to_float(q[i]), dv[k] += weight_v * to_float(d[i]);
                        }
                    }
                }
            }
        }
        for (u32 k = 0; k < 8; k++) {
            u32 i = k * 32 + lane;
            if (i < head_dim) put(&d_qkv[row * width + key_at + i], dk[k]), put(&d_qkv[row * width + value_at + i], dv[k]);
        }
    }
}
