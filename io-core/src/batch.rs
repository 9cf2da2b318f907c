//! One batch of [`read_vectors`](crate::VectorReader::read_vectors): a plan that is known from the start, and
//! a sink that gets the bytes.

use crate::buffer::{Block, new_block};
use crate::engine::{Client, Engine, Failure, Table, Wanted};
use crate::gate::Gate;
use crate::in_flight::SlotTable;
use crate::plan::ReadPlan;
use crate::source::PageSource;
use crate::{BatchEnd, Lane, ReadControl, ReadError, ReadOutcome, ReadStats};
use std::future::poll_fn;
use std::io;
use std::ops::{ControlFlow, Deref, Range};

/// The requests that a read serves, as positions in the plan.
type Positions = Range<u32>;

/// Memory that a batch leaves to the next one, so that a read allocates nothing.
#[derive(Default)]
pub(crate) struct BatchScratch {
    table: Option<Table<Positions>>,
    assemblies: Vec<Assembly>,
    spare: Vec<Block>,
}

impl std::fmt::Debug for BatchScratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchScratch").finish_non_exhaustive()
    }
}

/// A request whose bytes come in more than one completion.
struct Assembly {
    position: u32,
    missing: u32,
    buffer: Block,
}

/// Reads what `plan` says from `source` and hands every request to `sink`.
///
/// After the first error, the stop flag, the deadline or `ControlFlow::Break`, it submits and delivers
/// nothing more. It then waits for the reads in flight.
///
/// # Errors
/// [`ReadError::Io`] and [`ReadError::Truncated`].
///
/// # Panics
/// If a physical read of the plan is larger than the gate's whole byte budget, or the sink panics.
pub(crate) async fn read_batch<S, K>(
    plan: &ReadPlan,
    source: &S,
    gate: &Gate,
    control: &ReadControl,
    scratch: &mut BatchScratch,
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
    let mut engine = Engine::new(source, start, gate, (table, slots), control);
    let mut batch =
        Batch { plan, source, control, sink, scratch, next_read: 0, delivered: 0, state: State::Running };
    batch.deliver_empty();
    poll_fn(|cx| engine.poll(&mut batch, cx)).await;

    let stats = ReadStats {
        bytes_wanted: plan.bytes_wanted(),
        merged: plan.merged(),
        duplicates: plan.duplicates(),
        ..*engine.stats()
    };
    batch.scratch.table = engine.take_table();
    let delivered = batch.delivered;
    match batch.state {
        State::Running => Ok(ReadOutcome { delivered, end: BatchEnd::Complete, stats }),
        State::Ended(end) => Ok(ReadOutcome { delivered, end, stats }),
        State::Failed(error) => Err(error),
    }
}

enum State {
    Running,
    /// Early, by the control or the sink.
    Ended(BatchEnd),
    Failed(ReadError),
}

struct Batch<'a, S, K> {
    plan: &'a ReadPlan,
    source: &'a S,
    control: &'a ReadControl,
    sink: K,
    scratch: &'a mut BatchScratch,
    /// First read of the plan that has not been submitted.
    next_read: usize,
    delivered: usize,
    state: State,
}

impl<S, P, K> Client<P> for Batch<'_, S, K>
where
    S: PageSource,
    P: Deref<Target = [u8]>,
    K: FnMut(usize, &[u8]) -> ControlFlow<()>,
{
    type Key = Positions;

    fn next_read(&mut self) -> Option<(u32, Lane)> {
        let read = self.plan.reads().get(self.next_read)?;
        self.goes_on().then_some((read.len, Lane::Foreground))
    }

    fn take_next(&mut self) -> Wanted<Positions> {
        let read = &self.plan.reads()[self.next_read];
        self.next_read += 1;
        Wanted { offset: read.offset, len: read.len, key: read.first..read.first + read.count }
    }

    fn wants(&mut self, _positions: &Positions) -> bool {
        self.goes_on()
    }

    fn arrived(&mut self, positions: &Positions, page: P, page_offset: u64, fresh: Range<u64>) {
        if let ControlFlow::Break(end) = self.take(&page, page_offset, fresh, positions.clone()) {
            self.state = State::Ended(end);
        }
    }

    fn ended(&mut self, positions: Positions, available: u64, failure: Option<Failure>) {
        if let Some(failure) = failure {
            self.state = State::Failed(self.error(failure, available, positions));
        }
    }

    fn lost(&mut self, error: io::Error) {
        let Some(read) = self.plan.reads().get(self.next_read) else { return };
        if matches!(self.state, State::Running) {
            let positions = read.first..read.first + read.count;
            self.state = State::Failed(self.error(Failure::Io(error), read.offset, positions));
        }
    }
}

impl<S, K> Batch<'_, S, K>
where
    S: PageSource,
    K: FnMut(usize, &[u8]) -> ControlFlow<()>,
{
    /// Whether the batch goes on. Looks at the stop flag and the deadline.
    fn goes_on(&mut self) -> bool {
        if matches!(self.state, State::Running) {
            let end = self.control.end();
            if end == BatchEnd::Complete {
                return true;
            }
            self.state = State::Ended(end);
        }
        false
    }

    fn deliver_empty(&mut self) {
        let plan = self.plan;
        for &index in plan.empty_requests() {
            if let ControlFlow::Break(end) = self.deliver(index as usize, &[]) {
                self.state = State::Ended(end);
                return;
            }
        }
    }

    fn deliver(&mut self, index: usize, bytes: &[u8]) -> ControlFlow<BatchEnd> {
        let end = self.control.end();
        if end != BatchEnd::Complete {
            return ControlFlow::Break(end);
        }
        // Counted first: a sink that breaks has received this request.
        self.delivered += 1;
        if let Some(meter) = &self.control.meter {
            meter.delivered();
        }
        match (self.sink)(index, bytes) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => ControlFlow::Break(BatchEnd::Stopped),
        }
    }

    /// Delivers bytes of a page. `page` holds the file's bytes from `page_offset` on. Those in `fresh` are
    /// new.
    fn take(
        &mut self,
        page: &[u8],
        page_offset: u64,
        fresh: Range<u64>,
        positions: Positions,
    ) -> ControlFlow<BatchEnd> {
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

    fn assemble(&mut self, position: u32, at: usize, bytes: &[u8]) -> ControlFlow<BatchEnd> {
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

    /// The error of the first request at `positions` that misses bytes from `available` on.
    fn error(&self, failure: Failure, available: u64, mut positions: Positions) -> ReadError {
        let first = positions.start;
        let position = positions.find(|&position| self.plan.span(position).1 > available).unwrap_or(first);
        let (offset, end) = self.plan.span(position);
        let (index, len) = (self.plan.request_index(position), (end - offset) as u32);
        let file = self.source.file().path.clone();
        let delivered = self.delivered;
        match failure {
            Failure::Io(source) => ReadError::Io { file, index, offset, len, delivered, source },
            Failure::Truncated => {
                ReadError::Truncated { file, index, offset, len, end: available, delivered }
            }
        }
    }
}
