//! The commands of the program, a module each.

pub mod compare;
pub mod doctor;
pub mod eval;
pub mod export;
pub mod judge;
pub mod loss;
pub mod pretrain;
pub mod report;
pub mod sample;
pub mod score;
pub mod sweep;
pub mod train;
pub mod watch;
