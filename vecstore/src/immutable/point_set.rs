//! Sets of points as files have them.

use roaring::RoaringBitmap;
use vecstore_format::postings;

/// A set of points below `end`, from postings.
pub(super) fn points_from_postings(bytes: &[u8], count: usize, end: u32) -> Option<RoaringBitmap> {
    let points = postings::Postings::parse(bytes, count).ok()?.to_bitmap().ok()?;
    points.max().is_none_or(|max| max < end).then_some(points)
}
