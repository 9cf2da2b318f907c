//! The ring under test, and what suits it.
#![allow(dead_code, unused_imports, reason = "each test is a binary of its own and uses some of it")]

#[path = "../../../io-core/tests/support/known_file.rs"]
mod known_file;
#[path = "../../../io-core/tests/support/stalled.rs"]
mod stalled;

use io_core::{OpenOptions, ReadRequest};
use io_ring::RingOptions;
pub(crate) use known_file::*;
pub(crate) use stalled::*;

pub(crate) type Backend = io_ring::RingBackend;

/// Bytes of a [`request`].
pub(crate) const LEN: u32 = 400;

/// Request `number` of a file. The ring reads exactly these bytes, at any offset.
pub(crate) fn request(number: u64) -> ReadRequest {
    ReadRequest::new(number * STRIDE + number % 100, LEN)
}

/// Opens files so that each request is a read of its own.
pub(crate) fn options() -> OpenOptions {
    OpenOptions::default().with_gap_max(0)
}

/// A ring besides the process's one.
pub(crate) fn own() -> Backend {
    Backend::start(&RingOptions::default()).expect("this system has io_uring")
}

/// Forks come while the process's ring starts and ends. It has one thread.
pub(crate) const IS_FORKED_AT_ITS_START: bool = true;
