//! Integration tests of flowrl-verify.

#[cfg(target_os = "linux")]
mod code_judge;
#[cfg(target_os = "linux")]
mod code_sandbox;
#[cfg(unix)]
mod http;
mod math_cases;
mod math_forms;
mod math_gsm8k;
mod math_hostile;
mod math_verifier;
#[cfg(unix)]
mod python;
#[cfg(unix)]
mod workers;
