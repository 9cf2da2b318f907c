//! The [glommio](https://docs.rs/glommio) backend of [`io_core`]: one executor a core, over io_uring.
//!
//! Direct files are `DmaFile`s, and their bytes are delivered from glommio's own DMA buffers. Buffered files
//! are `BufferedFile`s.
//!
//! Start the executor with [`GlommioBackend::run`](io_core::Executor::run), or use the backend inside
//! your own `LocalExecutor`. Close readers before your own executor ends.
//!
//! glommio does not start if less than 512 KiB of memory may be locked (`ulimit -l`). It registers its
//! buffers with the ring only if it may lock all of them, 10 MiB an executor. Otherwise a read takes more
//! CPU.
//!
//! glommio 0.9 leaves an eventfd behind for each executor that has run. A program that starts executors again
//! and again should do so on threads of [`spawn_thread`](io_core::Executor::spawn_thread). They keep
//! their executor.
//!
//! ```
//! use io_core::{Executor, FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader, with_causes};
//! use io_glommio::GlommioBackend;
//! use std::ops::ControlFlow;
//!
//! let backend = GlommioBackend::default();
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
#![forbid(unsafe_code)]

mod device;
mod file;
mod kept;
mod runtime;

pub use file::{GlommioBuffer, GlommioSink, GlommioSource};
pub use runtime::GlommioBackend;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
