// Rotary position embedding, halves convention: (a, b) → (a·cos − b·sin, b·cos + a·sin) for elements i and i + head_dim/2
// (Su et al., arXiv 2104.09864). The backward pass is the rotation by the opposite angle.

// qkv is (rows, heads + 2·kv_heads, head_dim), of which queries and keys are turned in place; positions (rows); cos and sin
// (table_rows, head_dim/2); `sign` is 1, or −1 to turn back. A block has one row.
extern "C" __global__ void rope(store* qkv, const u32* positions, const float* cos, const float* sin, u32 rows, u32 heads,
                                u32 kv_heads, u32 head_dim, u32 table_rows, float sign) {
    u32 half = head_dim / 2, pairs = (heads + kv_heads) * half;
    qkv += (u64)blockIdx.x * (heads + 2 * kv_heads) * head_dim;
    u64 angle = (u64)positions[blockIdx.x] * half;
    for (u32 pair = threadIdx.x; pair < pairs; pair += blockDim.x) {
        u32 head = pair / half, i = pair % half;
        store* low = qkv + head * head_dim + i;
        store* high = low + half;
        float a = to_float(*low), b = to_float(*high), c = cos[angle + i], s = sign * sin[angle + i];
        put(low, a * c - b * s);
        put(high, b * c + a * s);
    }
}
