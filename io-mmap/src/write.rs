//! Writes with positional writes of the standard library. A file being written is not mapped, because a full
//! disk would then be a SIGBUS instead of an error.

use crate::runtime::NAME;
use io_core::backend::{BufferPool, Page, PageSink, Permit, write_at};
use io_core::{BackendInfo, FileInfo, IoGeometry, LocalBoxFuture, OpenOptions, SyncKind};
use std::fs::File;
use std::future::ready;
use std::io;

/// Writes one file with blocking calls, one at a time.
#[derive(Debug)]
pub struct FileSink {
    file: File,
    pool: BufferPool,
    file_info: FileInfo,
    info: BackendInfo,
}

impl FileSink {
    /// Over a file that `create_std` or `open_std_for_writing` opened.
    pub(crate) fn new(
        (file, file_info, geometry): (File, FileInfo, IoGeometry),
        options: &OpenOptions,
    ) -> Self {
        let info = BackendInfo::new(NAME, "none", options, geometry, &[]);
        let pool = BufferPool::new(options.bytes_in_flight_max as usize);
        Self { file, pool, file_info, info }
    }
}

impl PageSink for FileSink {
    type Buffer = Page;

    fn buffer(&self, len: usize) -> Page {
        self.pool.page(len)
    }

    fn write(
        &self,
        offset: u64,
        buffer: Page,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        ready((write_at(&self.file, &buffer, offset), permit))
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        match kind {
            SyncKind::Data => self.file.sync_data(),
            SyncKind::All => self.file.sync_all(),
        }
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// No write is in flight between two polls, so no task has to go on.
    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        drop(task);
    }

    fn file(&self) -> &FileInfo {
        &self.file_info
    }

    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn close(&self) -> io::Result<()> {
        Ok(())
    }
}
