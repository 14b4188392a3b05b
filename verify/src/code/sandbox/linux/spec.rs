//! The message from the supervising process to the confining one.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::super::{Launcher, Layers, Limits};

/// The variable that carries a [`Spec`].
pub(super) const VARIABLE: &str = "FLOWRL_SANDBOX";

/// Status of a process that could not confine itself.
pub(super) const FAILED: i32 = 120;

/// One process to confine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    /// The action to take.
    pub task: Task,
    /// The user to become first, which is also the group.
    pub user: Option<u32>,
    /// A word that no program knows, before messages about failures.
    pub secret: String,
}

/// The action of a process with a [`Spec`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Task {
    /// Confines itself and becomes a program.
    Run(Box<Run>),
    /// Kills every process of its user.
    KillAll,
}

/// A program and its allowances.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub layers: Layers,
    pub limits: Limits,
    /// Limit of the processes of its user.
    pub processes: u64,
    /// Whether other programs belong to the same user, so that signals must be filtered.
    pub shared: bool,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Its folder, the only one in which it may write.
    pub work: PathBuf,
    /// Files and folders that it may read.
    pub read: Vec<PathBuf>,
    pub bubblewrap: Option<PathBuf>,
}

impl Spec {
    /// Returns the command that starts a process with this specification.
    pub(super) fn command(&self, launcher: &Launcher) -> Result<Command, String> {
        let mut command = Command::new(&launcher.program);
        command.args(&launcher.arguments).env_clear().env(VARIABLE, self.text()?);
        Ok(command)
    }

    /// Becomes its user, and starts again as this user. It only returns if this fails.
    pub(super) fn become_user(&self, user: u32) -> String {
        let own = Self { user: None, ..self.clone() };
        let text = match own.text() {
            Ok(text) => text,
            Err(error) => return error,
        };
        let mut command = Command::new("/proc/self/exe");
        command.args(std::env::args_os().skip(1)).env_clear().env(VARIABLE, text);
        let error = command.uid(user).gid(user).exec();
        format!("cannot become the user {user}: {error}")
    }

    fn text(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| format!("a path is no UTF-8: {error}"))
    }

    /// Reads the specification of this process.
    pub(super) fn read(text: &OsStr) -> Option<Self> {
        serde_json::from_str(text.to_str()?).ok()
    }
}
