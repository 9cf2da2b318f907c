//! `pread` and `pwrite` on a pool of threads: the backend of [`io_core`] for any system, and any executor or
//! none.
//!
//! ```text
//!  any thread                        hand-over                      a thread of the pool
//!  read ──> in the page cache? ──no──> lanes ──────────take───────> pread ──> finish ──> takes the next one
//!   ^             │ yes (Linux)        foreground before background             │
//!   └── bytes <───┘                    nobody is looking? wakes one             │
//!   └── waker <─────────────────────────────────────────────────────────────────┘
//! ```
//!
//! It needs nothing from the system but threads. So it serves hosts that refuse io_uring, such as containers
//! with Docker's default seccomp profile, and systems other than Linux. Unlike a memory map, it never blocks
//! the calling thread on the disk, and it can bypass the page cache.
//!
//! Readers, writers and their futures are `Send`. Threads may share a reader. No runtime is needed:
//! [`ThreadsBackend::run`](io_core::Executor::run) blocks the calling thread on a future, and any
//! executor will do.
//!
//! ```
//! use io_core::{Executor, FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader};
//! use io_threads::ThreadsBackend;
//! use std::ops::ControlFlow;
//!
//! let backend = ThreadsBackend::default();
//! let program = std::env::current_exe()?;
//! let magic = backend.run(|| async {
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
//! })??;
//! # if cfg!(target_os = "linux") {
//! assert_eq!(magic, b"\x7fELF");
//! # }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # Lanes
//!
//! A lane is a priority. [`Lane::Foreground`](io_core::Lane) operations go ahead of
//! [`Lane::Background`](io_core::Lane) ones, which never hold more than half of the threads. `lanes.rs` of
//! io-core has the numbers.

#![deny(unsafe_code)]

// A module uses only modules above it, but a file and its operations know each other.
mod options;
mod team;

#[cfg(target_os = "linux")]
mod cached;
mod write_back;

mod open_file;
mod operation;
mod pool;

mod file;

mod runtime;

pub use file::{ThreadsSink, ThreadsSource};
pub use options::ThreadsOptions;
pub use runtime::ThreadsBackend;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
