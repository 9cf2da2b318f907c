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

/// Bytes of an id in the table, and in a record of another file.
pub(crate) fn id_bytes(are_all_numbers: bool) -> usize {
    if are_all_numbers { 8 } else { 16 }
}

/// The number of an id. It does not tell the kind.
pub(super) fn number(id: PointId) -> u128 {
    match id {
        PointId::Num(id) => u128::from(id),
        PointId::Uuid(id) => id,
    }
}

/// An id, of which a table or a record has the first [`id_bytes`]. [`IdTable::parse`] reads them.
pub(crate) fn id_record(id: PointId) -> [u8; 16] {
    number(id).to_le_bytes()
}

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
        if pages.data().bytes(1) != section_bytes(count, id_bytes(uuids == 0)) {
            return Err(damaged("the table of ids is not as long as there are points"));
        }
        let section = pages.read_section(2).await?;
        let uuid_points = points_from_postings(&section, uuids as usize, count as u32)
            .ok_or_else(|| damaged("the postings of points with UUIDs are no postings"))?;
        Ok(Self { count, uuid_points, salts })
    }

    pub(super) fn id_bytes(&self) -> usize {
        id_bytes(self.uuid_points.is_empty())
    }

    /// The id of a point, from [`IdTable::id_bytes`].
    pub(super) fn parse(&self, point: u32, bytes: &[u8]) -> PointId {
        if self.uuid_points.contains(point) {
            PointId::Uuid(u128::from_le_bytes(bytes.try_into().expect("sixteen bytes")))
        } else {
            PointId::Num(u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")))
        }
    }

    /// Reads the ids of points.
    pub(super) async fn ids_of(
        &self,
        pages: &Pages,
        points: &[u32],
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<PointId>, Error> {
        let range = |&point: &u32| entry_range(u64::from(point), self.id_bytes());
        let ranges: Vec<Range<u64>> = points.iter().map(range).collect();
        let mut ids = vec![PointId::Num(0); points.len()];
        let read = pages
            .read(1, &ranges, control, |index, bytes| {
                ids[index] = self.parse(points[index], bytes);
                Ok(())
            })
            .await?;
        stats.add(&ended(read)?);
        Ok(ids)
    }
}
