//! Maps a point to its id.

use crate::error::Error;
use crate::immutable::outcome::ended;
use crate::immutable::point_set::points_from_postings;
use crate::point::PointId;
use io_core::{ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::ops::Range;
use vecstore_format::pages::Pages;
use vecstore_format::table::{entry_range, section_bytes};

/// Maps a point to its id.
#[derive(Debug)]
pub(super) struct IdTable {
    pub(super) count: u64,
    pub(super) uuid_points: RoaringBitmap,
    /// The salts of the hashes of numbers and of UUIDs.
    pub(super) salts: [u64; 2],
}

impl IdTable {
    pub(super) async fn load(pages: &Pages) -> Result<Self, Error> {
        let damaged = |reason: &str| Error::damaged(pages.data().path(), None, reason);
        let meta: Vec<u64> = pages.read_array(0).await?;
        let (count, uuids, salts) = match *meta.as_slice() {
            [count, uuids, of_nums, of_uuids] => (count, uuids, [of_nums, of_uuids]),
            // Older versions have no salts.
            [count, uuids] => (count, uuids, [0, 0]),
            _ => return Err(damaged("its numbers of points are missing")),
        };
        if uuids > count || u32::try_from(count).is_err() {
            return Err(damaged("its numbers of points are impossible"));
        }
        let id_bytes = if uuids == 0 { 8 } else { 16 };
        if pages.data().bytes(1) != section_bytes(count, id_bytes) {
            return Err(damaged("the table of ids is not as long as there are points"));
        }
        let section = pages.read_section(2).await?;
        let uuid_points = points_from_postings(&section, uuids as usize, count as u32)
            .ok_or_else(|| damaged("the postings of points with UUIDs are no postings"))?;
        Ok(Self { count, uuid_points, salts })
    }

    /// Reads the ids of points.
    pub(super) async fn ids_of(
        &self,
        pages: &Pages,
        points: &[u32],
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<PointId>, Error> {
        let wide = !self.uuid_points.is_empty();
        let ranges: Vec<Range<u64>> =
            points.iter().map(|&point| entry_range(u64::from(point), if wide { 16 } else { 8 })).collect();
        let mut ids = vec![PointId::Num(0); points.len()];
        let read = pages
            .read(1, &ranges, control, |index, bytes| {
                let low = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
                ids[index] = if self.uuid_points.contains(points[index]) {
                    PointId::Uuid(u128::from_le_bytes(bytes.try_into().expect("sixteen bytes")))
                } else {
                    PointId::Num(low)
                };
                Ok(())
            })
            .await?;
        stats.add(&ended(read)?);
        Ok(ids)
    }
}
