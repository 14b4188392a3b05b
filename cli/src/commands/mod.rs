//! What each command does.

pub mod pretrain;
