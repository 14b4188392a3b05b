//! Damaged files: an error or rows, but no panic, and no memory for sizes that are not there.

use flowrl_tables::{Rows, read_arrow, read_parquet};
use proptest::prelude::*;

use crate::files::bytes;

type Read = fn(&[u8]) -> Rows;

const FILES: [(&str, Read); 9] = [
    ("types.parquet", read_parquet),
    ("verl-snappy.parquet", read_parquet),
    ("verl-gzip.parquet", read_parquet),
    ("verl-zstd.parquet", read_parquet),
    ("verl-lz4.parquet", read_parquet),
    ("v2.parquet", read_parquet),
    ("delta.parquet", read_parquet),
    ("types.arrow", read_arrow),
    ("types.feather", read_arrow),
];

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for (name, read) in FILES {
        let whole = bytes(name);
        // A file of Arrow repeats the schema after its stream, which is not read.
        let end = whole.len() - if name == "types.feather" { 2000 } else { 1 };
        for len in (0..=end).step_by(97).chain([end]) {
            let message = read(&whole[..len]).expect_err(name);
            assert!(!message.is_empty(), "{name}: {len} bytes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bits_never_panic(seed in any::<u64>(), flips in 1..4_usize) {
        for (name, read) in FILES {
            let mut damaged = bytes(name);
            let mut state = seed;
            for _ in 0..flips {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let bit = (state >> 20) as usize % (8 * damaged.len());
                damaged[bit / 8] ^= 1 << (bit % 8);
            }
            if let Err(message) = read(&damaged) {
                prop_assert!(!message.is_empty(), "{name}");
            }
        }
    }
}
