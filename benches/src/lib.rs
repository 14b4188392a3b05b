//! Benchmarks live in `benches/benches/`; peers in `benches/peers/`.
