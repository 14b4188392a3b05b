// Filling buffers with a constant.

// Sets x[..len] = value.
extern "C" __global__ void fill(store* x, u64 len, float value) {
    u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < len) put(&x[i], value);
}
