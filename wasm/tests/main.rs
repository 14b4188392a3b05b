//! Native tests of the engine of the browser lab.

mod page;
mod race;
mod trace;
