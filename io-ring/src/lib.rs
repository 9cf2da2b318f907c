//! One io_uring for the whole process: the backend of [`io_core`] for any executor, or none.
//!
//! ```text
//!  any thread                   hand-over                the ring's thread                   kernel
//!  read ──> Operation ──push──> lock-free stack ──take──> lanes ──issue──> submission queue ──> ...
//!             ^                    │ asleep?              foreground       (contiguous writes     │
//!             │ waker              └── eventfd, read      background        are joined)           │
//!             └──────────────────────── through the ring <──────────── completion queue <─────────┘
//! ```
//!
//! Readers, writers and their futures are `Send`. Threads may share a reader. No runtime is needed:
//! [`RingBackend::run`](io_core::Executor::run) blocks the calling thread on a future, and any executor
//! will do.
//!
//! ```
//! use io_core::{Executor, FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader, with_causes};
//! use io_ring::RingBackend;
//! use std::ops::ControlFlow;
//!
//! let backend = RingBackend::default();
//! let program = std::env::current_exe()?;
//! let started = backend.run(|| async {
//!     let reader = backend.open(&program, &OpenOptions::default()).await?;
//!     let mut magic = Vec::new();
//!     reader
//!         .read_vectors(&[ReadRequest::new(0, 4)], &ReadControl::default(), |_index, bytes| {
//!             magic.extend_from_slice(bytes);
//!             ControlFlow::Continue(())
//!         })
//!         .await?;
//!     reader.close().await?;
//!     Ok::<_, Box<dyn std::error::Error>>(magic)
//! });
//! match started {
//!     Ok(magic) => assert_eq!(magic?, b"\x7fELF"),
//!     Err(refused) => eprintln!("{}", with_causes(&refused)), // says what to change
//! }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Lanes
//!
//! A lane is a priority. [`Lane::Foreground`](io_core::Lane) operations go ahead of
//! [`Lane::Background`](io_core::Lane) ones. `lanes.rs` of io-core has the numbers. A store's journal is
//! foreground. Its segments are background.

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

// A module uses only modules above it.
mod descriptor;
mod options;
mod sync;

mod place;
mod setup;

mod operation;

mod handover;
mod joined;
mod registered;

mod ring;

mod open_file;

mod file;
mod worker;

mod start;

mod runtime;

#[cfg(all(test, loom))]
mod models;

pub use file::{RingPage, RingSink, RingSource};
pub use options::RingOptions;
pub use runtime::RingBackend;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
