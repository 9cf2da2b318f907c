//! The memory-map backend of [`io_core`]: the default, for any system and any executor.
//!
//! A read is a slice of the map: no plan, no copy, no allocation. If pages of a batch are not in memory, the
//! kernel learns of the whole batch before its first page is touched. So the disk works on many reads at
//! once, instead of one fault after the other.
//!
//! `MmapBefore` (Linux) is a map before another backend, for files that fit into memory only in part. Pages
//! that the map would have to wait for are read through the other backend.
//!
//! # Truncation
//!
//! The length is checked when the file is opened, and no slice reaches past it. If another process
//! *truncates* the file later, touching a missing page kills this process with SIGBUS. No check can prevent
//! that, since the file may shrink between the check and the touch. So map only files that never change once
//! they are written, and replace them by renaming. The ring backends report `ReadError::Truncated` instead.
//!
//! ```
//! use io_core::{Executor, FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader};
//! use io_mmap::MmapBackend;
//! use std::ops::ControlFlow;
//!
//! let backend = MmapBackend::default();
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
//!     Ok::<_, Box<dyn std::error::Error>>(magic)
//! })??;
//! # if cfg!(target_os = "linux") {
//! assert_eq!(magic, b"\x7fELF");
//! # }
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

#[cfg(target_os = "linux")]
mod before;
mod cold;
mod file;
#[cfg(target_os = "linux")]
mod known;
mod map;
mod runtime;
mod session;
mod write;

#[cfg(target_os = "linux")]
pub use before::{MmapBefore, MmapBeforeReader};
pub use file::MmapReader;
pub use runtime::MmapBackend;
pub use write::FileSink;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
