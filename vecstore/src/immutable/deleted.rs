//! The deleted points of an immutable segment. Each time they are written, a new file is made.
//!
//! Section 0 of `deleted-NUMBER.pages` has the number of points (u64) and of deleted ones (u64). Then comes
//! the sequence number of the first write whose deletions are not in the file (u64; missing in old versions).
//! Section 1 has the postings of the deleted points.

use super::point_set::points_from_postings;
use crate::error::Error;
use roaring::RoaringBitmap;
use vecstore_format::pages::{Pages, PagesWriter};
use vecstore_format::postings;

pub(crate) async fn write_deleted(
    mut pages: PagesWriter,
    points: u32,
    deleted: &RoaringBitmap,
    seq_next: u64,
) -> Result<u32, Error> {
    pages.begin_section().await?;
    pages.write(&u64::from(points).to_le_bytes()).await?;
    pages.write(&deleted.len().to_le_bytes()).await?;
    pages.write(&seq_next.to_le_bytes()).await?;
    pages.begin_section().await?;
    pages.write(&postings::encode(&deleted.iter().collect::<Vec<_>>())).await?;
    Ok(pages.finish().await?)
}

/// The sequence number of the first write whose deletions are not in the file. `None` in old versions.
pub(crate) async fn deleted_seq_next(pages: &Pages) -> Result<Option<u64>, Error> {
    Ok(pages.read_array::<u64>(0).await?.get(2).copied())
}

pub(crate) async fn load_deleted(pages: &Pages, points: u32) -> Result<RoaringBitmap, Error> {
    let damaged = |reason: &str| Error::damaged(pages.data().path(), None, reason);
    let meta: Vec<u64> = pages.read_array(0).await?;
    let (&[count, deleted] | &[count, deleted, _]) = meta.as_slice() else {
        return Err(damaged("its numbers are missing"));
    };
    if count != u64::from(points) || deleted > count {
        return Err(damaged("it is of a segment with another number of points"));
    }
    points_from_postings(&pages.read_section(1).await?, deleted as usize, points)
        .ok_or_else(|| damaged("its postings are none"))
}
