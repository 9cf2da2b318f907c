//! Operations on a file of tokio-uring: one read, one write, sync and close.

use crate::buffer::RingBuf;
use crate::runtime::{NAME, RUNTIME, spawn};
use io_core::backend::{KernelBuf, RuntimeFile, woken};
use io_core::{LocalBoxFuture, SyncKind};
use std::io;
use std::rc::Rc;
use tokio_uring::fs::File;

/// A file that is read and written through the ring of this thread.
pub struct TokioUringFile(File);

impl RuntimeFile for TokioUringFile {
    const BACKEND: &'static str = NAME;
    const RUNTIME: &'static str = RUNTIME;

    fn from_std(file: std::fs::File) -> io::Result<Self> {
        Ok(Self(File::from_std(file)))
    }

    async fn read(self: Rc<Self>, offset: u64, buffer: KernelBuf) -> (io::Result<usize>, KernelBuf) {
        let read = self.0.read_at(RingBuf(buffer), offset);
        let (read, RingBuf(buffer)) = woken(read, spawn).await;
        (read, buffer)
    }

    async fn write(self: Rc<Self>, offset: u64, buffer: KernelBuf) -> (io::Result<usize>, KernelBuf) {
        let write = self.0.write_at(RingBuf(buffer), offset).submit();
        let (written, RingBuf(buffer)) = woken(write, spawn).await;
        (written, buffer)
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        match kind {
            SyncKind::Data => woken(self.0.sync_data(), spawn).await,
            SyncKind::All => woken(self.0.sync_all(), spawn).await,
        }
    }

    async fn close(self) -> io::Result<()> {
        woken(self.0.close(), spawn).await
    }

    fn spawn(task: LocalBoxFuture<'static, ()>) {
        spawn(task);
    }
}
