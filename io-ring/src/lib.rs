//! One io_uring for the whole process: the backend of [`io_core`] for any executor, or none.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]
#![cfg_attr(loom, allow(dead_code))]

mod fork;
mod handover;
mod operation;
mod sync;

#[cfg(not(loom))]
mod descriptor;
#[cfg(not(loom))]
mod file;
#[cfg(not(loom))]
mod joined;
#[cfg(not(loom))]
mod lanes;
#[cfg(not(loom))]
mod pool;
#[cfg(not(loom))]
mod ring;
#[cfg(not(loom))]
mod runtime;
#[cfg(not(loom))]
mod worker;

#[cfg(not(loom))]
pub use {
    file::{RingPage, RingSink, RingSource},
    ring::RingOptions,
    runtime::RingBackend,
};

/// What loom tries in every order: the hand-over and the life of an operation, with files that only keep operations.
#[cfg(loom)]
#[path = "loom/file.rs"]
mod file;
#[cfg(all(test, loom))]
#[path = "loom/models.rs"]
mod models;
