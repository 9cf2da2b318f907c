//! Starting a monoio runtime, and finding out whether one is running.

use crate::file::MonoioFile;
use io_core::backend::{PagedReader, PagedWriter, run_to_drain};
use io_core::backend::{RuntimeSink, RuntimeSource};
use io_core::{Executor, FileSystem, LocalBoxFuture, OpenError, OpenOptions, StartError};
use monoio::{IoUringDriver, RuntimeBuilder};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub(crate) const NAME: &str = "monoio";
pub(crate) const RUNTIME: &str = "monoio 0.2";

/// Entries of the submission queue. More reads than this may be in flight, since a full queue is submitted
/// and filled again.
const RING_ENTRIES: u32 = 256;

/// Opens files for monoio and starts its runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct MonoioBackend {
    _private: (),
}

thread_local! {
    /// Whether this thread is inside [`MonoioBackend::run`].
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Lowers the flag when dropped, also on a panic.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(false);
    }
}

impl FileSystem for MonoioBackend {
    type Reader = PagedReader<RuntimeSource<MonoioFile>>;

    type Writer = PagedWriter<RuntimeSink<MonoioFile>>;

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

impl Executor for MonoioBackend {
    /// # Panics
    /// Inside a monoio runtime that was started without this backend. monoio does not tell that one is
    /// running.
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        if RUNNING.get() {
            return Err(StartError::Nested { runtime: RUNTIME });
        }
        let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(RING_ENTRIES)
            .build()
            .map_err(|error| StartError::from_ring_setup(RUNTIME, error))?;
        RUNNING.set(true);
        let _running = Running;
        Ok(runtime.block_on(async { run_to_drain(main()).await }))
    }
}

/// Fails unless a monoio runtime runs on this thread, started by this backend or by the user.
fn check_inside() -> Result<(), OpenError> {
    if RUNNING.get() || is_inside_foreign_runtime() {
        return Ok(());
    }
    Err(OpenError::WrongExecutor { backend: NAME, run: "MonoioBackend::run" })
}

/// A panic is monoio's only sign that it is not running. The panic's message is printed.
fn is_inside_foreign_runtime() -> bool {
    catch_unwind(monoio::utils::is_legacy).is_ok_and(|is_legacy| !is_legacy)
}

/// Runs a task to its end. Nothing waits for it. Outside the runtime the task is dropped, and its buffers are
/// leaked.
pub(crate) fn spawn(task: LocalBoxFuture<'static, ()>) {
    // Without a runtime spawning panics, and this may be called while a panic unwinds.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(monoio::spawn(task))));
}
