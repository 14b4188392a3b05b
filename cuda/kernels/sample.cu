// quick
__device__ __forceinline__ double uniform(u32 k0, u32 k1, u32 purpose, u32 a, u32 b, u32 c) {
    u32 x0 = c, x1 = b, x2 = a, x3 = purpose;
    for (int r = 0; r < 10; r++) {
        if (r > 0) k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
        u64 p0 = (u64)0xD2511F53u * x0, p1 = (u64)0xCD9E8D57u * x2;
        u32 y0 = (u32)(p1 >> 32) ^ x1 ^ k0, y1 = (u32)p1, y2 = (u32)(p0 >> 32) ^ x3 ^ k1, y3 = (u32)p0;
        x0 = y0, x1 = y1, x2 = y2, x3 = y3;
    }
    u64 bits = ((u64)x1 << 32 | x0) >> 11;
    return (double)bits * (1.0 / 9007199254740992.0);
}
extern "C" __global__ void sample(const store* logits, const u32* places, u32* tokens, float* values, u32 rows, u32 vocab,
                                  float scale, u32 greedy, u32 top_k, double top_p, u32 key_low, u32 key_high, u32 purpose, u32 step) {
    if (threadIdx.x > 0) return;
    logits += (u64)blockIdx.x * vocab;
    float u = (float)uniform(key_low, key_high, purpose, step, places[2 * blockIdx.x], places[2 * blockIdx.x + 1]);
    float largest = -INFINITY_F; u32 best = 0;
    for (u32 i = 0; i < vocab; i++) if (to_float(logits[i]) * scale > largest) largest = to_float(logits[i]) * scale, best = i;
    float sum = 0, weighted = 0;
    for (u32 i = 0; i < vocab; i++) { float z = to_float(logits[i]) * scale - largest, e = expf(z); sum += e; weighted += e > 0 ? e * z : 0; }
    float log_total = logf(sum), cumulative = 0; u32 at = best;
    if (!greedy) for (u32 i = 0; i < vocab; i++) { float p = expf(to_float(logits[i]) * scale - largest - log_total); if (p > 0) { cumulative += p; at = i; if (cumulative > u) break; } }
    tokens[blockIdx.x] = at;
    values[2 * blockIdx.x] = to_float(logits[at]) * scale - largest - log_total;
    values[2 * blockIdx.x + 1] = log_total - weighted / sum;
}
