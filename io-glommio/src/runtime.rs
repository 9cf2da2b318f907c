//! Starting a glommio executor, and finding out whether one is running.

use crate::file::{GlommioSink, GlommioSource, open_reader, writer};
use crate::kept::{self, Work};
use glommio::{GlommioError, LocalExecutor, LocalExecutorBuilder, Placement};
use io_core::backend::{PagedReader, PagedWriter, create_std, open_std_for_writing, run_to_drain};
use io_core::{Executor, FileSystem, LocalBoxFuture, OpenError, OpenOptions, StartError};
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

pub(crate) const NAME: &str = "glommio";
pub(crate) const RUNTIME: &str = "glommio 0.9";

/// Entries of each of glommio's rings. More reads may be submitted, since glommio queues them itself.
const RING_ENTRIES: usize = 256;

/// Bytes of memory that glommio must be allowed to lock.
const LOCKED_BYTES_MIN: u64 = 512 * 1024;

/// File descriptors that glommio needs to start: two notifiers, three rings, and a ring that it only probes.
const DESCRIPTORS: usize = 6;

/// Bytes of memory that glommio needs to start, most of them for its own buffers.
const MEMORY_BYTES: usize = 12 << 20;

/// Executors start one after the other. So none takes what another has just found to be free.
static STARTING: Mutex<()> = Mutex::new(());

/// Opens files for glommio and starts its executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlommioBackend {
    _private: (),
}

thread_local! {
    /// Whether this thread is inside [`GlommioBackend::run`].
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Lowers the flag when dropped, also on a panic.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(false);
    }
}

impl FileSystem for GlommioBackend {
    type Reader = PagedReader<GlommioSource>;

    type Writer = PagedWriter<GlommioSink>;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        check_inside()?;
        open_reader(path, options).await
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        check_inside()?;
        writer(create_std(path, options)?, path, options).await
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        check_inside()?;
        writer(open_std_for_writing(path, options)?, path, options).await
    }
}

impl Executor for GlommioBackend {
    /// # Panics
    /// Inside a glommio executor that was started without this backend. glommio does not tell that one is
    /// running.
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        if RUNNING.get() {
            return Err(StartError::Nested { runtime: RUNTIME });
        }
        let executor = match kept::take() {
            Some(executor) => executor,
            None => start()?,
        };
        RUNNING.set(true);
        let _running = Running;
        let output = executor.run(async { run_to_drain(main()).await });
        kept::keep(executor);
        Ok(output)
    }

    /// The thread keeps its executor, and takes the next work of the same name. In glommio 0.9, an executor
    /// that ends leaves an eventfd behind.
    fn spawn_thread(&self, name: String, work: Work) -> io::Result<()> {
        kept::spawn(name, work)
    }
}

fn start() -> Result<LocalExecutor, StartError> {
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    check_system()?;
    let made = LocalExecutorBuilder::new(Placement::Unbound).ring_depth(RING_ENTRIES).make();
    made.map_err(|error: GlommioError<()>| StartError::from_ring_setup(RUNTIME, os_error(error)))
}

/// Finds the faults that glommio would panic about, or report without saying what to do.
fn check_system() -> Result<(), StartError> {
    use rustix::process::{Resource, getrlimit};
    if let Some(limit) = getrlimit(Resource::Memlock).current.filter(|limit| *limit < LOCKED_BYTES_MIN) {
        let reason = format!("{limit} bytes may be locked, and glommio wants at least {LOCKED_BYTES_MIN}");
        return Err(StartError::LockedMemory { runtime: RUNTIME, reason });
    }
    let failed = |error| StartError::from_ring_setup(RUNTIME, error);
    // glommio panics if it gets no memory, descriptor, ring or thread. These trials find that out, and free
    // everything at once.
    if Vec::<u8>::new().try_reserve_exact(MEMORY_BYTES).is_err() {
        let reason = format!("it needs {MEMORY_BYTES} bytes of memory; raise the limit (`ulimit -v`)");
        return Err(failed(io::Error::new(io::ErrorKind::OutOfMemory, reason)));
    }
    let null = File::open("/dev/null").map_err(failed)?;
    let held: io::Result<Vec<File>> = (1..DESCRIPTORS).map(|_| null.try_clone()).collect();
    drop(held.map_err(failed)?);
    drop(null);
    io_uring::IoUring::new(2).map(drop).map_err(failed)?;
    // The kernel counts a thread until a moment after it was joined. Of two threads, one has been given back.
    let (held, release) = std::sync::mpsc::channel::<()>();
    let waits = std::thread::Builder::new().spawn(move || release.recv().is_ok()).map_err(failed)?;
    let ends = std::thread::Builder::new().spawn(|| true).map_err(failed)?;
    let ended = ends.join();
    drop(held);
    let ended = ended.and(waits.join()).map(|_| ());
    ended.map_err(|_| failed(io::Error::other("a thread that does nothing panicked")))
}

/// glommio's error, with the operating system's error number if there is one.
pub(crate) fn os_error<T>(error: GlommioError<T>) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.into(),
    }
}

/// Fails unless a glommio executor runs on this thread, started by this backend or by the user.
fn check_inside() -> Result<(), OpenError> {
    if RUNNING.get() || is_inside_foreign_executor() {
        return Ok(());
    }
    Err(OpenError::WrongExecutor { backend: NAME, run: "GlommioBackend::run" })
}

/// A panic is glommio's only sign that it is not running. The panic's message is printed.
fn is_inside_foreign_executor() -> bool {
    catch_unwind(|| glommio::executor().id()).is_ok()
}

/// Runs a task to its end. Nothing waits for it. Outside the executor the task is dropped.
pub(crate) fn spawn(task: LocalBoxFuture<'static, ()>) {
    // Without an executor spawning panics, and this may be called while a panic unwinds.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(glommio::spawn_local(task).detach())));
}
