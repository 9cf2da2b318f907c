//! Files opened for tokio-uring: one physical read, one physical write, sync.

use crate::buffer::RingBuf;
use crate::runtime::{NAME, RUNTIME, spawn};
use io_core::{
    BackendInfo, BufferPool, FileInfo, IoGeometry, IoMode, LocalBoxFuture, OpenError, OpenOptions, Page,
    PageSink, PageSource, PagedReader, PagedWriter, Permit, SyncKind, create_std, open_std,
};
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use tokio_uring::fs::File;

/// An open file, until it is closed.
struct Handle {
    file: RefCell<Option<Rc<File>>>,
    pool: BufferPool,
    file_info: FileInfo,
    info: BackendInfo,
}

impl Handle {
    fn new(file: std::fs::File, file_info: FileInfo, geometry: IoGeometry, options: &OpenOptions) -> Self {
        let (io_mode, kernel_features) = if options.direct {
            (IoMode::Direct, vec!["io_uring", "O_DIRECT"])
        } else {
            (IoMode::Buffered, vec!["io_uring"])
        };
        let info = BackendInfo {
            backend: NAME,
            runtime: RUNTIME,
            io_mode,
            queue_depth: options.queue_depth,
            bytes_in_flight_max: options.bytes_in_flight_max,
            geometry,
            lanes: false,
            kernel_features,
        };
        Self {
            file: RefCell::new(Some(Rc::new(File::from_std(file)))),
            pool: BufferPool::new(options.bytes_in_flight_max as usize),
            file_info,
            info,
        }
    }

    fn file(&self) -> io::Result<Rc<File>> {
        self.file.borrow().clone().ok_or_else(|| io::Error::other("the file is closed"))
    }

    async fn close(&self) -> io::Result<()> {
        let file = self.file.borrow_mut().take();
        match file.map(Rc::try_unwrap) {
            Some(Ok(file)) => file.close().await,
            // Whoever still holds it closes it by dropping it.
            Some(Err(_)) | None => Ok(()),
        }
    }
}

pub(crate) fn open_reader(
    path: &Path,
    options: &OpenOptions,
) -> Result<PagedReader<TokioUringSource>, OpenError> {
    let (file, file_info, geometry) = open_std(path, options)?;
    Ok(PagedReader::new(TokioUringSource(Handle::new(file, file_info, geometry, options))))
}

pub(crate) fn open_writer(
    path: &Path,
    options: &OpenOptions,
) -> Result<PagedWriter<TokioUringSink>, OpenError> {
    let (file, file_info, geometry) = create_std(path, options)?;
    // The ring has no ftruncate in the kernels we support, so a second handle does it.
    let for_len = file.try_clone().map_err(|error| OpenError::io(path, error))?;
    let handle = Handle::new(file, file_info, geometry, options);
    Ok(PagedWriter::new(TokioUringSink { handle, for_len }))
}

/// Reads one file through the ring of this thread.
pub struct TokioUringSource(Handle);

impl PageSource for TokioUringSource {
    type Page = Page;

    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<Page>, Permit)> + 'static {
        let (file, pool) = (self.0.file(), self.0.pool.clone());
        permit.over(async move {
            let (read, RingBuf(buffer)) = file?.read_at(RingBuf(pool.take(len as usize)), offset).await;
            let page = buffer.completed(*read.as_ref().unwrap_or(&0));
            read.map(|_| page)
        })
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        spawn(task);
    }

    fn file(&self) -> &FileInfo {
        &self.0.file_info
    }

    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    async fn close(&self) -> io::Result<()> {
        self.0.close().await
    }
}

/// Writes one file through the ring of this thread.
pub struct TokioUringSink {
    handle: Handle,
    for_len: std::fs::File,
}

impl PageSink for TokioUringSink {
    type Buffer = Page;

    fn buffer(&self, len: usize) -> Page {
        self.handle.pool.page(len)
    }

    fn write(
        &self,
        offset: u64,
        buffer: Page,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        let file = self.handle.file();
        permit.over(async move {
            let (written, RingBuf(buffer)) =
                file?.write_at(RingBuf(buffer.into_kernel()), offset).submit().await;
            drop(buffer.completed(0));
            written
        })
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        let file = self.handle.file()?;
        match kind {
            SyncKind::Data => file.sync_data().await,
            SyncKind::All => file.sync_all().await,
        }
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.for_len.set_len(len)
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        spawn(task);
    }

    fn file(&self) -> &FileInfo {
        &self.handle.file_info
    }

    fn info(&self) -> &BackendInfo {
        &self.handle.info
    }

    async fn close(&self) -> io::Result<()> {
        self.handle.close().await
    }
}
