//! What a transformer needs of a device, beyond `flowrl_core`'s operations.

use flowrl_core::backend::{Backend, CpuError};

/// Rows of tokens packed without padding, as spans that attend to themselves and to one earlier span.
///
/// A group is its prompt's span followed by the spans of its completions, which all attend to that one prompt: the prompt is
/// computed once, however many completions it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// In ascending order of rows, covering every row once.
    pub spans: Vec<Span>,
    /// Where a group starts, as an index into `spans`, with `spans.len()` at the end. Gradients never cross groups.
    pub groups: Vec<usize>,
}

impl Layout {
    /// Rows of all spans.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.spans.last().map_or(0, |s| s.start + s.len)
    }

    /// Checks what a layout promises: spans one after another, each prefix earlier in the same group.
    ///
    /// # Errors
    /// [`CpuError::Rule`] with the span or group that breaks it, and the rule.
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

/// Consecutive rows of one sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First row.
    pub start: usize,
    /// Number of rows.
    pub len: usize,
    /// First row of the span that comes before it in its sequence.
    pub prefix_start: usize,
    /// Rows of that span, 0 for none.
    pub prefix_len: usize,
}

/// Heads of an attention layer. A row of `qkv` is (heads + 2·kv_heads)·head_dim: queries, keys, values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, a divisor of `heads`.
    pub kv_heads: usize,
    /// Elements of a head, even.
    pub head_dim: usize,
}

impl Heads {
    /// Elements of all queries of a row.
    #[must_use]
    pub const fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Elements of all keys of a row.
    #[must_use]
    pub const fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Elements of a row of queries, keys and values.
    #[must_use]
    pub const fn qkv_width(&self) -> usize {
        self.q_width() + 2 * self.kv_width()
    }
}

/// Logits held at once unless a device says otherwise: 64 MiB in f32.
pub const LOGITS: usize = 16 << 20;
/// Keys and values cached at once, over all layers, unless a device says otherwise: 1 GiB in f32.
pub const CACHE: usize = 256 << 20;

/// A device that can run a transformer. The rules of [`Backend`] hold: row-major, no result depends on the batch. A clone is the
/// same device.
pub trait TransformerBackend: Backend + Clone {
    /// How many parts of a batch can be computed side by side, each by a worker of its own.
    fn workers(&self) -> usize {
        1
    }
    /// Calls `work` with every part and a worker to compute it on, which it may keep to itself; results in the order of the parts.
    fn side_by_side<P: Send, R: Send>(&self, parts: Vec<P>, work: impl Fn(Self, P) -> R + Send + Sync) -> Vec<R> {
        parts.into_iter().map(|part| work(self.clone(), part)).collect()
    }

    /// Elements of logits held at once. Where those of a whole micro-batch fit, its backward pass computes none of them again.
    fn logits_limit(&self) -> usize {
        LOGITS
    }
    /// Elements of keys and values cached at once while text is generated. More sequences than fit are sampled in waves.
    fn cache_limit(&self) -> usize {
        CACHE
    }

    /// out (rows, d) = rows `ids` of the table.
    fn embed(
        &self,
        table: &Self::Buffer,
        ids: &Self::Index,
        shape: (usize, usize),
        out: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;
    /// Rows `ids` of d_table += d_out (rows, d), in ascending order. Also the backward pass of [`TransformerBackend::gather`].
    fn scatter_add(
        &self,
        d_out: &Self::Buffer,
        ids: &Self::Index,
        shape: (usize, usize),
        d_table: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;

    /// y = x/√(mean(x²) + ε)·w for `shape` = (rows, d); `inv_rms` (rows) is kept for the backward pass.
    fn rms_norm(
        &self,
        x: &Self::Buffer,
        w: &Self::Buffer,
        eps: f64,
        shape: (usize, usize),
        y: &mut Self::Buffer,
        inv_rms: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;
    /// dx += …, dw += ….
    fn rms_norm_backward(
        &self,
        dy: &Self::Buffer,
        x: &Self::Buffer,
        w: &Self::Buffer,
        inv_rms: &Self::Buffer,
        shape: (usize, usize),
        dx: &mut Self::Buffer,
        dw: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;

    /// RMS norm of every query and key head of `qkv` (rows) with weights (head_dim), values copied: Qwen3's QK norm.
    /// `inv_rms` is (rows, heads + kv_heads).
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
    ) -> Result<(), Self::Error>;
    /// d_qkv becomes the gradient of the input; dw_q and dw_k are added to.
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
    ) -> Result<(), Self::Error>;

    /// Rotates queries and keys of `qkv` in place by their positions (halves convention of Hugging Face). `cos` and `sin` are
    /// (positions, head_dim/2). `backward` rotates the other way, which is the gradient.
    fn rope(
        &self,
        qkv: &mut Self::Buffer,
        positions: &Self::Index,
        cos: &Self::Buffer,
        sin: &Self::Buffer,
        rows: usize,
        heads: Heads,
        backward: bool,
    ) -> Result<(), Self::Error>;

    /// Causal attention over packed spans: out (rows, heads·head_dim), log Σ exp of the scores (rows, heads).
    fn attention(
        &self,
        qkv: &Self::Buffer,
        layout: &Layout,
        heads: Heads,
        out: &mut Self::Buffer,
        log_sum_exp: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;
    /// d_qkv (rows), overwritten, from d_out.
    fn attention_backward(
        &self,
        qkv: &Self::Buffer,
        out: &Self::Buffer,
        log_sum_exp: &Self::Buffer,
        d_out: &Self::Buffer,
        layout: &Layout,
        heads: Heads,
        d_qkv: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;

    /// Copies keys and values of each row of `qkv` to row `slots[r]` of the cache, (capacity, 2·kv_heads·head_dim).
    fn cache_store(
        &self,
        qkv: &Self::Buffer,
        slots: &[u32],
        heads: Heads,
        cache: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;
    /// Attention of one new row per span, whose last row is that new one: `spans` address rows of the cache. Gives what
    /// [`TransformerBackend::attention`] gives over the whole sequence: on the CPU the same bits.
    fn cached_attention(
        &self,
        qkv: &Self::Buffer,
        cache: &Self::Buffer,
        spans: &[Span],
        heads: Heads,
        out: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;

    /// out (rows, ff) = silu(gate)·up, where a row of `gate_up` is (gate, up).
    fn swiglu(&self, gate_up: &Self::Buffer, shape: (usize, usize), out: &mut Self::Buffer) -> Result<(), Self::Error>;
    /// d_gate_up (rows, 2·ff), overwritten, from d_out (rows, ff).
    fn swiglu_backward(
        &self,
        gate_up: &Self::Buffer,
        d_out: &Self::Buffer,
        shape: (usize, usize),
        d_gate_up: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;

    /// out (indices, d) = rows `indices` of x.
    fn gather(
        &self,
        x: &Self::Buffer,
        indices: &Self::Index,
        shape: (usize, usize),
        out: &mut Self::Buffer,
    ) -> Result<(), Self::Error> {
        self.embed(x, indices, shape, out)
    }
    /// out (spans, d) = mean of the rows of x in each (start, len).
    fn mean_rows(
        &self,
        x: &Self::Buffer,
        spans: &[(usize, usize)],
        d: usize,
        out: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;
    /// Every row of dx in a span += the span's row of d_out / len.
    fn mean_rows_backward(
        &self,
        d_out: &Self::Buffer,
        spans: &[(usize, usize)],
        d: usize,
        dx: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;
}
