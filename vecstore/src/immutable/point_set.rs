//! Sets of points in files.

use roaring::RoaringBitmap;
use vecstore_format::postings;

/// Decodes postings as a set of points below `end`.
pub(super) fn points_from_postings(bytes: &[u8], count: usize, end: u32) -> Option<RoaringBitmap> {
    let points = postings::Postings::parse(bytes, count).ok()?.to_bitmap().ok()?;
    points.max().is_none_or(|max| max < end).then_some(points)
}
