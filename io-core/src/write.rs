//! The writer that engines call, its object-safe form, and the writer over any page sink.

use crate::gate::{Gate, Permit, Waiter};
use crate::in_flight::{InFlight, SlotTable};
use crate::source::PageSink;
use crate::write_plan::WritePlan;
use crate::{BackendInfo, FileInfo, Lane, LocalBoxFuture, SyncKind, WriteError};
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

/// A write may fail this often without a byte of progress (EINTR, EAGAIN) before that is an error.
const RETRIES_MAX: u32 = 1000;

/// Bytes to be written at one place.
#[derive(Clone, Copy, Debug)]
pub struct PageWrite<'a> {
    /// First byte of the file.
    pub offset: u64,
    /// The bytes to write there. With `O_DIRECT`, offset and length are multiples of the geometry's
    /// `offset_align`.
    pub bytes: &'a [u8],
}

/// The outcome of a batch of writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOutcome {
    /// Bytes written.
    pub bytes_written: u64,
    /// Physical writes completed, also those of the rest of a partial write.
    pub writes: u64,
}

/// Writes many pages of one file, in one batch.
pub trait PageWriter {
    /// Writes every page, as many at once as the depth and the byte budget allow. Sorts them by offset,
    /// merges contiguous ones and continues partial writes. The pages are durable only after
    /// [`PageWriter::sync`].
    ///
    /// # Errors
    /// [`WriteError::Plan`] before anything is written. [`WriteError::Io`] once the writes in flight have
    /// ended.
    ///
    /// # Cancel safety
    /// Dropping the future is memory-safe. Any part of the batch may have been written, or may be written a
    /// little later. [`PageWriter::close`] waits for it.
    fn write_pages(&self, writes: &[PageWrite<'_>])
    -> impl Future<Output = Result<WriteOutcome, WriteError>>;

    /// Makes completed writes durable.
    ///
    /// # Errors
    /// [`WriteError::Finish`]. Nothing may be assumed durable then.
    fn sync(&self, kind: SyncKind) -> impl Future<Output = Result<(), WriteError>>;

    /// Cuts or extends the file, for a tail shorter than the alignment.
    ///
    /// # Errors
    /// [`WriteError::Finish`].
    fn set_len(&self, len: u64) -> impl Future<Output = Result<(), WriteError>>;

    /// The file.
    fn file(&self) -> &FileInfo;

    /// The settings that are really in use.
    fn info(&self) -> &BackendInfo;

    /// Waits for all writes in flight and closes the file. It does not sync.
    ///
    /// # Errors
    /// [`WriteError::Finish`].
    fn close(&self) -> impl Future<Output = Result<(), WriteError>>;
}

/// The object-safe form of [`PageWriter`]. Every writer implements it.
pub trait DynPageWriter {
    /// As [`PageWriter::write_pages`].
    fn write_pages_dyn<'a>(
        &'a self,
        writes: &'a [PageWrite<'a>],
    ) -> LocalBoxFuture<'a, Result<WriteOutcome, WriteError>>;

    /// As [`PageWriter::sync`].
    fn sync_dyn(&self, kind: SyncKind) -> LocalBoxFuture<'_, Result<(), WriteError>>;

    /// As [`PageWriter::set_len`].
    fn set_len_dyn(&self, len: u64) -> LocalBoxFuture<'_, Result<(), WriteError>>;

    /// As [`PageWriter::file`].
    fn file_dyn(&self) -> &FileInfo;

    /// As [`PageWriter::info`].
    fn info_dyn(&self) -> &BackendInfo;

    /// As [`PageWriter::close`].
    fn close_dyn(&self) -> LocalBoxFuture<'_, Result<(), WriteError>>;
}

impl<W: PageWriter> DynPageWriter for W {
    fn write_pages_dyn<'a>(
        &'a self,
        writes: &'a [PageWrite<'a>],
    ) -> LocalBoxFuture<'a, Result<WriteOutcome, WriteError>> {
        Box::pin(self.write_pages(writes))
    }

    fn sync_dyn(&self, kind: SyncKind) -> LocalBoxFuture<'_, Result<(), WriteError>> {
        Box::pin(self.sync(kind))
    }

    fn set_len_dyn(&self, len: u64) -> LocalBoxFuture<'_, Result<(), WriteError>> {
        Box::pin(self.set_len(len))
    }

    fn file_dyn(&self) -> &FileInfo {
        self.file()
    }

    fn info_dyn(&self) -> &BackendInfo {
        self.info()
    }

    fn close_dyn(&self) -> LocalBoxFuture<'_, Result<(), WriteError>> {
        Box::pin(self.close())
    }
}

impl PageWriter for Box<dyn DynPageWriter> {
    async fn write_pages(&self, writes: &[PageWrite<'_>]) -> Result<WriteOutcome, WriteError> {
        (**self).write_pages_dyn(writes).await
    }

    async fn sync(&self, kind: SyncKind) -> Result<(), WriteError> {
        (**self).sync_dyn(kind).await
    }

    async fn set_len(&self, len: u64) -> Result<(), WriteError> {
        (**self).set_len_dyn(len).await
    }

    fn file(&self) -> &FileInfo {
        (**self).file_dyn()
    }

    fn info(&self) -> &BackendInfo {
        (**self).info_dyn()
    }

    async fn close(&self) -> Result<(), WriteError> {
        (**self).close_dyn().await
    }
}

/// The writer over any [`PageSink`]: plans each batch and drives it.
#[derive(Debug)]
pub struct PagedWriter<S> {
    sink: S,
    gate: Gate,
    plans: Mutex<Vec<WritePlan>>,
    closed: AtomicBool,
}

impl<S: PageSink> PagedWriter<S> {
    /// A writer over `sink`, within the depth and the byte budget of its [`BackendInfo`].
    pub fn new(sink: S) -> Self {
        let gate = Gate::new(sink.info().budget(), sink.info().lane);
        Self { gate, sink, plans: Mutex::default(), closed: AtomicBool::new(false) }
    }

    /// The sink, to wrap it in another one.
    ///
    /// # Panics
    /// If writes are in flight.
    #[must_use]
    pub fn into_sink(self) -> S {
        assert_eq!(self.gate.operations_in_flight(), 0, "writes are in flight");
        self.sink
    }

    fn take_plan(&self) -> WritePlan {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn check_open(&self) -> Result<(), WriteError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(WriteError::Closed { file: self.sink.file().path.clone() });
        }
        Ok(())
    }

    fn finish<T>(&self, operation: &'static str, result: io::Result<T>) -> Result<T, WriteError> {
        let file = || self.sink.file().path.clone();
        result.map_err(|source| WriteError::Finish { file: file(), operation, source })
    }
}

impl<S: PageSink> PageWriter for PagedWriter<S> {
    async fn write_pages(&self, writes: &[PageWrite<'_>]) -> Result<WriteOutcome, WriteError> {
        self.check_open()?;
        let mut plan = self.take_plan();
        plan.build(writes, &self.sink.info().geometry)
            .map_err(|source| WriteError::Plan { file: self.sink.file().path.clone(), source })?;
        let result = drive_writes(&plan, writes, &self.sink, &self.gate).await;
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).push(plan);
        result
    }

    async fn sync(&self, kind: SyncKind) -> Result<(), WriteError> {
        self.check_open()?;
        let synced = self.sink.sync(kind).await;
        self.finish("sync", synced)
    }

    async fn set_len(&self, len: u64) -> Result<(), WriteError> {
        self.check_open()?;
        let writes = &self.sink.file().writes;
        writes.add();
        let cut = self.sink.set_len(len).await;
        writes.add();
        self.finish("setting the length", cut)
    }

    fn file(&self) -> &FileInfo {
        self.sink.file()
    }

    fn info(&self) -> &BackendInfo {
        self.sink.info()
    }

    async fn close(&self) -> Result<(), WriteError> {
        let was_closed = self.closed.swap(true, Ordering::SeqCst);
        let drained = self.gate.drained_unless(|| self.sink.lost()).await;
        // Writes of dropped batches may have ended without their futures.
        self.sink.file().writes.add();
        if was_closed {
            return Ok(());
        }
        let closed = match drained {
            Ok(()) => self.sink.close().await,
            Err(lost) => Err(lost),
        };
        self.finish("close", closed)
    }
}

/// One physical write in flight.
struct Operation {
    offset: u64,
    len: u32,
    retries: u32,
}

async fn drive_writes<S: PageSink>(
    plan: &WritePlan,
    pages: &[PageWrite<'_>],
    sink: &S,
    gate: &Gate,
) -> Result<WriteOutcome, WriteError> {
    let slots = u32::try_from(plan.writes().len()).unwrap_or(u32::MAX).min(gate.limits().queue_depth);
    // The rest of a partial write is copied again from the caller's pages. So a buffer need not come back
    // from the runtime.
    let start = |offset, len: u32, permit| {
        let mut buffer = sink.buffer(len as usize);
        plan.gather(pages, offset, &mut buffer);
        let writes = sink.file().writes.clone();
        writes.add();
        let write = sink.write(offset, buffer, permit);
        async move {
            let ended = write.await;
            writes.add();
            ended
        }
    };
    let mut batch = Batch {
        in_flight: Some(InFlight::new(SlotTable::new(slots), slots)),
        plan,
        sink,
        start,
        waiter: gate.waiter(),
        next_write: 0,
        outcome: WriteOutcome::default(),
        error: None,
    };
    poll_fn(|cx| batch.poll(cx)).await;
    match batch.error.take() {
        Some(error) => Err(error),
        None => Ok(batch.outcome),
    }
}

struct Batch<'a, S: PageSink, F: Future + 'static, N> {
    in_flight: Option<InFlight<F, Operation>>,
    plan: &'a WritePlan,
    sink: &'a S,
    start: N,
    waiter: Waiter,
    next_write: usize,
    outcome: WriteOutcome,
    error: Option<WriteError>,
}

impl<S, F, N> Batch<'_, S, F, N>
where
    S: PageSink,
    F: Future<Output = (io::Result<usize>, Permit)> + 'static,
    N: FnMut(u64, u32, Permit) -> F,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(in_flight) = &self.in_flight else { return Poll::Ready(()) };
        in_flight.register(cx);
        if let Some(source) = self.sink.lost() {
            in_flight.mark_all_ready();
            self.fail_next(source);
        }
        loop {
            self.submit(cx);
            let Self { in_flight: Some(in_flight), start, outcome, error, sink, .. } = self else {
                return Poll::Ready(());
            };
            let polled = in_flight.poll_ready(|operation, (result, permit)| {
                complete(operation, result, *sink, outcome, error)
                    .map(|again| (start(again.offset, again.len, permit), again))
            });
            let submitted_all = error.is_some() || self.next_write == self.plan.writes().len();
            if in_flight.is_empty() && submitted_all {
                return Poll::Ready(());
            }
            if !polled {
                return Poll::Pending;
            }
        }
    }

    fn submit(&mut self, cx: &mut Context<'_>) {
        let Some(in_flight) = &mut self.in_flight else { return };
        while self.error.is_none() && in_flight.has_room() {
            let Some(&write) = self.plan.writes().get(self.next_write) else { return };
            let Poll::Ready(permit) = self.waiter.poll_acquire(u64::from(write.len), Lane::Foreground, cx)
            else {
                return;
            };
            let operation = Operation { offset: write.offset, len: write.len, retries: 0 };
            in_flight.insert((self.start)(write.offset, write.len, permit), operation);
            self.next_write += 1;
        }
        if self.error.is_some() {
            self.waiter.leave();
        }
    }

    /// Gives up the writes that have not been submitted.
    fn fail_next(&mut self, source: io::Error) {
        let Some(write) = self.plan.writes().get(self.next_write) else { return };
        if self.error.is_none() {
            let file = self.sink.file().path.clone();
            let bytes_written = self.outcome.bytes_written;
            self.error =
                Some(WriteError::Io { file, offset: write.offset, len: write.len, bytes_written, source });
        }
    }
}

impl<S: PageSink, F: Future + 'static, N> Drop for Batch<'_, S, F, N> {
    fn drop(&mut self) {
        if let Some(in_flight) = self.in_flight.take().filter(|in_flight| !in_flight.is_empty()) {
            self.sink.spawn(Box::pin(in_flight.drain()));
        }
    }
}

/// Counts one physical write. Returns the write that must follow, if any.
fn complete<S: PageSink>(
    mut operation: Operation,
    result: io::Result<usize>,
    sink: &S,
    outcome: &mut WriteOutcome,
    error: &mut Option<WriteError>,
) -> Option<Operation> {
    let failure = match result {
        Ok(bytes) => {
            let bytes = (bytes as u64).min(u64::from(operation.len)) as u32;
            outcome.bytes_written += u64::from(bytes);
            outcome.writes += 1;
            // After a write that stops inside an alignment unit, the next one begins at the unit's start.
            let geometry = &sink.info().geometry;
            let next = geometry.align_down(operation.offset + u64::from(bytes));
            let again = (operation.offset + u64::from(bytes) - next) as u32;
            outcome.bytes_written -= u64::from(if bytes < operation.len { again } else { 0 });
            if bytes == operation.len || error.is_some() {
                return None;
            }
            let progress = (next - operation.offset) as u32;
            operation.retries = if progress > 0 { 0 } else { operation.retries + 1 };
            operation.offset = next;
            operation.len -= progress;
            (operation.retries > RETRIES_MAX).then(|| io::Error::from(io::ErrorKind::WriteZero))
        }
        Err(failure) => {
            if error.is_some() {
                return None;
            }
            let transient = matches!(failure.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock);
            operation.retries += 1;
            (!transient || operation.retries > RETRIES_MAX).then_some(failure)
        }
    };
    let Some(source) = failure else { return Some(operation) };
    let Operation { offset, len, .. } = operation;
    let file = sink.file().path.clone();
    *error = Some(WriteError::Io { file, offset, len, bytes_written: outcome.bytes_written, source });
    None
}
