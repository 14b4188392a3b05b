//! `doctor`: reports whether this machine can train, and what a GPU lacks.

use std::process::ExitCode;

use anyhow::Result;
use flowrl_verify::code::sandbox::{self, Launcher};
use flowrl_verify::python::Python;
use serde_json::{Value, json};

use crate::device::DeviceName;
use crate::memory::host_memory;
use crate::say;
use crate::verifiers::SANDBOX;

/// Runs the command. Returns exit code 0 if a GPU can train, else 1; a CPU always can.
pub fn run(json: bool) -> Result<ExitCode> {
    let memory = host_memory(DeviceName::Cpu);
    let mut found = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "cpu": {
            "threads": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            "memory_total": memory.map(|memory| memory.total),
            "memory_free": memory.map(|memory| memory.free),
        },
    });
    if !json {
        let gib = |bytes: usize| bytes as f64 / f64::from(1 << 30);
        let memory = memory.map(|memory| format!(", {:.1} of {:.1} GiB free", gib(memory.free), gib(memory.total)));
        let memory = memory.unwrap_or_default();
        say!("{:<14} {} threads{memory}: trains (--device cpu, the default)", "CPU", found["cpu"]["threads"]);
    }
    let can_train = gpu(json, &mut found)?;
    verifiers(json, &mut found)?;
    if json {
        say!("{found}");
    }
    Ok(if can_train { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Adds to `found`, or prints, what the verifiers `code` and `math` can use here.
fn verifiers(json: bool, found: &mut Value) -> Result<()> {
    let report = sandbox::probe(&Launcher::this_program([SANDBOX]), None);
    let installed = Python::find(None).and_then(|python| python.require("math_verify"));
    if json {
        let layers = report.layers.iter().map(|(name, result)| (*name, result.as_ref().err()));
        found["code"] = json!({
            "layers": layers.map(|(name, reason)| (name.to_owned(), json!(reason))).collect::<serde_json::Map<_, _>>(),
            "refused": report.chosen.as_ref().err(),
        });
        found["math_verify"] = json!(installed.is_ok());
        return Ok(());
    }
    match &report.chosen {
        Ok(layers) => say!("{:<14} programs run with {layers} (--verifier code --allow-code-execution)", "code"),
        Err(reason) => say!("{:<14} no program can be confined: {reason}", "code"),
    }
    for (name, reason) in report.layers.iter().filter_map(|(name, result)| Some((name, result.as_ref().err()?))) {
        say!("{:<14} {name}: {reason}", "");
    }
    match installed {
        Ok(()) => say!("{:<14} Math-Verify judges answers that `math` does not understand", "math"),
        Err(reason) => say!("{:<14} answers that `math` does not understand are `unknown`: {reason}", "math"),
    }
    Ok(())
}

/// Returns whether a GPU can train, and adds the report to `found` or prints it.
#[cfg(feature = "cuda")]
fn gpu(json: bool, found: &mut Value) -> Result<bool> {
    let report = flowrl_cuda::doctor();
    let can_train = report.can_train();
    if json {
        if let (Value::Object(all), Value::Object(of_gpu)) = (found, serde_json::to_value(&report)?) {
            all.extend(of_gpu);
            all.insert("can_train".into(), can_train.into());
        }
    } else {
        say!("{report}");
    }
    Ok(can_train)
}

#[cfg(not(feature = "cuda"))]
fn gpu(json: bool, found: &mut Value) -> Result<bool> {
    found["can_train"] = false.into();
    found["problems"] = json!([crate::device::WITHOUT_CUDA]);
    if !json {
        say!("No GPU can train here: {}", crate::device::WITHOUT_CUDA);
    }
    Ok(false)
}
