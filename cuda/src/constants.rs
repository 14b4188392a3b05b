//! The numbers that the kernels share with the host, declared once here. A kernel file gets them from the header
//! constants.cuh, which is this text and no file.

use flowrl_core::objective::{Importance, KlEstimator, KlIn, LogZ, Ratio, RolloutCorrection};

/// Declares constants, for the host and in `NUMBERS` for kernels.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: usize = $value;)*
        const NUMBERS: &str = concat!($("const u32 ", stringify!($name), " = ", $value, ";\n",)*);
    };
}

numbers! {
    /// Threads of a block that works on tiles: four warps.
    TILE_THREADS = 128;
    /// Rows of a tile that one warp works on.
    WARP_ROWS = 16;
    /// Rows of the tile for which a block computes the result.
    TILE_ROWS = 64;
    /// Rows of the other tiles for heads of up to 64: keys in attention and in the gradient of queries, queries in the
    /// gradient of keys and values, and keys of a warp in `cached_attention`.
    ATTENTION_KEYS = 64;
    GRADIENT_QUERIES = 32;
    CACHED_KEYS = 32;
    /// Bytes of a column of the other tiles for wide heads, in three sizes: the tile has as many rows as elements fit
    /// into them. Shared memory is small, and floats take twice as much as bf16.
    TILE_BYTES_128 = 128;
    TILE_BYTES_64 = 64;
    TILE_BYTES_32 = 32;
    /// Keys in a part of the work of `cached_attention`.
    PART_KEYS = 256;
    /// Numbers that describe a part of the work of `attention_backward_key_value`.
    PART_NUMBERS = 7;
    /// Rows of a tile that one block of `merge_gradients` sums.
    MERGED_ROWS = 4;
    /// Columns of `Measured`, the measurements of an objective for one sequence.
    MEASURES = 14;
    /// Numbers per sequence that the first launch of trajectory balance leaves for the second.
    PARTS = 3;
}

/// Returns the header. Besides the numbers it declares the values of options by name, with the numbers of the host's
/// enums; for example, `Ratio::Token as u32` is `RATIO_TOKEN` in a kernel.
pub(crate) fn header() -> String {
    let choices = [
        ("Importance", Importance::NAMES),
        ("LogZ", LogZ::NAMES),
        ("Ratio", Ratio::NAMES),
        ("KlIn", KlIn::NAMES),
        ("KlEstimator", KlEstimator::NAMES),
        ("RolloutCorrection", RolloutCorrection::NAMES),
    ];
    let declare = |(option, values): (&str, &[&str])| {
        let name = |value: &&str| format!("{option}_{value}").to_uppercase().replace('-', "_");
        format!("enum {option} {{ {} }};\n", values.iter().map(name).collect::<Vec<_>>().join(", "))
    };
    choices.into_iter().map(declare).fold(NUMBERS.to_owned(), |header, choice| header + &choice)
}
