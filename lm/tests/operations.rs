//! Tests of every operation of `TransformerBackend`: values, gradients, bits, errors.
//!
//! The test bodies under `operations/` take any backend; this module runs them on the CPU backends.

mod bits;
mod errors;
mod gradients;
#[path = "../../core/tests/operations/harness.rs"]
mod harness;
mod layouts;
mod wrappers;

harness::on_every_cpu_backend! {
    gradients::embed_and_scatter_add => embed_and_scatter_add,
    gradients::rms_norm => rms_norm,
    gradients::qk_norm => qk_norm,
    gradients::rope => rope,
    gradients::attention => attention,
    gradients::attention_with_large_scores => attention_with_large_scores,
    gradients::swiglu => swiglu,
    gradients::mean_rows => mean_rows,
}
