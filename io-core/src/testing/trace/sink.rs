//! Traces writes to files.

use crate::backend::{PageSink, Permit};
use crate::testing::disk::Recorder;
use crate::{BackendInfo, FileInfo, LocalBoxFuture, SyncKind};
use std::io;

/// A page sink that records its physical writes and syncs.
#[derive(Debug)]
pub struct TracedSink<K> {
    pub(super) inner: K,
    /// The file on the simulated disk.
    pub(super) node: usize,
    pub(super) recorder: Recorder,
}

impl<K: PageSink> PageSink for TracedSink<K> {
    type Buffer = K::Buffer;

    fn buffer(&self, len: usize) -> K::Buffer {
        self.inner.buffer(len)
    }

    fn write(
        &self,
        offset: u64,
        buffer: K::Buffer,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        let begun = self.recorder.begin_write(self.node, offset, &buffer);
        let write = self.inner.write(offset, buffer, permit);
        let recorder = self.recorder.clone();
        async move {
            let (written, permit) = write.await;
            if let Ok(taken) = &written {
                recorder.written(begun, *taken);
            }
            (written, permit)
        }
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        let covers = self.recorder.covers();
        let synced = self.inner.sync(kind).await;
        self.recorder.synced(self.node, covers, &synced);
        synced
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        let begun = self.recorder.begin_set_len(self.node, len);
        self.inner.set_len(len).await?;
        self.recorder.over(begun);
        Ok(())
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }

    fn lost(&self) -> Option<io::Error> {
        self.inner.lost()
    }

    fn file(&self) -> &FileInfo {
        self.inner.file()
    }

    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    async fn close(&self) -> io::Result<()> {
        self.inner.close().await
    }
}
