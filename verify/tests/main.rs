//! Integration tests of flowrl-verify.

#[cfg(target_os = "linux")]
mod code_judge;
#[cfg(target_os = "linux")]
mod code_sandbox;
#[cfg(unix)]
mod http;
#[cfg(unix)]
mod python;
#[cfg(unix)]
mod workers;
