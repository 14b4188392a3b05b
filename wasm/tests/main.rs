//! The race of the browser, on this machine.

mod page;
mod race;
mod trace;
