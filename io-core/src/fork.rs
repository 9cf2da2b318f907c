//! Detects a fork at the cost of one load. Threads, and rings, stay behind at a fork.
//!
//! A thread that stayed behind may hold any lock, and never lets it go. So a forked process must not wait for
//! a lock that another thread of its parent used. It compares generations first.

#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Forks between the first call of [`watch`] and this process. Always 0 on systems without forks.
#[must_use]
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Counts forks from here on.
///
/// # Panics
/// If there is no memory for it.
#[cfg(unix)]
pub fn watch() {
    extern "C" fn forked() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    static WATCHING: std::sync::Once = std::sync::Once::new();
    WATCHING.call_once(|| {
        // SAFETY: the handler only adds to an atomic number, which is allowed at any moment after a fork.
        let failed = unsafe { libc::pthread_atfork(None, None, Some(forked)) };
        assert_eq!(failed, 0, "pthread_atfork fails for want of memory only");
    });
}

/// Counts forks from here on. This system has none.
#[cfg(not(unix))]
pub fn watch() {}

/// The error of a file whose operations stayed behind at a fork.
#[must_use]
pub fn lost() -> io::Error {
    io::Error::other(
        "the file was opened before a fork, and is read and written in the parent process only: open the file again in this process",
    )
}
