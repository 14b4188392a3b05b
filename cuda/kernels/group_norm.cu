// From rewards to what the loss uses: r̂ of FlowRL, A of a baseline. Within a group r, r − mean or (r − mean) / (std + eps), the latter
// as in GRPO (Shao and others, arXiv 2402.03300); or r − V(x) as in PPO (Schulman and others, arXiv 1707.06347).

// A block for each group. The members of group g are members[starts[g] .. starts[g + 1]], or those numbers themselves where `members` is
// null; `rewards`, `values` and `out` have an element per sequence. mode: 0 raw, 1 centre, 2 normalise, 3 subtract the value.
// keep_single leaves a group of one as it is; otherwise equal rewards give 0. failed[g] is 1 where a number is not finite.
extern "C" __global__ void group_norm(const float* rewards, const float* values, const u32* members, const u32* starts,
                                      float* out, double* failed, u32 sequences, u32 groups, u32 mode, u32 keep_single,
                                      u32 ddof, double eps) {
    u32 first = starts[blockIdx.x], count = starts[blockIdx.x + 1] - first;
    auto sequence = [=](u32 k) { return members ? members[first + k] : first + k; };
    double head = rewards[sequence(0)], sum = 0.0, squares = 0.0;
    u32 differ = 0, bad = 0;
    for (u32 k = threadIdx.x; k < count; k += blockDim.x) {
        double reward = rewards[sequence(k)];
        sum += reward;
        differ |= reward != head;
        bad |= !is_finite(reward);
    }
    double mean = block_reduce(sum, Add(), 0.0) / count;
    differ = block_reduce(differ, Max(), 0u);
    for (u32 k = threadIdx.x; k < count; k += blockDim.x) {
        double centred = rewards[sequence(k)] - mean;
        squares += centred * centred;
    }
    double std = sqrt(block_reduce(squares, Add(), 0.0) / (count > ddof ? count - ddof : 1));
    bool raw = mode == 0 || (keep_single && count == 1);
    for (u32 k = threadIdx.x; k < count; k += blockDim.x) {
        u32 i = sequence(k);
        double reward = rewards[i], centred = differ ? reward - mean : 0.0;
        double result = mode == 3 ? reward - values[i] : raw ? reward : mode == 1 ? centred : centred / (std + eps);
        // Equal rewards have no deviation, and eps may be 0.
        out[i] = mode == 2 && !raw && !differ ? 0.0f : (float)result;
        bad |= !is_finite(out[i]);
    }
    bad = block_reduce(bad, Max(), 0u);
    if (threadIdx.x == 0) failed[blockIdx.x] = bad;
}
