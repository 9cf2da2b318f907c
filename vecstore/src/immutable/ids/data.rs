//! The part of a segment's ids that is in memory, and queries on it.

use super::keys::{Keys, load_keys};
use super::table::IdTable;
use crate::error::Error;
use crate::point::PointId;
use io_core::{ReadControl, ReadStats};
use vecstore_format::pages::Pages;

/// The part of a segment's ids that is in memory. All cores share it.
#[derive(Debug)]
pub(crate) struct IdsData {
    table: IdTable,
    nums: Keys<u64>,
    uuids: Keys<u128>,
}

impl IdsData {
    pub(crate) async fn load(pages: &Pages) -> Result<Self, Error> {
        let table = IdTable::load(pages).await?;
        let (uuids, [salt_of_nums, salt_of_uuids]) = (table.uuid_points.len(), table.salts);
        let nums = load_keys(pages, table.count - uuids, salt_of_nums).await?;
        let uuids = load_keys(pages, uuids, salt_of_uuids).await?;
        Ok(Self { table, nums, uuids })
    }

    pub(crate) fn len(&self) -> u64 {
        self.table.count
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.nums.hash.memory_bytes()
            + self.uuids.hash.memory_bytes()
            + size_of_val(self.nums.firsts.as_slice())
            + size_of_val(self.uuids.firsts.as_slice())
            + self.table.uuid_points.serialized_size()
    }

    /// Finds the points of ids. `None` for unknown ids.
    pub(crate) async fn find(
        &self,
        pages: &Pages,
        ids: &[PointId],
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<Option<u32>>, Error> {
        let mut found = vec![None; ids.len()];
        let nums = ids.iter().enumerate().filter_map(|(index, id)| match id {
            PointId::Num(id) => Some((index, *id)),
            PointId::Uuid(_) => None,
        });
        self.nums.find(pages, nums, control, stats, &mut found).await?;
        let uuids = ids.iter().enumerate().filter_map(|(index, id)| match id {
            PointId::Uuid(id) => Some((index, *id)),
            PointId::Num(_) => None,
        });
        self.uuids.find(pages, uuids, control, stats, &mut found).await?;
        if found.iter().flatten().any(|&point| u64::from(point) >= self.len()) {
            return Err(Error::damaged(
                pages.data().path(),
                None,
                "a slot leads to a point that is not there",
            ));
        }
        Ok(found)
    }

    /// Bytes of an id in a record of another file.
    pub(crate) fn id_bytes(&self) -> usize {
        self.table.id_bytes()
    }

    /// The id of a point in a record of another file.
    pub(crate) fn in_record(&self, point: u32, record: &[u8]) -> PointId {
        self.table.parse(point, record)
    }

    /// Reads the ids of points.
    pub(crate) async fn ids_of(
        &self,
        pages: &Pages,
        points: &[u32],
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<PointId>, Error> {
        self.table.ids_of(pages, points, control, stats).await
    }

    /// About `wanted` ids with their points, in the order of ids, from the first one after `after`. It
    /// returns fewer only at the end.
    pub(crate) async fn in_order(
        &self,
        pages: &Pages,
        after: Option<PointId>,
        wanted: usize,
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<(PointId, u32)>, Error> {
        let mut found = Vec::new();
        let uuid_after = match after {
            Some(PointId::Uuid(id)) => Some(id),
            None => {
                self.nums.in_order(pages, None, wanted, control, stats, &mut found).await?;
                None
            }
            Some(PointId::Num(id)) => {
                self.nums.in_order(pages, Some(id), wanted, control, stats, &mut found).await?;
                None
            }
        };
        if found.len() < wanted {
            self.uuids.in_order(pages, uuid_after, wanted, control, stats, &mut found).await?;
        }
        if found.iter().any(|&(_, point)| u64::from(point) >= self.len()) {
            return Err(Error::damaged(
                pages.data().path(),
                None,
                "an id leads to a point that is not there",
            ));
        }
        Ok(found)
    }
}
