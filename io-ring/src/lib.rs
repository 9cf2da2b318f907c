//! One io_uring for the whole process: the backend of [`io_core`] for any executor, or none.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod descriptor;
mod file;
mod fork;
mod handover;
mod joined;
mod lanes;
mod operation;
mod pool;
mod ring;
mod runtime;
mod sync;
mod worker;

pub use file::{RingPage, RingSink, RingSource};
pub use ring::RingOptions;
pub use runtime::RingBackend;
