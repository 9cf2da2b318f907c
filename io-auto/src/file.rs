//! A file that the ring or the threads have open.

use crate::chosen::Chosen;
use crate::either::{Either, RingSink, RingSource, ThreadsSink, ThreadsSource};
use bytes::Bytes;
use io_core::backend::{Kept, PageSink, PageSource, Permit};
use io_core::{BackendInfo, FileInfo, LocalBoxFuture, SyncKind};
use std::io;
use std::sync::Arc;

/// A file that the ring or the threads have open.
pub struct AutoFile<R, T> {
    file: Either<R, T>,
    info: BackendInfo,
    _chosen: Arc<Chosen>,
}

/// Reads one file, through the ring or through threads.
pub type AutoSource = AutoFile<RingSource, ThreadsSource>;

/// Writes one file, through the ring or through threads.
pub type AutoSink = AutoFile<RingSink, ThreadsSink>;

impl<R, T> AutoFile<R, T> {
    /// `info` is what the backend that was taken says about the file.
    fn new(name: &'static str, file: Either<R, T>, mut info: BackendInfo, chosen: Arc<Chosen>) -> Self {
        (info.backend, info.choice) = (name, Some(chosen.choice.clone()));
        Self { file, info, _chosen: chosen }
    }
}

impl<R: PageSource, T: PageSource> AutoFile<R, T> {
    pub(crate) fn source(name: &'static str, file: Either<R, T>, chosen: Arc<Chosen>) -> Self {
        let info = of_both!(&file, file => file.info().clone());
        Self::new(name, file, info, chosen)
    }
}

impl<R: PageSink, T: PageSink> AutoFile<R, T> {
    pub(crate) fn sink(name: &'static str, file: Either<R, T>, chosen: Arc<Chosen>) -> Self {
        let info = of_both!(&file, file => file.info().clone());
        Self::new(name, file, info, chosen)
    }
}

impl<R: PageSource, T: PageSource> PageSource for AutoFile<R, T> {
    type Page = Either<R::Page, T::Page>;

    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<Self::Page>, Permit)> + 'static {
        let read = match &self.file {
            Either::Ring(file) => Either::Ring(file.read(offset, len, permit)),
            Either::Threads(file) => Either::Threads(file.read(offset, len, permit)),
        };
        async move {
            match read {
                Either::Ring(read) => {
                    let (page, permit) = read.await;
                    (page.map(Either::Ring), permit)
                }
                Either::Threads(read) => {
                    let (page, permit) = read.await;
                    (page.map(Either::Threads), permit)
                }
            }
        }
    }

    fn share(page: Self::Page, kept: Kept) -> Result<Bytes, Self::Page> {
        match page {
            Either::Ring(page) => R::share(page, kept).map_err(Either::Ring),
            Either::Threads(page) => T::share(page, kept).map_err(Either::Threads),
        }
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        of_both!(&self.file, file => file.spawn(task));
    }

    fn lost(&self) -> Option<io::Error> {
        of_both!(&self.file, file => file.lost())
    }

    fn file(&self) -> &FileInfo {
        of_both!(&self.file, file => file.file())
    }

    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn close(&self) -> io::Result<()> {
        of_both!(&self.file, file => file.close().await)
    }
}

impl<R: PageSink, T: PageSink> PageSink for AutoFile<R, T> {
    type Buffer = Either<R::Buffer, T::Buffer>;

    fn buffer(&self, len: usize) -> Self::Buffer {
        match &self.file {
            Either::Ring(file) => Either::Ring(file.buffer(len)),
            Either::Threads(file) => Either::Threads(file.buffer(len)),
        }
    }

    fn write(
        &self,
        offset: u64,
        buffer: Self::Buffer,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        let write = match (&self.file, buffer) {
            (Either::Ring(file), Either::Ring(buffer)) => Either::Ring(file.write(offset, buffer, permit)),
            (Either::Threads(file), Either::Threads(buffer)) => {
                Either::Threads(file.write(offset, buffer, permit))
            }
            _ => unreachable!("the buffer is the file's own"),
        };
        async move { of_both!(write, write => write.await) }
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        of_both!(&self.file, file => file.sync(kind).await)
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        of_both!(&self.file, file => file.set_len(len).await)
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        of_both!(&self.file, file => file.spawn(task));
    }

    fn lost(&self) -> Option<io::Error> {
        of_both!(&self.file, file => file.lost())
    }

    fn file(&self) -> &FileInfo {
        of_both!(&self.file, file => file.file())
    }

    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn close(&self) -> io::Result<()> {
        of_both!(&self.file, file => file.close().await)
    }
}
