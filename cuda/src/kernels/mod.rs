//! The table of kernels. Each row declares a kernel with the length of each argument, and becomes a function that checks
//! every buffer against these lengths before the launch.

use flowrl_lm::backend::Heads;

use crate::buffer::{Buffer, Index};
use crate::constants::{MEASURES, MERGED_ROWS, PART_NUMBERS, PARTS, TILE_ROWS, WARP_ROWS};
use crate::device::{Device, Kernel};
use crate::error::Result;
use crate::grid::Grid;
use crate::tile;
use crate::unit::{Storage, Unit};

mod arguments;

use arguments::{Arguments, Scalar};

/// Declares kernels: `"file.cu" name(access kind argument[length], …; size: type, …) on grid;`.
///
/// The access is `read`, `write` (or read and write), or `maybe_read` and `maybe_write` for optional ones. The kind is
/// `store`, `f32`, `f64` or `index`. Lengths and grids may refer to the sizes. The function takes the device, the
/// pointers in parentheses, and the sizes in parentheses; the kernel takes all of them in this order. With `, variant
/// columns` the kernel's symbol is `name_columns`.
macro_rules! kernels {
    ($($(#[$doc:meta])* $file:literal $name:ident(
        $($access:ident $kind:ident $argument:ident[$len:expr]),* ; $($scalar:ident: $type:ty),*
    ) on $grid:expr $(, variant $variant:expr)?;)*) => {
        $($(#[$doc])*
        #[allow(clippy::type_complexity, unused_parens)]
        pub(crate) fn $name<'a>(
            device: &'a Device,
            ($($argument),*): ($(kernels!(@type 'a $access $kind)),*),
            ($($scalar),*): ($(<$type as Scalar>::Given),*),
        ) -> Result<()> {
            let grid: Grid = $grid;
            let mut arguments = Arguments::default();
            $(arguments.$kind(stringify!($argument), kernels!(@given $access $argument), $len)?;)*
            $(<$type as Scalar>::push(stringify!($scalar), $scalar, &mut arguments)?;)*
            let unit = Unit { file: $file, storage: arguments.storage.unwrap_or(Storage::F32) };
            let columns = [$($variant)?].first().copied();
            let kernel = Kernel { name: stringify!($name), columns, unit };
            device.launch(&kernel, grid, &arguments.list)
        })*
    };
    (@type $l:lifetime read $kind:ident) => { &$l kernels!(@buffer $kind) };
    (@type $l:lifetime write $kind:ident) => { &$l mut kernels!(@buffer $kind) };
    (@type $l:lifetime maybe_read $kind:ident) => { Option<&$l kernels!(@buffer $kind)> };
    (@type $l:lifetime maybe_write $kind:ident) => { Option<&$l mut kernels!(@buffer $kind)> };
    (@buffer index) => { Index };
    (@buffer $kind:ident) => { Buffer };
    (@given read $argument:ident) => { Some($argument) };
    (@given write $argument:ident) => { Some(&*$argument) };
    (@given maybe_read $argument:ident) => { $argument };
    (@given maybe_write $argument:ident) => { $argument.map(|argument| &*argument) };
}

kernels! {
    /// Sets x[..len] = value.
    "fill.cu" fill(write store x[len]; len: u64, value: f32) on Grid::flat(len);

    /// Computes y = GELU(x).
    "gelu.cu" gelu(read store x[len], write store y[len]; len: u64) on Grid::flat(len);
    /// Replaces dy by dx.
    "gelu.cu" gelu_backward(read store x[len], write store dy[len]; len: u64) on Grid::flat(len);

    /// Adds the sum of the rows of x to `sums`.
    "column_sum.cu" column_sum(read store x[rows * columns], write f32 sums[columns]; rows: u32, columns: u32)
        on Grid::sums(1, columns, 64);
    /// Sets row p of `partial` to the sum of part p of the rows of x.
    "column_sum.cu" column_sum_parts(
        read store x[rows * columns], write f32 partial[parts * columns]; rows: u32, columns: u32, parts: u32
    ) on Grid::sums(parts, columns, 256);

    /// Computes y = (x − mean)·inv_std·γ + β.
    "layer_norm.cu" layer_norm(
        read f32 x[rows * columns], read f32 gamma[columns], read f32 beta[columns], write f32 y[rows * columns],
        write f32 mean[rows], write f32 inv_std[rows]; rows: u32, columns: u32, eps: f32
    ) on Grid::long_rows(rows, columns, 512);
    /// Replaces dy by dx.
    "layer_norm.cu" layer_norm_backward_input(
        read f32 x[rows * columns], read f32 gamma[columns], read f32 mean[rows], read f32 inv_std[rows],
        write f32 dy[rows * columns]; rows: u32, columns: u32
    ) on Grid::long_rows(rows, columns, 512);
    /// Adds to dγ and dβ.
    "layer_norm.cu" layer_norm_backward_weight(
        read f32 x[rows * columns], read f32 mean[rows], read f32 inv_std[rows], read f32 dy[rows * columns],
        write f32 d_gamma[columns], write f32 d_beta[columns]; rows: u32, columns: u32
    ) on Grid::rows(columns.div_ceil(32), 256);

    /// Sets each row of y to `bias`.
    "product.cu" put_bias(read store bias[columns], write store y[rows * columns]; rows: u32, columns: u32)
        on Grid::wide_rows(rows, columns);
    /// Computes c = op(a)·op(b) (+ bias) (+ c), as [`Product`](crate::product::Product) describes it.
    "product.cu" multiply(
        read store a[rows * inner], read store b[inner * columns], maybe_read store bias[rows],
        write store c[rows * columns]; rows: u32, inner: u32, columns: u32, flags: [u32; 3]
    ) on Grid::products(rows, columns);
    /// As [`multiply`], but with an f32 result for any storage type of a and b.
    "product.cu" multiply_to_f32(
        read store a[rows * inner], read store b[inner * columns], maybe_read f32 bias[rows],
        write f32 c[rows * columns]; rows: u32, inner: u32, columns: u32, flags: [u32; 3]
    ) on Grid::products(rows, columns);

    /// Multiplies each element by 0 or `keep`.
    "dropout.cu" dropout(write f32 x[rows * columns]; rows: u32, columns: u32, rate: f64, keep: f32, key: [u32; 5])
        on Grid::flat(rows * columns);

    /// Computes log p, log Σ exp and the entropy of each row.
    "log_prob.cu" log_prob(
        read store logits[rows * vocab], read index targets[rows], write f32 log_prob[rows],
        write f32 log_sum_exp[rows], write f32 entropy[rows]; rows: u32, vocab: u32, scale: f32
    ) on Grid::long_rows(rows, vocab, 256);
    /// Replaces logits by the gradient of d_log_prob·log p + d_entropy·entropy.
    "log_prob.cu" log_prob_backward(
        write store logits[rows * vocab], read index targets[rows], read f32 log_sum_exp[rows],
        read f32 d_log_prob[rows], maybe_read f32 entropy[rows], maybe_read f32 d_entropy[rows]; rows: u32, vocab: u32,
        scale: f32
    ) on Grid::long_rows(rows, vocab, 256);
    /// As [`log_prob_backward`], but keeps the logits, which are f32, and writes the gradient to `d_logits`.
    "log_prob.cu" log_prob_gradient(
        read f32 logits[rows * vocab], read index targets[rows], read f32 log_sum_exp[rows], read f32 d_log_prob[rows],
        maybe_read f32 entropy[rows], maybe_read f32 d_entropy[rows], write store d_logits[rows * vocab]; rows: u32,
        vocab: u32, scale: f32
    ) on Grid::long_rows(rows, vocab, 256);
    /// Draws a token from each row and computes its (log p, entropy, excluded mass). `places` are (sequence, token).
    "sample.cu" sample(
        read store logits[rows * vocab], maybe_read index excluded[vocab.div_ceil(32)], read index places[2 * rows],
        write index tokens[rows], write f32 values[3 * rows]; rows: u32, vocab: u32, scale: f32, greedy: u32,
        top_k: u32, top_p: f64, key: [u32; 4]
    ) on Grid::long_rows(rows, vocab, 512);

    /// Takes one AdamW step. `copy` receives p in the storage type of products.
    "adamw.cu" adamw(
        write f32 p[len], maybe_write store copy[len], read f32 g[len], write f32 m[len], write f32 v[len]; len: u64,
        numbers: [f32; 7]
    ) on Grid::flat(len);
    /// Computes the sum of squares of each part of x.
    "sum_squares.cu" sum_squares(read store x[len], write f64 partial[parts]; len: u64, parts: u32, part: u32)
        on Grid::rows(parts, 256);

    /// Computes (u, log w, (L − L_old)/divisor) of each sequence, for `trajectory_balance`.
    "trajectory_balance.cu" trajectory_sums(
        read f32 log_probs[tokens], maybe_read f32 ref_log_probs[tokens], maybe_read f32 old_log_probs[tokens],
        read index offsets[sequences + 1], read f32 advantages[sequences], maybe_read index masks[sequences],
        write f32 parts[PARTS * sequences], write f64 measured[MEASURES * sequences]; sequences: u32, tokens: u32,
        beta: f64, power: f64, length: f64, importance: u32, masked: u32, mask_log: [f64; 2]
    ) on Grid::rows(sequences, 256);
    /// Computes the loss and gradients of trajectory balance, after `trajectory_sums`.
    "trajectory_balance.cu" trajectory_balance(
        read f32 log_probs[tokens], maybe_read f32 old_log_probs[tokens], read index offsets[sequences + 1],
        read f32 advantages[sequences], maybe_read f32 log_z[sequences], maybe_read index masks[sequences],
        read index members[sequences], read index starts[groups + 1], read index group_of[sequences],
        read f32 parts[PARTS * sequences], write f32 d_log_probs[tokens], write f32 d_log_z[sequences],
        write f32 used_log_z[sequences], write f32 residuals[sequences], write f32 weights[sequences],
        write f64 measured[MEASURES * sequences]; sequences: u32, tokens: u32, groups: u32, total: f64, length: f64,
        estimator: u32, clip: [f64; 4], huber: f64, masked: u32, mask_log: [f64; 2], learned: u32, bounds: [f64; 2],
        beta: f64, gap: f64
    ) on Grid::rows(sequences, 256);
    /// Computes the loss and gradients of a policy gradient.
    "policy_gradient.cu" policy_gradient(
        read f32 log_probs[tokens], maybe_read f32 ref_log_probs[tokens], maybe_read f32 old_log_probs[tokens],
        maybe_read f32 rollout_log_probs[tokens], maybe_read f32 entropies[tokens], read index offsets[sequences + 1],
        read f32 advantages[sequences], maybe_read index masks[sequences], write f32 d_log_probs[tokens],
        maybe_write f32 d_entropies[tokens], write f32 d_log_z[sequences], write f32 used_log_z[sequences],
        write f32 residuals[sequences], write f32 weights[sequences], write f64 measured[MEASURES * sequences];
        sequences: u32, tokens: u32, ratio: u32, clip: [f64; 4], dual: [f64; 2], kl: f64, kl_in: u32, kl_estimator: u32,
        kl_max: f64, kl_unbiased: u32, entropy: f64, divisor: f64, by_length: u32, max_behind: f64, correction: u32,
        rollout: [f64; 2]
    ) on Grid::rows(sequences, 256);
    /// Computes PPO's value loss and its derivative.
    "policy_gradient.cu" value_loss(
        read f32 rewards[count], read f32 values[count], write f32 d_values[count], write f64 loss[1]; count: u32,
        sequences: f64
    ) on Grid::rows(1, 256);

    /// Copies rows `ids` of the table to `out`.
    "embed.cu" embed(
        read store table[table_rows * d], read index ids[rows], write store out[rows * d]; rows: u32, d: u32,
        table_rows: u32
    ) on Grid::wide_rows(rows, d);
    /// Adds rows of d_out to rows of d_table, group by group. The rows at order[starts[g] .. starts[g + 1]] go to the
    /// same table row.
    "embed.cu" scatter_add(
        read store d_out[rows * d], read index ids[rows], read index order[rows], read index starts[groups + 1],
        write f32 d_table[table_rows * d]; groups: u32, rows: u32, d: u32, table_rows: u32
    ) on Grid::sums(groups, d, 256);
    /// As [`scatter_add`], for a table that is stored as activations are.
    "embed.cu" scatter_add_store(
        read store d_out[rows * d], read index ids[rows], read index order[rows], read index starts[groups + 1],
        write store d_table[table_rows * d]; groups: u32, rows: u32, d: u32, table_rows: u32
    ) on Grid::sums(groups, d, 256);

    /// Computes y = x·inv_rms·w.
    "rms_norm.cu" rms_norm(
        read store x[rows * d], read store w[d], write store y[rows * d], write f32 inv_rms[rows]; rows: u32, d: u32,
        eps: f32
    ) on Grid::wide_rows(rows, d);
    /// Adds to dx.
    "rms_norm.cu" rms_norm_backward_input(
        read store dy[rows * d], read store x[rows * d], read store w[d], read f32 inv_rms[rows],
        write store dx[rows * d]; rows: u32, d: u32
    ) on Grid::wide_rows(rows, d);
    /// Sets row p of `partial` to the sum of dy·x·inv_rms over part p of the rows.
    "rms_norm.cu" rms_norm_backward_weight(
        read store dy[rows * d], read store x[rows * d], read f32 inv_rms[rows], write f32 partial[parts * d];
        rows: u32, d: u32, parts: u32
    ) on Grid::sums(parts, d, 256);

    /// Applies RMS normalisation to every query and key head, and copies the values.
    "qk_norm.cu" qk_norm(
        read store qkv[rows * heads.qkv_width()], read store w_q[heads.head_dim], read store w_k[heads.head_dim],
        write store out[rows * heads.qkv_width()], write f32 inv_rms[rows * (heads.heads + heads.kv_heads)]; rows: u32,
        heads: Heads, eps: f32
    ) on Grid::heads(rows, heads.heads + 2 * heads.kv_heads, heads.head_dim);
    /// Replaces d_qkv by the gradient of the input.
    "qk_norm.cu" qk_norm_backward_input(
        read store qkv[rows * heads.qkv_width()], read store w_q[heads.head_dim], read store w_k[heads.head_dim],
        read f32 inv_rms[rows * (heads.heads + heads.kv_heads)], write store d_qkv[rows * heads.qkv_width()]; rows: u32,
        heads: Heads
    ) on Grid::heads(rows, heads.heads + heads.kv_heads, heads.head_dim);
    /// Sets row p of each `partial` to the sum over part p of the rows.
    "qk_norm.cu" qk_norm_backward_weight(
        read store qkv[rows * heads.qkv_width()], read store d_qkv[rows * heads.qkv_width()],
        read f32 inv_rms[rows * (heads.heads + heads.kv_heads)], write f32 partial_q[parts * heads.head_dim],
        write f32 partial_k[parts * heads.head_dim]; rows: u32, heads: Heads, parts: u32
    ) on Grid::table(parts, 2 * heads.head_dim.div_ceil(256), 256);

    /// Rotates queries and keys by their positions. A `sign` of −1 rotates them back.
    "rope.cu" rope(
        write store qkv[rows * heads.qkv_width()], read index positions[rows],
        read f32 cos[table_rows * (heads.head_dim / 2)], read f32 sin[table_rows * (heads.head_dim / 2)]; rows: u32,
        heads: Heads, table_rows: u32, sign: f32
    ) on Grid::wide_rows(rows, heads.q_width() + heads.kv_width());

    /// Causal attention. `spans` are (start, len, prefix_start, prefix_len) and `tiles` are (span, first row in it).
    "attention.cu" attention(
        read store qkv[rows * heads.qkv_width()], read index spans[4 * count], read index tiles[2 * blocks],
        write store out[rows * heads.q_width()], write f32 log_sum_exp[rows * heads.heads]; rows: u32, count: u32,
        blocks: u32, heads: Heads
    ) on tile::grid(blocks, heads.heads)
        .with_shared(tile::attention(heads.head_dim, qkv.storage)), variant tile::columns(heads.head_dim);
    /// Computes inner = d_out·out for each of `pairs` rows and heads.
    "attention_backward.cu" attention_inner(
        read store out[pairs * head_dim], read store d_out[pairs * head_dim], write f32 inner[pairs]; pairs: u64,
        head_dim: u32
    ) on Grid::rows(pairs.div_ceil(8), 256);
    /// Overwrites the queries' part of d_qkv.
    "attention_backward.cu" attention_backward_query(
        read store qkv[rows * heads.qkv_width()], read f32 log_sum_exp[rows * heads.heads],
        read store d_out[rows * heads.q_width()], read f32 inner[rows * heads.heads], read index spans[4 * count],
        read index tiles[2 * blocks], write store d_qkv[rows * heads.qkv_width()]; rows: u32, count: u32, blocks: u32,
        heads: Heads
    ) on tile::grid(blocks, heads.heads)
        .with_shared(tile::query_gradient(heads.head_dim, qkv.storage)), variant tile::columns(heads.head_dim);
    /// Overwrites the keys' and values' part of d_qkv, or writes partial sums of it. `parts` are those of
    /// `Parts::of_keys` in attention/work.rs, and followers[starts[s] .. starts[s + 1]] are the spans with a prefix in span s.
    "attention_backward.cu" attention_backward_key_value(
        read store qkv[rows * heads.qkv_width()], read f32 log_sum_exp[rows * heads.heads],
        read store d_out[rows * heads.q_width()], read f32 inner[rows * heads.heads], read index spans[4 * count],
        read index parts[PART_NUMBERS * blocks], read index starts[count + 1], read index followers[0],
        write store d_qkv[rows * heads.qkv_width()], maybe_write f32 partial[slots * TILE_ROWS * 2 * heads.kv_width()];
        rows: u32, count: u32, blocks: u32, slots: u32, heads: Heads
    ) on tile::grid(blocks, heads.kv_heads)
        .with_shared(tile::key_value_gradient(heads.head_dim, qkv.storage)), variant tile::columns(heads.head_dim);
    /// Sums the partial sums of `attention_backward_key_value` into d_qkv.
    "attention_backward.cu" merge_gradients(
        read f32 partial[slots * TILE_ROWS * 2 * heads.kv_width()], read index spans[4 * span_count],
        read index merges[4 * count], write store d_qkv[rows * heads.qkv_width()]; rows: u32, span_count: u32,
        count: u32, slots: u32, heads: Heads
    ) on Grid::table(count * TILE_ROWS / MERGED_ROWS, heads.kv_heads, 128);

    /// Computes by_rows = a·bᵀ and product = by_rows·b.
    #[cfg(test)]
    "tile_products.cu" tile_products(
        read store a[64 * 48], read store b[32 * 48], write f32 by_rows[64 * 32], write f32 product[64 * 48];
    ) on tile::grid(1, 1);

    /// Copies the keys and values of each row to its slot of the cache.
    "decode_attention.cu" cache_store(
        read store qkv[rows * heads.qkv_width()], read index slots[rows],
        write store cache[capacity * 2 * heads.kv_width()]; rows: u32, heads: Heads, capacity: u32
    ) on Grid::rows(rows, 128);
    /// Attention of one query row per span over the rows of the cache. A block takes one part of the keys. `parts` are
    /// (row, first key, 0 or 1 + slot of `partial`).
    "decode_attention.cu" cached_attention(
        read store qkv[rows * heads.qkv_width()], read store cache[capacity * 2 * heads.kv_width()],
        read index spans[4 * rows], read index parts[3 * blocks], write store out[rows * heads.q_width()],
        maybe_write f32 partial[slots * heads.heads * (2 + heads.head_dim)]; rows: u32, blocks: u32, slots: u32,
        heads: Heads, capacity: u32
    ) on tile::grid(blocks, heads.kv_heads * (heads.heads / heads.kv_heads).div_ceil(WARP_ROWS))
        .with_shared(tile::cached(heads.head_dim, qkv.storage)), variant tile::columns(heads.head_dim);
    /// Merges the parts of each row that has several. `merges` are (row, first slot, slots).
    "decode_attention.cu" merge_parts(
        read f32 partial[slots * heads * (2 + head_dim)], read index merges[3 * count],
        write store out[rows * heads * head_dim]; rows: u32, count: u32, slots: u32, heads: u32, head_dim: u32
    ) on Grid::table(count, heads, 64);

    /// Computes out = silu(gate)·up.
    "swiglu.cu" swiglu(read store gate_up[rows * 2 * ff], write store out[rows * ff]; rows: u32, ff: u32)
        on Grid::table(rows, ff.div_ceil(8 * 128), 128);
    /// Computes d_gate_up from d_out.
    "swiglu.cu" swiglu_backward(
        read store gate_up[rows * 2 * ff], read store d_out[rows * ff], write store d_gate_up[rows * 2 * ff]; rows: u32,
        ff: u32
    ) on Grid::table(rows, ff.div_ceil(8 * 128), 128);

    /// Computes the mean of the rows of each (start, len).
    "mean_rows.cu" mean_rows(
        read store x[rows * d], read index spans[2 * count], write f32 out[count * d]; count: u32, d: u32, rows: u32
    ) on Grid::sums(count, d, 256);
    /// Adds row first + s of d_out, divided by len, to every row of dx in span s. No two spans may share a row.
    "mean_rows.cu" mean_rows_backward(
        read f32 d_out[all * d], read index spans[2 * count], write store dx[rows * d]; count: u32, d: u32, rows: u32,
        all: u32, first: u32
    ) on Grid::sums(count, d, 256);
}
