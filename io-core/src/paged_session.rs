//! The session over any page source: requests that wait are planned together, and late ones join a read that
//! covers them.
//!
//! ```text
//!  submit --> waiting --plan--> queue --engine--> in flight --> pages --> completions --> next
//!       \                         ^                   ^
//!        '--- covered by a read --'-------------------'
//! ```

use crate::engine::{Client, Engine, Failure, Wanted};
use crate::gate::{Gate, Permit};
use crate::in_flight::SlotTable;
use crate::kept::KeptBytes;
use crate::plan::{ReadPlan, check_request};
use crate::session::{Completion, FileSession};
use crate::source::PageSource;
use crate::{ReadControl, ReadError, ReadRequest, ReadStats};
use bytes::Bytes;
use slab::Slab;
use smallvec::SmallVec;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Starts a session over `source`.
pub(crate) fn session<'a, S: PageSource>(
    source: &'a S,
    gate: &Gate,
    kept: &'a KeptBytes,
    closed: &'a AtomicBool,
    control: ReadControl,
) -> impl FileSession + 'a {
    let slots = gate.limits().queue_depth;
    let start = |offset, len, permit| source.read(offset, len, permit);
    PagedSession {
        engine: Engine::new(source, start, gate, (SlotTable::new(slots), slots), &control),
        requests: Requests::new(source, kept, control),
        closed,
    }
}

struct PagedSession<'a, S, F, N>
where
    S: PageSource,
    F: Future + 'static,
{
    engine: Engine<'a, S, F, N, ReadKey>,
    requests: Requests<'a, S>,
    closed: &'a AtomicBool,
}

impl<S, F, N> FileSession for PagedSession<'_, S, F, N>
where
    S: PageSource,
    F: Future<Output = (io::Result<S::Page>, Permit)> + 'static,
    N: FnMut(u64, u32, Permit) -> F,
{
    fn submit(&mut self, tag: u64, request: ReadRequest) {
        if self.closed.load(Ordering::SeqCst) {
            let file = self.requests.source.file().path.clone();
            self.requests.completed.push_back(Completion { tag, bytes: Err(ReadError::Closed { file }) });
        } else {
            self.requests.submit(tag, request);
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Completion>> {
        if self.requests.control.is_stopped() {
            self.cancel_all();
        }
        // Reads that can start do so before completions are handed out, to keep the disk busy.
        let polled = if self.requests.completed.is_empty() || self.requests.next_len().is_some() {
            self.engine.poll(&mut self.requests, cx)
        } else {
            Poll::Pending
        };
        match self.requests.completed.pop_front() {
            Some(completion) => Poll::Ready(Some(completion)),
            None => polled.map(|()| None),
        }
    }

    fn cancel(&mut self, tag: u64) {
        self.requests.cancel(|request_tag| request_tag == tag);
    }

    fn cancel_all(&mut self) {
        self.requests.cancel(|_| true);
    }

    fn pending(&self) -> usize {
        self.requests.open + self.requests.completed.len()
    }

    fn stats(&self) -> ReadStats {
        let engine = self.engine.stats();
        ReadStats { reads: engine.reads, bytes_read: engine.bytes_read, ..self.requests.stats }
    }
}

/// A request's place in [`Requests::requests`].
type RequestKey = u32;
/// A read's place in [`Requests::reads`].
type ReadKey = u32;

struct Request {
    request: ReadRequest,
    tag: u64,
    /// Planned reads that it takes bytes from and that have not ended.
    reads_left: u32,
    /// Bytes that have not been copied to `buffer`.
    missing: u32,
    /// Bytes that came in more than one completion.
    buffer: Vec<u8>,
    /// It has completed or was cancelled.
    over: bool,
}

/// A physical read that was planned and has not ended.
struct Read {
    offset: u64,
    len: u32,
    serves: SmallVec<[RequestKey; 4]>,
    /// A short completion brought some of its bytes. A late request would miss them.
    begun: bool,
}

/// The requests of a session, and the reads that serve them.
struct Requests<'a, S> {
    source: &'a S,
    kept: &'a KeptBytes,
    control: ReadControl,
    requests: Slab<Request>,
    /// Requests that are not planned.
    waiting: Vec<RequestKey>,
    reads: Slab<Read>,
    /// All reads by offset.
    by_offset: BTreeSet<(u64, ReadKey)>,
    /// Reads that are not submitted.
    queue: VecDeque<ReadKey>,
    completed: VecDeque<Completion>,
    plan: ReadPlan,
    to_plan: Vec<ReadRequest>,
    /// Requests that are not over.
    open: usize,
    delivered: usize,
    stats: ReadStats,
}

impl<'a, S: PageSource> Requests<'a, S> {
    fn new(source: &'a S, kept: &'a KeptBytes, control: ReadControl) -> Self {
        Self {
            source,
            kept,
            control,
            requests: Slab::new(),
            waiting: Vec::new(),
            reads: Slab::new(),
            by_offset: BTreeSet::new(),
            queue: VecDeque::new(),
            completed: VecDeque::new(),
            plan: ReadPlan::default(),
            to_plan: Vec::new(),
            open: 0,
            delivered: 0,
            stats: ReadStats::default(),
        }
    }

    fn submit(&mut self, tag: u64, request: ReadRequest) {
        let file = self.source.file();
        if let Err(source) = check_request(tag as usize, &request, file.len) {
            let error = ReadError::Plan { file: file.path.clone(), source };
            self.completed.push_back(Completion { tag, bytes: Err(error) });
            return;
        }
        if request.len == 0 {
            self.deliver(tag, Bytes::new());
            return;
        }
        self.count_wanted(request.len);
        self.open += 1;
        let entry =
            Request { request, tag, reads_left: 0, missing: request.len, buffer: Vec::new(), over: false };
        let key = self.requests.insert(entry) as RequestKey;
        if !self.join(key) {
            self.waiting.push(key);
        }
    }

    fn count_wanted(&mut self, len: u32) {
        self.stats.bytes_wanted += u64::from(len);
        if let Some(meter) = &self.control.meter {
            meter.update(|counters| counters.bytes_wanted += u64::from(len));
        }
    }

    /// Adds a request to a planned read that covers it, if there is one.
    fn join(&mut self, key: RequestKey) -> bool {
        let request = self.requests[key as usize].request;
        let end = request.offset + u64::from(request.len);
        let before = self.by_offset.range(..=(request.offset, ReadKey::MAX)).next_back();
        let Some(&(_, at)) = before else { return false };
        let read = &mut self.reads[at as usize];
        if read.begun || end > read.offset + u64::from(read.len) {
            return false;
        }
        let repeated = read.serves.iter().any(|&other| self.requests[other as usize].request == request);
        read.serves.push(key);
        self.requests[key as usize].reads_left = 1;
        self.count_shared(u64::from(!repeated), u64::from(repeated));
        true
    }

    fn count_shared(&mut self, merged: u64, duplicates: u64) {
        self.stats.merged += merged;
        self.stats.duplicates += duplicates;
        if let Some(meter) = &self.control.meter {
            meter.update(|counters| {
                counters.merged += merged;
                counters.duplicates += duplicates;
            });
        }
    }

    /// Plans all requests that wait.
    fn plan_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.to_plan.clear();
        self.to_plan.extend(self.waiting.iter().map(|&key| self.requests[key as usize].request));
        let info = self.source.info();
        let planned = self.plan.build(&self.to_plan, &info.geometry, self.source.file().len);
        debug_assert!(planned.is_ok(), "each request was checked when it was submitted");
        for read in self.plan.reads() {
            let positions = read.first..read.first + read.count;
            let serves: SmallVec<[RequestKey; 4]> =
                positions.map(|position| self.waiting[self.plan.request_index(position)]).collect();
            for &key in &serves {
                self.requests[key as usize].reads_left += 1;
            }
            let (offset, len) = (read.offset, read.len);
            let key = self.reads.insert(Read { offset, len, serves, begun: false }) as ReadKey;
            self.by_offset.insert((offset, key));
            self.queue.push_back(key);
        }
        self.waiting.clear();
        self.count_shared(self.plan.merged(), self.plan.duplicates());
    }

    fn is_wanted(&self, key: ReadKey) -> bool {
        let serves = &self.reads[key as usize].serves;
        serves.iter().any(|&request| !self.requests[request as usize].over)
    }

    /// Forgets a read, and the requests that wait for no other.
    fn forget(&mut self, key: ReadKey) {
        let read = self.reads.remove(key as usize);
        self.by_offset.remove(&(read.offset, key));
        for request in read.serves {
            let entry = &mut self.requests[request as usize];
            entry.reads_left -= 1;
            if entry.reads_left == 0 {
                debug_assert!(entry.over, "all reads of a request ended, and it is still open");
                self.requests.remove(request as usize);
            }
        }
    }

    fn deliver(&mut self, tag: u64, bytes: Bytes) {
        self.delivered += 1;
        if let Some(meter) = &self.control.meter {
            meter.update(|counters| counters.delivered += 1);
        }
        self.completed.push_back(Completion { tag, bytes: Ok(bytes) });
    }

    /// Marks a request as over.
    fn close(&mut self, key: RequestKey) -> u64 {
        let request = &mut self.requests[key as usize];
        request.over = true;
        self.open -= 1;
        request.tag
    }

    /// Copies the bytes of a request that come in several completions.
    fn assemble(&mut self, key: RequestKey, at: usize, bytes: &[u8]) {
        let request = &mut self.requests[key as usize];
        request.buffer.resize(request.request.len as usize, 0);
        request.buffer[at..at + bytes.len()].copy_from_slice(bytes);
        request.missing -= bytes.len() as u32;
        if request.missing == 0 {
            let whole = std::mem::take(&mut request.buffer);
            let tag = self.close(key);
            self.deliver(tag, whole.into());
        }
    }

    fn cancel(&mut self, matches: impl Fn(u64) -> bool) {
        self.completed.retain(|completion| !matches(completion.tag));
        for (_, request) in &mut self.requests {
            if !request.over && matches(request.tag) {
                request.over = true;
                request.buffer = Vec::new();
                self.open -= 1;
            }
        }
        let requests = &mut self.requests;
        self.waiting.retain(|&key| {
            let over = requests[key as usize].over;
            if over {
                requests.remove(key as usize);
            }
            !over
        });
    }

    fn error(&self, failure: &Failure, available: u64, key: RequestKey) -> ReadError {
        let Request { request: ReadRequest { offset, len }, tag, .. } = self.requests[key as usize];
        let file = self.source.file().path.clone();
        let (index, delivered) = (tag as usize, self.delivered);
        match failure {
            Failure::Io(error) => {
                ReadError::Io { file, index, offset, len, delivered, source: copy_of(error) }
            }
            Failure::Truncated => {
                ReadError::Truncated { file, index, offset, len, end: available, delivered }
            }
        }
    }

    fn fail(&mut self, key: RequestKey, failure: &Failure, available: u64) {
        let bytes = Err(self.error(failure, available, key));
        let tag = self.close(key);
        self.completed.push_back(Completion { tag, bytes });
    }
}

/// An error of several requests, once for each.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

impl<S: PageSource> Client<S::Page> for Requests<'_, S> {
    type Key = ReadKey;

    fn next_len(&mut self) -> Option<u32> {
        loop {
            if self.queue.is_empty() {
                self.plan_waiting();
            }
            let &key = self.queue.front()?;
            if self.is_wanted(key) {
                return Some(self.reads[key as usize].len);
            }
            self.queue.pop_front();
            self.forget(key);
        }
    }

    fn take_next(&mut self) -> Wanted<ReadKey> {
        let key = self.queue.pop_front().expect("`next_len` returned it");
        let read = &self.reads[key as usize];
        Wanted { offset: read.offset, len: read.len, key }
    }

    fn wants(&mut self, &key: &ReadKey) -> bool {
        self.is_wanted(key)
    }

    fn arrived(&mut self, &key: &ReadKey, page: S::Page, page_offset: u64, fresh: Range<u64>) {
        let read = &mut self.reads[key as usize];
        read.begun = true;
        let serves = read.serves.clone();
        let within = |from: u64, to: u64| (from - page_offset) as usize..(to - page_offset) as usize;
        let mut whole = SmallVec::<[(RequestKey, Range<usize>); 4]>::new();
        for key in serves {
            let Request { request, over, .. } = &self.requests[key as usize];
            let (start, end) = (request.offset, request.offset + u64::from(request.len));
            if *over || end <= fresh.start || start >= fresh.end {
                continue;
            }
            if start >= fresh.start && end <= fresh.end {
                whole.push((key, within(start, end)));
            } else {
                let (from, to) = (start.max(fresh.start), end.min(fresh.end));
                self.assemble(key, (from - start) as usize, &page[within(from, to)]);
            }
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
            let tag = self.close(key);
            let bytes = match &page {
                Ok(shared) => shared.slice(range),
                Err(page) => Bytes::copy_from_slice(&page[range]),
            };
            self.deliver(tag, bytes);
        }
    }

    fn ended(&mut self, key: ReadKey, available: u64, failure: Option<Failure>) {
        if let Some(failure) = failure {
            for request in self.reads[key as usize].serves.clone() {
                if !self.requests[request as usize].over {
                    self.fail(request, &failure, available);
                }
            }
        }
        self.forget(key);
    }

    fn lost(&mut self, error: io::Error) {
        let failure = Failure::Io(error);
        while self.next_len().is_some() {
            let Wanted { key, offset, .. } = self.take_next();
            for request in self.reads[key as usize].serves.clone() {
                if !self.requests[request as usize].over {
                    self.fail(request, &failure, offset);
                }
            }
            self.forget(key);
        }
    }
}
