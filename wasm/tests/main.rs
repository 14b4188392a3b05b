//! The race of the browser, on this machine.

mod race;
mod trace;
