//! Counts of what a collection has done since it was opened.

use super::handle::Collection;
use crate::error::Error;
use io_core::ReadStats;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that only grows. Adding to it takes no lock.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a collection has done since it was opened. No figure ever falls.
        ///
        /// An operation is counted before its caller gets the answer. Serialized, it is a map of names and
        /// numbers, which monitoring systems take as they are.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct CollectionCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counts behind [`CollectionCounters`], which the threads of a collection share.
        #[derive(Debug, Default)]
        pub(super) struct Counts {
            $(pub(super) $name: Count,)*
        }

        impl Counts {
            fn snapshot(&self) -> CollectionCounters {
                CollectionCounters { $($name: self.$name.0.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Searches that succeeded. Those of a batch count one by one.
    searches,
    /// Calls that fetched points by their ids and succeeded.
    retrieves,
    /// Pages of points that were returned.
    scrolls,
    /// Counts of points that succeeded.
    counts,
    /// Facets that succeeded.
    facets,
    /// Searches and other reads that failed. Those that their callers stopped are not among them.
    read_errors,
    /// Physical reads of the searches and other reads that succeeded. Over a memory map each slice is one.
    physical_reads,
    /// Bytes that these asked for.
    bytes_wanted,
    /// Bytes that the physical reads returned.
    bytes_read,
    /// Writes that were acknowledged: calls, not points.
    writes,
    /// Points put by these, new ones and replaced ones.
    points_upserted,
    /// Points deleted by these.
    points_deleted,
    /// Bytes of the log's records, without their headers.
    log_bytes,
    /// Writes that failed, refused ones included.
    write_errors,
    /// Writes refused with [`Error::Full`].
    writes_refused,
    /// Segments built from points in memory alone.
    seals,
    /// Segments built from several segments, or from segments and points in memory.
    merges,
    /// Segments written again without the deleted points, or in a better order.
    vacuums,
    /// Points moved from memory into segments.
    points_sealed,
    /// Points rewritten from segments into other segments.
    points_rewritten,
    /// Bytes of the files of new segments.
    segment_bytes,
    /// Times that writes began to wait for the optimizer, because memory was full.
    stalls,
    /// Microseconds of all stalls that are over.
    stalled_us,
    /// Failures of the optimizer's background work.
    background_errors,
}

impl Counts {
    /// Counts a search or another read as one of `kind`.
    pub(super) fn read<T>(&self, kind: &Count, result: &Result<T, Error>, cost: impl Fn(&T) -> ReadStats) {
        match result {
            Ok(found) => {
                let ReadStats { reads, bytes_wanted, bytes_read, .. } = cost(found);
                kind.add(1);
                self.physical_reads.add(reads);
                self.bytes_wanted.add(bytes_wanted);
                self.bytes_read.add(bytes_read);
            }
            Err(Error::Stopped) => {}
            Err(_) => self.read_errors.add(1),
        }
    }
}

impl Collection {
    /// What the collection has done since it was opened. Readers of the caller ([`Collection::reader`]) are
    /// included.
    #[must_use]
    pub fn counters(&self) -> CollectionCounters {
        self.shared.counts.snapshot()
    }

    /// How long the physical reads of searches and other reads took. Slices of a memory map are not among
    /// them.
    #[cfg(feature = "histograms")]
    #[must_use]
    pub fn latencies(&self) -> io_core::Latencies {
        self.shared.meter.latencies()
    }
}
