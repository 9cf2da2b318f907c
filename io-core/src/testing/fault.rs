//! Injects faults between a backend and the driver: short transfers, EIO, EINTR, and delays, which reorder.

use crate::backend::{Kept, PageSink, PageSource, PagedReader, PagedWriter, Permit};
use crate::{
    BackendFactory, BackendInfo, Executor, FileInfo, FileSystem, LocalBoxFuture, OpenError, OpenOptions,
    StartError, SyncKind,
};
use bytes::Bytes;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

/// The faults to inject. Rates go from 0 (never) to 1 (always). The default injects nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// The same seed gives the same faults.
    pub seed: u64,
    /// Transfers cut short, to at least one byte.
    pub short: f64,
    /// Transfers failed with EIO.
    pub io_error: f64,
    /// Transfers failed with EINTR.
    pub interrupted: f64,
    /// Completions held back for up to 16 turns of the executor.
    pub delay: f64,
    /// The transfer of this number, from 0, fails with EIO.
    pub io_error_at: Option<u64>,
    /// Transfers from this number on fail with ENOSPC.
    pub no_space_from: Option<u64>,
}

/// Counts of what passed through a [`FaultyBackend`], over all its files and threads.
#[derive(Debug, Default)]
pub struct FaultLog {
    transfers: AtomicU64,
    faults: AtomicU64,
    in_flight: AtomicU64,
    in_flight_max: AtomicU64,
    bytes: AtomicU64,
    bytes_max: AtomicU64,
}

impl FaultLog {
    /// Physical transfers asked for.
    pub fn transfers(&self) -> u64 {
        self.transfers.load(Ordering::Relaxed)
    }

    /// Faults injected, delays not counted.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Transfers in flight now.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Most transfers ever in flight at once.
    pub fn in_flight_max(&self) -> u64 {
        self.in_flight_max.load(Ordering::Relaxed)
    }

    /// Most bytes ever in flight at once.
    pub fn bytes_in_flight_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }
}

/// One transfer that has begun.
struct InFlight {
    log: Arc<FaultLog>,
    bytes: u64,
}

impl InFlight {
    fn new(log: &Arc<FaultLog>, bytes: u64) -> Self {
        let now = log.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        log.in_flight_max.fetch_max(now, Ordering::Relaxed);
        let now = log.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        log.bytes_max.fetch_max(now, Ordering::Relaxed);
        Self { log: Arc::clone(log), bytes }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.log.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.log.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A backend whose transfers fail as [`Faults`] says. Without faults it passes the battery as the inner
/// backend does.
#[derive(Clone, Debug)]
pub struct FaultyBackend<B> {
    inner: B,
    faults: Faults,
    log: Arc<FaultLog>,
}

impl<B> FaultyBackend<B> {
    /// Wraps a backend.
    pub fn new(inner: B, faults: Faults) -> Self {
        Self { inner, faults, log: Arc::default() }
    }

    /// Counts of what has passed through.
    pub fn log(&self) -> &FaultLog {
        &self.log
    }

    fn injector(&self) -> Injector {
        let random = RefCell::new(fastrand::Rng::with_seed(self.faults.seed));
        Injector { faults: self.faults, random: Rc::new(random), log: Arc::clone(&self.log) }
    }
}

impl<B, S, K> FileSystem for FaultyBackend<B>
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    type Reader = PagedReader<FaultySource<S>>;

    type Writer = PagedWriter<FaultySink<K>>;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        let inner = self.inner.open(path, options).await?.into_source();
        Ok(PagedReader::new(FaultySource { inner, injector: self.injector() }))
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        let inner = self.inner.create(path, options).await?.into_sink();
        Ok(PagedWriter::new(FaultySink { inner, injector: self.injector() }))
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        let inner = self.inner.open_for_writing(path, options).await?.into_sink();
        Ok(PagedWriter::new(FaultySink { inner, injector: self.injector() }))
    }
}

impl<B, S, K> Executor for FaultyBackend<B>
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
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

/// As [`FaultyBackend`], for a backend whose reads are no transfers, as those of a map. Only writes fail.
#[derive(Clone, Debug)]
pub struct FaultyWrites<B>(FaultyBackend<B>);

impl<B> FaultyWrites<B> {
    /// Wraps a backend.
    pub fn new(inner: B, faults: Faults) -> Self {
        Self(FaultyBackend::new(inner, faults))
    }

    /// Counts of what has passed through.
    pub fn log(&self) -> &FaultLog {
        self.0.log()
    }
}

impl<B, K> FileSystem for FaultyWrites<B>
where
    B: BackendFactory<Writer = PagedWriter<K>>,
    K: PageSink,
{
    type Reader = B::Reader;

    type Writer = PagedWriter<FaultySink<K>>;

    fn name(&self) -> &'static str {
        self.0.inner.name()
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        self.0.inner.open(path, options).await
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        let inner = self.0.inner.create(path, options).await?.into_sink();
        Ok(PagedWriter::new(FaultySink { inner, injector: self.0.injector() }))
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        let inner = self.0.inner.open_for_writing(path, options).await?.into_sink();
        Ok(PagedWriter::new(FaultySink { inner, injector: self.0.injector() }))
    }
}

impl<B, K> Executor for FaultyWrites<B>
where
    B: BackendFactory<Writer = PagedWriter<K>>,
    K: PageSink,
{
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        self.0.inner.run(main)
    }
}

#[derive(Clone)]
struct Injector {
    faults: Faults,
    random: Rc<RefCell<fastrand::Rng>>,
    log: Arc<FaultLog>,
}

/// The fate of one transfer.
struct Fate {
    error: Option<io::Error>,
    bytes_max: usize,
    turns_held: u32,
}

impl Injector {
    fn fate(&self, len: usize) -> Fate {
        const EIO: i32 = 5;
        const ENOSPC: i32 = 28;
        let number = self.log.transfers.fetch_add(1, Ordering::Relaxed);
        let mut random = self.random.borrow_mut();
        let mut happens = |rate: f64| rate > 0.0 && random.f64() < rate;
        let (delayed, short) = (happens(self.faults.delay), happens(self.faults.short));
        let error = if self.faults.io_error_at == Some(number) || happens(self.faults.io_error) {
            Some(io::Error::from_raw_os_error(EIO))
        } else if self.faults.no_space_from.is_some_and(|from| number >= from) {
            Some(io::Error::from_raw_os_error(ENOSPC))
        } else if happens(self.faults.interrupted) {
            Some(io::ErrorKind::Interrupted.into())
        } else {
            None
        };
        let bytes_max = if short && len > 1 { random.usize(1..len) } else { len };
        let turns_held = if delayed { random.u32(1..=16) } else { 0 };
        if error.is_some() || bytes_max < len {
            self.log.faults.fetch_add(1, Ordering::Relaxed);
        }
        Fate { error, bytes_max, turns_held }
    }
}

async fn hold(turns: u32) {
    for _ in 0..turns {
        let mut first = true;
        poll_fn(|cx| {
            if std::mem::take(&mut first) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// A page source with faults.
pub struct FaultySource<S> {
    inner: S,
    injector: Injector,
}

/// The bytes that a faulty read lets through.
#[derive(Debug)]
pub struct FaultyPage<P> {
    page: P,
    len: usize,
}

impl<P: Deref<Target = [u8]>> Deref for FaultyPage<P> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.page[..self.len]
    }
}

impl<S: PageSource> PageSource for FaultySource<S> {
    type Page = FaultyPage<S::Page>;

    fn read(
        &self,
        offset: u64,
        len: u32,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<Self::Page>, Permit)> + 'static {
        let read = self.inner.read(offset, len, permit);
        let fate = self.injector.fate(len as usize);
        let in_flight = InFlight::new(&self.injector.log, u64::from(len));
        async move {
            // The read is always carried out. A read that fails later may still have written to its buffer.
            let (page, permit) = read.await;
            hold(fate.turns_held).await;
            drop(in_flight);
            let page = fate.error.map_or(page, Err).map(|page| {
                let len = page.len().min(fate.bytes_max);
                FaultyPage { page, len }
            });
            (page, permit)
        }
    }

    fn share(page: Self::Page, kept: Kept) -> Result<Bytes, Self::Page> {
        let FaultyPage { page, len } = page;
        match S::share(page, kept) {
            Ok(bytes) => Ok(bytes.slice(..len)),
            Err(page) => Err(FaultyPage { page, len }),
        }
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }

    fn lost(&self) -> Option<io::Error> {
        self.inner.lost()
    }

    fn file(&self) -> &FileInfo {
        self.inner.file()
    }

    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    async fn close(&self) -> io::Result<()> {
        self.inner.close().await
    }
}

/// A page sink with faults.
pub struct FaultySink<K> {
    inner: K,
    injector: Injector,
}

impl<K: PageSink> PageSink for FaultySink<K> {
    type Buffer = K::Buffer;

    fn buffer(&self, len: usize) -> K::Buffer {
        self.inner.buffer(len)
    }

    fn write(
        &self,
        offset: u64,
        buffer: K::Buffer,
        permit: Permit,
    ) -> impl Future<Output = (io::Result<usize>, Permit)> + 'static {
        let len = buffer.len();
        let fate = self.injector.fate(len);
        let in_flight = InFlight::new(&self.injector.log, len as u64);
        // A write that will fail or fall short must not reach the disk whole.
        let taken = if fate.error.is_some() {
            0
        } else if fate.bytes_max < len {
            let align = self.info().geometry.offset_align as usize;
            fate.bytes_max / align * align
        } else {
            len
        };
        let write = if taken == len {
            Ok(self.inner.write(offset, buffer, permit))
        } else if taken > 0 {
            let mut head = self.inner.buffer(taken);
            head.copy_from_slice(&buffer[..taken]);
            Ok(self.inner.write(offset, head, permit))
        } else {
            Err(permit)
        };
        async move {
            let (written, permit) = match write {
                Ok(write) => write.await,
                Err(permit) => (Ok(0), permit),
            };
            hold(fate.turns_held).await;
            drop(in_flight);
            (fate.error.map_or(written, Err), permit)
        }
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        self.inner.sync(kind).await
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len).await
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }

    fn lost(&self) -> Option<io::Error> {
        self.inner.lost()
    }

    fn file(&self) -> &FileInfo {
        self.inner.file()
    }

    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    async fn close(&self) -> io::Result<()> {
        self.inner.close().await
    }
}
