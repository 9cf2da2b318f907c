//! The segments that give the points.

use crate::immutable::segment::SegmentReader;
use crate::mutable::MutableSegment;
use roaring::RoaringBitmap;

/// A segment whose points go into the new one.
pub(crate) enum Source<'a> {
    Mutable { segment: &'a MutableSegment, live: RoaringBitmap },
    Immutable { segment: &'a SegmentReader, live: RoaringBitmap },
}

/// The origin of a point: its source, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) source: u32,
    pub(crate) point: u32,
}

impl Source<'_> {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Mutable { live, .. } | Self::Immutable { live, .. } => live.len(),
        }
    }

    pub(super) fn payload_bytes(&self, point: u32) -> u64 {
        match self {
            Self::Mutable { segment, .. } => segment.payload(point).len() as u64,
            Self::Immutable { segment, .. } => segment.data.payload.bytes(point),
        }
    }
}

/// The points that come from one source: their places in `points`, and their numbers in the source.
pub(super) fn from_source(points: &[Origin], source: usize) -> (Vec<usize>, Vec<u32>) {
    let own = points.iter().enumerate().filter(|(_, origin)| origin.source as usize == source);
    own.map(|(place, origin)| (place, origin.point)).unzip()
}
