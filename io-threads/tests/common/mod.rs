//! The pool under test, and what suits it.
#![allow(dead_code, unused_imports, reason = "each test is a binary of its own and uses some of it")]

#[path = "../../../io-core/tests/support/known_file.rs"]
mod known_file;
#[path = "../../../io-core/tests/support/stalled.rs"]
mod stalled;

use io_core::{OpenOptions, ReadRequest};
use io_threads::ThreadsOptions;
pub(crate) use known_file::*;
pub(crate) use stalled::*;

pub(crate) type Backend = io_threads::ThreadsBackend;

/// Bytes of a [`request`].
pub(crate) const LEN: u32 = 4096;

/// Request `number` of a file, aligned as reads past the page cache are.
pub(crate) fn request(number: u64) -> ReadRequest {
    ReadRequest::new(number * STRIDE, LEN)
}

/// Opens files past the page cache, so that each request needs a thread.
pub(crate) fn options() -> OpenOptions {
    OpenOptions::direct().with_gap_max(0)
}

/// A pool of one thread besides the process's one.
pub(crate) fn own() -> Backend {
    pool(1)
}

/// A pool besides the process's one.
pub(crate) fn pool(threads_max: usize) -> Backend {
    Backend::start(&ThreadsOptions::default().with_threads_max(threads_max)).expect("a thread starts")
}

/// The number of threads of pools in this process.
#[cfg(target_os = "linux")]
pub(crate) fn threads() -> usize {
    threads_named("io-threads").len()
}

/// The process's pool runs at every fork. The standard library holds a lock while a thread starts or ends. A
/// process that is forked at that moment can start no thread. A pool that starts and ends meets it often.
pub(crate) const IS_FORKED_AT_ITS_START: bool = false;
