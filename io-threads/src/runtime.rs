//! The factory. Any executor will do. [`ThreadsBackend::run`](Executor::run) blocks on the future.

use crate::file::{ThreadsSink, ThreadsSource};
use crate::options::ThreadsOptions;
use crate::pool::{NAME, Pool, RUNTIME, of_process, start};
use io_core::backend::{PagedReader, PagedWriter, create_std, open_std_for_writing, run_to_drain};
use io_core::{Executor, FileSystem, OpenError, OpenOptions, StartError};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Opens files that a pool of threads reads and writes.
///
/// Readers, writers and their futures work under any executor, or none. They may move between threads.
///
/// The default is the process's pool. It starts with the first file and ends after the last one.
#[derive(Clone, Default)]
pub struct ThreadsBackend {
    own: Option<Arc<Pool>>,
}

impl ThreadsBackend {
    /// Starts a separate pool. It ends when this value, its clones and all files opened with them are gone.
    ///
    /// # Errors
    /// [`StartError::Threads`] if the system refuses even one thread. If it refuses others later, fewer do
    /// the work.
    pub fn start(options: &ThreadsOptions) -> Result<Self, StartError> {
        Ok(Self { own: Some(start(options)?) })
    }

    fn pool(&self) -> Result<Arc<Pool>, StartError> {
        let Some(own) = &self.own else { return of_process() };
        if own.team.is_of_another_process() {
            let source = io::Error::other(
                "the threads were started before a fork, and run in the parent process only: start others in this process",
            );
            return Err(StartError::Io { runtime: RUNTIME, source });
        }
        Ok(Arc::clone(own))
    }
}

impl fmt::Debug for ThreadsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadsBackend").field("own", &self.own.is_some()).finish()
    }
}

impl FileSystem for ThreadsBackend {
    type Reader = PagedReader<ThreadsSource>;

    type Writer = PagedWriter<ThreadsSink>;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        Ok(PagedReader::new(ThreadsSource::open(self.pool()?, path, options)?))
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        Ok(PagedWriter::new(ThreadsSink::new(self.pool()?, create_std(path, options)?, options)))
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        Ok(PagedWriter::new(ThreadsSink::new(self.pool()?, open_std_for_writing(path, options)?, options)))
    }
}

io_core::send_backend!(ThreadsBackend, source ThreadsSource, sink ThreadsSink);

impl Executor for ThreadsBackend {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        let _pool = self.pool()?;
        Ok(pollster::block_on(run_to_drain(main())))
    }
}
