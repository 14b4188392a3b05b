// AdamW (Loshchilov and Hutter, arXiv 1711.05101), in the order of operations of PyTorch.

// x, or 0 where it is closer to 0 than `floor`: moments vanish instead of becoming subnormal.
__device__ __forceinline__ float zero_below(float floor, float x) { return fabsf(x) < floor ? 0.0f : x; }

// p ← p·keep − rate·m/(√v/root + ε), with m and v the moments of grad_scale·g. All are (len); `copy`, where it is given, becomes p
// as it is stored for products.
extern "C" __global__ void adamw(float* p, store* copy, const float* g, float* m, float* v, u64 len, float b1, float b2,
                                 float keep, float rate, float root, float eps, float grad_scale) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= len) return;
    const float smallest = 1.17549435e-38f, epsilon = 1.1920929e-7f;
    float gradient = g[i] * grad_scale;
    float first = zero_below(smallest / epsilon, b1 * m[i] + (1.0f - b1) * gradient);
    float second = zero_below(smallest, b2 * v[i] + (1.0f - b2) * gradient * gradient);
    m[i] = first, v[i] = second;
    p[i] = p[i] * keep - rate * first / (sqrtf(second) / root + eps);
    if (copy) put(&copy[i], p[i]);
}
