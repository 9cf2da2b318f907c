//! Carries out a plan. Only this file keeps the promises about order, errors, stopping and dropping.

use crate::buffer::{Block, new_block};
use crate::gate::{Gate, Permit, Waiter};
use crate::in_flight::{InFlight, SlotTable};
use crate::meter::Started;
use crate::plan::{PlannedRead, ReadPlan};
use crate::source::PageSource;
use crate::{ReadControl, ReadError, ReadOutcome, ReadStats};
use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::task::{Context, Poll};

/// A read may be re-issued this often without progress. EINTR, EAGAIN and less than an alignment unit are
/// no progress.
const RETRIES_MAX: u32 = 1000;

/// Memory that a batch leaves to the next one, so that a read allocates nothing.
#[derive(Default)]
pub(crate) struct DriveScratch {
    table: Option<SlotTable<Operation>>,
    assemblies: Vec<Assembly>,
    spare: Vec<Block>,
}

impl std::fmt::Debug for DriveScratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DriveScratch").finish_non_exhaustive()
    }
}

/// One physical read in flight.
struct Operation {
    offset: u64,
    len: u32,
    /// Requests served, as positions in the plan.
    first: u32,
    count: u32,
    /// Earlier, short completions of the same read brought everything before this offset of the file.
    consumed: u64,
    retries: u32,
    started: Started,
}

/// A request whose bytes come in more than one completion.
struct Assembly {
    position: u32,
    missing: u32,
    buffer: Block,
}

/// Reads what `plan` says from `source` and hands every request to `sink`.
///
/// Keeps as many reads in flight as `gate` permits. Re-issues short reads and retries EINTR and EAGAIN. After
/// the first error, the stop flag or `ControlFlow::Break`, it submits and delivers nothing more, and waits
/// for the reads in flight.
///
/// # Errors
/// [`ReadError::Io`] and [`ReadError::Truncated`].
///
/// # Cancel safety
/// Dropping the future hands the reads in flight to [`PageSource::spawn`]. Buffers return to their pool when
/// the runtime has seen them complete.
///
/// # Panics
/// If a physical read of the plan is larger than the gate's whole byte budget, or the sink panics.
pub(crate) async fn drive<S, K>(
    plan: &ReadPlan,
    source: &S,
    gate: &Gate,
    control: &ReadControl,
    scratch: &mut DriveScratch,
    sink: K,
) -> Result<ReadOutcome, ReadError>
where
    S: PageSource,
    K: FnMut(usize, &[u8]) -> ControlFlow<()>,
{
    let depth = gate.limits().queue_depth;
    let slots = u32::try_from(plan.reads().len()).unwrap_or(u32::MAX).min(depth);
    let table = scratch.table.take().unwrap_or_else(|| SlotTable::new(depth));
    scratch.spare.extend(scratch.assemblies.drain(..).map(|assembly| assembly.buffer));
    let start = |offset, len, permit| source.read(offset, len, permit);
    let mut batch = Batch {
        in_flight: Some(InFlight::new(table, slots)),
        delivery: Delivery { plan, control, sink, scratch, file_len: source.file().len, delivered: 0 },
        waiter: gate.waiter(),
        start,
        source,
        next_read: 0,
        state: State::Running,
        stats: ReadStats {
            bytes_wanted: plan.bytes_wanted(),
            merged: plan.merged(),
            duplicates: plan.duplicates(),
            ..ReadStats::default()
        },
    };
    batch.deliver_empty();
    poll_fn(|cx| batch.poll(cx)).await;
    batch.finish()
}

enum State {
    Running,
    Stopped,
    Failed(ReadError),
}

struct Batch<'a, S, F, N, K>
where
    S: PageSource,
    F: Future + 'static,
{
    /// `None` only once the batch is over.
    in_flight: Option<InFlight<F, Operation>>,
    delivery: Delivery<'a, K>,
    waiter: Waiter,
    /// Starts one physical read.
    start: N,
    source: &'a S,
    /// First read of the plan that has not been submitted.
    next_read: usize,
    state: State,
    stats: ReadStats,
}

impl<S, F, N, K> Batch<'_, S, F, N, K>
where
    S: PageSource,
    F: Future<Output = (io::Result<S::Page>, Permit)> + 'static,
    N: FnMut(u64, u32, Permit) -> F,
    K: FnMut(usize, &[u8]) -> ControlFlow<()>,
{
    fn deliver_empty(&mut self) {
        let plan = self.delivery.plan;
        for &index in plan.empty_requests() {
            if self.delivery.deliver(index as usize, &[]).is_break() {
                self.state = State::Stopped;
                return;
            }
        }
    }

    /// Ready when the batch is over and has no read in flight.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(in_flight) = &self.in_flight else { return Poll::Ready(()) };
        in_flight.register(cx);
        if let Some(error) = self.source.lost() {
            in_flight.mark_all_ready();
            self.fail_next(error);
        }
        loop {
            self.submit(cx);
            let Self { in_flight: Some(in_flight), delivery, start, source, state, stats, .. } = self else {
                return Poll::Ready(());
            };
            let polled = in_flight.poll_ready(|operation, result| {
                complete(operation, result, *source, delivery, state, stats, start)
            });
            let submitted_all =
                !matches!(state, State::Running) || self.next_read == self.delivery.plan.reads().len();
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
        while matches!(self.state, State::Running) && in_flight.has_room() {
            let Some(read) = self.delivery.plan.reads().get(self.next_read) else { return };
            if self.delivery.control.is_stopped() {
                self.state = State::Stopped;
                break;
            }
            let Poll::Ready(permit) = self.waiter.poll_acquire(u64::from(read.len), cx) else { return };
            let operation = Operation::new(read, Started::new(self.delivery.control.meter.as_ref()));
            in_flight.insert((self.start)(read.offset, read.len, permit), operation);
            self.next_read += 1;
        }
        if !matches!(self.state, State::Running) {
            self.waiter.leave();
        }
    }

    /// Gives up the reads that have not been submitted.
    fn fail_next(&mut self, error: io::Error) {
        let Some(read) = self.delivery.plan.reads().get(self.next_read) else { return };
        if matches!(self.state, State::Running) {
            let positions = read.first..read.first + read.count;
            self.state = State::Failed(self.delivery.failed(self.source, error, read.offset, positions));
        }
    }

    fn finish(mut self) -> Result<ReadOutcome, ReadError> {
        if let Some(in_flight) = self.in_flight.take() {
            self.delivery.scratch.table = Some(in_flight.into_table());
        }
        let delivered = self.delivery.delivered;
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Running => Ok(ReadOutcome { delivered, stopped: false, stats: self.stats }),
            State::Stopped => Ok(ReadOutcome { delivered, stopped: true, stats: self.stats }),
            State::Failed(error) => Err(error),
        }
    }
}

impl<S, F, N, K> Drop for Batch<'_, S, F, N, K>
where
    S: PageSource,
    F: Future + 'static,
{
    fn drop(&mut self) {
        if let Some(in_flight) = self.in_flight.take().filter(|in_flight| !in_flight.is_empty()) {
            self.source.spawn(Box::pin(in_flight.drain()));
        }
    }
}

impl Operation {
    fn new(read: &PlannedRead, started: Started) -> Self {
        Self {
            offset: read.offset,
            len: read.len,
            first: read.first,
            count: read.count,
            consumed: read.offset,
            retries: 0,
            started,
        }
    }
}

/// Delivers the bytes of one physical read. Returns the read that must follow, if any.
fn complete<S, F, K>(
    operation: Operation,
    (result, permit): (io::Result<S::Page>, Permit),
    source: &S,
    delivery: &mut Delivery<'_, K>,
    state: &mut State,
    stats: &mut ReadStats,
    start: &mut impl FnMut(u64, u32, Permit) -> F,
) -> Option<(F, Operation)>
where
    S: PageSource,
    K: FnMut(usize, &[u8]) -> ControlFlow<()>,
{
    let Operation { offset, len, first, count, consumed, retries, started } = operation;
    let page = match result {
        Ok(page) => {
            let bytes = page.len().min(len as usize);
            started.completed(bytes as u64);
            stats.reads += 1;
            stats.bytes_read += bytes as u64;
            Ok(page)
        }
        Err(error) => {
            started.failed();
            Err(error)
        }
    };
    if !matches!(state, State::Running) {
        return None;
    }

    let end = (offset + u64::from(len)).min(delivery.file_len);
    let mut available = consumed;
    match page {
        Ok(page) => {
            let bytes = page.len().min(len as usize);
            available = available.max((offset + bytes as u64).min(end));
            let fresh = consumed..available;
            if !fresh.is_empty() && delivery.take(&page, offset, fresh, first..first + count).is_break() {
                *state = State::Stopped;
                return None;
            }
            if available >= end {
                return None;
            }
            if bytes == 0 {
                *state = State::Failed(delivery.truncated(source, available, first..first + count));
                return None;
            }
        }
        Err(error) => {
            let transient = matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock);
            if !transient || retries == RETRIES_MAX {
                *state = State::Failed(delivery.failed(source, error, consumed, first..first + count));
                return None;
            }
        }
    }

    let retries = if available > consumed { 0 } else { retries + 1 };
    if retries > RETRIES_MAX {
        let error = io::Error::other("the device keeps returning reads too short to make progress");
        *state = State::Failed(delivery.failed(source, error, available, first..first + count));
        return None;
    }
    if delivery.control.is_stopped() {
        *state = State::Stopped;
        return None;
    }
    let planned_end = offset + u64::from(len);
    let offset = source.info().geometry.align_down(available);
    let len = (planned_end - offset) as u32;
    let started = Started::new(delivery.control.meter.as_ref());
    let again = Operation { offset, len, first, count, consumed: available, retries, started };
    Some((start(offset, len, permit), again))
}

/// Hands bytes to the sink, and keeps the parts of requests that come in more than one completion.
struct Delivery<'a, K> {
    plan: &'a ReadPlan,
    control: &'a ReadControl,
    sink: K,
    scratch: &'a mut DriveScratch,
    file_len: u64,
    delivered: usize,
}

impl<K> Delivery<'_, K>
where
    K: FnMut(usize, &[u8]) -> ControlFlow<()>,
{
    fn deliver(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<()> {
        if self.control.is_stopped() {
            return ControlFlow::Break(());
        }
        // Counted first: a sink that breaks has received this request.
        self.delivered += 1;
        if let Some(meter) = &self.control.meter {
            meter.update(|counters| counters.delivered += 1);
        }
        (self.sink)(index, bytes)
    }

    /// Delivers bytes of a page. `page` holds the file's bytes from `page_offset` on. Those in `fresh` are
    /// new.
    fn take(
        &mut self,
        page: &[u8],
        page_offset: u64,
        fresh: std::ops::Range<u64>,
        positions: std::ops::Range<u32>,
    ) -> ControlFlow<()> {
        let in_page = |from: u64, to: u64| &page[(from - page_offset) as usize..(to - page_offset) as usize];
        for position in positions {
            let (start, end) = self.plan.span(position);
            if end <= fresh.start {
                continue;
            }
            if start >= fresh.end {
                break;
            }
            if start >= fresh.start && end <= fresh.end {
                self.deliver(self.plan.request_index(position), in_page(start, end))?;
                continue;
            }
            let (from, to) = (start.max(fresh.start), end.min(fresh.end));
            self.assemble(position, (from - start) as usize, in_page(from, to))?;
        }
        ControlFlow::Continue(())
    }

    fn assemble(&mut self, position: u32, at: usize, bytes: &[u8]) -> ControlFlow<()> {
        let (start, end) = self.plan.span(position);
        let len = (end - start) as usize;
        let assemblies = &mut self.scratch.assemblies;
        let found = assemblies.iter().position(|assembly| assembly.position == position);
        let at_assembly = found.unwrap_or_else(|| {
            let spare = self.scratch.spare.iter().position(|block| block.len() >= len);
            let buffer = spare.map_or_else(|| new_block(len), |spare| self.scratch.spare.swap_remove(spare));
            assemblies.push(Assembly { position, missing: len as u32, buffer });
            assemblies.len() - 1
        });
        let assembly = &mut assemblies[at_assembly];
        assembly.buffer[at..at + bytes.len()].copy_from_slice(bytes);
        assembly.missing -= bytes.len() as u32;
        if assembly.missing > 0 {
            return ControlFlow::Continue(());
        }
        let assembly = assemblies.swap_remove(at_assembly);
        let flow = self.deliver(self.plan.request_index(position), &assembly.buffer[..len]);
        self.scratch.spare.push(assembly.buffer);
        flow
    }

    /// The first request of `positions` that misses bytes from `available` on.
    fn unserved(&self, available: u64, mut positions: std::ops::Range<u32>) -> (usize, u64, u32) {
        let first = positions.start;
        let position = positions.find(|&position| self.plan.span(position).1 > available).unwrap_or(first);
        let (start, end) = self.plan.span(position);
        (self.plan.request_index(position), start, (end - start) as u32)
    }

    fn failed<S: PageSource>(
        &self,
        source: &S,
        error: io::Error,
        available: u64,
        positions: std::ops::Range<u32>,
    ) -> ReadError {
        let (index, offset, len) = self.unserved(available, positions);
        let file = source.file().path.clone();
        ReadError::Io { file, index, offset, len, delivered: self.delivered, source: error }
    }

    fn truncated<S: PageSource>(&self, source: &S, end: u64, positions: std::ops::Range<u32>) -> ReadError {
        let (index, offset, len) = self.unserved(end, positions);
        let file = source.file().path.clone();
        ReadError::Truncated { file, index, offset, len, end, delivered: self.delivered }
    }
}
