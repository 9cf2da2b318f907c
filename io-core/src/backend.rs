//! For authors of backends: the traits that a runtime implements, and the types that serve them.
//!
//! | your runtime | implement |
//! |---|---|
//! | reads into the caller's buffers | `RuntimeFile`, which `RuntimeSource` and `RuntimeSink` open (Unix) |
//! | reads into its own memory | [`PageSource`] and [`PageSink`], for [`PagedReader`] and [`PagedWriter`] |
//! | goes on with reads whose futures are gone, as threads do | the same two, with a [`SharedBufferPool`] |
//! | needs no plan, such as a memory map | [`VectorReader`](crate::VectorReader) |
//!
//! A reader that needs no plan also counts and traces itself, with a [`Meter`](crate::Meter), [`trace_batch`]
//! and a [`SessionSpan`].
//!
//! In each case a [`FileSystem`](crate::FileSystem) opens the files. The `run` of an
//! [`Executor`](crate::Executor) ends with
//! [`run_to_drain`]. Engines do not need this module. They call the items at the root of the crate.

pub use crate::alarm::{Alarm, alarm};
pub use crate::buffer::{BLOCK_BYTES, BufferPool, KernelBuf, Page};
pub use crate::gate::{Permit, run_to_drain};
pub use crate::handle::Handle;
pub use crate::kept::Kept;
pub use crate::lanes::{Lanes, Load, QUIET_BYTES};
pub use crate::of_process::OfProcess;
pub use crate::open::{create_std, open_std, open_std_for_writing};
pub use crate::plan::{PlannedRead, ReadPlan};
pub use crate::positional::{read_at, write_at};
pub use crate::read_span::{SessionSpan, trace_batch};
pub use crate::reader::PagedReader;
#[cfg(unix)]
pub use crate::runtime_file::{RuntimeFile, RuntimeSink, RuntimeSource};
pub use crate::send::{SendFileSystem, SendPageSink, SendPageSource};
pub use crate::shared_page::{PendingPage, RunningPage, SharedBufferPool, SharedPage};
pub use crate::shared_pool::{Pooled, SharedPool};
pub use crate::source::{PageSink, PageSource};
pub use crate::woken::woken;
pub use crate::write::PagedWriter;

pub mod fork {
    //! Detecting a fork. Threads and rings stay behind at a fork.

    pub use crate::fork::{generation, lost, watch};
}

// The tests of backends count with it.
#[doc(hidden)]
pub use crate::gate::Gate;
#[doc(hidden)]
pub use crate::write_plan::{PlannedWrite, WritePlan};
