//! Which points of an immutable segment are deleted: a file for each time this was written down.
//!
//! `deleted-NUMBER.pages` has a section 0 of points u64, deleted u64 and the sequence number of the first write that deletes
//! nothing yet (u64; missing in old versions), and a section 1 with the postings of the deleted.

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

/// The sequence number of the first write of which nothing is in the file, if it says so.
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
