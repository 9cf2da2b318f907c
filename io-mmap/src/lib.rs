//! The memory-map backend of [`io_core`]: the default, for any system and any executor.
//!
//! A read is a slice of the map: no plan, no copy, no allocation. When the pages of a batch are not in
//! memory, the kernel is told of the whole batch before its first page is touched, so that the disk works on
//! many reads at once instead of one fault after the other.
//!
//! `MmapBefore` (Linux) is a map before another backend, for files of which memory holds a part: what the map
//! would have to wait for is read through the other one.
//!
//! # Truncation
//!
//! The length is checked when the file is opened, and no slice reaches past it. If somebody *truncates* the
//! file later, a touch of the pages that are gone kills the process with SIGBUS; no check can prevent that,
//! since the file may shrink between the check and the touch. So map files that are immutable once written,
//! and replace them by renaming. The ring backends report `ReadError::Truncated` instead.
//!
//! ```
//! use io_core::{BackendFactory, OpenOptions, ReadControl, ReadRequest, VectorReader};
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
