//! The log of workers: their standard error.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Most bytes that a log writes to its file.
const MOST: u64 = 16 << 20;

/// Bytes that a log keeps in memory, for its file to come or for an error message.
const KEPT: usize = 64 << 10;

/// The standard error of the workers of a run. It keeps the last 64 KiB in memory and, once it has a
/// file, writes at most 16 MiB to it.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    kept: VecDeque<u8>,
    /// Whether everything also goes to the standard error of this program.
    is_shown: bool,
    path: Option<PathBuf>,
    file: Option<File>,
    written: u64,
}

impl Log {
    /// Appends the kept bytes to a file, and everything to come. The file is made if there is
    /// something to write.
    pub fn to_file(&self, path: PathBuf) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.path = Some(path);
        let kept = state.kept.make_contiguous().to_vec();
        state.write(&kept);
    }

    /// Also writes everything to come to the standard error of this program.
    pub fn show(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_shown = true;
    }

    /// Returns the last line that was written and is not blank.
    pub fn last_line(&self) -> Option<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(state.kept.make_contiguous()).into_owned();
        text.lines().rev().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
    }

    /// Appends bytes. Bytes beyond the limit of the file are dropped, which its last line says.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        state.kept.extend(bytes);
        let excess = state.kept.len().saturating_sub(KEPT);
        state.kept.drain(..excess);
        if state.is_shown {
            let _ = std::io::stderr().write_all(bytes);
        }
        state.write(bytes);
    }
}

impl State {
    /// Appends bytes to the file. A log that cannot be written must not end a run, so errors are ignored.
    fn write(&mut self, bytes: &[u8]) {
        let Some(path) = self.path.as_ref().filter(|_| !bytes.is_empty() && self.written <= MOST) else { return };
        if self.file.is_none() {
            self.file = OpenOptions::new().create(true).append(true).open(path).ok();
            self.written = self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |data| data.len());
        }
        let Some(file) = &mut self.file else { return };
        self.written += bytes.len() as u64;
        let _ = file.write_all(bytes);
        if self.written > MOST {
            let _ = file.write_all(b"\n(this log has reached 16 MiB: what follows is dropped)\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_stays_within_its_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verifier.log");
        let log = Log::default();
        log.write(b"before\n");
        log.to_file(path.clone());
        for _ in 0..40 {
            log.write(&[b'x'; 1 << 19]);
        }
        log.write(b"\nthe last words\n\n");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("is dropped)\n"), "{}", text.len());
        assert!(text.len() < (MOST as usize) + (1 << 20));
        assert_eq!(log.last_line().as_deref(), Some("the last words"));
    }
}
