//! What later steps fetch, fetched while the first ones compile.

use super::steps::install_compiler;
use crate::command::quietly;
use crate::python::NVRTC;
use crate::web;
use std::sync::Mutex;
use std::thread::JoinHandle;

static RUNNING: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);

/// Starts, and returns at once. What fails is tried again, and told of, by the step that needs it.
pub(super) fn begin() {
    let thread = std::thread::spawn(|| {
        quietly(|| {
            let _ = install_compiler();
            let _ = NVRTC.interpreter(None);
            let _ = web::install();
        });
    });
    *RUNNING.lock().expect("no step panics while it holds this") = Some(thread);
}

/// Returns when everything is there that could be fetched.
pub(super) fn wait() {
    let thread = RUNNING.lock().expect("no step panics while it holds this").take();
    // A panic there is a failure of the step that needs what is missing.
    let _ = thread.map(JoinHandle::join);
}
