//! Finds out which layers work on this machine, by trying them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::python::Python;
use super::super::{End, Job, Launcher, Layers, Limits, Mode, Report, SandboxError};
use super::{Sandbox, last_line, no_python, on_path, users};

/// Tries every layer, and reports which work.
pub fn probe(launcher: &Launcher, python: Option<&Path>) -> Report {
    let mut first = None;
    for (program, origin) in Python::candidates(python) {
        let report = match Python::ask(&program, origin) {
            Ok(python) => look(launcher, &python, true),
            Err(error) => Report { layers: Vec::new(), chosen: Err(error.to_string()) },
        };
        if report.chosen.is_ok() {
            return report;
        }
        first = first.or(Some(report));
    }
    first.unwrap_or_else(|| Report { layers: Vec::new(), chosen: Err(no_python().to_string()) })
}

/// Tries layers with an interpreter: all of them, or those that decide.
pub(super) fn look(launcher: &Launcher, python: &Python, all: bool) -> Report {
    let none = Layers { uid: users::is_root(), rlimits: true, ..Layers::default() };
    let tried = |layers: Layers| attempt(launcher, python, layers);
    let mut results = vec![("limits", tried(none))];
    if none.uid {
        results.insert(0, ("own user", results[0].1.clone()));
    }
    let base = results[0].1.clone();
    let (bubblewrap, seccomp) = (Layers { bubblewrap: true, ..none }, Layers { seccomp: true, ..none });
    let landlock = Layers { landlock: true, ..none };
    let wrapped = tried(bubblewrap);
    results.push(("bubblewrap", wrapped.clone()));
    let filtered = tried(seccomp);
    results.push(("seccomp", filtered.clone()));
    let walled = if wrapped.is_ok() && !all { Ok(()) } else { tried(landlock) };
    results.push(("landlock", walled.clone()));
    let chosen = match (base, wrapped, walled, &filtered) {
        (Err(reason), ..) => Err(reason),
        (_, Ok(()), _, filtered) => Ok(Layers { seccomp: filtered.is_ok(), ..bubblewrap }),
        (_, _, Ok(()), Ok(())) => Ok(Layers { landlock: true, ..seccomp }),
        (_, Err(bubblewrap), landlock, seccomp) => {
            let why = |result: &Result<(), String>| result.as_ref().err().map_or("works".into(), Clone::clone);
            Err(format!(
                "it needs bubblewrap ({bubblewrap}), or landlock ({}) together with seccomp ({}); install bubblewrap, \
                 allow user namespaces in a container (Docker: --security-opt seccomp=unconfined), or use Linux 5.13 or later with landlock",
                why(&landlock),
                why(seccomp)
            ))
        }
    };
    Report { layers: results, chosen }
}

/// Tries layers on a program that looks whether they hold.
fn attempt(launcher: &Launcher, python: &Python, layers: Layers) -> Result<(), String> {
    if layers.bubblewrap && on_path("bwrap").is_none() {
        return Err("bwrap is not on PATH".into());
    }
    let limits = Limits { processes: 64, ..Limits::default() };
    let text = |error: SandboxError| match error {
        SandboxError::Failed(reason) => reason,
        other => other.to_string(),
    };
    let sandbox = Sandbox::with(launcher.clone(), python.clone(), layers, limits).map_err(text)?;
    let secret = sandbox.folder.path().join("outside");
    let written = std::fs::write(&secret, "secret");
    let readable = written.and_then(|()| std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)));
    readable.map_err(|error| format!("cannot write {}: {error}", secret.display()))?;
    let mut code = String::from("import os, sys\n");
    if layers.bubblewrap || layers.landlock {
        code +=
            &format!("try:\n    open({:?})\n    sys.exit(3)\nexcept OSError:\n    pass\n", secret.to_string_lossy());
    }
    if layers.seccomp {
        code += "import socket\ntry:\n    socket.socket()\n    sys.exit(3)\nexcept OSError:\n    pass\n";
    }
    if layers.uid {
        code += "if not os.getuid():\n    sys.exit(3)\n";
    }
    let outcome = sandbox.run(&Job { mode: Mode::Script, code: &code, stdin: "" }).map_err(text)?;
    match outcome.end {
        End::Exited(0) => Ok(()),
        End::Exited(3) => Err("it starts here, but does not hold".into()),
        end => Err(format!("a trial program ended with {end:?}: {}", last_line(&outcome.stderr))),
    }
}
