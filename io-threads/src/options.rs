//! The size of a pool.

use std::time::Duration;

/// The size of a pool of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadsOptions {
    /// Maximum of threads, at least 1. Each carries out one operation at a time, for any file. More
    /// operations wait, in their lane.
    pub threads_max: usize,
    /// A thread ends that had nothing to do for this long. One stays asleep, so that a job never waits for
    /// busy threads while there may be more.
    pub idle_for: Duration,
}

impl Default for ThreadsOptions {
    /// 32 threads, as many as a file has reads in flight by default. Each ends after five seconds without
    /// work.
    fn default() -> Self {
        Self { threads_max: 32, idle_for: Duration::from_secs(5) }
    }
}

impl ThreadsOptions {
    /// The same options, with [`ThreadsOptions::threads_max`].
    #[must_use]
    pub fn with_threads_max(self, threads_max: usize) -> Self {
        Self { threads_max, ..self }
    }

    /// The same options, with [`ThreadsOptions::idle_for`].
    #[must_use]
    pub fn with_idle_for(self, idle_for: Duration) -> Self {
        Self { idle_for, ..self }
    }
}
