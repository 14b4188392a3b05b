// RMS normalisation of every query and key head (Qwen3), y = x·s·w with s = 1/√(mean(x²) + ε) over one head. A row of
// qkv is (heads + 2·kv_heads)·head_dim elements: queries, keys, values. A head occupies neighbouring lanes of a warp,
// with eight elements in each lane. Heads of more than 256 elements are read twice.

// Returns the number of lanes of a head, a power of two.
__device__ __forceinline__ u32 lanes_of_head(u32 head_dim) {
    u32 lanes = 1;
    while (lanes < 32 && lanes * 8 < head_dim) lanes *= 2;
    return lanes;
}

// Returns the sum over a head's lanes, in each of them.
__device__ __forceinline__ float head_sum(float x, u32 lanes) {
    for (u32 offset = lanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(ALL_LANES, x, offset);
    return x;
}

// A thread's head, in a row of `count` heads, and its first element in that head. A block of `blockDim.x` threads has
// as many heads as fit. Threads after the last head have `len` 0 but take part in sums.
struct Place {
    u32 head, lanes, first, len;
};

__device__ __forceinline__ Place place(u32 count, u32 head_dim) {
    Place p;
    p.lanes = lanes_of_head(head_dim);
    p.head = blockIdx.y * (blockDim.x / p.lanes) + threadIdx.x / p.lanes;
    p.first = threadIdx.x % p.lanes * 8;
    p.len = p.head < count ? head_dim : 0;
    return p;
}

// Normalises query and key heads and copies the values. out and qkv are (rows, heads + 2·kv_heads, head_dim), w_q and
// w_k (head_dim), inv_rms (rows, heads + kv_heads).
extern "C" __global__ void qk_norm(const store* qkv, const store* w_q, const store* w_k, store* out, float* inv_rms, u32 rows,
                                   u32 heads, u32 kv_heads, u32 head_dim, float eps) {
    u32 normed = heads + kv_heads, step = lanes_of_head(head_dim) * 8;
    Place p = place(normed + kv_heads, head_dim);
    u64 at = ((u64)blockIdx.x * (normed + kv_heads) + p.head) * head_dim;
    float v[8], u[8], squares = 0.0f;
    for (u32 i = p.first; i < p.len; i += step) {
        load_up_to_eight(qkv + at + i, p.len - i, v);
        for (int k = 0; k < 8; k++) squares += v[k] * v[k];
    }
    float s = 1.0f / sqrtf(head_sum(squares, p.lanes) / (float)head_dim + eps);
    bool value = p.head >= normed;
    if (p.first == 0 && !value) inv_rms[(u64)blockIdx.x * normed + p.head] = s;
    const store* w = p.head < heads ? w_q : w_k;
    for (u32 i = p.first; i < p.len; i += step) {
        if (head_dim > step) load_up_to_eight(qkv + at + i, p.len - i, v);
        if (!value) {
            load_up_to_eight(w + i, p.len - i, u);
            for (int k = 0; k < 8; k++) v[k] = v[k] * s * u[k];
        }
        put_up_to_eight(out + at + i, p.len - i, v);
    }
}

// Replaces d_qkv (like qkv) by the gradient of the input, which is s·(dy·w − x·s²·mean(dy·w·x)) for queries and keys.
extern "C" __global__ void qk_norm_backward_input(const store* qkv, const store* w_q, const store* w_k, const float* inv_rms,
                                                  store* d_qkv, u32 rows, u32 heads, u32 kv_heads, u32 head_dim) {
    u32 normed = heads + kv_heads, step = lanes_of_head(head_dim) * 8;
    Place p = place(normed, head_dim);
    u64 at = ((u64)blockIdx.x * (normed + kv_heads) + p.head) * head_dim;
    const store* w = p.head < heads ? w_q : w_k;
    float v[8], g[8], u[8], inner = 0.0f;
    auto load = [&](u32 i) {
        load_up_to_eight(qkv + at + i, p.len - i, v);
        load_up_to_eight(d_qkv + at + i, p.len - i, g);
        load_up_to_eight(w + i, p.len - i, u);
        for (int k = 0; k < 8; k++) g[k] *= u[k];
    };
    for (u32 i = p.first; i < p.len; i += step) {
        load(i);
        for (int k = 0; k < 8; k++) inner += g[k] * v[k];
    }
    float s = p.len > 0 ? inv_rms[(u64)blockIdx.x * normed + p.head] : 0.0f;
    float c = head_sum(inner, p.lanes) * s * s / (float)head_dim;
    for (u32 i = p.first; i < p.len; i += step) {
        if (head_dim > step) load(i);
        for (int k = 0; k < 8; k++) g[k] = s * (g[k] - v[k] * c);
        put_up_to_eight(d_qkv + at + i, p.len - i, g);
    }
}

// Sets row p of partial_q and partial_k (parts, head_dim) to the sum of dy·x·s over part p of the rows and over all
// query or key heads. qkv and d_qkv are as above. A block has 256 columns of one of the two.
extern "C" __global__ void qk_norm_backward_weight(const store* qkv, const store* d_qkv, const float* inv_rms, float* partial_q,
                                                   float* partial_k, u32 rows, u32 heads, u32 kv_heads, u32 head_dim, u32 parts) {
    bool key = blockIdx.y % 2 == 1;
    u32 normed = heads + kv_heads, count = key ? kv_heads : heads, before = key ? heads : 0;
    float* partial = key ? partial_k : partial_q;
    u32 first, end;
    rows_of_part(rows, parts, first, end);
    // The heads of all rows, one after another, form the rows of a matrix with head_dim columns.
    sum_rows(
        first * count, end * count, blockIdx.y / 2 * 256, 256, head_dim,
        [=](u32 i, u32 column, u32 left, float(&terms)[8]) {
            u32 row = i / count, head = before + i % count;
            u64 at = ((u64)row * (normed + kv_heads) + head) * head_dim + column;
            float v[8], s = inv_rms[(u64)row * normed + head];
            load_up_to_eight(d_qkv + at, left, terms);
            load_up_to_eight(qkv + at, left, v);
            for (int k = 0; k < 8; k++) terms[k] *= v[k] * s;
        },
        [=](u32 column, float sum) { partial[(u64)blockIdx.x * head_dim + column] = sum; });
}
