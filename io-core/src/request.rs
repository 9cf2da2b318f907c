//! Requests of a batch, and its outcome.

/// One byte range of a file. Its index in the batch is the caller's handle for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadRequest {
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Bytes wanted. 0 is allowed and does no IO.
    pub len: u32,
}

impl ReadRequest {
    /// A request for `len` bytes at `offset`.
    #[must_use]
    pub fn new(offset: u64, len: u32) -> Self {
        Self { offset, len }
    }

    /// One past the last byte, or `None` when it does not fit in a `u64`.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(u64::from(self.len))
    }
}

/// How a batch ended that did not fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchEnd {
    /// Every request was delivered.
    #[default]
    Complete,
    /// The stop flag or the sink ended it. Requests may be missing.
    Stopped,
    /// Its deadline passed. Requests may be missing.
    Deadline,
}

/// The outcome of a batch that did not fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOutcome {
    /// Requests handed to the sink.
    pub delivered: usize,
    /// How the batch ended.
    pub end: BatchEnd,
    /// The cost of the batch.
    pub stats: ReadStats,
}

impl ReadOutcome {
    /// The outcome of a batch that goes on: nothing delivered, nothing spent.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether every request was delivered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.end == BatchEnd::Complete
    }
}

/// The requests of one batch in figures, and their cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadStats {
    /// Physical reads completed, re-issued ones included. Over a memory map each delivered slice counts as
    /// one, since only the kernel knows its reads.
    pub reads: u64,
    /// Bytes that the requests asked for. A duplicate counts each time.
    pub bytes_wanted: u64,
    /// Bytes that the physical reads returned.
    pub bytes_read: u64,
    /// Requests served by a physical read that another, different request had started.
    pub merged: u64,
    /// Requests for exactly the range of another request of the batch.
    pub duplicates: u64,
}

impl ReadStats {
    /// Adds the figures of another batch.
    pub fn add(&mut self, other: &ReadStats) {
        self.reads += other.reads;
        self.bytes_wanted += other.bytes_wanted;
        self.bytes_read += other.bytes_read;
        self.merged += other.merged;
        self.duplicates += other.duplicates;
    }
}
