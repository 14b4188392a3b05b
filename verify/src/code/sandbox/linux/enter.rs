//! The process that confines itself and becomes the program.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, Signal};

use super::filter;
use super::spec::{FAILED, Run, Spec, Task, VARIABLE};

/// Devices that a program may use, to read and to write.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Folder of the program within bubblewrap.
const INSIDE: &str = "/work";

/// Confines this process as its environment says, and becomes the program. A program that uses the verifier `code` calls
/// this first in the process that a [`super::super::Launcher`] starts. If it fails, it says why and exits.
pub fn enter() -> ! {
    let Some(text) = std::env::var_os(VARIABLE) else {
        eprintln!("this command starts the sandbox of the verifier `code`, and does nothing by itself");
        std::process::exit(2);
    };
    let (secret, failure) = match Spec::read(&text) {
        Some(spec) => (spec.secret.clone(), follow(&spec)),
        None => (String::new(), format!("{VARIABLE} is unreadable")),
    };
    eprintln!("{secret} {failure}");
    std::process::exit(FAILED)
}

/// Follows a specification. It returns the reason if that fails.
fn follow(spec: &Spec) -> String {
    if let Some(user) = spec.user {
        return spec.become_user(user);
    }
    match &spec.task {
        Task::KillAll => {
            let error = Command::new("/bin/sh").args(["-c", "kill -9 -1"]).env_clear().exec();
            format!("cannot start /bin/sh: {error}")
        }
        Task::Run(run) => match prepare(run) {
            Ok((mut command, _filter)) => {
                let error = command.exec();
                let program = command.get_program().display();
                match error.kind() {
                    std::io::ErrorKind::PermissionDenied if !run.shared => format!(
                        "the unprivileged user under which code runs may not use {program}: choose a Python outside of \
                         private folders such as /root, with --python"
                    ),
                    _ => format!("cannot start {program}: {error}"),
                }
            }
            Err(reason) => reason,
        },
    }
}

/// Confines this process, and returns the program to become. With bubblewrap a pipe must stay open until then.
fn prepare(run: &Run) -> Result<(Command, Option<OwnedFd>), String> {
    // A session, so that one signal reaches the program and all that it starts.
    rustix::process::setsid().map_err(|error| format!("setsid: {error}"))?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| format!("prctl: {error}"))?;
    // If memory is short, the kernel ends programs rather than the training run.
    drop(std::fs::write("/proc/self/oom_score_adj", "1000"));
    if run.layers.rlimits {
        limit(run)?;
    }
    rustix::thread::set_no_new_privs(true).map_err(|error| format!("no_new_privs: {error}"))?;
    if run.layers.bubblewrap {
        return wrap(run);
    }
    if run.layers.landlock {
        wall(run).map_err(|error| format!("landlock: {error}"))?;
    }
    if run.layers.seccomp {
        let own = run.shared.then(std::process::id);
        let program = filter::program(filter::Others::from_pid(own))?;
        seccompiler::apply_filter(&program).map_err(|error| format!("seccomp: {error}"))?;
    }
    let mut command = Command::new(&run.program);
    command.args(&run.arguments).env_clear().envs(environment(&run.work.to_string_lossy()));
    Ok((command, None))
}

/// Returns the environment of a program, which is the same on every machine.
fn environment(home: &str) -> Vec<(&'static str, String)> {
    let fixed = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("LANG", "C.UTF-8"),
        ("PYTHONHASHSEED", "0"),
        ("PYTHONIOENCODING", "utf-8"),
        ("OPENBLAS_NUM_THREADS", "1"),
        ("OMP_NUM_THREADS", "1"),
    ];
    let own = [("HOME", home), ("TMPDIR", home)];
    fixed.into_iter().chain(own).map(|(name, value)| (name, value.to_owned())).collect()
}

/// Sets the limits of the kernel, or leaves stricter ones.
fn limit(run: &Run) -> Result<(), String> {
    let limits = &run.limits;
    let seconds = (limits.cpu.as_secs_f64().ceil() as u64).max(1);
    let set = |resource, soft: u64, hard: u64| {
        let most = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let new = Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) };
        rustix::process::setrlimit(resource, new).map_err(|error| format!("setrlimit of {resource:?}: {error}"))
    };
    // A second after the signal that a program may catch comes the one that it may not.
    set(Resource::Cpu, seconds, seconds + 1)?;
    set(Resource::Fsize, limits.disk, limits.disk)?;
    set(Resource::Nofile, limits.files, limits.files)?;
    set(Resource::Nproc, run.processes, run.processes)?;
    set(Resource::Core, 0, 0)?;
    // Recursion is deep in some correct programs.
    set(Resource::Stack, 64 << 20, 64 << 20)?;
    set(Resource::As, limits.memory, limits.memory)
}

/// Restricts the files that this process may open, and whatever else Landlock of this kernel can.
fn wall(run: &Run) -> Result<(), String> {
    let text = |error: landlock::RulesetError| error.to_string();
    let own = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        // Neither removing nor renaming: a removed file that is still open would take space that nobody counts.
        | AccessFs::MakeReg
        | AccessFs::MakeDir;
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let ruleset = ruleset.handle_access(AccessFs::from_all(ABI::V5)).map_err(text)?;
    let ruleset = ruleset.handle_access(AccessNet::from_all(ABI::V4)).map_err(text)?;
    let ruleset = ruleset.scope(Scope::from_all(ABI::V6)).map_err(text)?.create().map_err(text)?;
    let ruleset = ruleset.add_rules(path_beneath_rules(&run.read, AccessFs::from_read(ABI::V5))).map_err(text)?;
    let ruleset = ruleset.add_rules(path_beneath_rules([&run.work], own)).map_err(text)?;
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let ruleset = ruleset.add_rules(path_beneath_rules(DEVICES, device)).map_err(text)?;
    match ruleset.restrict_self().map_err(text)?.ruleset {
        RulesetStatus::NotEnforced => Err("the kernel lacks it (Linux 5.13 or later has it, if it is enabled)".into()),
        _ => Ok(()),
    }
}

/// Returns the command of bubblewrap around the program, and the pipe with the filter of system calls.
fn wrap(run: &Run) -> Result<(Command, Option<OwnedFd>), String> {
    let program = run.bubblewrap.as_deref().ok_or("bwrap is not on PATH")?;
    let mut command = Command::new(program);
    command.env_clear().envs(environment(INSIDE));
    command.args(["--unshare-user", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
    for path in &run.read {
        // Folders that are links on this system, such as /lib, stay links.
        match std::fs::read_link(path) {
            Ok(target) if !is_below_another(path, &run.read) => command.arg("--symlink").arg(target).arg(path),
            _ => command.arg("--ro-bind-try").arg(path).arg(path),
        };
    }
    for device in DEVICES {
        command.args(["--dev-bind-try", device, device]);
    }
    command.args(["--size", &run.limits.disk.to_string(), "--tmpfs", INSIDE, "--remount-ro", "/", "--chdir", INSIDE]);
    let filter = match run.layers.seccomp {
        true => Some(piped_filter()?),
        false => None,
    };
    if let Some(pipe) = &filter {
        command.args(["--seccomp", &pipe.as_raw_fd().to_string()]);
    }
    command.arg("--").arg(&run.program).args(&run.arguments);
    Ok((command, filter))
}

/// Returns whether a path is in a folder that is bound anyway.
fn is_below_another(path: &Path, paths: &[std::path::PathBuf]) -> bool {
    paths.iter().any(|other| other != path && path.starts_with(other))
}

/// Writes the filter into a pipe that a program started from here inherits.
fn piped_filter() -> Result<OwnedFd, String> {
    let (reader, writer) = rustix::pipe::pipe().map_err(|error| format!("pipe: {error}"))?;
    let bytes = filter::bytes(&filter::program(filter::Others::Apart)?);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let written = rustix::io::write(&writer, rest).map_err(|error| format!("pipe: {error}"))?;
        rest = &rest[written..];
    }
    Ok(reader)
}
