//! A process that is forked while the threads read. One test, alone in its process.
#![cfg(unix)]

mod common;

#[path = "../../io-core/tests/support/child.rs"]
mod child;
#[path = "../../io-core/tests/support/fork.rs"]
mod shared;
