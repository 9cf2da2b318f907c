//! Backends open files and start executors. A program chooses one by type or at run time.

use crate::{Directory, OpenError, OpenOptions, PageWriter, StartError, StdDirectory, VectorReader};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

/// A boxed future that stays on its thread.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A boxed future that may move to another thread.
pub type SendBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens readers and writers. They need not be `Send`.
///
/// It is cheap to clone and may cross threads. Where files belong to a thread's executor, give each core a
/// clone, which opens that core's files.
pub trait FileSystem: Clone + Send + Sync + 'static {
    /// Reads one file.
    type Reader: VectorReader + 'static;
    /// Writes one file.
    type Writer: PageWriter + 'static;

    /// The name that users select the backend by.
    fn name(&self) -> &'static str;

    /// The names and small files beside the files that this opens.
    fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(StdDirectory)
    }

    /// Opens an existing file for reading. If the backend's files live on an executor of its own, call it
    /// there ([`Executor::run`]). Those of a [`SendBackend`](crate::SendBackend) live anywhere.
    ///
    /// # Errors
    /// [`OpenError`]. No option is silently ignored.
    fn open(
        &self,
        path: &Path,
        options: &OpenOptions,
    ) -> impl Future<Output = Result<Self::Reader, OpenError>>;

    /// Creates an empty file and opens it for writing. An existing one is an error. Call it where
    /// [`FileSystem::open`] is called.
    ///
    /// # Errors
    /// [`OpenError`].
    fn create(
        &self,
        path: &Path,
        options: &OpenOptions,
    ) -> impl Future<Output = Result<Self::Writer, OpenError>>;

    /// Opens an existing file for writing, and leaves its bytes as they are. Call it where
    /// [`FileSystem::open`] is called.
    ///
    /// The writer's [`FileInfo`](crate::FileInfo) tells the length at this moment.
    ///
    /// # Errors
    /// [`OpenError`].
    fn open_for_writing(
        &self,
        path: &Path,
        options: &OpenOptions,
    ) -> impl Future<Output = Result<Self::Writer, OpenError>>;
}

/// Starts the executor that a backend's files live on. A backend without a runtime blocks on the future.
pub trait Executor: Clone + Send + Sync + 'static {
    /// Starts an executor on this thread and runs `main` on it. Then waits for all operations that this
    /// thread has in flight, also if `main` panics.
    ///
    /// # Errors
    /// [`StartError`], before `main` is called.
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future;

    /// Starts a thread of this name for `work`, and does not wait for it. `work` may call
    /// [`Executor::run`].
    ///
    /// A backend may keep such a thread with its executor after `work` has returned. The thread then takes
    /// the next work of the same name.
    ///
    /// # Errors
    /// The system's error. `work` is dropped then.
    fn spawn_thread(&self, name: String, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        std::thread::Builder::new().name(name).spawn(work).map(drop)
    }
}

/// A backend: a [`FileSystem`] and the [`Executor`] for its files.
pub trait BackendFactory: FileSystem + Executor {}

impl<B: FileSystem + Executor> BackendFactory for B {}
