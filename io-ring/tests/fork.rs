//! A process that is forked while the ring reads. One test, alone in its process.
#![cfg(target_os = "linux")]

mod common;

#[path = "../../io-core/tests/support/child.rs"]
mod child;
#[path = "../../io-core/tests/support/fork.rs"]
mod shared;
