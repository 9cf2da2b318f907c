//! The factory. Any executor will do. [`RingBackend::run`](Executor::run) blocks on the future.

use crate::file::{RingSink, RingSource};
use crate::open_file::OpenFile;
use crate::options::RingOptions;
use crate::ring::{NAME, RUNTIME, Ring};
use crate::start::{of_process, start};
use io_core::backend::{PagedReader, PagedWriter, create_std, open_std_for_writing, run_to_drain};
use io_core::{Executor, FileSystem, OpenError, OpenOptions, StartError};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Opens files on an io_uring that all threads share.
///
/// Readers, writers and their futures work under any executor, or none. They may move between threads.
///
/// The default is the process's ring. It starts with the first file and ends after the last one.
#[derive(Clone, Default)]
pub struct RingBackend {
    own: Option<Arc<Ring<OpenFile>>>,
}

impl RingBackend {
    /// Starts a separate ring. It ends when this value, its clones and all files opened with them are gone.
    ///
    /// # Errors
    /// [`StartError`], with what to change.
    pub fn start(options: &RingOptions) -> Result<Self, StartError> {
        Ok(Self { own: Some(start(options)?) })
    }

    /// The process's ring, which starts now unless it runs already. It goes on as long as there is this
    /// value.
    ///
    /// The default is the process's ring too. But it starts with the first file, and tells only then of a
    /// system that refuses it. After a fork, this value gives errors, and the default starts a ring of the
    /// child.
    ///
    /// # Errors
    /// [`StartError`], with what to change.
    pub fn of_process() -> Result<Self, StartError> {
        Ok(Self { own: Some(of_process()?) })
    }

    fn ring(&self) -> Result<Arc<Ring<OpenFile>>, StartError> {
        let Some(own) = &self.own else { return of_process() };
        if own.is_of_another_process() {
            let source = io::Error::other(
                "the ring was started before a fork, and runs in the parent process only: start another one in this process",
            );
            return Err(StartError::Io { runtime: RUNTIME, source });
        }
        Ok(Arc::clone(own))
    }
}

impl fmt::Debug for RingBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingBackend").field("own", &self.own.is_some()).finish()
    }
}

impl FileSystem for RingBackend {
    type Reader = PagedReader<RingSource>;

    type Writer = PagedWriter<RingSink>;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        Ok(PagedReader::new(RingSource::open(self.ring()?, path, options)?))
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        let ring = self.ring()?;
        Ok(PagedWriter::new(RingSink::new(ring, create_std(path, options)?, path, options)?))
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        let ring = self.ring()?;
        Ok(PagedWriter::new(RingSink::new(ring, open_std_for_writing(path, options)?, path, options)?))
    }
}

io_core::send_backend!(RingBackend, source RingSource, sink RingSink);

impl Executor for RingBackend {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        let _ring = self.ring()?;
        Ok(pollster::block_on(run_to_drain(main())))
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
