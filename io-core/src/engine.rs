//! Keeps physical reads in flight for a client. Only this file keeps the promises about the depth, short
//! reads, retries, and reads that are dropped.
//!
//! ```text
//!             wanted reads                      starts
//!   Client  ----------------->  Engine  --------------------->  PageSource
//!           <-----------------  (depth, retries, draining)  <-
//!             pages, failures
//! ```
//!
//! A batch (`batch.rs`) and a session (`paged_session/`) are its clients. They decide what is read, and who
//! gets the bytes.

use crate::alarm::{Alarm, alarm};
use crate::control::StopWaiter;
use crate::gate::{Gate, Permit, Waiter};
use crate::in_flight::{InFlight, SlotTable};
use crate::meter::Started;
use crate::read_span::{read_failed, short_read};
use crate::source::PageSource;
use crate::{Lane, Meter, ReadControl, ReadStats};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A read may be re-issued this often without progress. EINTR, EAGAIN and less than an alignment unit are
/// no progress.
const RETRIES_MAX: u32 = 1000;

/// A physical read that a client wants.
pub(crate) struct Wanted<K> {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    /// The client's name for the read.
    pub(crate) key: K,
}

/// The reason why a read could not bring all of its bytes.
pub(crate) enum Failure {
    Io(io::Error),
    /// The file ends before them.
    Truncated,
}

/// Decides what is read, and what happens to the bytes.
pub(crate) trait Client<P> {
    /// Names one physical read.
    type Key;

    /// The length and the lane of the next physical read, or `None` if none waits.
    fn next_read(&mut self) -> Option<(u32, Lane)>;

    /// The read of [`Client::next_read`], which is about to start.
    fn take_next(&mut self) -> Wanted<Self::Key>;

    /// Whether the bytes of a read are still wanted.
    fn wants(&mut self, key: &Self::Key) -> bool;

    /// Takes a page, which holds the file's bytes from `page_offset` on. Those in `fresh` are new.
    fn arrived(&mut self, key: &Self::Key, page: P, page_offset: u64, fresh: Range<u64>);

    /// A read is over. Its bytes before `available` have arrived. Without a failure those are all, or they
    /// are not wanted any more.
    fn ended(&mut self, key: Self::Key, available: u64, failure: Option<Failure>);

    /// Nothing can be started any more, for this reason. Gives up what waits.
    fn lost(&mut self, error: io::Error);
}

/// One physical read in flight.
pub(crate) struct Operation<K> {
    offset: u64,
    len: u32,
    /// Earlier, short completions of the same read brought everything before this offset of the file.
    consumed: u64,
    retries: u32,
    started: Started,
    key: K,
}

pub(crate) type Table<K> = SlotTable<Operation<K>>;

/// The reads of one client in flight. Dropping it hands them to [`PageSource::spawn`].
pub(crate) struct Engine<'a, S, F, N, K>
where
    S: PageSource,
    F: Future + 'static,
    K: 'static,
{
    /// `None` only once the engine has ended.
    in_flight: Option<InFlight<F, Operation<K>>>,
    waiter: Waiter,
    /// Starts one physical read.
    start: N,
    source: &'a S,
    meter: Option<Meter>,
    /// Wakes the client's task when the stop flag is raised, since it may wait for a permit.
    _stop: Option<StopWaiter>,
    /// Wakes it at the deadline, for the same reason.
    deadline: Option<Alarm>,
    stats: ReadStats,
}

impl<S, F, N, K> Engine<'_, S, F, N, K>
where
    S: PageSource,
    F: Future + 'static,
    K: 'static,
{
    /// Whether another read may be in flight.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.as_ref().is_some_and(InFlight::has_room)
    }

    /// Reads completed, and the bytes that they returned.
    pub(crate) fn stats(&self) -> &ReadStats {
        &self.stats
    }
}

impl<'a, S, F, N, K> Engine<'a, S, F, N, K>
where
    S: PageSource,
    F: Future<Output = (io::Result<S::Page>, Permit)> + 'static,
    N: FnMut(u64, u32, Permit) -> F,
    K: 'static,
{
    /// An engine with nothing in flight. Keeps at most `slots` reads in flight, and as many as `gate`
    /// permits. The table must have that many slots.
    pub(crate) fn new(
        source: &'a S,
        start: N,
        gate: &Gate,
        (table, slots): (Table<K>, u32),
        control: &ReadControl,
    ) -> Self {
        let in_flight = InFlight::new(table, slots);
        Self {
            _stop: control.stop.as_ref().and_then(|stop| stop.wake(in_flight.waker())),
            deadline: control.deadline.map(alarm),
            in_flight: Some(in_flight),
            waiter: gate.waiter(),
            start,
            source,
            meter: control.meter.clone(),
            stats: ReadStats::default(),
        }
    }

    /// Starts what the client wants, and gives it what has arrived. Ready when nothing is in flight and
    /// nothing waits.
    pub(crate) fn poll<C>(&mut self, client: &mut C, cx: &mut Context<'_>) -> Poll<()>
    where
        C: Client<S::Page, Key = K>,
    {
        let Some(in_flight) = &self.in_flight else { return Poll::Ready(()) };
        in_flight.register(cx);
        if let Some(error) = self.source.lost() {
            in_flight.mark_all_ready();
            client.lost(error);
        }
        if let Some(deadline) = &mut self.deadline
            && let waker = in_flight.waker()
            && let Poll::Ready(ended) = Pin::new(deadline).poll(&mut Context::from_waker(&waker))
        {
            self.deadline = None;
            if let Err(error) = ended {
                client.lost(error);
            }
        }
        loop {
            self.submit(client, cx);
            let Self { in_flight: Some(in_flight), start, source, meter, stats, .. } = self else {
                return Poll::Ready(());
            };
            let polled = in_flight.poll_ready(|operation, (result, permit)| {
                let operation = complete(operation, result, *source, client, stats, meter.as_ref())?;
                Some((start(operation.offset, operation.len, permit), operation))
            });
            if in_flight.is_empty() && client.next_read().is_none() {
                return Poll::Ready(());
            }
            if !polled {
                return Poll::Pending;
            }
        }
    }

    fn submit<C: Client<S::Page, Key = K>>(&mut self, client: &mut C, cx: &mut Context<'_>) {
        let Some(in_flight) = &mut self.in_flight else { return };
        while in_flight.has_room() {
            let Some((len, lane)) = client.next_read() else {
                self.waiter.leave();
                return;
            };
            let Poll::Ready(permit) = self.waiter.poll_acquire(u64::from(len), lane, cx) else { return };
            let Wanted { offset, len, key } = client.take_next();
            let started = Started::new(self.meter.as_ref());
            let operation = Operation { offset, len, consumed: offset, retries: 0, started, key };
            in_flight.insert((self.start)(offset, len, permit), operation);
        }
    }

    /// Gives up the place in the queue for permits if nothing waits to be started. A client that ends a read
    /// without polling calls this. The batches behind would wait for a client that never polls again.
    pub(crate) fn leave_unless_waiting<C: Client<S::Page, Key = K>>(&mut self, client: &mut C) {
        if self.waiter.is_queued() && client.next_read().is_none() {
            self.waiter.leave();
        }
    }
}

impl<S, F, N, K> Engine<'_, S, F, N, K>
where
    S: PageSource,
    F: Future + 'static,
    K: 'static,
{
    /// Ends the engine if nothing is in flight. Returns the table for the next one.
    pub(crate) fn take_table(&mut self) -> Option<Table<K>> {
        self.in_flight.take_if(|in_flight| in_flight.is_empty()).map(InFlight::into_table)
    }
}

impl<S, F, N, K> Drop for Engine<'_, S, F, N, K>
where
    S: PageSource,
    F: Future + 'static,
    K: 'static,
{
    fn drop(&mut self) {
        if let Some(in_flight) = self.in_flight.take().filter(|in_flight| !in_flight.is_empty()) {
            self.source.spawn(Box::pin(in_flight.drain()));
        }
    }
}

/// Gives the client the bytes of one completion. Returns the read that must follow, if any.
fn complete<S, C>(
    operation: Operation<C::Key>,
    result: io::Result<S::Page>,
    source: &S,
    client: &mut C,
    stats: &mut ReadStats,
    meter: Option<&Meter>,
) -> Option<Operation<C::Key>>
where
    S: PageSource,
    C: Client<S::Page>,
{
    let Operation { offset, len, consumed, mut retries, started, key } = operation;
    let end = (offset + u64::from(len)).min(source.file().len);
    let mut available = consumed;
    let failure = match result {
        Ok(page) => {
            let bytes = page.len().min(len as usize);
            started.completed(bytes as u64);
            stats.reads += 1;
            stats.bytes_read += bytes as u64;
            if offset + (bytes as u64) < end {
                short_read(offset, len, bytes);
            }
            if client.wants(&key) {
                available = available.max((offset + bytes as u64).min(end));
                if available > consumed {
                    client.arrived(&key, page, offset, consumed..available);
                }
            }
            if available >= end {
                client.ended(key, available, None);
                return None;
            }
            retries = if available > consumed { 0 } else { retries + 1 };
            if bytes == 0 {
                Some(Failure::Truncated)
            } else if retries > RETRIES_MAX {
                let stuck = "the device keeps returning reads too short to make progress";
                Some(Failure::Io(io::Error::other(stuck)))
            } else {
                None
            }
        }
        Err(error) => {
            started.failed();
            let transient = matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock);
            retries += 1;
            let repeated = transient && retries <= RETRIES_MAX && client.wants(&key);
            read_failed(offset, len, &error, repeated);
            (!repeated).then_some(Failure::Io(error))
        }
    };
    // A read that nobody wants ends here. It does not fail, and nothing follows it.
    let wanted = client.wants(&key);
    if !wanted || failure.is_some() {
        client.ended(key, available, failure.filter(|_| wanted));
        return None;
    }
    let next = source.info().geometry.align_down(available);
    let len = (offset + u64::from(len) - next) as u32;
    Some(Operation { offset: next, len, consumed: available, retries, started: Started::new(meter), key })
}
