//! The operations that a transformer needs of a device, in addition to those of `flowrl_core`.

use flowrl_core::backend::{Backend, CpuError};

/// Rows of tokens packed without padding, as spans that attend to themselves and to one earlier span.
///
/// A group is the span of a prompt followed by the spans of its completions, which all attend to that prompt.
/// This way the prompt is computed once, however many completions it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Spans in ascending order of rows, which together cover every row once.
    pub spans: Vec<Span>,
    /// First span of each group, as an index into `spans`, with `spans.len()` at the end. Gradients never cross groups.
    pub groups: Vec<usize>,
}

impl Layout {
    /// Returns the number of rows of this layout.
    pub fn rows(&self) -> usize {
        self.spans.last().map_or(0, |s| s.start + s.len)
    }

    /// Checks that spans follow one another and that each prefix lies earlier in the same group.
    ///
    /// # Errors
    /// Returns [`CpuError::Rule`] with the offending span or group and the rule it breaks.
    pub fn check(&self) -> Result<(), CpuError> {
        let broken = |argument, index, rule| Err(CpuError::Rule { argument, index, rule });
        let Self { spans, groups } = self;
        if groups.first().is_some_and(|first| *first != 0) {
            return broken("layout.groups", 0, "be 0");
        }
        if groups.last().copied().unwrap_or(0) != spans.len() {
            return broken("layout.groups", groups.len().saturating_sub(1), "be the number of spans");
        }
        let mut end = 0;
        for (index, group) in groups.windows(2).enumerate() {
            if group[0] > group[1] || group[1] > spans.len() {
                return broken("layout.groups", index + 1, "ascend up to the number of spans");
            }
            let first = end;
            for (index, span) in spans.iter().enumerate().take(group[1]).skip(group[0]) {
                if span.start != end {
                    return broken("layout.spans", index, "start where the span before it ends");
                }
                if span.prefix_len > 0 && (span.prefix_start < first || span.prefix_start + span.prefix_len > end) {
                    return broken("layout.spans", index, "have its prefix earlier in its group");
                }
                if span.prefix_len == 0 && span.prefix_start > end {
                    return broken("layout.spans", index, "not have its prefix after it");
                }
                end += span.len;
            }
        }
        Ok(())
    }
}

/// Consecutive rows of one sequence, and the earlier span that they continue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First row of this span.
    pub start: usize,
    /// Number of rows of this span.
    pub len: usize,
    /// First row of the span that precedes this one in its sequence.
    pub prefix_start: usize,
    /// Number of rows of the preceding span; 0 if there is none.
    pub prefix_len: usize,
}

/// The head counts of an attention layer. A row of `qkv` has (heads + 2·kv_heads)·head_dim elements: queries,
/// keys, values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of a head; even.
    pub head_dim: usize,
}

impl Heads {
    /// Returns the number of elements of all queries in a row.
    pub const fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Returns the number of elements of all keys in a row, which is also that of all values.
    pub const fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Returns the number of elements of a row of queries, keys and values.
    pub const fn qkv_width(&self) -> usize {
        self.q_width() + 2 * self.kv_width()
    }
}

/// Default limit of logits held at once: 64 MiB in f32.
pub const LOGITS: usize = 16 << 20;
/// Default limit of keys and values cached at once, over all layers: 1 GiB in f32.
pub const CACHE: usize = 256 << 20;

/// The outcome of an operation on a device.
pub type Outcome<B> = Result<(), <B as Backend>::Error>;

/// A device that can run a transformer.
///
/// The rules of [`Backend`] hold here too: buffers are row-major, and no result depends on the batch around it. A clone
/// addresses the same device. Every operation returns an error if the device fails or a buffer is too short.
pub trait TransformerBackend: Backend + Clone {
    /// Returns how many parts of a batch can be computed side by side, each by its own worker.
    fn workers(&self) -> usize {
        1
    }
    /// Calls `work` with every part and a worker that only this part uses, and returns the results in the order
    /// of the parts.
    fn side_by_side<P: Send, R: Send>(&self, parts: Vec<P>, work: impl Fn(Self, P) -> R + Send + Sync) -> Vec<R> {
        parts.into_iter().map(|part| work(self.clone(), part)).collect()
    }

    /// Returns how many logits this device holds at once. If all logits of a micro-batch fit, its backward pass
    /// recomputes none of them.
    fn logits_limit(&self) -> usize {
        LOGITS
    }
    /// Returns the limit of keys and values cached at once during generation. If more sequences are asked for
    /// than fit, they are sampled in waves.
    fn cache_limit(&self) -> usize {
        CACHE
    }

    /// Copies the rows `ids` of `table`, which may be any matrix of width d, to `out` (rows, d).
    fn embed(
        &self,
        table: &Self::Buffer,
        ids: &Self::Index,
        shape: (usize, usize),
        out: &mut Self::Buffer,
    ) -> Outcome<Self>;
    /// Adds row r of `d_out` (rows, d) to row `ids[r]` of `d_table`, in ascending order of r: the
    /// backward pass of [`TransformerBackend::embed`].
    fn scatter_add(
        &self,
        d_out: &Self::Buffer,
        ids: &Self::Index,
        shape: (usize, usize),
        d_table: &mut Self::Buffer,
    ) -> Outcome<Self>;

    /// Computes y = x/√(mean(x²) + ε)·w for `shape` = (rows, d), and stores 1/√(…) of each row in `inv_rms`
    /// (rows) for the backward pass.
    fn rms_norm(
        &self,
        x: &Self::Buffer,
        w: &Self::Buffer,
        eps: f64,
        shape: (usize, usize),
        y: &mut Self::Buffer,
        inv_rms: &mut Self::Buffer,
    ) -> Outcome<Self>;
    /// Adds the gradients of [`TransformerBackend::rms_norm`] to `dx` and `dw`.
    fn rms_norm_backward(
        &self,
        dy: &Self::Buffer,
        x: &Self::Buffer,
        w: &Self::Buffer,
        inv_rms: &Self::Buffer,
        shape: (usize, usize),
        dx: &mut Self::Buffer,
        dw: &mut Self::Buffer,
    ) -> Outcome<Self>;

    /// Applies an RMS norm with weights (head_dim) to every query and key head of `qkv` (rows) and copies the
    /// values: the QK norm of Qwen3. `inv_rms` is (rows, heads + kv_heads).
    fn qk_norm(
        &self,
        qkv: &Self::Buffer,
        w_q: &Self::Buffer,
        w_k: &Self::Buffer,
        eps: f64,
        rows: usize,
        heads: Heads,
        out: &mut Self::Buffer,
        inv_rms: &mut Self::Buffer,
    ) -> Outcome<Self>;
    /// Replaces `d_qkv` by the gradient of the input, and adds to `dw_q` and `dw_k`.
    fn qk_norm_backward(
        &self,
        qkv: &Self::Buffer,
        w_q: &Self::Buffer,
        w_k: &Self::Buffer,
        inv_rms: &Self::Buffer,
        rows: usize,
        heads: Heads,
        d_qkv: &mut Self::Buffer,
        dw_q: &mut Self::Buffer,
        dw_k: &mut Self::Buffer,
    ) -> Outcome<Self>;

    /// Rotates the queries and keys of `qkv` in place by their positions, in the halves convention of Hugging Face.
    /// `cos` and `sin` are (positions, head_dim/2). With `backward` it rotates the other way, which is the gradient.
    fn rope(
        &self,
        qkv: &mut Self::Buffer,
        positions: &Self::Index,
        cos: &Self::Buffer,
        sin: &Self::Buffer,
        rows: usize,
        heads: Heads,
        backward: bool,
    ) -> Outcome<Self>;

    /// Computes causal attention over packed spans: `out` is (rows, heads·head_dim), `log_sum_exp` is log Σ exp
    /// of the scores, (rows, heads).
    fn attention(
        &self,
        qkv: &Self::Buffer,
        layout: &Layout,
        heads: Heads,
        out: &mut Self::Buffer,
        log_sum_exp: &mut Self::Buffer,
    ) -> Outcome<Self>;
    /// Computes `d_qkv` (rows) from `d_out`, overwriting it.
    fn attention_backward(
        &self,
        qkv: &Self::Buffer,
        out: &Self::Buffer,
        log_sum_exp: &Self::Buffer,
        d_out: &Self::Buffer,
        layout: &Layout,
        heads: Heads,
        d_qkv: &mut Self::Buffer,
    ) -> Outcome<Self>;

    /// Copies the keys and values of row r of `qkv` to row `slots[r]` of the cache, (capacity, 2·kv_heads·head_dim).
    fn cache_store(&self, qkv: &Self::Buffer, slots: &[u32], heads: Heads, cache: &mut Self::Buffer) -> Outcome<Self>;
    /// Computes the attention of one new row per span. `spans` address rows of the cache, and the last row of
    /// each span is the new one. The result is that of [`TransformerBackend::attention`] over the whole
    /// sequence, on the CPU bit for bit.
    fn cached_attention(
        &self,
        qkv: &Self::Buffer,
        cache: &Self::Buffer,
        spans: &[Span],
        heads: Heads,
        out: &mut Self::Buffer,
    ) -> Outcome<Self>;

    /// Computes `out` (rows, ff) = silu(gate)·up; a row of `gate_up` is (gate, up).
    fn swiglu(&self, gate_up: &Self::Buffer, shape: (usize, usize), out: &mut Self::Buffer) -> Outcome<Self>;
    /// Computes `d_gate_up` (rows, 2·ff) from `d_out` (rows, ff), overwriting it.
    fn swiglu_backward(
        &self,
        gate_up: &Self::Buffer,
        d_out: &Self::Buffer,
        shape: (usize, usize),
        d_gate_up: &mut Self::Buffer,
    ) -> Outcome<Self>;

    /// Computes `out` (spans, d), the mean of the rows of `x` in each span (start, len).
    fn mean_rows(&self, x: &Self::Buffer, spans: &[(usize, usize)], d: usize, out: &mut Self::Buffer) -> Outcome<Self>;
    /// Adds the row of `d_out` of each span (start, len), divided by len, to every row of `dx` in that span.
    fn mean_rows_backward(
        &self,
        d_out: &Self::Buffer,
        spans: &[(usize, usize)],
        d: usize,
        dx: &mut Self::Buffer,
    ) -> Outcome<Self>;
}
