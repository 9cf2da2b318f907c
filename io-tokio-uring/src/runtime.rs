//! Starting a tokio-uring runtime, and finding out whether one is running.

use crate::file::TokioUringFile;
use io_core::backend::{PagedReader, PagedWriter, run_to_drain};
use io_core::backend::{RuntimeSink, RuntimeSource};
use io_core::{Executor, FileSystem, LocalBoxFuture, OpenError, OpenOptions, StartError};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Waker};

pub(crate) const NAME: &str = "tokio-uring";
pub(crate) const RUNTIME: &str = "tokio-uring 0.5";

/// Entries of the submission queue. More reads than this may be in flight, since a full queue is submitted
/// and filled again.
const RING_ENTRIES: u32 = 256;

/// Opens files for tokio-uring and starts its runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioUringBackend {
    _private: (),
}

thread_local! {
    /// Whether this thread is inside [`TokioUringBackend::run`].
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Lowers the flag when dropped, also on a panic.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(false);
    }
}

impl FileSystem for TokioUringBackend {
    type Reader = PagedReader<RuntimeSource<TokioUringFile>>;

    type Writer = PagedWriter<RuntimeSink<TokioUringFile>>;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        check_inside()?;
        RuntimeSource::open(path, options)
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        check_inside()?;
        RuntimeSink::create(path, options)
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        check_inside()?;
        RuntimeSink::open_for_writing(path, options)
    }
}

impl Executor for TokioUringBackend {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        if tokio::runtime::Handle::try_current().is_ok() {
            return Err(StartError::Nested { runtime: RUNTIME });
        }
        let mut builder = tokio_uring::builder();
        builder.entries(RING_ENTRIES);
        let runtime = tokio_uring::Runtime::new(&builder)
            .map_err(|error| StartError::from_ring_setup(RUNTIME, error))?;
        RUNNING.set(true);
        let _running = Running;
        Ok(runtime.block_on(async { run_to_drain(main()).await }))
    }
}

/// Fails unless a tokio-uring runtime runs on this thread, started by this backend or by the user.
fn check_inside() -> Result<(), OpenError> {
    if RUNNING.get() || is_inside_foreign_runtime() {
        return Ok(());
    }
    Err(OpenError::WrongExecutor { backend: NAME, run: "TokioUringBackend::run" })
}

/// tokio-uring does not tell whether it is running. Only its operations do, by a panic. So this tries a
/// no-op, which a running ring takes. Under plain tokio the panic's message is printed. Without any tokio
/// there is no trial.
fn is_inside_foreign_runtime() -> bool {
    tokio::runtime::Handle::try_current().is_ok()
        && catch_unwind(|| {
            let mut no_op = pin!(tokio_uring::no_op());
            let _ = no_op.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        })
        .is_ok()
}

/// Runs a task to its end. Nothing waits for it. Outside the runtime the task is dropped, and its buffers are
/// leaked.
pub(crate) fn spawn(task: LocalBoxFuture<'static, ()>) {
    // Without a runtime spawning panics, and this may be called while a panic unwinds.
    if tokio::runtime::Handle::try_current().is_ok() {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(tokio_uring::spawn(task))));
    }
}
