//! Records the changes that a backend makes to real files. Tests can then try power cuts during a real run.

mod directory;
mod sink;

pub use sink::TracedSink;

use super::SimulatedDisk;
use super::disk::Recorder;
use crate::backend::{PageSink, PagedWriter};
use crate::{BackendFactory, Directory, Executor, FileSystem, OpenError, OpenOptions, StartError};
use directory::TracedDirectory;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A backend that works on real files through an inner one. It records every change as the history of a
/// [`SimulatedDisk`].
///
/// [`SimulatedDisk::crash`] then makes the disk that a power cut at any moment of a real run may leave, with
/// all the run's threads. A write may be torn once it is handed to the inner backend. A sync covers the write
/// if it was over when the sync began. Names are recorded once they exist.
///
/// ```
/// use io_core::testing::{MemoryBackend, SimulatedDisk, TracedBackend};
/// use io_core::{Directory, FileSystem};
/// use std::path::Path;
///
/// let root = tempfile::tempdir()?;
/// let backend = TracedBackend::new(MemoryBackend::new(1), root.path())?;
/// backend.directory().write(&root.path().join("file"), b"its name is not synced")?;
///
/// let disk = backend.disk();
/// assert_eq!(disk.read(Path::new("/file"))?, b"its name is not synced");
/// let after = disk.crash(disk.history_len(), SimulatedDisk::LOSE_ALL);
/// assert!(after.read(Path::new("/file")).unwrap_err().is_not_found());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TracedBackend<B> {
    inner: B,
    recorder: Recorder,
}

impl<B> TracedBackend<B> {
    /// Traces the changes that `inner` makes below the directory `root`. Existing files count as durable.
    /// Writing elsewhere is an error.
    ///
    /// # Errors
    /// The system's error, if the directory cannot be read.
    pub fn new(inner: B, root: &Path) -> io::Result<Self> {
        Ok(Self { inner, recorder: Recorder::new(root)? })
    }

    /// The disk whose history is the trace so far. Its `/` is the traced directory.
    #[must_use]
    pub fn disk(&self) -> &SimulatedDisk {
        &self.recorder.disk
    }
}

impl<B, K> FileSystem for TracedBackend<B>
where
    B: BackendFactory<Writer = PagedWriter<K>>,
    K: PageSink,
{
    type Reader = B::Reader;

    type Writer = PagedWriter<TracedSink<K>>;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(TracedDirectory { inner: self.inner.directory(), recorder: self.recorder.clone() })
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        self.inner.open(path, options).await
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.recorder.place(path).map_err(|error| OpenError::io(path, error))?;
        let inner = self.inner.create(path, options).await?.into_sink();
        let node = self.recorder.created(path, false).map_err(|error| OpenError::io(path, error))?;
        Ok(PagedWriter::new(TracedSink { inner, node, recorder: self.recorder.clone() }))
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.recorder.place(path).map_err(|error| OpenError::io(path, error))?;
        let inner = self.inner.open_for_writing(path, options).await?.into_sink();
        let node = self.recorder.node(path).map_err(|error| OpenError::io(path, error))?;
        Ok(PagedWriter::new(TracedSink { inner, node, recorder: self.recorder.clone() }))
    }
}

impl<B, K> Executor for TracedBackend<B>
where
    B: BackendFactory<Writer = PagedWriter<K>>,
    K: PageSink,
{
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        self.inner.run(main)
    }
}
