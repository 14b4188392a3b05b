//! Exact targets and distances on enumerable sets (SPEC §7).
