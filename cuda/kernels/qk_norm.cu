// RMS normalisation of every query and key head (Qwen3), y = x·s·w with s = 1/√(mean(x²) + ε) over one head. A row of qkv is
// (heads + 2·kv_heads)·head_dim: queries, keys, values.

// out and qkv are (rows, heads + 2·kv_heads, head_dim), w_q and w_k (head_dim), inv_rms (rows, heads + kv_heads). A warp has one head;
// values are copied.
extern "C" __global__ void qk_norm(const store* qkv, const store* w_q, const store* w_k, store* out, float* inv_rms, u32 rows,
                                   u32 heads, u32 kv_heads, u32 head_dim, float eps) {
    u32 head = blockIdx.y, normed = heads + kv_heads;
    u64 at = ((u64)blockIdx.x * (normed + kv_heads) + head) * head_dim;
    qkv += at, out += at;
    if (head >= normed) {
        for (u32 i = threadIdx.x; i < head_dim; i += 32) out[i] = qkv[i];
        return;
    }
    float squares = 0.0f;
    for (u32 i = threadIdx.x; i < head_dim; i += 32) squares += to_float(qkv[i]) * to_float(qkv[i]);
    float s = 1.0f / sqrtf(warp_reduce(squares, Add()) / (float)head_dim + eps);
    const store* w = head < heads ? w_q : w_k;
    for (u32 i = threadIdx.x; i < head_dim; i += 32) put(&out[i], to_float(qkv[i]) * s * to_float(w[i]));
    if (threadIdx.x == 0) inv_rms[(u64)blockIdx.x * normed + head] = s;
}

// d_qkv (as qkv) becomes the gradient of the input: s·(dy·w − x·s²·mean(dy·w·x)) for queries and keys.
extern "C" __global__ void qk_norm_backward_input(const store* qkv, const store* w_q, const store* w_k, const float* inv_rms,
                                                  store* d_qkv, u32 rows, u32 heads, u32 kv_heads, u32 head_dim) {
    u32 head = blockIdx.y, normed = heads + kv_heads;
    u64 at = ((u64)blockIdx.x * (normed + kv_heads) + head) * head_dim;
    qkv += at, d_qkv += at;
    const store* w = head < heads ? w_q : w_k;
    float s = inv_rms[(u64)blockIdx.x * normed + head], inner = 0.0f;
    for (u32 i = threadIdx.x; i < head_dim; i += 32) inner += to_float(d_qkv[i]) * to_float(w[i]) * to_float(qkv[i]);
    float c = warp_reduce(inner, Add()) * s * s / (float)head_dim;
    for (u32 i = threadIdx.x; i < head_dim; i += 32) {
        put(&d_qkv[i], s * (to_float(d_qkv[i]) * to_float(w[i]) - to_float(qkv[i]) * c));
    }
}

// Row p of partial_q and partial_k (parts, head_dim) = Σ of dy·x·s over part p of the rows and over all query or key heads.
extern "C" __global__ void qk_norm_backward_weight(const store* qkv, const store* d_qkv, const float* inv_rms, float* partial_q,
                                                   float* partial_k, u32 rows, u32 heads, u32 kv_heads, u32 head_dim, u32 parts) {
    u32 normed = heads + kv_heads, width = normed + kv_heads;
    u32 length = (rows + parts - 1) / parts, first = blockIdx.x * length;
    u32 end = first + length < rows ? first + length : rows;
    for (u32 i = threadIdx.x; i < head_dim; i += blockDim.x) {
        float sum_q = 0.0f, sum_k = 0.0f;
        for (u32 row = first; row < end; row++) {
            for (u32 head = 0; head < normed; head++) {
                u64 at = ((u64)row * width + head) * head_dim + i;
                float term = to_float(d_qkv[at]) * to_float(qkv[at]) * inv_rms[(u64)row * normed + head];
                (head < heads ? sum_q : sum_k) += term;
            }
        }
        partial_q[(u64)blockIdx.x * head_dim + i] = sum_q;
        partial_k[(u64)blockIdx.x * head_dim + i] = sum_k;
    }
}
