//! The adapter between the driver and a runtime whose operations use the caller's buffers.

use crate::buffer::{BufferPool, KernelBuf, Page};
use crate::gate::Permit;
use crate::handle::Handle;
use crate::kept::Kept;
use crate::open::{create_std, open_std, open_std_for_writing};
use crate::reader::PagedReader;
use crate::source::{PageSink, PageSource};
use crate::write::PagedWriter;
use crate::{BackendInfo, FileInfo, IoGeometry, LocalBoxFuture, OpenError, OpenOptions, SyncKind};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;

/// An open file of one runtime, with its basic operations: read, write, sync and close.
///
/// [`RuntimeSource`] and [`RuntimeSink`] do the rest. The futures of reads and writes keep the buffer until
/// the runtime has seen the operation complete.
pub trait RuntimeFile: Sized + 'static {
    /// The backend's name, as users select it.
    const BACKEND: &'static str;
    /// The runtime and its version.
    const RUNTIME: &'static str;

    /// Takes over an open file.
    ///
    /// # Errors
    /// The runtime's error.
    fn from_std(file: File) -> io::Result<Self>;

    /// Reads once, and returns the number of bytes with the buffer.
    fn read(
        self: Rc<Self>,
        offset: u64,
        buffer: KernelBuf,
    ) -> impl Future<Output = (io::Result<usize>, KernelBuf)> + 'static;

    /// Writes once, and returns the number of bytes with the buffer.
    fn write(
        self: Rc<Self>,
        offset: u64,
        buffer: KernelBuf,
    ) -> impl Future<Output = (io::Result<usize>, KernelBuf)> + 'static;

    /// As [`PageSink::sync`].
    ///
    /// # Errors
    /// The system's error.
    fn sync(&self, kind: SyncKind) -> impl Future<Output = io::Result<()>>;

    /// Closes the file.
    ///
    /// # Errors
    /// The system's error.
    fn close(self) -> impl Future<Output = io::Result<()>>;

    /// As [`PageSource::spawn`].
    fn spawn(task: LocalBoxFuture<'static, ()>);
}

/// A runtime's file with the buffers for its operations.
#[derive(Debug)]
struct Pooled<F> {
    handle: Handle<F>,
    pool: BufferPool,
}

impl<F: RuntimeFile> Pooled<F> {
    fn new(
        path: &Path,
        (file, file_info, geometry): (File, FileInfo, IoGeometry),
        options: &OpenOptions,
    ) -> Result<Self, OpenError> {
        let file = F::from_std(file).map_err(|error| OpenError::io(path, error))?;
        let info = BackendInfo::new(F::BACKEND, F::RUNTIME, options, geometry, &["io_uring"]);
        let pool = BufferPool::new(options.bytes_in_flight_max as usize);
        Ok(Self { handle: Handle::new(file, file_info, info), pool })
    }
}

/// Reads one file of a runtime.
#[derive(Debug)]
pub struct RuntimeSource<F>(Pooled<F>);

impl<F: RuntimeFile> RuntimeSource<F> {
    /// Opens an existing file.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, options: &OpenOptions) -> Result<PagedReader<Self>, OpenError> {
        Ok(PagedReader::new(Self(Pooled::new(path, open_std(path, options)?, options)?)))
    }
}

impl<F: RuntimeFile> PageSource for RuntimeSource<F> {
    type Page = Page;

    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<Page>, Permit)> + 'static {
        let (file, pool) = (self.0.handle.file(), self.0.pool.clone());
        permit.over(async move {
            let (read, buffer) = file?.read(offset, pool.take(len as usize)).await;
            let page = buffer.completed(*read.as_ref().unwrap_or(&0));
            read.map(|_| page)
        })
    }

    fn share(page: Page, kept: Kept) -> Result<Bytes, Page> {
        Ok(kept.over(page))
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        F::spawn(task);
    }

    fn file(&self) -> &FileInfo {
        self.0.handle.file_info()
    }

    fn info(&self) -> &BackendInfo {
        self.0.handle.info()
    }

    async fn close(&self) -> io::Result<()> {
        self.0.handle.close(F::close).await
    }
}

/// Writes one file of a runtime.
#[derive(Debug)]
pub struct RuntimeSink<F> {
    pooled: Pooled<F>,
    /// io_uring has no ftruncate in the kernels we support, so a second descriptor does it.
    for_len: File,
}

impl<F: RuntimeFile> RuntimeSink<F> {
    /// Creates a file.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn create(path: &Path, options: &OpenOptions) -> Result<PagedWriter<Self>, OpenError> {
        Self::over(create_std(path, options)?, path, options)
    }

    /// Opens an existing file.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_for_writing(path: &Path, options: &OpenOptions) -> Result<PagedWriter<Self>, OpenError> {
        Self::over(open_std_for_writing(path, options)?, path, options)
    }

    fn over(
        (file, file_info, geometry): (File, FileInfo, IoGeometry),
        path: &Path,
        options: &OpenOptions,
    ) -> Result<PagedWriter<Self>, OpenError> {
        let for_len = file.try_clone().map_err(|error| OpenError::io(path, error))?;
        let pooled = Pooled::new(path, (file, file_info, geometry), options)?;
        Ok(PagedWriter::new(Self { pooled, for_len }))
    }
}

impl<F: RuntimeFile> PageSink for RuntimeSink<F> {
    type Buffer = Page;

    fn buffer(&self, len: usize) -> Page {
        self.pooled.pool.page(len)
    }

    fn write(
        &self,
        offset: u64,
        buffer: Page,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        let file = self.pooled.handle.file();
        permit.over(async move {
            let (written, buffer) = file?.write(offset, buffer.into_kernel()).await;
            drop(buffer.completed(0));
            written
        })
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        self.pooled.handle.file()?.sync(kind).await
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.for_len.set_len(len)
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        F::spawn(task);
    }

    fn file(&self) -> &FileInfo {
        self.pooled.handle.file_info()
    }

    fn info(&self) -> &BackendInfo {
        self.pooled.handle.info()
    }

    async fn close(&self) -> io::Result<()> {
        self.pooled.handle.close(F::close).await
    }
}
