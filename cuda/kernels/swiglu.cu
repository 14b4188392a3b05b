// SwiGLU: silu(gate)·up with silu(x) = x·σ(x) (Shazeer, arXiv 2002.05202). A thread has eight elements.

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// out (rows, ff) from gate_up (rows, 2·ff), whose rows are (gate, up).
extern "C" __global__ void swiglu(const store* gate_up, store* out, u32 rows, u32 ff) {
    u64 first = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * 8, len = (u64)rows * ff;
    if (first >= len) return;
    if (ff % 8 == 0) {
        const store* row = gate_up + first / ff * 2 * ff + first % ff;
        float gate[8], up[8];
        load_eight(row, gate);
        load_eight(row + ff, up);
        for (int k = 0; k < 8; k++) gate[k] = gate[k] * sigmoid(gate[k]) * up[k];
        put_eight(out + first, gate);
        return;
    }
    for (u64 i = first; i < first + 8 && i < len; i++) {
        const store* row = gate_up + i / ff * 2 * ff + i % ff;
        float gate = to_float(row[0]);
        put(&out[i], gate * sigmoid(gate) * to_float(row[ff]));
    }
}

// The two gradients of one element: d·up·σ(g)·(1 + g·(1 − σ(g))) and d·silu(g).
__device__ __forceinline__ void slopes(float g, float u, float d, float& d_gate, float& d_up) {
    float sigma = sigmoid(g);
    d_gate = d * u * sigma * (1.0f + g * (1.0f - sigma));
    d_up = d * g * sigma;
}

// d_gate_up (rows, 2·ff) from gate_up (rows, 2·ff) and d_out (rows, ff).
extern "C" __global__ void swiglu_backward(const store* gate_up, const store* d_out, store* d_gate_up, u32 rows, u32 ff) {
    u64 first = ((u64)blockIdx.x * blockDim.x + threadIdx.x) * 8, len = (u64)rows * ff;
    if (first >= len) return;
    if (ff % 8 == 0) {
        u64 at = first / ff * 2 * ff + first % ff;
        float gate[8], up[8], d[8], d_gate[8], d_up[8];
        load_eight(gate_up + at, gate);
        load_eight(gate_up + at + ff, up);
        load_eight(d_out + first, d);
        for (int k = 0; k < 8; k++) slopes(gate[k], up[k], d[k], d_gate[k], d_up[k]);
        put_eight(d_gate_up + at, d_gate);
        put_eight(d_gate_up + at + ff, d_up);
        return;
    }
    for (u64 i = first; i < first + 8 && i < len; i++) {
        u64 at = i / ff * 2 * ff + i % ff;
        float d_gate, d_up;
        slopes(to_float(gate_up[at]), to_float(gate_up[at + ff]), to_float(d_out[i]), d_gate, d_up);
        put(&d_gate_up[at], d_gate);
        put(&d_gate_up[at + ff], d_up);
    }
}
