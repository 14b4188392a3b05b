// SwiGLU, silu(gate)·up with silu(x) = x·σ(x) (Shazeer, arXiv 2002.05202). A thread has eight elements of row
// blockIdx.x.

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// Computes out (rows, ff) from gate_up (rows, 2·ff), in which each row is (gate, up).
extern "C" __global__ void swiglu(const store* gate_up, store* out, u32 rows, u32 ff) {
    u32 column = (blockIdx.y * blockDim.x + threadIdx.x) * 8;
    if (column >= ff) return;
    u32 count = ff - column;
    const store* at = gate_up + (u64)blockIdx.x * 2 * ff + column;
    float gate[8], up[8];
    load_up_to_eight(at, count, gate);
    load_up_to_eight(at + ff, count, up);
    for (int k = 0; k < 8; k++) gate[k] = gate[k] * sigmoid(gate[k]) * up[k];
    put_up_to_eight(out + (u64)blockIdx.x * ff + column, count, gate);
}

// Computes d_gate_up (rows, 2·ff) from gate_up (rows, 2·ff) and d_out (rows, ff): d·up·σ(g)·(1 + g·(1 − σ(g))) and
// d·silu(g).
extern "C" __global__ void swiglu_backward(const store* gate_up, const store* d_out, store* d_gate_up, u32 rows, u32 ff) {
    u32 column = (blockIdx.y * blockDim.x + threadIdx.x) * 8;
    if (column >= ff) return;
    u32 count = ff - column;
    u64 at = (u64)blockIdx.x * 2 * ff + column;
    float gate[8], up[8], d[8];
    load_up_to_eight(gate_up + at, count, gate);
    load_up_to_eight(gate_up + at + ff, count, up);
    load_up_to_eight(d_out + (u64)blockIdx.x * ff + column, count, d);
    for (int k = 0; k < 8; k++) {
        float sigma = sigmoid(gate[k]);
        float d_silu = d[k] * up[k];
        up[k] = d[k] * gate[k] * sigma;
        gate[k] = d_silu * sigma * (1.0f + gate[k] * (1.0f - sigma));
    }
    put_up_to_eight(d_gate_up + at, count, gate);
    put_up_to_eight(d_gate_up + at + ff, count, up);
}
