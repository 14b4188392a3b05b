//! Tests every operation of `Backend`: values, gradients, bits and errors.
//!
//! The test bodies in `operations/` take any backend, and this file runs them on those of the CPU.

mod bits;
mod errors;
mod gradients;
mod harness;
mod sampling;
mod wrappers;

harness::on_every_cpu_backend! {
    gradients::linear => linear,
    gradients::gelu => gelu,
    gradients::layer_norm => layer_norm,
    gradients::layer_norm_far_from_zero => layer_norm_far_from_zero,
    gradients::dropout => dropout,
    gradients::log_prob => log_prob,
    gradients::log_prob_of_confident_targets => log_prob_of_confident_targets,
    gradients::log_prob_of_extreme_logits => log_prob_of_extreme_logits,
    gradients::adamw => adamw,
    sampling::frequencies_follow_the_softmax => frequencies_follow_the_softmax,
    sampling::excluded_tokens_count_and_are_not_drawn => excluded_tokens_count_and_are_not_drawn,
    sampling::truncation_keeps_the_most_probable => truncation_keeps_the_most_probable,
    sampling::ties_go_to_the_lower_index => ties_go_to_the_lower_index,
    sampling::logits_that_are_not_numbers_do_not_panic => logits_that_are_not_numbers_do_not_panic,
}
