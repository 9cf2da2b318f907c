//! The [monoio](https://docs.rs/monoio) backend of [`io_core`]: one io_uring a thread.
//!
//! Reads go into pooled, aligned buffers, buffered or past the page cache.
//!
//! Start the executor with [`MonoioBackend::run`](io_core::Executor::run), or use the backend inside
//! your own monoio runtime, built with its io_uring driver. Close readers before your own runtime ends.
//! monoio's ring does not wait for operations in flight. Their buffers are leaked, since the kernel may still
//! write to them.
//!
//! ```
//! use io_core::{Executor, FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader, with_causes};
//! use io_monoio::MonoioBackend;
//! use std::ops::ControlFlow;
//!
//! let backend = MonoioBackend::default();
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

pub use file::MonoioFile;
pub use runtime::MonoioBackend;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
