//! Users of their own for programs, and the number of processes that a user has.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

/// Programs of this process that may run at a time, in all its sandboxes.
const MOST: usize = 64;

/// Numbers of the programs that could run besides those that do. Each stands for a user, so they are shared by all sandboxes.
/// The one that has rested longest comes first: processes that were killed count until the kernel has cleared them away.
static FREE: OnceLock<Mutex<VecDeque<u32>>> = OnceLock::new();
static RETURNED: Condvar = Condvar::new();

/// The seat of one program. Dropping it makes room for another.
#[derive(Debug)]
pub(super) struct Seat {
    number: u32,
}

fn free() -> &'static Mutex<VecDeque<u32>> {
    FREE.get_or_init(|| Mutex::new((0..MOST as u32).collect()))
}

impl Seat {
    /// Waits for a seat.
    pub(super) fn take() -> Self {
        let mut seats = free().lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(number) = seats.pop_front() {
                return Self { number };
            }
            seats = RETURNED.wait(seats).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns the user of this seat.
    pub(super) fn user(&self) -> u32 {
        first_user() + self.number
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        free().lock().unwrap_or_else(PoisonError::into_inner).push_back(self.number);
        RETURNED.notify_one();
    }
}

/// Returns the first of [`MOST`] users that belong to nobody, different in each process.
///
/// No distribution gives numbers from 0x70000000 on to anyone. Containers with fewer users have those below 65536.
fn first_user() -> u32 {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    choose(&map, std::process::id())
}

fn choose(map: &str, pid: u32) -> u32 {
    let ranges = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().ok());
        let (inside, _, length) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some((inside, inside.saturating_add(length)))
    });
    let fits = |from: u64, to: u64| ranges.clone().any(|(start, end)| start <= from && to <= end);
    let most = MOST as u32;
    match fits(0x7000_0000, 0x8000_0000) {
        true => 0x7000_0000 + pid % (0x1000_0000 / most) * most,
        // The numbers that systemd lends to services for a while.
        false => 61_440 + pid % 63 * most,
    }
}

/// Returns whether this process is root, and so may become another user.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Counts processes and threads of this user, as the kernel does for its limit.
pub(super) fn present() -> u64 {
    let user = rustix::process::getuid().as_raw();
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let processes = entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit());
    let statuses = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok());
    statuses.filter_map(|status| threads_of(&status, user)).sum()
}

/// Returns the number of threads of a process that belongs to `user`.
fn threads_of(status: &str, user: u32) -> Option<u64> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line?.split_whitespace().next()?.parse::<u64>().ok()
    };
    (field("Uid:")? == u64::from(user)).then(|| field("Threads:").unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_lie_in_the_map_and_differ_between_processes() {
        let whole = "         0          0 4294967295\n";
        for pid in [1, 77, 4_194_304] {
            let first = choose(whole, pid);
            assert!((0x7000_0000..=0x8000_0000 - 64).contains(&first), "{first:#x}");
            let first = choose("0 100000 65536\n", pid);
            assert!((61_440..=65_535 - 64).contains(&first), "{first}");
        }
        assert!(choose(whole, 5).abs_diff(choose(whole, 6)) >= 64);
    }

    #[test]
    fn threads_count_for_their_user_only() {
        let status = "Name:\tx\nUid:\t7\t7\t7\t7\nThreads:\t12\n";
        assert_eq!(threads_of(status, 7), Some(12));
        assert_eq!(threads_of(status, 8), None);
        assert_eq!(threads_of("", 7), None);
        assert!(present() >= 1);
    }
}
