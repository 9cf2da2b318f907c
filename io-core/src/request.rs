//! What a caller asks for, and what it is told when the batch ends.

/// One byte range of a file. Its index in the batch is the caller's handle for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReadRequest {
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Bytes wanted; 0 is allowed and does no IO.
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

/// How a batch ended when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// Requests handed to the sink.
    pub delivered: usize,
    /// True when the stop flag or the sink ended the batch early; then `delivered` may be less than was asked
    /// for.
    pub stopped: bool,
    /// What the batch cost.
    pub stats: ReadStats,
}

/// What one batch asked for and what it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStats {
    /// Physical reads completed, re-issued ones included. Over a memory map each delivered slice counts as
    /// one, since only the kernel knows its reads.
    pub reads: u64,
    /// Bytes the requests asked for, duplicates counted as often as they were asked for.
    pub bytes_wanted: u64,
    /// Bytes the physical reads returned.
    pub bytes_read: u64,
    /// Requests served by a physical read that another, different request had started.
    pub merged: u64,
    /// Requests for the very range of another one of the batch.
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
