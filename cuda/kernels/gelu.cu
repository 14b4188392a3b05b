// GELU in its exact form, y = x·Φ(x) with the normal distribution function Φ (Hendrycks and Gimpel, arXiv 1606.08415).

// Computes y from x; both are (len).
extern "C" __global__ void gelu(const store* x, store* y, u64 len) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= len) return;
    float v = to_float(x[i]);
    put(&y[i], 0.5f * v * (1.0f + erff(v * 0.70710678118654752f)));
}

// Replaces dy by dx = dy·(Φ(x) + x·φ(x)); both buffers are (len).
extern "C" __global__ void gelu_backward(const store* x, store* dy, u64 len) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= len) return;
    float v = to_float(x[i]);
    float below = 0.5f * (1.0f + erff(v * 0.70710678118654752f));
    float density = 0.3989422804014327f * expf(-0.5f * v * v);
    put(&dy[i], to_float(dy[i]) * (below + v * density));
}
