//! Turns requests into physical reads, as a pure function without IO.
//!
//! ```text
//! requests   [--a--]  [-b-]        [----------c----------]     in any order, overlapping, repeated
//! sorted        a        b                    c
//! reads      |------------|        |-------|-------|-----|     merged across a gap; split at the maximum
//! ```

use crate::{IoGeometry, PlanError, ReadRequest};

/// One physical read, and the requests that take bytes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedRead {
    /// First byte, aligned.
    pub offset: u64,
    /// Bytes, aligned. An aligned read may reach past the end of the file by less than one unit.
    pub len: u32,
    /// Position in the plan's order of the first request served.
    pub first: u32,
    /// Requests served, next to each other in the plan's order.
    pub count: u32,
}

impl PlannedRead {
    /// One past the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

/// A request's place in the plan. The derived order is the plan's: by offset, length and the caller's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    offset: u64,
    len: u32,
    index: u32,
}

/// The physical reads that serve a batch of requests.
///
/// The plan sorts requests by offset and reads identical ones once. It merges neighbours with at most
/// `gap_max` bytes between them, up to `read_size_max`, and splits a longer request. A plan keeps its memory
/// for the next batch.
///
/// ```
/// use io_core::backend::ReadPlan;
/// use io_core::{IoGeometry, ReadRequest};
///
/// let geometry = IoGeometry::buffered(4096, 512).aligned(512, 512);
/// let mut plan = ReadPlan::default();
/// plan.build(&[ReadRequest::new(1500, 10), ReadRequest::new(0, 400)], &geometry, 10_000).unwrap();
/// let read = plan.reads()[0];
/// assert_eq!((read.offset, read.len, read.count), (0, 1536, 2));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReadPlan {
    order: Vec<Slot>,
    reads: Vec<PlannedRead>,
    empty: Vec<u32>,
    bytes_wanted: u64,
    merged: u64,
    duplicates: u64,
}

impl ReadPlan {
    /// Plans a batch, and replaces the previous plan.
    ///
    /// # Errors
    /// [`PlanError::PastEnd`] for the first request that reaches past `file_len`.
    /// [`PlanError::TooManyRequests`] for a batch that the plan cannot index.
    pub fn build(
        &mut self,
        requests: &[ReadRequest],
        geometry: &IoGeometry,
        file_len: u64,
    ) -> Result<(), PlanError> {
        debug_assert_eq!(geometry.check(), Ok(()));
        *self = Self {
            order: clear(&mut self.order),
            reads: clear(&mut self.reads),
            empty: clear(&mut self.empty),
            ..Self::default()
        };
        self.collect(requests, file_len)?;
        if !self.order.is_sorted() {
            self.order.sort_unstable();
        }
        self.coalesce(geometry);
        Ok(())
    }

    /// The physical reads, in the order of the first request they serve.
    #[must_use]
    pub fn reads(&self) -> &[PlannedRead] {
        &self.reads
    }

    /// Caller's indices of the zero-length requests.
    #[doc(hidden)]
    #[must_use]
    pub fn empty_requests(&self) -> &[u32] {
        &self.empty
    }

    /// The caller's index of the request at `position` of the plan's order.
    ///
    /// # Panics
    /// If `position` is outside every [`PlannedRead`] of this plan.
    #[doc(hidden)]
    #[must_use]
    pub fn request_index(&self, position: u32) -> usize {
        self.order[position as usize].index as usize
    }

    /// Bytes asked for. A duplicate counts each time.
    #[must_use]
    pub fn bytes_wanted(&self) -> u64 {
        self.bytes_wanted
    }

    /// Requests served by a read that another, different request started.
    #[must_use]
    pub fn merged(&self) -> u64 {
        self.merged
    }

    /// Requests for exactly the range of another request.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The request at `position` as `(offset, end)`.
    pub(crate) fn span(&self, position: u32) -> (u64, u64) {
        let slot = self.order[position as usize];
        (slot.offset, slot.offset + u64::from(slot.len))
    }

    fn collect(&mut self, requests: &[ReadRequest], file_len: u64) -> Result<(), PlanError> {
        if u32::try_from(requests.len()).is_err() {
            return Err(PlanError::TooManyRequests { count: requests.len() });
        }
        self.order.reserve(requests.len());
        for (index, request) in requests.iter().enumerate() {
            check_request(index, request, file_len)?;
            if request.len == 0 {
                self.empty.push(index as u32);
            } else {
                self.bytes_wanted += u64::from(request.len);
                self.order.push(Slot { offset: request.offset, len: request.len, index: index as u32 });
            }
        }
        Ok(())
    }

    fn coalesce(&mut self, geometry: &IoGeometry) {
        // The reads of the previous request: one read, or the pieces of a split request.
        let mut last_reads = 0..0;
        // One past the last wanted byte of the read being grown.
        let mut wanted_end = 0;
        for position in 0..self.order.len() {
            let slot = self.order[position];
            let end = slot.offset + u64::from(slot.len);
            let previous = position.checked_sub(1).map(|before| self.order[before]);
            if previous.is_some_and(|p| (p.offset, p.len) == (slot.offset, slot.len)) {
                self.duplicates += 1;
                for read in &mut self.reads[last_reads.clone()] {
                    read.count += 1;
                }
                continue;
            }
            let start = geometry.align_down(slot.offset);
            if last_reads.len() == 1 {
                let read = &mut self.reads[last_reads.start];
                let grown = geometry.align_up(wanted_end.max(end)) - read.offset;
                let gap = start.saturating_sub(read.end());
                if gap <= u64::from(geometry.gap_max) && grown <= u64::from(geometry.read_size_max) {
                    read.len = grown as u32;
                    read.count += 1;
                    wanted_end = wanted_end.max(end);
                    self.merged += 1;
                    continue;
                }
            }
            let first_read = self.reads.len();
            let aligned_end = geometry.align_up(end);
            let mut offset = start;
            while offset < aligned_end {
                let len = (aligned_end - offset).min(u64::from(geometry.read_size_max)) as u32;
                self.reads.push(PlannedRead { offset, len, first: position as u32, count: 1 });
                offset += u64::from(len);
            }
            last_reads = first_read..self.reads.len();
            wanted_end = end;
        }
    }
}

/// Checks one request against the length of the file.
///
/// # Errors
/// [`PlanError::PastEnd`].
pub(crate) fn check_request(index: usize, request: &ReadRequest, file_len: u64) -> Result<(), PlanError> {
    match request.end() {
        Some(end) if end <= file_len => Ok(()),
        _ => Err(PlanError::PastEnd { index, offset: request.offset, len: request.len, file_len }),
    }
}

fn clear<T>(items: &mut Vec<T>) -> Vec<T> {
    items.clear();
    std::mem::take(items)
}
