//! Describes the machine on which a measurement is taken.

use crate::command::{output, program};

/// Returns the processor, the compiler, and the versions of Python modules that are given as `"torch, numpy"`.
pub(crate) fn describe(python: &str, modules: &str) -> String {
    let versions = format!("import {modules}\nfor m in [{modules}]: print(m.__name__, m.__version__, end=' ')");
    let processor = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()))
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let unknown = || "unknown".to_owned();
    let rustc = output(program("rustc", &["--version"])).unwrap_or_else(unknown);
    let modules = output(program(python, &["-c", &versions])).unwrap_or_else(unknown);
    format!("{processor}; {rustc}; {modules}")
}

/// Warns if the machine is busy, as far as the system reports its load: timings next to other work are wrong.
pub(crate) fn warn_if_busy() {
    let load =
        std::fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    if let Some(load) = load.filter(|&load| load > 0.5) {
        println!("warning: the machine is busy (load {load}); timings with two threads will be off\n");
    }
}
