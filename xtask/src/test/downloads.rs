//! Downloads for later steps, which run while the first ones compile.

use super::steps::install_compiler;
use crate::command::quietly;
use crate::python::NVRTC;
use crate::web;
use std::sync::Mutex;
use std::thread::JoinHandle;

static RUNNING: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);

/// Starts the downloads and returns at once. If one fails, the step that needs it tries again and reports it.
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

/// Waits until the downloads have ended.
pub(super) fn wait() {
    let thread = RUNNING.lock().expect("no step panics while it holds this").take();
    // If the thread panicked, the step that needs the missing download reports it.
    let _ = thread.map(JoinHandle::join);
}
