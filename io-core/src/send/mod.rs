//! The object-safe forms whose values and futures may move between threads. The local forms are in
//! `reader.rs`, `write.rs` and `dyn_backend.rs`.
//!
//! Rust cannot say "if this trait's futures are `Send`" of a type parameter. So each backend says it of its
//! own types, by [`send_backend!`](crate::send_backend), and the compiler checks it there.

mod macros;
mod paged;

use crate::dyn_backend::{BoxedMain, run_object};
use crate::over_session::read_over_session;
use crate::plan::check_request;
use crate::reader::VectorReader;
use crate::session::FileSession;
use crate::write::{PageWrite, PageWriter, WriteOutcome};
use crate::{
    BackendFactory, BackendInfo, Directory, Executor, FileInfo, FileSystem, OpenError, OpenOptions,
    ReadControl, ReadError, ReadOutcome, ReadRequest, SendBoxFuture, StartError, SyncKind, WriteError,
};
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

pub use paged::{SendPageSink, SendPageSource};

/// The sink of a [`SendVectorReader`].
pub type SendSink<'a> = dyn for<'b> FnMut(usize, &'b [u8]) -> ControlFlow<()> + Send + 'a;

/// The object-safe form of [`VectorReader`] that may move between threads, with its futures and sessions.
///
/// `Box<dyn SendVectorReader>` is a [`VectorReader`] too. It then reads through a session, since its sink
/// need not be `Send`. That costs some allocations a read. [`SendVectorReader::read_vectors_send`] does not.
pub trait SendVectorReader: Send + Sync {
    /// As [`VectorReader::read_vectors`].
    fn read_vectors_send<'a>(
        &'a self,
        requests: &'a [ReadRequest],
        control: &'a ReadControl,
        sink: &'a mut SendSink<'_>,
    ) -> SendBoxFuture<'a, Result<ReadOutcome, ReadError>>;

    /// As [`VectorReader::session`].
    fn session_send<'a>(&'a self, control: ReadControl) -> Box<dyn FileSession + Send + 'a>;

    /// As [`VectorReader::file`].
    fn file_send(&self) -> &FileInfo;

    /// As [`VectorReader::info`].
    fn info_send(&self) -> &BackendInfo;

    /// As [`VectorReader::close`].
    fn close_send(&self) -> SendBoxFuture<'_, io::Result<()>>;
}

impl VectorReader for Box<dyn SendVectorReader + '_> {
    async fn read_vectors<S>(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        sink: S,
    ) -> Result<ReadOutcome, ReadError>
    where
        S: FnMut(usize, &[u8]) -> ControlFlow<()>,
    {
        let file = (**self).file_send();
        if requests.is_empty() || requests.iter().any(|request| check_request(0, request, file.len).is_err())
        {
            // Nothing is delivered. The reader says whether it is closed, or which request is at fault.
            return (**self)
                .read_vectors_send(requests, control, &mut |_, _| ControlFlow::Continue(()))
                .await;
        }
        let session = (**self).session_send(control.clone());
        read_over_session(session, requests, control, sink).await
    }

    fn session(&self, control: ReadControl) -> impl FileSession {
        (**self).session_send(control)
    }

    fn file(&self) -> &FileInfo {
        (**self).file_send()
    }

    fn info(&self) -> &BackendInfo {
        (**self).info_send()
    }

    async fn close(&self) -> io::Result<()> {
        (**self).close_send().await
    }
}

/// The object-safe form of [`PageWriter`] that may move between threads, with its futures.
pub trait SendPageWriter: Send + Sync {
    /// As [`PageWriter::write_pages`].
    fn write_pages_send<'a>(
        &'a self,
        writes: &'a [PageWrite<'a>],
    ) -> SendBoxFuture<'a, Result<WriteOutcome, WriteError>>;

    /// As [`PageWriter::sync`].
    fn sync_send(&self, kind: SyncKind) -> SendBoxFuture<'_, Result<(), WriteError>>;

    /// As [`PageWriter::set_len`].
    fn set_len_send(&self, len: u64) -> SendBoxFuture<'_, Result<(), WriteError>>;

    /// As [`PageWriter::file`].
    fn file_send(&self) -> &FileInfo;

    /// As [`PageWriter::info`].
    fn info_send(&self) -> &BackendInfo;

    /// As [`PageWriter::close`].
    fn close_send(&self) -> SendBoxFuture<'_, Result<(), WriteError>>;
}

impl PageWriter for Box<dyn SendPageWriter + '_> {
    async fn write_pages(&self, writes: &[PageWrite<'_>]) -> Result<WriteOutcome, WriteError> {
        (**self).write_pages_send(writes).await
    }

    async fn sync(&self, kind: SyncKind) -> Result<(), WriteError> {
        (**self).sync_send(kind).await
    }

    async fn set_len(&self, len: u64) -> Result<(), WriteError> {
        (**self).set_len_send(len).await
    }

    fn file(&self) -> &FileInfo {
        (**self).file_send()
    }

    fn info(&self) -> &BackendInfo {
        (**self).info_send()
    }

    async fn close(&self) -> Result<(), WriteError> {
        (**self).close_send().await
    }
}

impl SendVectorReader for Box<dyn SendVectorReader + '_> {
    fn read_vectors_send<'a>(
        &'a self,
        requests: &'a [ReadRequest],
        control: &'a ReadControl,
        sink: &'a mut SendSink<'_>,
    ) -> SendBoxFuture<'a, Result<ReadOutcome, ReadError>> {
        (**self).read_vectors_send(requests, control, sink)
    }

    fn session_send<'a>(&'a self, control: ReadControl) -> Box<dyn FileSession + Send + 'a> {
        (**self).session_send(control)
    }

    fn file_send(&self) -> &FileInfo {
        (**self).file_send()
    }

    fn info_send(&self) -> &BackendInfo {
        (**self).info_send()
    }

    fn close_send(&self) -> SendBoxFuture<'_, io::Result<()>> {
        (**self).close_send()
    }
}

impl SendPageWriter for Box<dyn SendPageWriter + '_> {
    fn write_pages_send<'a>(
        &'a self,
        writes: &'a [PageWrite<'a>],
    ) -> SendBoxFuture<'a, Result<WriteOutcome, WriteError>> {
        (**self).write_pages_send(writes)
    }

    fn sync_send(&self, kind: SyncKind) -> SendBoxFuture<'_, Result<(), WriteError>> {
        (**self).sync_send(kind)
    }

    fn set_len_send(&self, len: u64) -> SendBoxFuture<'_, Result<(), WriteError>> {
        (**self).set_len_send(len)
    }

    fn file_send(&self) -> &FileInfo {
        (**self).file_send()
    }

    fn info_send(&self) -> &BackendInfo {
        (**self).info_send()
    }

    fn close_send(&self) -> SendBoxFuture<'_, Result<(), WriteError>> {
        (**self).close_send()
    }
}

/// A file system whose readers, writers and futures may move between threads.
/// [`send_backend!`](crate::send_backend) implements it.
pub trait SendFileSystem: FileSystem<Reader: SendVectorReader, Writer: SendPageWriter> {
    /// As [`FileSystem::open`].
    fn open_send<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> SendBoxFuture<'a, Result<Self::Reader, OpenError>>;

    /// As [`FileSystem::create`].
    fn create_send<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> SendBoxFuture<'a, Result<Self::Writer, OpenError>>;

    /// As [`FileSystem::open_for_writing`].
    fn open_for_writing_send<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> SendBoxFuture<'a, Result<Self::Writer, OpenError>>;
}

type Opened<'a, T> = SendBoxFuture<'a, Result<Box<T>, OpenError>>;

/// The object-safe form of a backend with [`SendFileSystem`].
trait Object: Send + Sync {
    fn name_send(&self) -> &'static str;

    fn directory_send(&self) -> Arc<dyn Directory>;

    fn run_send(&self, main: BoxedMain<'_>) -> Result<(), StartError>;

    fn spawn_thread_send(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()>;

    fn open_object<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> Opened<'a, dyn SendVectorReader>;

    fn create_object<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> Opened<'a, dyn SendPageWriter>;

    fn open_for_writing_object<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> Opened<'a, dyn SendPageWriter>;
}

impl<B: BackendFactory + SendFileSystem> Object for B {
    fn name_send(&self) -> &'static str {
        self.name()
    }

    fn directory_send(&self) -> Arc<dyn Directory> {
        self.directory()
    }

    fn run_send(&self, main: BoxedMain<'_>) -> Result<(), StartError> {
        self.run(main)
    }

    fn spawn_thread_send(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.spawn_thread(name, work)
    }

    fn open_object<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> Opened<'a, dyn SendVectorReader> {
        Box::pin(async move {
            let reader: Box<dyn SendVectorReader> = Box::new(self.open_send(path, options).await?);
            Ok(reader)
        })
    }

    fn create_object<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> Opened<'a, dyn SendPageWriter> {
        Box::pin(async move {
            let writer: Box<dyn SendPageWriter> = Box::new(self.create_send(path, options).await?);
            Ok(writer)
        })
    }

    fn open_for_writing_object<'a>(
        &'a self,
        path: &'a Path,
        options: &'a OpenOptions,
    ) -> Opened<'a, dyn SendPageWriter> {
        Box::pin(async move {
            let writer: Box<dyn SendPageWriter> = Box::new(self.open_for_writing_send(path, options).await?);
            Ok(writer)
        })
    }
}

/// A backend chosen at run time whose files, futures and sessions may move between threads.
///
/// The backends of memory maps, threads and the ring of the process have this form.
/// [`DynBackend`](crate::DynBackend) takes every backend.
#[derive(Clone)]
pub struct SendBackend(Arc<dyn Object>);

impl SendBackend {
    /// Wraps a backend.
    #[must_use]
    pub fn new<B: BackendFactory + SendFileSystem>(backend: B) -> Self {
        Self(Arc::new(backend))
    }
}

impl fmt::Debug for SendBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendBackend").field(&self.0.name_send()).finish()
    }
}

impl FileSystem for SendBackend {
    type Reader = Box<dyn SendVectorReader>;
    type Writer = Box<dyn SendPageWriter>;

    fn name(&self) -> &'static str {
        self.0.name_send()
    }

    fn directory(&self) -> Arc<dyn Directory> {
        self.0.directory_send()
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        self.0.open_object(path, options).await
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.0.create_object(path, options).await
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.0.open_for_writing_object(path, options).await
    }
}

impl Executor for SendBackend {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        run_object(main, |main| self.0.run_send(main))
    }

    fn spawn_thread(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.0.spawn_thread_send(name, work)
    }
}
