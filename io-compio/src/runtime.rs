//! Starting a compio runtime, and finding out whether one is running.

use crate::file::CompioFile;
use crate::spawn::start_spawner;
use crate::system;
use compio_driver::{DriverType, Proactor, ProactorBuilder};
use compio_runtime::Runtime;
use io_core::backend::{PagedReader, PagedWriter, run_to_drain};
use io_core::backend::{RuntimeSink, RuntimeSource};
use io_core::{Executor, FileSystem, OpenError, OpenOptions, StartError};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

pub(crate) const NAME: &str = "compio";
pub(crate) const RUNTIME: &str = "compio 0.19";

/// Entries of the submission queue. More reads than this may be in flight, since a full queue is submitted
/// and filled again.
const RING_ENTRIES: u32 = 256;

/// Opens files for compio and starts its runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompioBackend {
    _private: (),
}

impl FileSystem for CompioBackend {
    type Reader = PagedReader<RuntimeSource<CompioFile>>;

    type Writer = PagedWriter<RuntimeSink<CompioFile>>;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        enter()?;
        RuntimeSource::open(path, options)
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        enter()?;
        RuntimeSink::create(path, options)
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        enter()?;
        RuntimeSink::open_for_writing(path, options)
    }
}

impl Executor for CompioBackend {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        if Runtime::try_current().is_some() {
            return Err(StartError::Nested { runtime: RUNTIME });
        }
        system::check()?;
        let runtime = Runtime::builder()
            .with_proactor(ring())
            .build()
            .map_err(|error| StartError::from_ring_setup(RUNTIME, error))?;
        let ended =
            catch_unwind(AssertUnwindSafe(|| block_on(&runtime, async { run_to_drain(main()).await })));
        // A runtime that is dropped while a panic unwinds leaks its tasks, and the files in them.
        drop(runtime);
        Ok(ended.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

/// A ring, or an error. Without the type, compio falls back to its polling driver if that is compiled in.
pub(crate) fn ring() -> ProactorBuilder {
    let mut builder = Proactor::builder();
    builder.capacity(RING_ENTRIES).driver_type(DriverType::IoUring);
    builder
}

/// Runs `main` to its end, and the tasks of the runtime meanwhile.
///
/// compio's own `block_on` lets the tasks run once more after that. They would start reads that nothing waits
/// for.
fn block_on<F: Future>(runtime: &Runtime, main: F) -> F::Output {
    runtime.enter(|| {
        let waker = runtime.waker();
        let mut main = pin!(main);
        loop {
            if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            if runtime.run() {
                runtime.poll_with(Some(Duration::ZERO));
            } else {
                runtime.poll();
            }
        }
    })
}

/// Fails unless a compio runtime with a ring runs on this thread, started by this backend or by the user.
/// Prepares it for files otherwise.
fn enter() -> Result<(), OpenError> {
    let Ok(driver) = Runtime::try_with_current(Runtime::driver_type) else {
        return Err(OpenError::WrongExecutor { backend: NAME, run: "CompioBackend::run" });
    };
    if !driver.is_iouring() {
        let what = "use the polling driver of this runtime: build it with `DriverType::IoUring`".to_owned();
        return Err(OpenError::Unsupported { backend: NAME, what });
    }
    system::check()?;
    start_spawner();
    Ok(())
}
