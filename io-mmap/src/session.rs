//! The session over a map: reads complete at once, as slices that keep the map alive.

use crate::cold::{Advisor, CHUNK};
use crate::map::SharedMap;
use bytes::Bytes;
use io_core::backend::SessionSpan;
use io_core::{
    BackendInfo, Completion, FileInfo, FileSession, Lane, PlanError, ReadControl, ReadError, ReadRequest,
    ReadStats, ReadTerms,
};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

/// Hands out the bytes of a map, and counts them.
pub(crate) struct MapBytes<'a> {
    file: &'a FileInfo,
    bytes: Bytes,
    pub(crate) control: ReadControl,
    pub(crate) stats: ReadStats,
    delivered: usize,
    span: SessionSpan,
}

impl<'a> MapBytes<'a> {
    pub(crate) fn new(
        file: &'a FileInfo,
        info: &BackendInfo,
        map: Option<&SharedMap>,
        control: ReadControl,
    ) -> Self {
        let bytes = map.map_or_else(Bytes::new, SharedMap::bytes);
        let span = SessionSpan::new(file, info);
        Self { file, bytes, control, stats: ReadStats::default(), delivered: 0, span }
    }

    pub(crate) fn closed(&self) -> ReadError {
        ReadError::Closed { file: self.file.path.clone() }
    }

    /// Refuses a read past the end.
    pub(crate) fn check(&self, tag: u64, request: ReadRequest) -> Result<(), ReadError> {
        let ReadRequest { offset, len } = request;
        if request.end().is_some_and(|end| end <= self.file.len) {
            return Ok(());
        }
        let source = PlanError::PastEnd { index: tag as usize, offset, len, file_len: self.file.len };
        Err(ReadError::Plan { file: self.file.path.clone(), source })
    }

    /// Counts a request that the map will serve.
    pub(crate) fn want(&mut self, request: ReadRequest) {
        self.stats.bytes_wanted += u64::from(request.len);
        if let Some(meter) = &self.control.meter {
            meter.wanted(u64::from(request.len));
        }
    }

    /// The bytes of a request that was checked.
    pub(crate) fn read(&mut self, request: ReadRequest) -> Bytes {
        let ReadRequest { offset, len } = request;
        self.delivered += 1;
        self.stats.reads += u64::from(len > 0);
        self.stats.bytes_read += u64::from(len);
        if let Some(meter) = &self.control.meter {
            meter.slice_delivered(u64::from(len));
        }
        self.bytes.slice(offset as usize..offset as usize + len as usize)
    }
}

impl Drop for MapBytes<'_> {
    fn drop(&mut self) {
        self.span.ended(self.delivered, &self.stats);
    }
}

/// A read that the map will serve, or the reason why it cannot be served.
struct Known {
    tag: u64,
    terms: ReadTerms,
    read: Result<ReadRequest, ReadError>,
}

/// The reads that a map serves next: the foreground first, each lane in the order of its requests.
#[derive(Default)]
pub(crate) struct KnownReads(VecDeque<Known>);

impl KnownReads {
    pub(crate) fn push(&mut self, tag: u64, terms: ReadTerms, read: Result<ReadRequest, ReadError>) {
        let background = |known: &Known| known.terms.lane == Lane::Background;
        let overtaken = self.0.iter().rev().take_while(|known| background(known)).count();
        let place = if terms.lane == Lane::Foreground { self.0.len() - overtaken } else { self.0.len() };
        self.0.insert(place, Known { tag, terms, read });
    }

    /// Serves the next read.
    pub(crate) fn next(&mut self, map: &mut MapBytes<'_>) -> Option<Completion> {
        let Known { tag, terms, read } = self.0.pop_front()?;
        let is_late = |deadline| deadline <= Instant::now();
        let bytes = read.and_then(|request| {
            if request.len > 0 && terms.deadline.into_iter().chain(map.control.deadline).any(is_late) {
                let (file, ReadRequest { offset, len }) = (map.file.path.clone(), request);
                return Err(ReadError::Deadline { file, index: tag as usize, offset, len });
            }
            Ok(map.read(request))
        });
        Some(Completion::new(tag, bytes))
    }

    pub(crate) fn requests(&self) -> impl Iterator<Item = ReadRequest> {
        self.0.iter().filter_map(|known| known.read.as_ref().ok().copied())
    }

    pub(crate) fn cancel(&mut self, tag: u64) {
        self.0.retain(|known| known.tag != tag);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Reads of one map.
pub(crate) struct MapSession<'a> {
    map: MapBytes<'a>,
    advised: Option<&'a SharedMap>,
    advisor: &'a Advisor,
    closed: &'a AtomicBool,
    waiting: KnownReads,
    /// Reads until the next ones are announced to the kernel.
    announced: usize,
    chunk: Vec<ReadRequest>,
}

impl<'a> MapSession<'a> {
    pub(crate) fn new(
        map: MapBytes<'a>,
        advised: Option<&'a SharedMap>,
        advisor: &'a Advisor,
        closed: &'a AtomicBool,
    ) -> Self {
        let (waiting, chunk) = (KnownReads::default(), Vec::new());
        Self { map, advised, advisor, closed, waiting, announced: 0, chunk }
    }

    /// Tells the kernel which pages are needed next.
    fn announce(&mut self) {
        if self.announced > 0 {
            return;
        }
        self.advisor.after();
        self.announced = self.waiting.len().min(CHUNK);
        self.chunk.clear();
        self.chunk.extend(self.waiting.requests().take(self.announced));
        if let Some(map) = self.advised {
            self.advisor.before(map, &self.chunk);
        }
    }
}

impl FileSession for MapSession<'_> {
    fn submit_with(&mut self, tag: u64, request: ReadRequest, terms: ReadTerms) {
        let checked = if self.closed.load(Ordering::SeqCst) {
            Err(self.map.closed())
        } else {
            self.map.check(tag, request)
        };
        let checked = checked.map(|()| request).inspect(|&request| self.map.want(request));
        self.waiting.push(tag, terms, checked);
    }

    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Completion>> {
        if self.map.control.is_stopped() {
            self.cancel_all();
        }
        self.announce();
        let Some(completion) = self.waiting.next(&mut self.map) else { return Poll::Ready(None) };
        self.announced -= 1;
        Poll::Ready(Some(completion))
    }

    fn cancel(&mut self, tag: u64) {
        self.waiting.cancel(tag);
        self.announced = self.announced.min(self.waiting.len());
    }

    fn cancel_all(&mut self) {
        self.waiting.clear();
        self.announced = 0;
    }

    fn pending(&self) -> usize {
        self.waiting.len()
    }

    fn stats(&self) -> ReadStats {
        self.map.stats
    }
}
