//! Batched vector reads by offset, for storage engines that do not want to know their async runtime.
//!
//! A storage engine asks for many byte ranges of a file at once, through [`VectorReader::read_vectors`]. A
//! callback gets each range as soon as it has been read. A *backend* crate (memory map, tokio-uring, glommio,
//! monoio, compio, threads, …) supplies the reader. This crate depends on none of them.
//!
//! The root holds what engines call. [`backend`] holds what authors of backends need.
//!
//! # The promises of a reader
//!
//! Every [`VectorReader`] keeps these. [`testing::battery`](crate::testing) (feature `testing`) checks them,
//! with cases for each promise:
//!
//! 1. On success every request is delivered exactly once. Otherwise each is delivered at most once.
//! 2. The order of delivery is unspecified. The sink gets the caller's index and exactly `len` bytes, valid
//!    during the call.
//! 3. Reading past the end is an error that names the file, the request's index, offset and length. It is
//!    found before any IO. A short read is re-issued inside. The caller never sees it.
//! 4. A zero-length request delivers an empty slice and does no IO. An empty batch is `Ok`.
//! 5. The sink runs only while the returned future is being polled, and never re-entrantly. It never runs
//!    after the future has ended.
//! 6. The first error wins. Nothing more is submitted or delivered, and the reads in flight are drained. The
//!    error is returned with its source. It says how many requests had been delivered.
//! 7. The batch looks at the [`StopFlag`] and the deadline of its [`ReadControl`] before each submission and
//!    each delivery. Both also end a batch that waits for its turn. *Stopped* and *deadline* are outcomes
//!    that carry the count delivered, not errors ([`BatchEnd`]). A sink ends the batch itself with
//!    `ControlFlow::Break`, which counts as stopped.
//! 8. Dropping the future at any point is memory-safe. A buffer belongs to the runtime until its completion,
//!    and returns to the pool late. A panic in the sink counts as a drop.
//! 9. Operations in flight never exceed the depth and the byte budget. When the budget is exhausted, a batch
//!    waits. It does not allocate.
//! 10. Counters hold the identity `started = completed + failed + abandoned + in flight`. They tell bytes
//!     wanted from bytes read. Metering is a wrapper, [`Metered`].
//! 11. `close().await` drains. Leaving a backend's `run` drains too.
//! 12. Opening chooses buffered or direct IO, `populate` and the access pattern. An option that the system
//!     does not support is an error. No fallback is silent: [`VectorReader::info`] says what is really in
//!     use.
//! 13. A session ([`FileSession`]) takes reads at any time. Each completes once, with exactly its bytes or an
//!     error of its own, unless it is cancelled. A read in flight also serves later requests for its bytes,
//!     unless a write of this process to the file began or ended in between. A read ends at its deadline
//!     with an error of its own. Foreground reads start before background ones ([`ReadTerms`]). Promises 3,
//!     4 and 7 to 12 hold for sessions too.
//!
//! # Layers
//!
//! | layer | what it does |
//! |---|---|
//! | [`VectorReader`], [`DynVectorReader`] | engines call them: native async, and object-safe |
//! | [`Session`], [`FileSession`] | reads that are added while others are in flight |
//! | [`ReadPlan`] | a pure function from requests to physical reads |
//! | [`PagedReader`], [`PagedWriter`] | plan and drive: fill the depth, re-issue short transfers, deliver |
//! | [`PageSource`], [`PageSink`] | a backend implements them: one physical read; one write and sync |
//! | [`Directory`] | names, small files, durability of names, locks |
//! | [`FileSystem`] | opens readers and writers |
//! | [`Executor`] | starts the executor they live on |
//! | [`BackendFactory`] | both |
//! | [`DynBackend`] | a backend chosen at run time, whose files stay on their thread |
//! | [`SendBackend`] | the same, with files that may move between threads |
//!
//! [`ReadPlan`]: backend::ReadPlan
//! [`PagedReader`]: backend::PagedReader
//! [`PagedWriter`]: backend::PagedWriter
//! [`PageSource`]: backend::PageSource
//! [`PageSink`]: backend::PageSink
//!
//! # Example
//!
//! ```
//! use io_core::{ReadControl, ReadError, ReadRequest, VectorReader};
//! use std::ops::ControlFlow;
//!
//! /// Adds up the bytes of many records, over whichever backend the caller chose.
//! async fn checksum<R: VectorReader>(reader: &R, records: &[ReadRequest]) -> Result<u64, ReadError> {
//!     let mut sum = 0u64;
//!     let outcome = reader
//!         .read_vectors(records, &ReadControl::default(), |_index, bytes| {
//!             sum += bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
//!             ControlFlow::Continue(())
//!         })
//!         .await?;
//!     assert_eq!(outcome.delivered, records.len());
//!     Ok(sum)
//! }
//! ```

#![deny(unsafe_code)]

mod alarm;
pub mod backend;
mod backend_info;
mod batch;
mod buffer;
mod causes;
mod choice;
mod control;
mod directory;
mod dyn_backend;
mod engine;
mod error;
mod factory;
mod files;
mod fork;
mod gate;
mod geometry;
mod handle;
mod in_flight;
mod kept;
mod lanes;
#[cfg(feature = "histograms")]
mod latencies;
mod meter;
mod of_process;
mod open;
mod over_session;
mod paged_session;
mod plan;
mod positional;
mod read_span;
mod reader;
mod regular;
mod request;
#[cfg(unix)]
mod runtime_file;
mod send;
mod session;
mod shared_page;
mod shared_pool;
mod slots;
mod source;
mod woken;
mod write;
mod write_behind;
mod write_count;
mod write_plan;

#[cfg(feature = "testing")]
pub mod testing;

pub use backend_info::BackendInfo;
pub use causes::{WithCauses, with_causes};
pub use choice::Choice;
pub use control::{ReadControl, StopFlag};
pub use directory::{
    Directory, DirectoryEntry, DirectoryError, DirectoryLock, LockError, LockHolder, LockKind, StdDirectory,
};
pub use dyn_backend::DynBackend;
pub use error::{OpenError, PlanError, ReadError, StartError, WriteError};
pub use factory::{BackendFactory, Executor, FileSystem, LocalBoxFuture, SendBoxFuture};
pub use files::{Session, SessionFile};
pub use gate::DeviceBudget;
pub use geometry::IoGeometry;
#[cfg(feature = "histograms")]
pub use latencies::Latencies;
pub use meter::{Counters, Meter, Metered};
pub use open::{AccessPattern, FileInfo, IoMode, Lane, OpenOptions};
pub use reader::{DynSink, DynVectorReader, VectorReader};
pub use regular::{Links, open_regular};
pub use request::{BatchEnd, ReadOutcome, ReadRequest, ReadStats};
pub use send::{SendBackend, SendPageWriter, SendSink, SendVectorReader};
pub use session::{Completion, FileSession, Next, ReadTerms};
pub use source::SyncKind;
pub use write::{DynPageWriter, PageWrite, PageWriter, WriteOutcome};
pub use write_behind::{LocalWrites, SendWrites, WriteBehind, WriteForm};

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
