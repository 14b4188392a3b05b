//! The filter of system calls: those that a Python program needs, and no other.
//!
//! There is no socket among them, nothing that reaches another process, and nothing that changes the owner, mode or time
//! of a file that the user owns. Other calls fail with `ENOSYS`, as on a kernel that lacks it, and C libraries
//! then try something older.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// The processes that a program could reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// Only its own: it has its own user, or its own namespace of processes.
    Apart,
    /// All of its user, so it may signal only this process, and stays in its session.
    Shared(u32),
}

impl Others {
    pub(super) fn from_pid(pid: Option<u32>) -> Self {
        pid.map_or(Self::Apart, Self::Shared)
    }
}

/// System calls that any program may use, on every architecture.
const COMMON: &[i64] = &[
    // Files.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_sendfile,
    libc::SYS_copy_file_range,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_umask,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_msync,
    // Itself and its children.
    libc::SYS_execve,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_prctl,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    libc::SYS_getpriority,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getcpu,
    libc::SYS_membarrier,
    libc::SYS_rseq,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_restart_syscall,
    // Signals to itself, time and waiting.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_signalfd4,
    // Pairs of sockets, see `conditions`.
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
];

/// Older forms, which only x86-64 has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_creat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_pause,
    libc::SYS_alarm,
    libc::SYS_time,
    libc::SYS_getpgrp,
    libc::SYS_getrlimit,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_arch_prctl,
];

#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// Allowed only if the program has its own user or namespace.
const APART: &[i64] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
];

/// New namespaces, and a child that its caller's parent would have to wait for.
const CLONE_REFUSED: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PARENT
    | libc::CLONE_PTRACE) as u32 as u64;

/// The bit of `O_TMPFILE` that no other flag has: such files cannot be counted.
const TMPFILE: u64 = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u64;

// The same on every architecture that `seccompiler` knows.
const F_SETOWN: u64 = 8;
const F_SETSIG: u64 = 10;
const F_SETOWN_EX: u64 = 15;
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;
const TIOCSTI: u64 = 0x5412;

/// A rule: number of the argument, comparison, value.
type Rule = Vec<(u8, Op, u64)>;

/// Returns the system calls that depend on their arguments. Any of the rules of a call allows it.
fn conditions(others: Others) -> Vec<(i64, Vec<Rule>)> {
    // A signal for another process could also come from a file or a terminal.
    let fcntl = [F_SETOWN, F_SETSIG, F_SETOWN_EX].map(|command| (1, Op::Ne, command));
    let ioctl = [FIOSETOWN, SIOCSPGRP, TIOCSTI].map(|request| (1, Op::Ne, request));
    let mut calls = vec![
        (libc::SYS_fcntl, vec![fcntl.to_vec()]),
        (libc::SYS_ioctl, vec![ioctl.to_vec()]),
        (libc::SYS_clone, vec![vec![(0, Op::MaskedEq(CLONE_REFUSED), 0)]]),
        (libc::SYS_prlimit64, vec![vec![(0, Op::Eq, 0)]]),
        (libc::SYS_sched_setaffinity, vec![vec![(0, Op::Eq, 0)]]),
        (libc::SYS_openat, vec![vec![(2, Op::MaskedEq(TMPFILE), 0)]]),
        // Connected streams only: another kind could send to any socket in the file system.
        (libc::SYS_socketpair, vec![vec![(1, Op::MaskedEq(0xf), libc::SOCK_STREAM as u64)]]),
        (libc::SYS_sendto, vec![vec![(4, Op::Eq, 0)]]),
    ];
    #[cfg(target_arch = "x86_64")]
    calls.push((libc::SYS_open, vec![vec![(1, Op::MaskedEq(TMPFILE), 0)]]));
    if let Others::Shared(pid) = others {
        let own: Vec<Rule> = [u64::from(pid), 0].map(|pid| vec![(0, Op::Eq, pid)]).into();
        calls.extend([(libc::SYS_kill, own.clone()), (libc::SYS_tgkill, own)]);
    }
    calls
}

/// Returns the filter as a program for the kernel.
pub(super) fn program(others: Others) -> Result<BpfProgram, String> {
    let failed = |error: seccompiler::BackendError| format!("seccomp: {error}");
    let apart = if others == Others::Apart { APART } else { &[] };
    let free = COMMON.iter().chain(OLDER).chain(apart);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = free.map(|&call| (call, Vec::new())).collect();
    for (call, any) in conditions(others) {
        let condition = |(argument, op, value): (u8, Op, u64)| {
            // Pointers and flags of `clone` have 64 bits.
            let wide = (call == libc::SYS_sendto || call == libc::SYS_clone).then_some(Length::Qword);
            SeccompCondition::new(argument, wide.unwrap_or(Length::Dword), op, value)
        };
        let rule = |all: Rule| SeccompRule::new(all.into_iter().map(condition).collect::<Result<_, _>>()?);
        rules.insert(call, any.into_iter().map(rule).collect::<Result<_, _>>().map_err(failed)?);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(failed)?;
    let refused = SeccompAction::Errno(libc::ENOSYS as u32);
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch).map_err(failed)?;
    filter.try_into().map_err(failed)
}

/// Returns the bytes of a filter, as bubblewrap reads them.
pub(super) fn bytes(program: &BpfProgram) -> Vec<u8> {
    let bytes = |step: &seccompiler::sock_filter| {
        let [a, b] = step.code.to_ne_bytes();
        let [c, d, e, f] = step.k.to_ne_bytes();
        [a, b, step.jt, step.jf, c, d, e, f]
    };
    program.iter().flat_map(bytes).collect()
}
