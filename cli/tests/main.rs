//! Tests of the program as a user runs it.

mod best;
mod chat;
mod claims;
mod common;
mod data;
mod device;
mod doctor;
mod documented;
mod durability;
mod evaluation;
mod faults;
mod frontier;
mod lab;
mod manners;
mod program;
mod provenance;
mod reference_pages;
mod report;
mod sampling;
mod strangers;
mod sweep;
mod synthetic;
mod trackers;
mod verifiers;
mod watch;
