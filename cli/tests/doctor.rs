//! Tests of `doctor` on this machine, and with fake CUDA libraries that only answer queries.
#![cfg(feature = "cuda")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::library;

fn doctor(directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowrl-cli"));
    command.arg("doctor").args(words).current_dir(directory).env("FLOWRL_CACHE_DIR", directory.join("cache"));
    command
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_exit_status_says_whether_a_gpu_can_train() {
    let directory = tempfile::tempdir().unwrap();
    let output = doctor(directory.path(), &["--json"]).output().unwrap();
    let report = json(&output);
    let can_train = report["can_train"].as_bool().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!can_train)), "{report}");
    let problems = report["problems"].as_array().unwrap();
    assert!(can_train || !problems.is_empty(), "{report}");
    assert_eq!(report["cache_problem"], Value::Null, "{report}");
    let libraries = report["libraries"].as_array().unwrap();
    assert_eq!(
        libraries.iter().map(|library| &library["name"]).collect::<Vec<_>>(),
        ["libcuda", "libnvrtc", "libcublasLt"]
    );
    // Each library is either found or reported as a problem.
    for library in libraries {
        let name = library["name"].as_str().unwrap();
        let is_missing =
            problems.iter().any(|text| text.as_str().unwrap().starts_with(&format!("{name} was not found")));
        assert_eq!(library["found"].as_bool(), Some(!is_missing), "{report}");
    }
    let output = doctor(directory.path(), &[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(problems.iter().all(|problem| text.contains(problem.as_str().unwrap())), "{text}");
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let mut command = doctor(directory.path(), &["--json"]);
    let report = json(&command.env("FLOWRL_CACHE_DIR", directory.path().join("file")).output().unwrap());
    assert!(report["cache_problem"].as_str().unwrap().contains("FLOWRL_CACHE_DIR"), "{report}");
}

/// A driver for CUDA 12.4 with one GPU that another process uses exclusively, so that no context can be created on it.
const DRIVER: &str = r#"
#include <cstdio>
extern "C" {
int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) { *version = 12040; return 0; }
int cuDeviceGetCount(int* count) { *count = 1; return 0; }
int cuDeviceGet(int* device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char* name, int capacity, int) { snprintf(name, capacity, "Paper GPU"); return 0; }
int cuDeviceGetAttribute(int* value, int attribute, int) { *value = attribute == 75 ? 9 : 0; return 0; }
int cuDeviceTotalMem_v2(unsigned long long* bytes, int) { *bytes = 80ull << 30; return 0; }
int cuDevicePrimaryCtxRetain(void**, int) { return 46; }
int cuGetErrorName(int, const char** text) { *text = "CUDA_ERROR_DEVICE_UNAVAILABLE"; return 0; }
int cuGetErrorString(int, const char** text) { *text = "CUDA-capable device(s) is/are busy or unavailable"; return 0; }
}
"#;

const NVRTC: &str = r#"
extern "C" int nvrtcVersion(int* major, int* minor) { *major = 12; *minor = 9; return 0; }
"#;

#[test]
#[cfg(target_os = "linux")]
fn a_busy_gpu_and_a_compiler_newer_than_its_driver_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let wheel = root.join("venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib");
    if !library(DRIVER, &root.join("driver/libcuda.so.1")) || !library(NVRTC, &wheel.join("libnvrtc.so.12")) {
        println!("skipped, no C++ compiler to make libraries with");
        return;
    }
    let mut command = doctor(root, &["--json"]);
    command.env("LD_LIBRARY_PATH", root.join("driver")).env("VIRTUAL_ENV", root.join("venv"));
    command.env_remove("CUDA_HOME").env_remove("CUDA_PATH").env_remove("CUDA_VISIBLE_DEVICES");
    let output = command.output().unwrap();
    let report = json(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!(report["driver_cuda"], "12.4");
    let gpu = &report["devices"][0];
    assert_eq!((&gpu["name"], &gpu["capability"]), (&"Paper GPU".into(), &"9.0".into()), "{report}");
    assert_eq!(gpu["memory_total"].as_u64(), Some(80 << 30));
    assert_eq!(gpu["memory_free"], Value::Null);
    let problems: Vec<&str> =
        report["problems"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let is_told = |words: &str| problems.iter().any(|problem| problem.contains(words));
    assert!(is_told("GPU 0: it cannot be opened") && is_told("CUDA_ERROR_DEVICE_UNAVAILABLE"), "{report}");
    if report["libraries"][2]["found"] == false {
        assert!(is_told("pip install 'nvidia-cublas-cu12'"), "{report}");
    }
    let nvrtc = &report["libraries"][1];
    if !nvrtc["path"].as_str().is_some_and(|path| Path::new(path).starts_with(root.canonicalize().unwrap())) {
        println!("the rest is skipped, the loader finds an NVRTC of its own: {nvrtc}");
        return;
    }
    assert_eq!(nvrtc["version"], "12.9");
    assert!(is_told("nvidia-cuda-nvrtc-cu12==12.4.*") && is_told("libnvrtc-builtins.so.12.9"), "{report}");
}
