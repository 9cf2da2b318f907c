//! A backend without a disk. Files live in memory, and a seed decides the order of completions. The same seed
//! gives the same order, so a failure can be replayed.

use super::executor;
use crate::backend::{
    BufferPool, Kept, Page, PageSink, PageSource, PagedReader, PagedWriter, Permit, run_to_drain,
};
use crate::write_count::WriteCount;
use crate::{
    BackendInfo, Executor, FileInfo, FileSystem, Links, LocalBoxFuture, OpenError, OpenOptions, StartError,
    SyncKind, open_regular,
};
use bytes::Bytes;
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

/// A file, with the count that its readers and writers share.
#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Arc<Mutex<Vec<u8>>>,
    writes: WriteCount,
}

impl Content {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(Mutex::new(bytes)), writes: WriteCount::default() }
    }

    fn info(&self, path: &Path) -> FileInfo {
        let len = lock(&self.bytes).len() as u64;
        FileInfo { writes: self.writes.clone(), ..FileInfo::new(path, len) }
    }

    fn sink(&self, path: &Path, options: &OpenOptions) -> MemorySink {
        MemorySink {
            file: self.info(path),
            bytes: Arc::clone(&self.bytes),
            pool: BufferPool::new(options.bytes_in_flight_max as usize),
            info: executor::info("memory", options),
        }
    }
}

/// Files in memory. Clones share them. A missing file is copied from the real disk if it is there.
#[derive(Clone, Debug, Default)]
pub struct MemoryBackend {
    seed: u64,
    files: Arc<Mutex<HashMap<PathBuf, Content>>>,
}

impl MemoryBackend {
    /// A backend without files. The order of completions depends on `seed` only.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, files: Arc::default() }
    }

    /// Puts a file. Replaces one of that name.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        lock(&self.files).insert(path.to_owned(), Content::new(bytes));
    }

    /// The bytes of a file, if it is there.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<Vec<u8>> {
        lock(&self.files).get(path).map(|content| lock(&content.bytes).clone())
    }

    fn load(&self, path: &Path) -> Result<Content, OpenError> {
        if let Some(content) = lock(&self.files).get(path) {
            return Ok(content.clone());
        }
        let mut bytes = Vec::new();
        let read = open_regular(path, Links::Refuse)?.read_to_end(&mut bytes);
        read.map_err(|error| OpenError::io(path, error))?;
        self.put(path, bytes);
        self.load(path)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FileSystem for MemoryBackend {
    type Reader = PagedReader<MemorySource>;

    type Writer = PagedWriter<MemorySink>;

    fn name(&self) -> &'static str {
        "memory"
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        check_inside()?;
        options.check()?;
        let content = self.load(path)?;
        Ok(PagedReader::new(MemorySource {
            file: content.info(path),
            bytes: content.bytes,
            pool: BufferPool::new(options.bytes_in_flight_max as usize),
            info: executor::info("memory", options),
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
        let content = Content::default();
        files.insert(path.to_owned(), content.clone());
        Ok(PagedWriter::new(content.sink(path, options)))
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        check_inside()?;
        options.check()?;
        Ok(PagedWriter::new(self.load(path)?.sink(path, options)))
    }
}

impl Executor for MemoryBackend {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        let _entered = executor::Entered::new(self.seed, "memory")?;
        Ok(executor::block_on(run_to_drain(main())))
    }
}

/// Reads a file in memory.
#[derive(Debug)]
pub struct MemorySource {
    bytes: Arc<Mutex<Vec<u8>>>,
    pool: BufferPool,
    file: FileInfo,
    info: BackendInfo,
    closed: Rc<Cell<bool>>,
}

impl PageSource for MemorySource {
    type Page = Page;

    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<Page>, Permit)> + 'static {
        let (bytes, pool, closed) = (Arc::clone(&self.bytes), self.pool.clone(), Rc::clone(&self.closed));
        permit.over(async move {
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
        })
    }

    fn share(page: Page, kept: Kept) -> Result<Bytes, Page> {
        Ok(kept.over(page))
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
    bytes: Arc<Mutex<Vec<u8>>>,
    pool: BufferPool,
    file: FileInfo,
    info: BackendInfo,
}

impl PageSink for MemorySink {
    type Buffer = Page;

    fn buffer(&self, len: usize) -> Page {
        self.pool.page(len)
    }

    fn write(
        &self,
        offset: u64,
        buffer: Page,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        let bytes = Arc::clone(&self.bytes);
        permit.over(async move {
            executor::completion().await;
            let mut bytes = lock(&bytes);
            let (start, end) = (offset as usize, offset as usize + buffer.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(&buffer);
            Ok(buffer.len())
        })
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

fn check_inside() -> Result<(), OpenError> {
    let wrong = OpenError::WrongExecutor { backend: "memory", run: "MemoryBackend::run" };
    if executor::is_entered() { Ok(()) } else { Err(wrong) }
}
