//! The program as a user runs it.

mod chat;
mod claims;
mod common;
mod device;
mod doctor;
mod lab;
mod program;
mod report;
mod report_glossary;
mod synthetic;
