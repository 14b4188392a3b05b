#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod code;
mod http;
mod log;
pub mod math;
mod measured;
mod options;
pub mod python;
mod several;
mod shell;
mod spec;
pub mod workers;

pub use http::{Http, LanguageModel};
pub use log::Log;
pub use options::{Options, Report};
pub use several::{Part, Several};
pub use spec::{NAMES, Spec, open};
pub use workers::Workers;
