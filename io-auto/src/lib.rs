//! The backend of [`io_core`] that takes [`io_ring`] where the kernel allows io_uring, and [`io_threads`]
//! elsewhere.
//!
//! It sets up a ring to find out, and lets it carry out one operation. If the system refuses that, as
//! Docker's default seccomp profile does, the threads take over. Systems other than Linux have threads only.
//! [`BackendInfo::choice`](io_core::BackendInfo::choice) of every file says which of the two was taken, and
//! why.
//!
//! ```
//! use io_auto::AutoBackend;
//! use io_core::{Executor, FileSystem, OpenOptions, VectorReader};
//!
//! let backend = AutoBackend::default();
//! let program = std::env::current_exe()?;
//! let info = backend.run(|| async {
//!     let reader = backend.open(&program, &OpenOptions::default()).await?;
//!     Ok::<_, io_core::OpenError>(reader.info().clone())
//! })??;
//! let choice = info.choice.expect("it always says");
//! assert!(["ring", "threads"].contains(&choice.taken));
//! println!("{}, because: {}", choice.taken, choice.reason);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # When it chooses
//!
//! One choice holds for the whole process. It is made with the first file or the first
//! [`run`](io_core::Executor::run), and holds until the last file is closed and the last `run` has
//! returned. The next first file makes a new one. So the files that are open at once share one ring, or one
//! pool of threads. It is the ring, or the pool, that [`io_ring`] or [`io_threads`] use by default.
//!
//! A forked process chooses for itself, since a sandbox may have been closed around it.
//!
//! # What is not a reason for threads
//!
//! If the process may not open another file or start another thread, opening a file is an error, as with
//! [`io_ring`]. The threads would lack the same. And a want that is over in a moment would decide for long.

#![forbid(unsafe_code)]

// A module uses only modules above it.
#[macro_use]
mod either;

mod chosen;

mod file;

mod runtime;

pub use either::Either;
pub use file::{AutoFile, AutoSink, AutoSource};
pub use runtime::AutoBackend;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
