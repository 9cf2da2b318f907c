//! The session over a map: reads complete at once, as slices that keep the map alive.

use crate::cold::{Advisor, CHUNK};
use crate::map::SharedMap;
use bytes::Bytes;
use io_core::{Completion, FileInfo, FileSession, PlanError, ReadControl, ReadError, ReadRequest, ReadStats};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Hands out the bytes of a map, and counts them.
pub(crate) struct MapBytes<'a> {
    file: &'a FileInfo,
    bytes: Bytes,
    pub(crate) control: ReadControl,
    pub(crate) stats: ReadStats,
}

impl<'a> MapBytes<'a> {
    pub(crate) fn new(file: &'a FileInfo, map: Option<&SharedMap>, control: ReadControl) -> Self {
        let bytes = map.map_or_else(Bytes::new, SharedMap::bytes);
        Self { file, bytes, control, stats: ReadStats::default() }
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
            meter.update(|counters| counters.bytes_wanted += u64::from(request.len));
        }
    }

    /// The bytes of a request that was checked.
    pub(crate) fn read(&mut self, request: ReadRequest) -> Bytes {
        let ReadRequest { offset, len } = request;
        let physical = u64::from(len > 0);
        self.stats.reads += physical;
        self.stats.bytes_read += u64::from(len);
        if let Some(meter) = &self.control.meter {
            meter.update(|counters| {
                counters.delivered += 1;
                counters.started += physical;
                counters.completed += physical;
                counters.bytes_read += u64::from(len);
            });
        }
        self.bytes.slice(offset as usize..offset as usize + len as usize)
    }
}

/// Reads of one map.
pub(crate) struct MapSession<'a> {
    map: MapBytes<'a>,
    advised: Option<&'a SharedMap>,
    advisor: &'a Advisor,
    closed: &'a AtomicBool,
    /// Reads that are not completed, or why one cannot be.
    waiting: VecDeque<(u64, Result<ReadRequest, ReadError>)>,
    /// The first of `waiting` that were announced to the kernel.
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
        Self { map, advised, advisor, closed, waiting: VecDeque::new(), announced: 0, chunk: Vec::new() }
    }

    /// Tells the kernel which pages are needed next.
    fn announce(&mut self) {
        if self.announced > 0 {
            return;
        }
        self.advisor.after();
        self.announced = self.waiting.len().min(CHUNK);
        self.chunk.clear();
        self.chunk.extend(self.waiting.iter().take(CHUNK).filter_map(|(_, read)| read.as_ref().ok()));
        if let Some(map) = self.advised {
            self.advisor.before(map, &self.chunk);
        }
    }
}

impl FileSession for MapSession<'_> {
    fn submit(&mut self, tag: u64, request: ReadRequest) {
        let checked = if self.closed.load(Ordering::SeqCst) {
            Err(self.map.closed())
        } else {
            self.map.check(tag, request)
        };
        let checked = checked.map(|()| request).inspect(|&request| self.map.want(request));
        self.waiting.push_back((tag, checked));
    }

    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Completion>> {
        if self.map.control.is_stopped() {
            self.cancel_all();
        }
        self.announce();
        let Some((tag, read)) = self.waiting.pop_front() else { return Poll::Ready(None) };
        self.announced -= 1;
        let bytes = read.map(|request| self.map.read(request));
        Poll::Ready(Some(Completion { tag, bytes }))
    }

    fn cancel(&mut self, tag: u64) {
        self.waiting.retain(|&(waiting, _)| waiting != tag);
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
