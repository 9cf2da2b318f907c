//! The content of a collection at one moment. Writers change it under a lock, briefly. A reader takes a
//! version and keeps it.

use super::options::CollectionOptions;
use crate::error::Error;
use crate::immutable::segment::SegmentData;
use crate::mutable::MutableSegment;
use roaring::RoaringBitmap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// An immutable segment, and its deleted points at this moment.
#[derive(Clone, Debug)]
pub(crate) struct SegmentEntry {
    pub(crate) data: Arc<SegmentData>,
    pub(crate) deleted: Arc<RoaringBitmap>,
}

/// A mutable segment that accepts no more points and is being built into an immutable one.
#[derive(Clone, Debug)]
pub(crate) struct FrozenEntry {
    pub(crate) segment: Arc<MutableSegment>,
    pub(crate) deleted: Arc<RoaringBitmap>,
    /// The log that follows those which protect it.
    pub(crate) log_next: u64,
    /// The sequence number that follows its last one.
    pub(crate) seq_next: u64,
}

/// The segments that change only by deletions. A reader keeps its version of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    pub(crate) frozen: Vec<FrozenEntry>,
    pub(crate) segments: Vec<SegmentEntry>,
}

/// The whole content.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) mutable: MutableSegment,
    pub(crate) version: Version,
    /// The most segments that a version had.
    pub(crate) segments_peak: usize,
    /// The sequence number of the last write that was applied.
    pub(crate) seq: u64,
    /// Why the collection is read-only, if it is.
    pub(crate) read_only: Option<String>,
    /// The error of the last background optimization, if it failed.
    pub(crate) background_error: Option<Arc<Error>>,
}

/// The state, shared.
#[derive(Debug)]
pub(crate) struct SharedState(RwLock<State>);

impl SharedState {
    pub(crate) fn new(state: State) -> Self {
        Self(RwLock::new(state))
    }

    // Steps of a change do not panic. A panic under the lock therefore leaves no half-made change that a
    // reader could see.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the mutable segment must be sealed.
    pub(crate) fn is_large(&self, options: &CollectionOptions) -> bool {
        self.mutable.slots() >= options.seal_points || self.mutable.bytes() >= options.seal_bytes
    }
}

impl Version {
    /// Number of live points outside of the mutable segment.
    pub(crate) fn points(&self) -> u64 {
        let frozen = self.frozen.iter().map(|frozen| frozen.segment.len() as u64 - frozen.deleted.len());
        let segments = self.segments.iter().map(|entry| u64::from(entry.data.points) - entry.deleted.len());
        frozen.sum::<u64>() + segments.sum::<u64>()
    }
}
