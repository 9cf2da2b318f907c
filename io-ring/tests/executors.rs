//! Tasks and threads under any executor share readers and writers of the ring.
#![cfg(target_os = "linux")]

mod common;

#[path = "../../io-core/tests/support/executors.rs"]
mod shared;
