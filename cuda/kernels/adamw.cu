// AdamW's update (Loshchilov and Hutter, arXiv 1711.05101). Every operation is rounded separately and in the CPU's
// order, so that the bits agree for any storage type of products.

// Returns x, or 0 if |x| is below `floor`. This keeps a shrinking moment from remaining subnormal.
__device__ __forceinline__ float zero_below(float floor, float x) { return fabsf(x) < floor ? 0.0f : x; }

// Returns a·x + b·y.
__device__ __forceinline__ float blend(float a, float x, float b, float y) {
    return __fadd_rn(__fmul_rn(a, x), __fmul_rn(b, y));
}

// Computes p ← p·keep − rate·m/(√v/root + ε), with the moments m and v of grad_scale·g, keep = 1 − lr·decay, rate =
// lr/(1 − b1ᵗ) and root = √(1 − b2ᵗ). p, g, m and v are (len). If `copy` is not null, it receives p in the storage type
// of products.
extern "C" __global__ void adamw(float* p, store* copy, const float* g, float* m, float* v, u64 len, float b1, float b2,
                                 float keep, float rate, float root, float eps, float grad_scale) {
    const float SMALLEST = 1.175494351e-38f, EPSILON = 1.1920928955078125e-7f;
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= len) return;
    float gradient = __fmul_rn(g[i], grad_scale), c2 = 1.0f - b2;
    // The first moment is multiplied by the rate, and that product must be normal, too.
    float first = zero_below(SMALLEST / EPSILON, blend(b1, m[i], 1.0f - b1, gradient));
    float second = zero_below(SMALLEST, blend(b2, v[i], __fmul_rn(c2, gradient), gradient));
    float change = __fdiv_rn(__fmul_rn(rate, first), __fadd_rn(__fdiv_rn(__fsqrt_rn(second), root), eps));
    float next = __fadd_rn(__fmul_rn(p[i], keep), -change);
    m[i] = first;
    v[i] = second;
    p[i] = next;
    if (copy) put(&copy[i], next);
}
