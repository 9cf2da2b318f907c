//! Detects a fork at the cost of one load. Threads, and so the ring, stay behind at a fork.

#![allow(unsafe_code)]

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Forks between the first ring and this process.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Counts forks from here on.
pub(crate) fn watch() {
    extern "C" fn forked() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        // SAFETY: the handler only adds to an atomic number, which is allowed at any moment after a fork.
        let failed = unsafe { libc::pthread_atfork(None, None, Some(forked)) };
        assert_eq!(failed, 0, "pthread_atfork fails for want of memory only");
    });
}
