// Rotary position embedding in the halves convention: (a, b) → (a·cos − b·sin, b·cos + a·sin) for elements i and i +
// head_dim/2 (Su et al., arXiv 2104.09864). The backward pass rotates by the opposite angle.

// Rotates the queries and keys of qkv (rows, heads + 2·kv_heads, head_dim) in place. positions is (rows), and cos and
// sin are (table_rows, head_dim/2). `sign` is 1, or −1 to rotate back. A block has one row, and a thread eight pairs at
// a time.
extern "C" __global__ void rope(store* qkv, const u32* positions, const float* cos, const float* sin, u32 rows, u32 heads,
                                u32 kv_heads, u32 head_dim, u32 table_rows, float sign) {
    u32 half = head_dim / 2, groups = (half + 7) / 8;
    qkv += (u64)blockIdx.x * (heads + 2 * kv_heads) * head_dim;
    u64 angle = (u64)positions[blockIdx.x] * half;
    for (u32 group = threadIdx.x; group < (heads + kv_heads) * groups; group += blockDim.x) {
        u32 i = group % groups * 8, count = half - i;
        store* low = qkv + group / groups * head_dim + i;
        store* high = low + half;
        float a[8], b[8], c[8], s[8];
        load_up_to_eight(low, count, a);
        load_up_to_eight(high, count, b);
        load_up_to_eight(cos + angle + i, count, c);
        load_up_to_eight(sin + angle + i, count, s);
        for (int k = 0; k < 8; k++) {
            float x = a[k], y = b[k];
            a[k] = x * c[k] - y * sign * s[k];
            b[k] = y * c[k] + x * sign * s[k];
        }
        put_up_to_eight(low, count, a);
        put_up_to_eight(high, count, b);
    }
}
