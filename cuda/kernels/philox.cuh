// Philox4x32-10, a stateless random generator: a number is a function of the place at which it is used (Salmon, Moraes,
// Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). The CPU draws the same numbers.

// Returns the 53 random bits of `purpose` at (a, b, c) under a 64-bit key.
__device__ __forceinline__ u64 random_bits(u32 key_low, u32 key_high, u32 purpose, u32 a, u32 b, u32 c) {
    u32 x0 = c, x1 = b, x2 = a, x3 = purpose;
    for (int round = 0; round < 10; round++) {
        u32 low0 = 0xD2511F53u * x0, high0 = __umulhi(0xD2511F53u, x0);
        u32 low1 = 0xCD9E8D57u * x2, high1 = __umulhi(0xCD9E8D57u, x2);
        x0 = high1 ^ x1 ^ key_low;
        x1 = low1;
        x2 = high0 ^ x3 ^ key_high;
        x3 = low0;
        key_low += 0x9E3779B9u;
        key_high += 0xBB67AE85u;
    }
    return ((u64)x1 << 32 | x0) >> 11;
}

// Returns these bits as a number in [0, 1).
__device__ __forceinline__ double uniform(u32 key_low, u32 key_high, u32 purpose, u32 a, u32 b, u32 c) {
    return (double)random_bits(key_low, key_high, purpose, a, b, c) * (1.0 / 9007199254740992.0);
}
