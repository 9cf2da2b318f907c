//! The [compio](https://docs.rs/compio) backend of [`io_core`]: one io_uring a thread.
//!
//! Reads go into pooled, aligned buffers, buffered or past the page cache.
//!
//! Start the executor with [`CompioBackend::run`](io_core::Executor::run), or use the backend inside
//! your own compio runtime.
//!
//! compio also has a driver without io_uring, and may choose it by itself. This backend never uses it:
//! opening a file in such a runtime is an error.
//!
//! Close readers before your own runtime ends. compio's ring does not wait for operations in flight. Their
//! buffers are leaked, since the kernel may still write to them.
//!
//! ```
//! use io_compio::CompioBackend;
//! use io_core::{Executor, FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader, with_causes};
//! use std::ops::ControlFlow;
//!
//! let backend = CompioBackend::default();
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

#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod buffer;
mod file;
mod runtime;
mod spawn;
mod system;

pub use file::CompioFile;
pub use runtime::CompioBackend;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
