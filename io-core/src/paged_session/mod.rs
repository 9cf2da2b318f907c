//! The session over any page source: requests that wait are planned together, and late ones join a read that
//! covers them.
//!
//! ```text
//!  submit --> waiting --plan--> queue --engine--> in flight --> pages --> completions --> next
//!       \                         ^                   ^
//!        '--- covered by a read --'-------------------'
//! ```
//!
//! `requests.rs` has what callers asked for, `reads.rs` has what is read, and this file connects them.

mod reads;
mod requests;

use crate::engine::{Client, Engine, Failure, Table, Wanted};
use crate::gate::{Gate, Permit};
use crate::in_flight::SlotTable;
use crate::kept::KeptBytes;
use crate::plan::check_request;
use crate::read_span::SessionSpan;
use crate::session::{Completion, FileSession, ReadTerms};
use crate::source::PageSource;
use crate::{Lane, ReadControl, ReadError, ReadRequest, ReadStats};
use bytes::Bytes;
use reads::{ReadKey, Reads, Shared};
use requests::{RequestKey, Requests};
use smallvec::SmallVec;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// Starts a session over `source`.
pub(crate) fn session<'a, S: PageSource>(
    source: &'a S,
    gate: &Gate,
    kept: &'a KeptBytes,
    (closed, tables): (&'a AtomicBool, &'a Tables),
    control: ReadControl,
) -> impl FileSession + 'a {
    let slots = gate.limits().queue_depth;
    let table = tables.lock().pop().unwrap_or_else(|| SlotTable::new(slots));
    let start = |offset, len, permit| source.read(offset, len, permit);
    // Each request has a deadline of its own, so the engine needs none.
    let of_engine = ReadControl { deadline: None, ..control.clone() };
    PagedSession {
        engine: Engine::new(source, start, gate, (table, slots), &of_engine),
        state: State {
            source,
            kept,
            control,
            requests: Requests::new(source.file().path.clone()),
            reads: Reads::default(),
            stats: ReadStats::default(),
        },
        closed,
        tables,
        span: SessionSpan::new(source.file(), source.info()),
    }
}

/// Memory of sessions that ended, for later ones. A table has an allocation for each read in flight.
#[derive(Default)]
pub(crate) struct Tables(Mutex<Vec<Table<ReadKey>>>);

impl Tables {
    fn lock(&self) -> MutexGuard<'_, Vec<Table<ReadKey>>> {
        // Nothing panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

struct PagedSession<'a, S, F, N>
where
    S: PageSource,
    F: Future + 'static,
{
    engine: Engine<'a, S, F, N, ReadKey>,
    state: State<'a, S>,
    closed: &'a AtomicBool,
    tables: &'a Tables,
    span: SessionSpan,
}

impl<S, F, N> Drop for PagedSession<'_, S, F, N>
where
    S: PageSource,
    F: Future + 'static,
{
    fn drop(&mut self) {
        self.span.ended(self.state.requests.delivered(), &self.cost());
        self.tables.lock().extend(self.engine.take_table());
    }
}

impl<S, F, N> PagedSession<'_, S, F, N>
where
    S: PageSource,
    F: Future + 'static,
{
    fn cost(&self) -> ReadStats {
        let engine = self.engine.stats();
        ReadStats { reads: engine.reads, bytes_read: engine.bytes_read, ..self.state.stats }
    }
}

impl<S, F, N> FileSession for PagedSession<'_, S, F, N>
where
    S: PageSource,
    F: Future<Output = (io::Result<S::Page>, Permit)> + 'static,
    N: FnMut(u64, u32, Permit) -> F,
{
    fn submit_with(&mut self, tag: u64, request: ReadRequest, terms: ReadTerms) {
        if self.closed.load(Ordering::SeqCst) {
            let file = self.state.source.file().path.clone();
            self.state.requests.refuse(tag, ReadError::Closed { file });
        } else {
            self.state.submit(tag, request, terms);
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Completion>> {
        if self.state.control.is_stopped() {
            self.cancel_all();
        }
        self.state.requests.expire(cx);
        // Reads that can start do so before completions are handed out, to keep the disk busy.
        let may_start = |session: &mut Self| session.engine.has_room() && session.state.next_read().is_some();
        let polled = if !self.state.requests.has_completed() || may_start(self) {
            self.span.within(|| self.engine.poll(&mut self.state, cx))
        } else {
            self.engine.leave_unless_waiting(&mut self.state);
            Poll::Pending
        };
        match self.state.requests.next_completion() {
            Some(completion) => {
                if completion.bytes.is_ok() {
                    self.state.count_delivered();
                }
                Poll::Ready(Some(completion))
            }
            None => polled.map(|()| None),
        }
    }

    fn cancel(&mut self, tag: u64) {
        self.state.requests.cancel(|request_tag| request_tag == tag);
        self.engine.leave_unless_waiting(&mut self.state);
    }

    fn cancel_all(&mut self) {
        self.state.requests.cancel(|_| true);
        self.engine.leave_unless_waiting(&mut self.state);
    }

    fn pending(&self) -> usize {
        self.state.requests.pending()
    }

    fn stats(&self) -> ReadStats {
        self.cost()
    }
}

/// The requests of a session, and the reads that serve them.
struct State<'a, S> {
    source: &'a S,
    kept: &'a KeptBytes,
    control: ReadControl,
    requests: Requests,
    reads: Reads,
    stats: ReadStats,
}

impl<S: PageSource> State<'_, S> {
    fn submit(&mut self, tag: u64, request: ReadRequest, terms: ReadTerms) {
        let file = self.source.file();
        if let Err(source) = check_request(tag as usize, &request, file.len) {
            self.requests.refuse(tag, ReadError::Plan { file: file.path.clone(), source });
            return;
        }
        if request.len == 0 {
            self.requests.complete_empty(tag);
            return;
        }
        self.count_wanted(request.len);
        let of_session = self.control.deadline;
        let deadline =
            terms.deadline.map_or(of_session, |own| Some(of_session.map_or(own, |of| of.min(own))));
        let terms = ReadTerms { deadline, ..terms };
        let key = self.requests.add(tag, request, terms);
        if let Some(shared) = self.reads.add(key, terms.lane, &self.requests, &file.writes) {
            self.count_shared(&shared);
        }
    }

    fn count_wanted(&mut self, len: u32) {
        self.stats.bytes_wanted += u64::from(len);
        if let Some(meter) = &self.control.meter {
            meter.wanted(u64::from(len));
        }
    }

    fn count_shared(&mut self, &Shared { merged, duplicates }: &Shared) {
        self.stats.merged += merged;
        self.stats.duplicates += duplicates;
        if let Some(meter) = &self.control.meter {
            meter.shared(merged, duplicates);
        }
    }

    fn count_delivered(&self) {
        if let Some(meter) = &self.control.meter {
            meter.delivered();
        }
    }

    /// Fails the open requests of a read.
    fn fail(&mut self, key: ReadKey, failure: &Failure, available: u64) {
        for &request in self.reads.serves(key) {
            if !self.requests.is_over(request) {
                self.requests.fail(request, failure, available);
            }
        }
    }
}

impl<S: PageSource> Client<S::Page> for State<'_, S> {
    type Key = ReadKey;

    fn next_read(&mut self) -> Option<(u32, Lane)> {
        let (file, info) = (self.source.file(), self.source.info());
        let mut shared = Shared::default();
        let next = self.reads.next(file, &info.geometry, &mut self.requests, &mut shared);
        if shared.merged + shared.duplicates > 0 {
            self.count_shared(&shared);
        }
        next
    }

    fn take_next(&mut self) -> Wanted<ReadKey> {
        let (key, offset, len) = self.reads.start(&self.source.file().writes);
        Wanted { offset, len, key }
    }

    fn wants(&mut self, &key: &ReadKey) -> bool {
        self.reads.is_wanted(key, &self.requests)
    }

    fn arrived(&mut self, &key: &ReadKey, page: S::Page, page_offset: u64, fresh: Range<u64>) {
        self.reads.begun(key);
        let within = |from: u64, to: u64| (from - page_offset) as usize..(to - page_offset) as usize;
        let mut whole = SmallVec::<[(RequestKey, Range<usize>); 4]>::new();
        for &key in self.reads.serves(key) {
            let request = self.requests.request(key);
            let (start, end) = (request.offset, request.offset + u64::from(request.len));
            if self.requests.is_over(key) || end <= fresh.start || start >= fresh.end {
                continue;
            }
            if start >= fresh.start && end <= fresh.end {
                whole.push((key, within(start, end)));
                continue;
            }
            let (from, to) = (start.max(fresh.start), end.min(fresh.end));
            self.requests.assemble(key, (from - start) as usize, &page[within(from, to)]);
        }
        if whole.is_empty() {
            return;
        }
        // Beyond a limit, the requests are copied out. So bytes that are kept never hold back a page.
        let page = match self.kept.keep(page.len() as u64) {
            Some(kept) => S::share(page, kept),
            None => Err(page),
        };
        for (key, range) in whole {
            let bytes = match &page {
                Ok(shared) => shared.slice(range),
                Err(page) => Bytes::copy_from_slice(&page[range]),
            };
            self.requests.complete(key, bytes);
        }
    }

    fn ended(&mut self, key: ReadKey, available: u64, failure: Option<Failure>) {
        if let Some(failure) = failure {
            self.fail(key, &failure, available);
        }
        self.reads.forget(key, &mut self.requests);
    }

    fn lost(&mut self, error: io::Error) {
        let failure = Failure::Io(error);
        while self.next_read().is_some() {
            let Wanted { key, offset, .. } = self.take_next();
            self.fail(key, &failure, offset);
            self.reads.forget(key, &mut self.requests);
        }
    }
}
