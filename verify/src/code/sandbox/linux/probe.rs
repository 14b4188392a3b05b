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
    if base.is_err() && !all {
        return Report { layers: results, chosen: choose(base, Ok(()), Ok(()), Ok(()), none.uid) };
    }
    let wrapped = tried(Layers { bubblewrap: true, ..none });
    let filtered = tried(Layers { seccomp: true, ..none });
    // Not needed if bubblewrap works.
    let walled = if wrapped.is_ok() && !all { Ok(()) } else { tried(Layers { landlock: true, ..none }) };
    results.extend([("bubblewrap", wrapped.clone()), ("seccomp", filtered.clone()), ("landlock", walled.clone())]);
    Report { layers: results, chosen: choose(base, wrapped, walled, filtered, none.uid) }
}

/// Chooses layers by how each fared; without enough of them it returns the missing ones and how to get them.
fn choose(
    base: Result<(), String>,
    bubblewrap: Result<(), String>,
    landlock: Result<(), String>,
    seccomp: Result<(), String>,
    uid: bool,
) -> Result<Layers, String> {
    base?;
    let layers = Layers { uid, rlimits: true, seccomp: seccomp.is_ok(), ..Layers::default() };
    let Err(missing) = &bubblewrap else { return Ok(Layers { bubblewrap: true, ..layers }) };
    if landlock.is_ok() && seccomp.is_ok() {
        return Ok(Layers { landlock: true, ..layers });
    }
    let why = |result: &Result<(), String>| result.as_ref().err().map_or("works".into(), Clone::clone);
    Err(format!(
        "it needs bubblewrap ({missing}), or landlock ({}) together with seccomp ({}). Install bubblewrap, and in a container \
         allow user namespaces (Docker: --security-opt seccomp=unconfined); or use Linux 5.13 or later with landlock",
        why(&landlock),
        why(&seccomp)
    ))
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
    let mut sandbox = Sandbox::with(launcher.clone(), python.clone(), layers, limits).map_err(text)?;
    sandbox.tries = 1;
    let secret = sandbox.folder.path().join("outside");
    let written = std::fs::write(&secret, "secret");
    let readable = written.and_then(|()| std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)));
    readable.map_err(|error| format!("cannot write {}: {error}", secret.display()))?;
    let mut code = String::from("import os, sys\nopen('own', 'w').write('x')\n");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_chosen_in_order_and_too_few_are_refused() {
        let works = || Ok(());
        let fails = |why: &str| Err(why.to_owned());
        let chosen = |b, l, s| choose(Ok(()), b, l, s, true).map(|layers| layers.to_string());
        assert_eq!(chosen(works(), works(), works()).unwrap(), "own user, bubblewrap, seccomp, limits");
        assert_eq!(chosen(works(), fails("l"), fails("s")).unwrap(), "own user, bubblewrap, limits");
        assert_eq!(chosen(fails("b"), works(), works()).unwrap(), "own user, landlock, seccomp, limits");
        for (landlock, seccomp, part) in [
            (fails("no l"), works(), "landlock (no l) together with seccomp (works)"),
            (works(), fails("no s"), "landlock (works) together with seccomp (no s)"),
        ] {
            let refused = chosen(fails("no b"), landlock, seccomp).unwrap_err();
            assert!(refused.contains("bubblewrap (no b)") && refused.contains(part), "{refused}");
            assert!(refused.contains("Install bubblewrap"), "{refused}");
        }
        assert_eq!(choose(fails("no user"), works(), works(), works(), true).unwrap_err(), "no user");
        assert!(!choose(works(), works(), works(), works(), false).unwrap().uid);
    }
}
