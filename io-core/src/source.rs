//! The traits that a backend implements: physical reads into its own pages, physical writes from its own
//! buffers, and sync.
//!
//! `engine.rs`, its clients and `write.rs` do planning, limits, retries and delivery for all backends.

use crate::gate::Permit;
use crate::kept::Kept;
use crate::{BackendInfo, FileInfo, LocalBoxFuture};
use bytes::Bytes;
use std::io;
use std::ops::{Deref, DerefMut};

/// One file, read in physical ranges by one runtime.
///
/// [`PagedReader`](crate::backend::PagedReader) makes a [`VectorReader`](crate::VectorReader) of it.
pub trait PageSource: 'static {
    /// The bytes of one read, in the runtime's memory.
    type Page: Deref<Target = [u8]>;

    /// Reads up to `len` bytes at `offset`. Fewer bytes are a short read. No bytes are the end of the file.
    ///
    /// The driver asks only for ranges that [`BackendInfo::geometry`] allows. It polls the future to its end,
    /// even if the batch was dropped (through [`PageSource::spawn`]). The future owns everything it needs,
    /// buffer included.
    ///
    /// `permit` comes back with the result ([`Permit::over`]). It outlives the kernel's use of the buffer.
    ///
    /// # Errors
    /// The system's error. The driver retries `EINTR` and `EAGAIN`.
    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<Self::Page>, Permit)> + 'static;

    /// Turns a page into bytes that callers of a session may keep, without a copy: [`Kept::over`].
    ///
    /// A page that must not leave its thread is returned, as by default. Its bytes are then copied.
    fn share(page: Self::Page, _kept: Kept) -> Result<Bytes, Self::Page> {
        Err(page)
    }

    /// Runs a future to its end on the runtime of this thread. Nothing waits for it.
    ///
    /// The driver hands over the reads of a dropped batch this way. An implementation must not panic. Outside
    /// the runtime it drops the future, which leaks the buffers in it. It also drops the future if its reads
    /// keep their permits and go on without it.
    fn spawn(&self, task: LocalBoxFuture<'static, ()>);

    /// Returns `Some(error)` once the ring is lost to a fork. Pending operations then fail with it.
    ///
    /// The driver polls them once more and starts no other. It does not wait for permits, since threads that
    /// stayed behind may hold some.
    fn lost(&self) -> Option<io::Error> {
        None
    }

    /// The file, with its length at the time of opening.
    fn file(&self) -> &FileInfo;

    /// The settings that are really in use.
    fn info(&self) -> &BackendInfo;

    /// Closes the file. Nothing is in flight when it is called.
    ///
    /// # Errors
    /// The system's error.
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
/// [`PagedWriter`](crate::backend::PagedWriter) makes a [`PageWriter`](crate::PageWriter) of it.
pub trait PageSink: 'static {
    /// Memory the runtime can write from.
    type Buffer: DerefMut<Target = [u8]>;

    /// A buffer of exactly `len` bytes.
    fn buffer(&self, len: usize) -> Self::Buffer;

    /// Writes the buffer at `offset` and returns the number of bytes written. Fewer than all is a partial
    /// write.
    ///
    /// The permit is as with [`PageSource::read`].
    ///
    /// # Errors
    /// The system's error. The driver retries `EINTR` and `EAGAIN`.
    fn write(
        &self,
        offset: u64,
        buffer: Self::Buffer,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static;

    /// Makes completed writes durable.
    ///
    /// # Errors
    /// The system's error. Nothing may be assumed durable then.
    fn sync(&self, kind: SyncKind) -> impl Future<Output = io::Result<()>>;

    /// Cuts or extends the file to `len` bytes.
    ///
    /// # Errors
    /// The system's error.
    fn set_len(&self, len: u64) -> impl Future<Output = io::Result<()>>;

    /// As [`PageSource::spawn`].
    fn spawn(&self, task: LocalBoxFuture<'static, ()>);

    /// As [`PageSource::lost`].
    fn lost(&self) -> Option<io::Error> {
        None
    }

    /// The file.
    fn file(&self) -> &FileInfo;

    /// The settings that are really in use.
    fn info(&self) -> &BackendInfo;

    /// Closes the file. Nothing is in flight when it is called.
    ///
    /// # Errors
    /// The system's error.
    fn close(&self) -> impl Future<Output = io::Result<()>>;
}
