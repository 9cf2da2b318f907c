//! A backend without a disk: files live in memory, and a small executor of its own decides from a seed which operation
//! completes next. The same seed gives the same order, so a failure can be replayed.

use crate::{
    BackendFactory, BackendInfo, BufferPool, FileInfo, IoGeometry, IoMode, LocalBoxFuture, OpenError,
    OpenOptions, Page, PageSink, PageSource, PagedReader, PagedWriter, StartError, SyncKind, run_to_drain,
};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

type Bytes = Arc<Mutex<Vec<u8>>>;

/// Files in memory. Clones share them; a file that is not there is looked for on the real disk and copied.
#[derive(Clone, Debug, Default)]
pub struct MemoryBackend {
    seed: u64,
    files: Arc<Mutex<HashMap<PathBuf, Bytes>>>,
}

impl MemoryBackend {
    /// No files yet; completions in an order that depends on `seed` only.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, files: Arc::default() }
    }

    /// Puts a file, replacing one of that name.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        lock(&self.files).insert(path.to_owned(), Arc::new(Mutex::new(bytes)));
    }

    /// The bytes of a file, if it is there.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<Vec<u8>> {
        lock(&self.files).get(path).map(|bytes| lock(bytes).clone())
    }

    fn load(&self, path: &Path) -> Result<Bytes, OpenError> {
        if let Some(bytes) = lock(&self.files).get(path) {
            return Ok(Arc::clone(bytes));
        }
        let metadata = std::fs::metadata(path).map_err(|error| OpenError::io(path, error))?;
        if !metadata.is_file() {
            return Err(OpenError::NotAFile { path: path.to_owned() });
        }
        self.put(path, std::fs::read(path).map_err(|error| OpenError::io(path, error))?);
        self.load(path)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn info(options: &OpenOptions) -> BackendInfo {
    // Direct files get a device's alignment, so that the planner is tested with one.
    let (io_mode, align) = if options.direct { (IoMode::Direct, 512) } else { (IoMode::Buffered, 1) };
    BackendInfo {
        backend: "memory",
        runtime: "deterministic executor",
        io_mode,
        queue_depth: options.queue_depth,
        bytes_in_flight_max: options.bytes_in_flight_max,
        geometry: IoGeometry {
            offset_align: align,
            memory_align: align,
            read_size_max: options.read_size_max,
            gap_max: options.gap_max,
        },
        kernel_features: Vec::new(),
    }
}

impl BackendFactory for MemoryBackend {
    type Reader = PagedReader<MemorySource>;
    type Writer = PagedWriter<MemorySink>;

    fn name(&self) -> &'static str {
        "memory"
    }

    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        let _entered = Entered::new(self.seed)?;
        Ok(executor::block_on(run_to_drain(main())))
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        check_inside()?;
        options.check()?;
        let bytes = self.load(path)?;
        let len = lock(&bytes).len() as u64;
        Ok(PagedReader::new(MemorySource {
            bytes,
            pool: BufferPool::new(options.bytes_in_flight_max as usize),
            file: FileInfo { path: path.into(), len },
            info: info(options),
            closed: Rc::default(),
        }))
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        check_inside()?;
        options.check()?;
        let mut files = lock(&self.files);
        if files.contains_key(path) || path.exists() {
            return Err(OpenError::io(path, io::ErrorKind::AlreadyExists.into()));
        }
        let bytes = Bytes::default();
        files.insert(path.to_owned(), Arc::clone(&bytes));
        Ok(PagedWriter::new(MemorySink {
            bytes,
            pool: BufferPool::new(options.bytes_in_flight_max as usize),
            file: FileInfo { path: path.into(), len: 0 },
            info: info(options),
        }))
    }
}

/// Reads a file in memory.
#[derive(Debug)]
pub struct MemorySource {
    bytes: Bytes,
    pool: BufferPool,
    file: FileInfo,
    info: BackendInfo,
    closed: Rc<Cell<bool>>,
}

impl PageSource for MemorySource {
    type Page = Page;

    fn read(&self, offset: u64, len: u32) -> impl Future<Output = io::Result<Page>> + 'static {
        let (bytes, pool, closed) = (Arc::clone(&self.bytes), self.pool.clone(), Rc::clone(&self.closed));
        async move {
            if closed.get() {
                return Err(io::Error::other("read after close"));
            }
            let mut page = pool.page(len as usize);
            executor::completion().await;
            let bytes = lock(&bytes);
            let from = bytes.get(offset as usize..).unwrap_or_default();
            let taken = from.len().min(len as usize);
            page[..taken].copy_from_slice(&from[..taken]);
            Ok(page.into_kernel().completed(taken))
        }
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        executor::spawn(task);
    }

    fn file(&self) -> &FileInfo {
        &self.file
    }

    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn close(&self) -> io::Result<()> {
        self.closed.set(true);
        Ok(())
    }
}

/// Writes a file in memory.
#[derive(Debug)]
pub struct MemorySink {
    bytes: Bytes,
    pool: BufferPool,
    file: FileInfo,
    info: BackendInfo,
}

impl PageSink for MemorySink {
    type Buffer = Page;

    fn buffer(&self, len: usize) -> Page {
        self.pool.page(len)
    }

    fn write(&self, offset: u64, buffer: Page) -> impl Future<Output = io::Result<usize>> + 'static {
        let bytes = Arc::clone(&self.bytes);
        async move {
            executor::completion().await;
            let mut bytes = lock(&bytes);
            let (start, end) = (offset as usize, offset as usize + buffer.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(&buffer);
            Ok(buffer.len())
        }
    }

    async fn sync(&self, _kind: SyncKind) -> io::Result<()> {
        executor::completion().await;
        Ok(())
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        lock(&self.bytes).resize(len as usize, 0);
        Ok(())
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        executor::spawn(task);
    }

    fn file(&self) -> &FileInfo {
        &self.file
    }

    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

thread_local! {
    static EXECUTOR: RefCell<Option<Executor>> = const { RefCell::new(None) };
}

/// Takes the thread's executor away again, also on a panic.
struct Entered;

impl Entered {
    fn new(seed: u64) -> Result<Self, StartError> {
        EXECUTOR.with_borrow_mut(|executor| {
            if executor.is_some() {
                return Err(StartError::Nested { runtime: "memory" });
            }
            *executor = Some(Executor { random: fastrand::Rng::with_seed(seed), ..Executor::default() });
            Ok(Self)
        })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Dropped outside the borrow: tasks may look at the executor while they go.
        let executor = EXECUTOR.take();
        drop(executor);
    }
}

fn check_inside() -> Result<(), OpenError> {
    let inside = EXECUTOR.with_borrow(Option::is_some);
    let wrong = OpenError::WrongExecutor { backend: "memory", run: "MemoryBackend::run" };
    if inside { Ok(()) } else { Err(wrong) }
}

#[derive(Default)]
struct Executor {
    random: fastrand::Rng,
    /// Operations under way.
    pending: Vec<Rc<Operation>>,
    tasks: Vec<LocalBoxFuture<'static, ()>>,
}

#[derive(Default)]
struct Operation {
    complete: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

mod executor {
    use super::{
        Arc, AtomicBool, Context, EXECUTOR, LocalBoxFuture, Operation, Ordering, Poll, Rc, Thread, Wake,
        Waker, poll_fn,
    };

    struct Woken {
        woken: AtomicBool,
        thread: Thread,
    }

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.woken.store(true, Ordering::Release);
            self.thread.unpark();
        }
    }

    pub(super) fn block_on<F: Future>(main: F) -> F::Output {
        let woken = Arc::new(Woken { woken: AtomicBool::new(true), thread: std::thread::current() });
        let waker = Waker::from(Arc::clone(&woken));
        let mut main = std::pin::pin!(main);
        loop {
            if woken.woken.swap(false, Ordering::AcqRel) {
                let mut cx = Context::from_waker(&waker);
                if let Poll::Ready(output) = main.as_mut().poll(&mut cx) {
                    return output;
                }
                poll_tasks(&mut cx);
                // Also when the tasks keep waking themselves, as a busy loop does, the disk goes on.
                complete_some();
            } else if !complete_some() {
                // Only another thread can wake us now.
                std::thread::park();
            }
        }
    }

    fn poll_tasks(cx: &mut Context<'_>) {
        let mut tasks =
            EXECUTOR.with_borrow_mut(|executor| executor.as_mut().map(|it| std::mem::take(&mut it.tasks)));
        let Some(tasks) = tasks.as_mut() else { return };
        tasks.retain_mut(|task| task.as_mut().poll(cx).is_pending());
        EXECUTOR.with_borrow_mut(|executor| {
            if let Some(executor) = executor {
                executor.tasks.append(tasks);
            }
        });
    }

    /// Completes a few operations of the executor's choice at once, as a ring does; says whether there was one.
    fn complete_some() -> bool {
        let count = EXECUTOR.with_borrow_mut(|executor| match executor {
            Some(executor) => executor.random.usize(1..=4).min(executor.pending.len()),
            None => 0,
        });
        for _ in 0..count {
            let chosen = EXECUTOR.with_borrow_mut(|executor| {
                let executor = executor.as_mut()?;
                let chosen = executor.random.usize(..executor.pending.len());
                Some(executor.pending.swap_remove(chosen))
            });
            let Some(operation) = chosen else { break };
            operation.complete.set(true);
            if let Some(waker) = operation.waker.take() {
                waker.wake();
            }
        }
        count > 0
    }

    /// Ends when the executor chooses so.
    pub(super) async fn completion() {
        let operation = Rc::new(Operation::default());
        EXECUTOR.with_borrow_mut(|executor| {
            executor.as_mut().expect("inside MemoryBackend::run").pending.push(Rc::clone(&operation));
        });
        poll_fn(|cx| {
            if operation.complete.get() {
                return Poll::Ready(());
            }
            *operation.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(super) fn spawn(task: LocalBoxFuture<'static, ()>) {
        let refused = EXECUTOR.with_borrow_mut(|executor| match executor {
            Some(executor) => {
                executor.tasks.push(task);
                None
            }
            None => Some(task),
        });
        drop(refused);
    }
}
