//! Ids of the points of an immutable segment: from an id to its point, from a point to its id, and in order.
//!
//! Sections of `ids.pages`:
//!
//! | section | what it is |
//! |---|---|
//! | 0 | number of points u64, how many of them have UUIDs u64 |
//! | 1 | table: the id of each point; 8 bytes if all are numbers, else 16 |
//! | 2 | postings: the points with UUIDs |
//! | 3, 4, 5 | numbers: sorted table (id, point), perfect hash, slot table (id, point) |
//! | 6, 7, 8 | UUIDs: the same |
//!
//! A look-up goes to one slot, reads its page and compares the id there: an unknown id is a miss, never a wrong point. In
//! memory are the perfect hash and the first id of each page of the sorted table.

use super::{ended, points_from_postings};
use crate::error::{Error, FormatError};
use crate::point::PointId;
use io_core::{ReadControl, ReadStats};
use rayon::ThreadPool;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::ops::Range;
use vecstore_format::pages::{Pages, PagesWriter};
use vecstore_format::perfect_hash::PerfectHash;
use vecstore_format::postings;
use vecstore_format::table::{entries, entry_range, page_range, per_page, section_bytes, write_table};

/// The number or UUID of an id.
trait IdKey: Copy + Ord + Hash + Send + Sync + Debug {
    const SORTED: usize;
    const HASH: usize = Self::SORTED + 1;
    const SLOTS: usize = Self::SORTED + 2;
    /// The bytes of the key, then of the point.
    type Entry: AsRef<[u8]>;
    const ENTRY_BYTES: usize;
    fn entry(self, point: u32) -> Self::Entry;
    fn parse(entry: &[u8]) -> (Self, u32);
    fn id(self) -> PointId;
}

macro_rules! id_key {
    ($type:ty, $variant:ident, $section:literal, $entry:literal) => {
        impl IdKey for $type {
            const SORTED: usize = $section;
            type Entry = [u8; $entry];
            const ENTRY_BYTES: usize = $entry;

            fn entry(self, point: u32) -> Self::Entry {
                let mut entry = [0; $entry];
                entry[..$entry - 4].copy_from_slice(&self.to_le_bytes());
                entry[$entry - 4..].copy_from_slice(&point.to_le_bytes());
                entry
            }

            fn parse(entry: &[u8]) -> (Self, u32) {
                let (key, point) = entry.split_at($entry - 4);
                let key = <$type>::from_le_bytes(key.try_into().expect("a key's bytes"));
                (key, u32::from_le_bytes(point.try_into().expect("a point's bytes")))
            }

            fn id(self) -> PointId {
                PointId::$variant(self)
            }
        }
    };
}

id_key!(u64, Num, 3, 12);
id_key!(u128, Uuid, 6, 20);

/// Writes the ids of points `0..ids.len()`, and computes on the threads of `pool`. Returns the checksum of the file's header, and
/// [`Error::Overlap`] where two are the same.
pub(crate) async fn write_ids(
    mut pages: PagesWriter,
    ids: &[PointId],
    pool: &ThreadPool,
) -> Result<u32, Error> {
    let (mut nums, mut uuids, mut uuid_points) = (Vec::new(), Vec::new(), Vec::new());
    for (point, &id) in ids.iter().enumerate() {
        let point = point as u32;
        match id {
            PointId::Num(id) => nums.push((id, point)),
            PointId::Uuid(id) => {
                uuids.push((id, point));
                uuid_points.push(point);
            }
        }
    }
    pages.begin_section().await?;
    pages.write(&(ids.len() as u64).to_le_bytes()).await?;
    pages.write(&(uuids.len() as u64).to_le_bytes()).await?;
    if uuids.is_empty() {
        write_table(&mut pages, nums.iter().map(|(id, _)| id.to_le_bytes())).await?;
    } else {
        let wide = ids.iter().map(|id| match id {
            PointId::Num(id) => u128::from(*id).to_le_bytes(),
            PointId::Uuid(id) => id.to_le_bytes(),
        });
        write_table(&mut pages, wide).await?;
    }
    pages.begin_section().await?;
    pages.write(&postings::encode(&uuid_points)).await?;
    write_keys(&mut pages, nums, pool).await?;
    write_keys(&mut pages, uuids, pool).await?;
    Ok(pages.finish().await?)
}

async fn write_keys<K, const N: usize>(
    pages: &mut PagesWriter,
    mut keys: Vec<(K, u32)>,
    pool: &ThreadPool,
) -> Result<(), Error>
where
    K: IdKey<Entry = [u8; N]>,
{
    keys.sort_unstable();
    if let Some(twice) = keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Error::Overlap { id: twice[0].0.id() });
    }
    write_table(pages, keys.iter().map(|&(key, point)| key.entry(point))).await?;
    let only_keys: Vec<K> = keys.iter().map(|&(key, _)| key).collect();
    let hash = pool.install(|| PerfectHash::build(&only_keys));
    let hash = hash.expect("the ids of a segment are all different");
    pages.begin_section().await?;
    pages.write(&hash.write()).await?;
    let mut slots = vec![None; keys.len()];
    for (key, point) in keys {
        slots[hash.slot(&key).expect("a key it was built from") as usize] = Some(key.entry(point));
    }
    Ok(write_table(pages, slots.into_iter().map(|slot| slot.expect("as many slots as keys"))).await?)
}

/// What is in memory of one kind of keys.
#[derive(Debug)]
struct Keys<K> {
    count: u64,
    /// The first key of each page of the sorted table.
    firsts: Vec<K>,
    hash: PerfectHash,
}

/// The way from a point to its id.
#[derive(Debug)]
struct IdTable {
    count: u64,
    uuid_points: RoaringBitmap,
}

/// What is in memory of a segment's ids, for all cores.
#[derive(Debug)]
pub(crate) struct IdsData {
    table: IdTable,
    nums: Keys<u64>,
    uuids: Keys<u128>,
}

impl IdTable {
    async fn load(pages: &Pages) -> Result<Self, Error> {
        let damaged = |reason: &str| Error::damaged(pages.data().path(), None, reason);
        let meta: Vec<u64> = pages.read_array(0).await?;
        let &[count, uuids] = meta.as_slice() else {
            return Err(damaged("its numbers of points are missing"));
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
        Ok(Self { count, uuid_points })
    }

    /// The ids of points.
    async fn ids_of(
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

impl IdsData {
    pub(crate) async fn load(pages: &Pages) -> Result<Self, Error> {
        let table = IdTable::load(pages).await?;
        let uuids = table.uuid_points.len();
        let (nums, uuids) = (load_keys(pages, table.count - uuids).await?, load_keys(pages, uuids).await?);
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

    /// Finds the points of ids: `None` for those that are not there.
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

    /// The ids of points.
    pub(crate) async fn ids_of(
        &self,
        pages: &Pages,
        points: &[u32],
        control: &ReadControl,
        stats: &mut ReadStats,
    ) -> Result<Vec<PointId>, Error> {
        self.table.ids_of(pages, points, control, stats).await
    }

    /// About so many ids with their points, in the order of ids, from the first one that comes after `after`; fewer only
    /// where they end.
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

/// What is left of the ids of a damaged file.
#[derive(Debug)]
pub(crate) struct SalvagedIds {
    /// Points that the file is of.
    pub(crate) count: u32,
    /// The ids that are left, by point.
    pub(crate) ids: BTreeMap<u32, PointId>,
    /// What was wrong first.
    pub(crate) damage: Option<FormatError>,
}

/// Saves what can be saved of a file of ids. Each is there three times: by point, in order, and by slot.
pub(crate) async fn salvage_ids(pages: &Pages, control: &ReadControl) -> Result<SalvagedIds, Error> {
    let data = pages.data();
    let nums = entries(data.bytes(u64::SORTED), u64::ENTRY_BYTES);
    let uuids = entries(data.bytes(u128::SORTED), u128::ENTRY_BYTES);
    let id_bytes = if uuids == 0 { 8 } else { 16 };
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
        // Whether a small one is a number, the other tables have to say.
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

/// Adds what the pages of a table say that are intact.
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
            Ok(outcome) if outcome.stopped => return Err(Error::Stopped),
            Ok(_) => {}
            Err(error) => saved.damage = saved.damage.take().or(Some(error)),
        }
    }
    Ok(())
}

async fn load_keys<K: IdKey>(pages: &Pages, count: u64) -> Result<Keys<K>, Error> {
    let damaged = |reason: &str| Error::damaged(pages.data().path(), None, reason);
    let entry_bytes = K::ENTRY_BYTES;
    for section in [K::SORTED, K::SLOTS] {
        if pages.data().bytes(section) != section_bytes(count, entry_bytes) {
            return Err(damaged("a table of ids is not as long as there are ids"));
        }
    }
    let hash = PerfectHash::read(&pages.read_section(K::HASH).await?, count)
        .ok_or_else(|| damaged("the perfect hash is none"))?;
    let sorted = pages.read_section(K::SORTED).await?;
    let firsts: Vec<K> = (0..count.div_ceil(per_page(entry_bytes) as u64))
        .map(|page| {
            let at = entry_range(page * per_page(entry_bytes) as u64, entry_bytes);
            K::parse(&sorted[at.start as usize..at.end as usize]).0
        })
        .collect();
    if !firsts.is_sorted() {
        return Err(damaged("the sorted table of ids is not sorted"));
    }
    Ok(Keys { count, firsts, hash })
}

impl<K: IdKey> Keys<K> {
    async fn find(
        &self,
        pages: &Pages,
        keys: impl Iterator<Item = (usize, K)>,
        control: &ReadControl,
        stats: &mut ReadStats,
        found: &mut [Option<u32>],
    ) -> Result<(), Error> {
        let (mut wanted, mut ranges) = (Vec::new(), Vec::new());
        for (index, key) in keys {
            // A key that is not there may be sent to a slot that is not there either.
            if let Some(slot) = self.hash.slot(&key).filter(|&slot| slot < self.count) {
                wanted.push((index, key));
                ranges.push(entry_range(slot, K::ENTRY_BYTES));
            }
        }
        if ranges.is_empty() {
            return Ok(());
        }
        let read = pages
            .read(K::SLOTS, &ranges, control, |request, bytes| {
                let ((index, wanted), (key, point)) = (wanted[request], K::parse(bytes));
                if key == wanted {
                    found[index] = Some(point);
                }
                Ok(())
            })
            .await?;
        stats.add(&ended(read)?);
        Ok(())
    }

    async fn in_order(
        &self,
        pages: &Pages,
        after: Option<K>,
        wanted: usize,
        control: &ReadControl,
        stats: &mut ReadStats,
        found: &mut Vec<(PointId, u32)>,
    ) -> Result<(), Error> {
        let first = match after {
            None => 0,
            Some(after) => self.firsts.partition_point(|&first| first <= after).saturating_sub(1),
        };
        let per_page = per_page(K::ENTRY_BYTES);
        // The first page may hold few that are wanted.
        let pages_wanted = (wanted - found.len()).div_ceil(per_page) + 1;
        let ranges: Vec<Range<u64>> = (first..self.firsts.len().min(first + pages_wanted))
            .map(|page| page_range(page as u64, self.count, K::ENTRY_BYTES))
            .collect();
        if ranges.is_empty() {
            return Ok(());
        }
        let mut by_page = vec![Vec::new(); ranges.len()];
        let read = pages
            .read(K::SORTED, &ranges, control, |index, bytes| {
                let entries = bytes.chunks_exact(K::ENTRY_BYTES).map(K::parse);
                let wanted = entries.filter(|(key, _)| after.is_none_or(|after| *key > after));
                by_page[index] = wanted.map(|(key, point)| (key.id(), point)).collect();
                Ok(())
            })
            .await?;
        stats.add(&ended(read)?);
        found.extend(by_page.into_iter().flatten());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::immutable::testing::with_pages;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use vecstore_format::pages::PagesKind;

    fn pool() -> ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap()
    }

    fn ids() -> impl Strategy<Value = Vec<PointId>> {
        let num = prop_oneof![0u64..5000, any::<u64>()].prop_map(PointId::Num);
        let uuid = prop_oneof![0u128..100, any::<u128>()].prop_map(PointId::Uuid);
        let any = prop_oneof![
            prop::collection::btree_set(num.clone(), 0..1500),
            prop::collection::btree_set(uuid.clone(), 0..600),
            prop::collection::btree_set(prop_oneof![num, uuid], 0..900),
        ];
        any.prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        /// The mutable twin is a sorted map in memory.
        #[test]
        fn answers_are_those_of_the_mutable_twin(
            ids in ids(),
            others in prop::collection::vec(prop_oneof![
                (0u64..5000).prop_map(PointId::Num), (0u128..100).prop_map(PointId::Uuid)], 0..50),
            wanted in 1usize..700,
        ) {
            let twin: BTreeMap<PointId, u32> = ids.iter().copied().zip(0..).collect();
            let write = async |pages| write_ids(pages, &ids, &pool()).await.unwrap();
            with_pages(PagesKind::Ids, write, async |pages| {
                let data = IdsData::load(&pages).await.unwrap();
                let (control, mut stats) = (ReadControl::default(), ReadStats::default());
                prop_assert_eq!(data.len(), ids.len() as u64);
                let asked: Vec<PointId> = ids.iter().copied().chain(others.iter().copied()).collect();
                let found = data.find(&pages, &asked, &control, &mut stats).await.unwrap();
                let expected: Vec<Option<u32>> = asked.iter().map(|id| twin.get(id).copied()).collect();
                prop_assert_eq!(found, expected);
                let points: Vec<u32> = (0..ids.len() as u32).collect();
                prop_assert_eq!(&data.ids_of(&pages, &points, &control, &mut stats).await.unwrap(), &ids);
                for after in others.iter().copied().map(Some).chain([None]) {
                    let found = data.in_order(&pages, after, wanted, &control, &mut stats).await.unwrap();
                    let rest = twin.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
                    let rest: Vec<(PointId, u32)> = rest.map(|(id, point)| (*id, *point)).collect();
                    prop_assert!(found.len() >= wanted.min(rest.len()));
                    prop_assert_eq!(&found[..], &rest[..found.len()]);
                }
                Ok(())
            })?;
        }
    }

    /// The promise of the perfect hash: one page for a look-up.
    #[test]
    fn a_look_up_reads_one_page() {
        let ids: Vec<PointId> = (0..100_000).map(|id| PointId::Num(id * 3)).collect();
        let write = async |pages| write_ids(pages, &ids, &pool()).await.unwrap();
        with_pages(PagesKind::Ids, write, async |pages| {
            let data = IdsData::load(&pages).await.unwrap();
            for id in [0, 3 * 77_777, 1, u64::MAX] {
                let mut stats = ReadStats::default();
                let found = data.find(&pages, &[PointId::Num(id)], &ReadControl::default(), &mut stats).await;
                assert_eq!(found.unwrap(), [(id % 3 == 0 && id < 300_000).then_some((id / 3) as u32)]);
                assert!(stats.reads <= 1 && stats.bytes_read <= 4096, "{stats:?}");
            }
            assert!(
                data.memory_bytes() < 100_000 * 3 / 8 + 100_000 / 341 * 8 + 1000,
                "{}",
                data.memory_bytes()
            );
        });
    }
}
