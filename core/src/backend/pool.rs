//! Threads of the CPU backend.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// A pool of threads, or the calling thread alone. Work is split into jobs that own disjoint slices, so results never
/// depend on the number of threads.
#[derive(Clone)]
pub struct Pool {
    #[cfg(feature = "fast")]
    threads: usize,
    #[cfg(feature = "fast")]
    pool: Option<alloc::sync::Arc<rayon::ThreadPool>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

/// Splits `0..n` into at most `parts` ranges of nearly equal length.
pub fn split(n: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
    let step = n.div_ceil(parts.max(1)).max(1);
    (0..n).step_by(step).map(move |start| start..(start + step).min(n))
}

impl Pool {
    /// Creates a pool that runs everything on the calling thread.
    pub const fn serial() -> Self {
        Self {
            #[cfg(feature = "fast")]
            threads: 1,
            #[cfg(feature = "fast")]
            pool: None,
        }
    }

    /// Creates a pool of `threads` threads; 0 means one for each processor. If threads cannot be started, the pool is
    /// serial.
    #[cfg(feature = "fast")]
    pub fn new(threads: usize) -> Self {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        if threads == 1 {
            return Self::serial();
        }
        match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
            Ok(pool) => Self { threads, pool: Some(alloc::sync::Arc::new(pool)) },
            Err(_) => Self::serial(),
        }
    }

    /// Returns the number of threads.
    pub const fn threads(&self) -> usize {
        #[cfg(feature = "fast")]
        return self.threads;
        #[cfg(not(feature = "fast"))]
        1
    }

    /// Returns the number of jobs to split this many elementary operations into. It is 1 if starting threads would cost
    /// more than it saves.
    pub const fn jobs(&self, operations: usize) -> usize {
        if operations < 32_768 { 1 } else { self.threads() }
    }

    /// Runs every job on the pool, in any order.
    pub fn run<J: Send>(&self, jobs: impl IntoIterator<Item = J>, work: impl Fn(J) + Sync + Send) {
        #[cfg(feature = "fast")]
        let jobs: Vec<J> = jobs.into_iter().collect();
        #[cfg(feature = "fast")]
        if let Some(pool) = &self.pool
            && jobs.len() > 1
        {
            use rayon::iter::{IntoParallelIterator, ParallelIterator};
            return pool.install(|| jobs.into_par_iter().for_each(work));
        }
        jobs.into_iter().for_each(work);
    }

    /// Runs every job on the pool, in any order, and returns the results in the order of the jobs.
    pub fn map<J: Send, R: Send>(&self, jobs: Vec<J>, work: impl Fn(J) -> R + Sync + Send) -> Vec<R> {
        let mut results: Vec<Option<R>> = jobs.iter().map(|_| None).collect();
        self.run(jobs.into_iter().zip(&mut results), |(job, result)| *result = Some(work(job)));
        results.into_iter().flatten().collect()
    }

    /// Runs `work` inside the pool, so that the operations it calls need not wake a thread each time.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        #[cfg(feature = "fast")]
        if let Some(pool) = &self.pool {
            return pool.install(work);
        }
        work()
    }
}
