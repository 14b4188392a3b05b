//! Attention over packed spans, its gradients, and attention over a cache.

use crate::common::{Tolerance, assert_close, bits, normals, numbers, stored};
use flowrl_core::backend::{Backend, CpuBackend, Role};
use flowrl_lm::backend::{Heads, Layout, Span, TransformerBackend};

/// Builds a layout from groups. Each group lists the rows of its prompt, then the rows of each completion.
fn layout(groups: &[&[usize]]) -> Layout {
    let mut layout = Layout { spans: Vec::new(), groups: vec![0] };
    let mut row = 0;
    for group in groups {
        let prompt = row;
        for (i, &len) in group.iter().enumerate() {
            let prefix_len = if i == 0 { 0 } else { group[0] };
            layout.spans.push(Span { start: row, len, prefix_start: prompt, prefix_len });
            row += len;
        }
        layout.groups.push(layout.spans.len());
    }
    layout
}

/// Returns cases with every width of a tile, full or not, every kind of group, and layouts around the edges of a tile.
fn cases() -> Vec<(Heads, Layout)> {
    let heads = |heads, kv_heads, head_dim| Heads { heads, kv_heads, head_dim };
    vec![
        (heads(2, 2, 2), layout(&[&[1], &[2, 1, 37], &[65, 2]])),
        (heads(7, 1, 8), layout(&[&[37, 2, 1, 65], &[3]])),
        (heads(4, 2, 30), layout(&[&[2, 65, 1], &[1, 1]])),
        (heads(2, 1, 64), layout(&[&[130, 1, 37], &[65, 130]])),
        (heads(1, 1, 96), layout(&[&[66, 5, 2]])),
        (heads(2, 1, 128), layout(&[&[37, 65]])),
        (heads(1, 1, 200), layout(&[&[35, 40]])),
        (heads(2, 1, 16), layout(&[])),
    ]
}

/// Widens the tolerance for products of bf16 probabilities, which are rounded by up to 2⁻⁹ before they weight the
/// values.
fn rounded(tolerance: Tolerance) -> Tolerance {
    Tolerance { relative: if tolerance.bf16 { 1.0 / 512.0 } else { tolerance.relative }, ..tolerance }
}

/// Returns activations followed by NaNs.
fn poisoned<B: Backend<Real = f32>>(device: &B, values: &[f32]) -> (B::Buffer, Vec<f64>) {
    let mut longer = values.to_vec();
    longer.resize(values.len() + 500, f32::NAN);
    let (buffer, mut kept) = stored(device, Role::Activation, &longer);
    kept.truncate(values.len());
    (buffer, kept)
}

/// Returns activations full of NaN, so that unwritten elements show.
fn unwritten<B: Backend<Real = f32>>(device: &B, len: usize) -> B::Buffer {
    stored(device, Role::Activation, &vec![f32::NAN; len]).0
}

fn forward<B: TransformerBackend<Real = f32>>(
    device: &B,
    qkv: &B::Buffer,
    layout: &Layout,
    heads: Heads,
) -> (B::Buffer, B::Buffer) {
    let rows = layout.rows();
    let mut out = unwritten(device, rows * heads.q_width());
    let mut log_sum_exp = device.upload(&vec![f32::NAN; rows * heads.heads]).unwrap();
    device.attention(qkv, layout, heads, &mut out, &mut log_sum_exp).unwrap();
    (out, log_sum_exp)
}

fn reference(qkv: &[f64], layout: &Layout, heads: Heads) -> (Vec<f64>, Vec<f64>) {
    let rows = layout.rows();
    let (mut out, mut log_sum_exp) = (vec![0.0; rows * heads.q_width()], vec![0.0; rows * heads.heads]);
    let oracle = CpuBackend::<f64>::reference();
    oracle.attention(&qkv.to_vec(), layout, heads, &mut out, &mut log_sum_exp).unwrap();
    (out, log_sum_exp)
}

fn attention<B: TransformerBackend<Real = f32>>(device: &B, tolerance: Tolerance) {
    for (heads, layout) in cases() {
        let (qkv, kept) = poisoned(device, &normals(1, layout.rows() * heads.qkv_width()));
        let (out, log_sum_exp) = forward(device, &qkv, &layout, heads);
        let (wanted, wanted_sum) = reference(&kept, &layout, heads);
        assert_close(&format!("out, {heads:?}"), &numbers(device, &out), &wanted, rounded(tolerance));
        assert_close(&format!("sum, {heads:?}"), &numbers(device, &log_sum_exp), &wanted_sum, Tolerance::F32);
        let (again, again_sum) = forward(device, &qkv, &layout, heads);
        assert_eq!(bits(device, &again), bits(device, &out), "the same bits twice");
        assert_eq!(bits(device, &again_sum), bits(device, &log_sum_exp), "the same bits twice");
    }
}

/// Returns integers with integer scores of up to ±10⁴, which are the same in every precision.
fn large(len: usize) -> Vec<f32> {
    normals(2, len).into_iter().map(|x| (x * 12.0).round().clamp(-40.0, 40.0)).collect()
}

fn attention_with_large_scores<B: TransformerBackend<Real = f32>>(device: &B, tolerance: Tolerance) {
    let (heads, layout) = (Heads { heads: 2, kv_heads: 1, head_dim: 64 }, layout(&[&[37, 65, 2]]));
    let mut values = large(layout.rows() * heads.qkv_width());
    // One query is the opposite of a key, and one equals it.
    for (row, sign) in [(3, -1.0), (4, 1.0)] {
        for i in 0..64 {
            let key = 40.0 * if i % 3 == 0 { -1.0 } else { 1.0 };
            values[row * heads.qkv_width() + 128 + i] = key;
            values[row * heads.qkv_width() + i] = key * sign;
        }
    }
    let (qkv, kept) = stored(device, Role::Activation, &values);
    let (out, log_sum_exp) = forward(device, &qkv, &layout, heads);
    let (wanted, wanted_sum) = reference(&kept, &layout, heads);
    assert!(wanted_sum.iter().any(|x| *x > 1e4), "scores are large");
    assert_close("out", &numbers(device, &out), &wanted, rounded(tolerance));
    assert_close("sum", &numbers(device, &log_sum_exp), &wanted_sum, Tolerance::F32);
    let (d_out, d_kept) = stored(device, Role::Activation, &normals(5, layout.rows() * heads.q_width()));
    let d_qkv = backward(device, &qkv, &d_out, &layout, heads);
    let wanted = reference_backward(&kept, &d_kept, &layout, heads);
    // A log Σ exp of 10⁴ is off by up to 5e-4 in single precision, and this is the relative error of probabilities.
    let loose = Tolerance { relative: 2e-3 + rounded(tolerance).relative, ..tolerance };
    assert_close("d_qkv", &numbers(device, &d_qkv), &wanted, loose);
}

fn backward<B: TransformerBackend<Real = f32>>(
    device: &B,
    qkv: &B::Buffer,
    d_out: &B::Buffer,
    layout: &Layout,
    heads: Heads,
) -> B::Buffer {
    let (out, log_sum_exp) = forward(device, qkv, layout, heads);
    let mut d_qkv = unwritten(device, layout.rows() * heads.qkv_width());
    device.attention_backward(qkv, &out, &log_sum_exp, d_out, layout, heads, &mut d_qkv).unwrap();
    d_qkv
}

fn reference_backward(qkv: &[f64], d_out: &[f64], layout: &Layout, heads: Heads) -> Vec<f64> {
    let (out, log_sum_exp) = reference(qkv, layout, heads);
    let (qkv, d_out, mut d_qkv) = (qkv.to_vec(), d_out.to_vec(), vec![0.0; qkv.len()]);
    let oracle = CpuBackend::<f64>::reference();
    oracle.attention_backward(&qkv, &out, &log_sum_exp, &d_out, layout, heads, &mut d_qkv).unwrap();
    d_qkv
}

fn attention_backward<B: TransformerBackend<Real = f32>>(device: &B, tolerance: Tolerance) {
    // In the last case, several blocks share the work on keys that many queries see. There are many short completions
    // because the cost of each is quadratic.
    let group = [&[3][..], &[91; 13]].concat();
    let shared = (Heads { heads: 14, kv_heads: 2, head_dim: 2 }, layout(&[&group]));
    for (heads, layout) in cases().into_iter().chain([shared]) {
        let (qkv, kept) = poisoned(device, &normals(1, layout.rows() * heads.qkv_width()));
        let (d_out, d_kept) = poisoned(device, &normals(4, layout.rows() * heads.q_width()));
        let d_qkv = backward(device, &qkv, &d_out, &layout, heads);
        let wanted = reference_backward(&kept, &d_kept, &layout, heads);
        assert_close(&format!("d_qkv, {heads:?}"), &numbers(device, &d_qkv), &wanted, rounded(tolerance));
        // These layouts include one with tiles in several parts and others without.
        if layout.groups.len() == 2 {
            let again = backward(device, &qkv, &d_out, &layout, heads);
            assert_eq!(bits(device, &again), bits(device, &d_qkv), "the same bits twice");
        }
    }
}

/// A group's bits do not depend on the rest of the batch, nor a completion's bits on its siblings.
fn attention_of_a_group_alone<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let heads = Heads { heads: 2, kv_heads: 1, head_dim: 8 };
    let (width, q_width) = (heads.qkv_width(), heads.q_width());
    let (whole, alone) = (layout(&[&[5], &[70, 3, 66]]), layout(&[&[70, 66]]));
    let values = normals(3, whole.rows() * width);
    let (all, _) = stored(device, Role::Activation, &values);
    let part = [&values[5 * width..75 * width], &values[78 * width..]].concat();
    let (part, _) = stored(device, Role::Activation, &part);
    let (all, part) = (forward(device, &all, &whole, heads).0, forward(device, &part, &alone, heads).0);
    let (all, part) = (bits(device, &all), bits(device, &part));
    assert_eq!(part[..70 * q_width], all[5 * q_width..75 * q_width]);
    assert_eq!(part[70 * q_width..], all[78 * q_width..]);
}

/// Returns heads and rows of cached keys: rows alone, rows after shared prompts, and keys in one part or in many.
fn cached_cases() -> Vec<(Heads, Vec<Span>)> {
    let heads = |heads, kv_heads, head_dim| Heads { heads, kv_heads, head_dim };
    let span = |start, len, prefix_start, prefix_len| Span { start, len, prefix_start, prefix_len };
    let few = vec![span(0, 1, 0, 0), span(40, 2, 3, 37), span(50, 65, 3, 37)];
    let many = vec![span(0, 257, 0, 0), span(700, 130, 300, 400), span(840, 1, 300, 256), span(840, 1, 300, 255)];
    vec![
        (heads(2, 2, 2), few.clone()),
        (heads(7, 1, 8), many.clone()),
        (heads(4, 2, 30), few.clone()),
        (heads(2, 1, 64), many),
        (heads(17, 1, 96), few.clone()),
        (heads(2, 1, 128), vec![span(2, 300, 0, 2)]),
        (heads(1, 1, 200), few),
        (heads(2, 1, 16), Vec::new()),
    ]
}

/// Returns a cache with NaN in all rows outside the spans.
fn cache<B: TransformerBackend<Real = f32>>(device: &B, spans: &[Span], heads: Heads) -> (B::Buffer, Vec<f64>) {
    let (width, capacity) = (2 * heads.kv_width(), 900);
    let mut values = normals(6, capacity * width);
    for (row, values) in values.chunks_exact_mut(width).enumerate() {
        let within = |start: usize, len: usize| (start..start + len).contains(&row);
        if !spans.iter().any(|s| within(s.start, s.len) || within(s.prefix_start, s.prefix_len)) {
            values.fill(f32::NAN);
        }
    }
    stored(device, Role::Activation, &values)
}

fn cached_attention<B: TransformerBackend<Real = f32>>(device: &B, tolerance: Tolerance) {
    for (heads, spans) in cached_cases() {
        let (qkv, kept) = poisoned(device, &normals(7, spans.len() * heads.qkv_width()));
        let (cache, cache_kept) = cache(device, &spans, heads);
        let mut out = unwritten(device, spans.len() * heads.q_width());
        device.cached_attention(&qkv, &cache, &spans, heads, &mut out).unwrap();
        let mut wanted = vec![0.0; spans.len() * heads.q_width()];
        CpuBackend::<f64>::reference().cached_attention(&kept, &cache_kept, &spans, heads, &mut wanted).unwrap();
        assert_close(&format!("out, {heads:?}"), &numbers(device, &out), &wanted, rounded(tolerance));
        // Each row by itself gives the same bits.
        let got = bits(device, &out);
        for (row, (span, got)) in spans.iter().zip(got.chunks_exact(heads.q_width())).enumerate() {
            let kept: Vec<f32> =
                kept[row * heads.qkv_width()..][..heads.qkv_width()].iter().map(|x| *x as f32).collect();
            let (qkv, _) = stored(device, Role::Activation, &kept);
            let mut out = unwritten(device, heads.q_width());
            device.cached_attention(&qkv, &cache, &[*span], heads, &mut out).unwrap();
            assert_eq!(bits(device, &out), got, "row {row} alone, {heads:?}");
        }
    }
}

/// Rows fed through the cache one by one give the same attention as all rows at once.
fn the_cache_changes_nothing<B: TransformerBackend<Real = f32>>(device: &B, tolerance: Tolerance) {
    for (heads, layout) in [
        (Heads { heads: 7, kv_heads: 1, head_dim: 8 }, layout(&[&[5, 2, 1, 70], &[3]])),
        (Heads { heads: 4, kv_heads: 2, head_dim: 30 }, layout(&[&[5, 2]])),
    ] {
        let rows = layout.rows();
        let (qkv, _) = stored(device, Role::Activation, &normals(8, rows * heads.qkv_width()));
        let wanted = numbers(device, &forward(device, &qkv, &layout, heads).0);
        let slots: Vec<u32> = (0..rows as u32).map(|row| 2 * row + 1).collect();
        let mut cache = unwritten(device, 3 * rows * 2 * heads.kv_width());
        device.cache_store(&qkv, &(0..rows as u32).collect::<Vec<_>>(), heads, &mut cache).unwrap();
        let steps = |s: &Span| (1..=s.len).map(|len| Span { len, ..*s }).collect::<Vec<_>>();
        let spans: Vec<Span> = layout.spans.iter().flat_map(steps).collect();
        let mut out = unwritten(device, rows * heads.q_width());
        device.cached_attention(&qkv, &cache, &spans, heads, &mut out).unwrap();
        assert_close("out", &numbers(device, &out), &wanted, rounded(tolerance));
        // Each slot holds the keys and values of its row.
        device.cache_store(&qkv, &slots, heads, &mut cache).unwrap();
        let (cache, qkv) = (numbers(device, &cache), numbers(device, &qkv));
        for (row, &slot) in slots.iter().enumerate() {
            let (kept, width) = (2 * heads.kv_width(), heads.qkv_width());
            assert_eq!(cache[slot as usize * kept..][..kept], qkv[row * width + heads.q_width()..][..kept]);
        }
    }
}

fn errors<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let heads = Heads { heads: 2, kv_heads: 1, head_dim: 8 };
    let layout = layout(&[&[3, 2]]);
    let zeros = |len| device.zeros_for(Role::Activation, len).unwrap();
    let (rows, width, q_width) = (layout.rows(), heads.qkv_width(), heads.q_width());
    let mut sums = device.zeros(rows * heads.heads).unwrap();
    let mut broken = layout.clone();
    broken.spans[1].prefix_start = 4;
    assert!(device.attention(&zeros(rows * width), &broken, heads, &mut zeros(rows * q_width), &mut sums).is_err());
    assert!(device.attention(&zeros(rows * width - 1), &layout, heads, &mut zeros(rows * q_width), &mut sums).is_err());
    assert!(device.attention(&zeros(rows * width), &layout, heads, &mut zeros(rows * q_width - 1), &mut sums).is_err());
    let [qkv, out, d_out] = [rows * width, rows * q_width, rows * q_width].map(zeros);
    let mut short = zeros(rows * width - 1);
    assert!(device.attention_backward(&qkv, &out, &sums, &d_out, &layout, heads, &mut short).is_err());
    assert!(device.cache_store(&zeros(width), &[4], heads, &mut zeros(4 * 2 * heads.kv_width())).is_err());
    let beyond = Span { start: 2, len: 3, ..Span::default() };
    let cache = zeros(4 * 2 * heads.kv_width());
    assert!(device.cached_attention(&zeros(width), &cache, &[beyond], heads, &mut zeros(q_width)).is_err());
}

on_every_device!(
    attention,
    attention_backward,
    attention_with_large_scores,
    attention_of_a_group_alone,
    cached_attention,
    the_cache_changes_nothing,
    errors,
);
