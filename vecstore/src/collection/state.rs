//! What a collection holds at one moment. Writers change it under a lock, briefly; readers take a version of it and keep it.

use super::options::CollectionOptions;
use crate::error::Error;
use crate::immutable::segment::SegmentData;
use crate::mutable::MutableSegment;
use roaring::RoaringBitmap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// An immutable segment, and which of its points are deleted now.
#[derive(Clone, Debug)]
pub(crate) struct SegmentEntry {
    pub(crate) data: Arc<SegmentData>,
    pub(crate) deleted: Arc<RoaringBitmap>,
}

/// A mutable segment that takes no points any more and is being made an immutable one.
#[derive(Clone, Debug)]
pub(crate) struct FrozenEntry {
    pub(crate) segment: Arc<MutableSegment>,
    pub(crate) deleted: Arc<RoaringBitmap>,
    /// The log that comes after those that protect it.
    pub(crate) log_next: u64,
    /// The sequence number that comes after its last one.
    pub(crate) seq_next: u64,
}

/// The segments that do not change but for deletions: of these a reader keeps its version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    pub(crate) frozen: Vec<FrozenEntry>,
    pub(crate) segments: Vec<SegmentEntry>,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) mutable: MutableSegment,
    pub(crate) version: Version,
    /// The most segments that a version has had.
    pub(crate) segments_peak: usize,
    /// The sequence number of the last write that was applied.
    pub(crate) seq: u64,
    /// Why there are no writes any more.
    pub(crate) read_only: Option<String>,
    /// What became of the last attempt to optimize in the background, if it failed.
    pub(crate) background_error: Option<Arc<Error>>,
}

/// The state, shared.
#[derive(Debug)]
pub(crate) struct SharedState(RwLock<State>);

impl SharedState {
    pub(crate) fn new(state: State) -> Self {
        Self(RwLock::new(state))
    }

    // A panic while the lock is held leaves no half-made change behind that a reader could see: changes are made of
    // steps that do not panic.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether what is mutable is to be sealed.
    pub(crate) fn is_large(&self, options: &CollectionOptions) -> bool {
        self.mutable.slots() >= options.seal_points || self.mutable.bytes() >= options.seal_bytes
    }
}

impl Version {
    /// Points that are there, those of the mutable segment not counted.
    pub(crate) fn points(&self) -> u64 {
        let frozen = self.frozen.iter().map(|frozen| frozen.segment.len() as u64 - frozen.deleted.len());
        let segments = self.segments.iter().map(|entry| u64::from(entry.data.points) - entry.deleted.len());
        frozen.sum::<u64>() + segments.sum::<u64>()
    }
}
