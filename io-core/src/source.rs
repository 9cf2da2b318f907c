//! What a backend implements: physical reads into its own pages, physical writes from its own buffers, and sync.
//!
//! The traits say nothing of plans, limits, retries or delivery: `drive.rs` does that once for all.

use crate::backend::Permit;
use crate::{BackendInfo, FileInfo, LocalBoxFuture};
use std::io;
use std::ops::{Deref, DerefMut};

/// One file, read in physical ranges by one runtime.
///
/// A backend that has this gets a [`VectorReader`](crate::VectorReader) from [`PagedReader`](crate::backend::PagedReader).
pub trait PageSource: 'static {
    /// The bytes of one read, in whatever memory the runtime reads into.
    type Page: Deref<Target = [u8]>;

    /// Reads up to `len` bytes at `offset`; fewer is a short read, none is the end of the file.
    ///
    /// The driver asks only for what [`BackendInfo::geometry`] allows, and polls the future to its end even when the
    /// batch was dropped (through [`PageSource::spawn`]). The future owns what it needs, buffer included.
    ///
    /// `permit` comes back with the result ([`Permit::over`]). It is dropped no sooner than the kernel is done with the buffer.
    ///
    /// # Errors
    /// What the system says. `EINTR` and `EAGAIN` are retried by the driver.
    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<Self::Page>, Permit)> + 'static;

    /// Runs a future to its end on the runtime of this thread, with nobody waiting for it.
    ///
    /// The driver hands over the reads of a dropped batch this way. Must not panic: outside the runtime it drops the
    /// future, and the buffers in it are leaked rather than freed. A backend whose reads go on without their futures,
    /// permits included, drops it too.
    fn spawn(&self, task: LocalBoxFuture<'static, ()>);

    /// Why operations never end any more: their ring stayed behind at a fork. Those in flight are then polled once more, and
    /// say so; no new one is asked for, and nobody waits for permits, which may be held by threads that stayed behind too.
    fn lost(&self) -> Option<io::Error> {
        None
    }

    /// The file, with its length at the time of opening.
    fn file(&self) -> &FileInfo;

    /// What is really in use.
    fn info(&self) -> &BackendInfo;

    /// Closes the file. Nothing is in flight any more when it is called.
    ///
    /// # Errors
    /// What the system says.
    fn close(&self) -> impl Future<Output = io::Result<()>>;
}

/// How much a sync makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncKind {
    /// The bytes and the length: `fdatasync`.
    Data,
    /// All metadata too: `fsync`.
    All,
}

/// One file, written in physical ranges by one runtime.
///
/// A backend that has this gets a [`PageWriter`](crate::PageWriter) from [`PagedWriter`](crate::backend::PagedWriter).
pub trait PageSink: 'static {
    /// Memory the runtime can write from.
    type Buffer: DerefMut<Target = [u8]>;

    /// A buffer of exactly `len` bytes.
    fn buffer(&self, len: usize) -> Self::Buffer;

    /// Writes the buffer at `offset` and says how many bytes were taken; fewer is a partial write. The permit is as with
    /// [`PageSource::read`].
    ///
    /// # Errors
    /// What the system says. `EINTR` and `EAGAIN` are retried by the driver.
    fn write(
        &self,
        offset: u64,
        buffer: Self::Buffer,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static;

    /// Makes completed writes durable.
    ///
    /// # Errors
    /// What the system says; after one, nothing may be assumed durable.
    fn sync(&self, kind: SyncKind) -> impl Future<Output = io::Result<()>>;

    /// Cuts or extends the file to `len` bytes.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, len: u64) -> impl Future<Output = io::Result<()>>;

    /// As [`PageSource::spawn`].
    fn spawn(&self, task: LocalBoxFuture<'static, ()>);

    /// As [`PageSource::lost`].
    fn lost(&self) -> Option<io::Error> {
        None
    }

    /// The file.
    fn file(&self) -> &FileInfo;

    /// What is really in use.
    fn info(&self) -> &BackendInfo;

    /// Closes the file. Nothing is in flight any more when it is called.
    ///
    /// # Errors
    /// What the system says.
    fn close(&self) -> impl Future<Output = io::Result<()>>;
}
