//! Salvages the ids of a damaged file.

use super::key::IdKey;
use super::table::id_bytes;
use crate::error::{Error, FormatError};
use crate::immutable::point_set::points_from_postings;
use crate::point::PointId;
use io_core::ReadControl;
use std::collections::BTreeMap;
use vecstore_format::pages::Pages;
use vecstore_format::table::{entries, page_range, per_page, section_bytes};

/// The ids that are left of a damaged file.
#[derive(Debug)]
pub(crate) struct SalvagedIds {
    /// Number of points according to the file.
    pub(crate) count: u32,
    /// The intact ids, by point.
    pub(crate) ids: BTreeMap<u32, PointId>,
    /// The first damage found.
    pub(crate) damage: Option<FormatError>,
}

/// Salvages a file of ids. It stores each id three times: by point, in order, and by slot.
pub(crate) async fn salvage_ids(pages: &Pages, control: &ReadControl) -> Result<SalvagedIds, Error> {
    let data = pages.data();
    let nums = entries(data.bytes(u64::SORTED), u64::ENTRY_BYTES);
    let uuids = entries(data.bytes(u128::SORTED), u128::ENTRY_BYTES);
    let id_bytes = id_bytes(uuids == 0);
    let count = u32::try_from(nums + uuids).ok().filter(|&count| {
        data.bytes(1) == section_bytes(u64::from(count), id_bytes)
            && data.bytes(u64::SLOTS) == data.bytes(u64::SORTED)
            && data.bytes(u128::SLOTS) == data.bytes(u128::SORTED)
    });
    let count = count.ok_or_else(|| {
        Error::damaged(data.path(), None, "its tables are not of the same number of points")
    })?;
    let mut saved = SalvagedIds { count, ids: BTreeMap::new(), damage: None };
    let uuid_points = match pages.read_section(2).await {
        Ok(section) => points_from_postings(&section, uuids as usize, count),
        Err(error) => {
            saved.damage = Some(error);
            None
        }
    };
    salvage_table(pages, 1, u64::from(count), id_bytes, control, &mut saved, |point, entry| {
        let mut id = [0; 16];
        id[..id_bytes].copy_from_slice(entry);
        let id = u128::from_le_bytes(id);
        let is_uuid = match &uuid_points {
            Some(points) => points.contains(point),
            None => nums == 0 || u64::try_from(id).is_err(),
        };
        // If the bitmap of UUIDs is lost, only the other tables tell whether a small id is a number.
        let known = uuid_points.is_some() || is_uuid || uuids == 0;
        known.then_some((point, if is_uuid { PointId::Uuid(id) } else { PointId::Num(id as u64) }))
    })
    .await?;
    for section in [u64::SORTED, u64::SLOTS] {
        salvage_keys::<u64>(pages, section, nums, control, &mut saved).await?;
    }
    for section in [u128::SORTED, u128::SLOTS] {
        salvage_keys::<u128>(pages, section, uuids, control, &mut saved).await?;
    }
    Ok(saved)
}

async fn salvage_keys<K: IdKey>(
    pages: &Pages,
    section: usize,
    keys: u64,
    control: &ReadControl,
    saved: &mut SalvagedIds,
) -> Result<(), Error> {
    if saved.ids.len() as u64 == u64::from(saved.count) {
        return Ok(());
    }
    salvage_table(pages, section, keys, K::ENTRY_BYTES, control, saved, |_, entry| {
        let (key, point) = K::parse(entry);
        Some((point, key.id()))
    })
    .await
}

/// Adds the entries of a table's intact pages.
async fn salvage_table(
    pages: &Pages,
    section: usize,
    count: u64,
    entry_bytes: usize,
    control: &ReadControl,
    saved: &mut SalvagedIds,
    id: impl Fn(u32, &[u8]) -> Option<(u32, PointId)>,
) -> Result<(), Error> {
    for page in 0..count.div_ceil(per_page(entry_bytes) as u64) {
        let first = page as u32 * per_page(entry_bytes) as u32;
        let range = [page_range(page, count, entry_bytes)];
        let read = pages.read(section, &range, control, |_, bytes| {
            let entries = (first..).zip(bytes.chunks_exact(entry_bytes));
            let ids = entries.filter_map(|(index, entry)| id(index, entry));
            saved.ids.extend(ids.filter(|(point, _)| *point < saved.count));
            Ok(())
        });
        match read.await {
            Ok(outcome) if !outcome.is_complete() => return Err(Error::Stopped),
            Ok(_) => {}
            Err(error) => saved.damage = saved.damage.take().or(Some(error)),
        }
    }
    Ok(())
}
