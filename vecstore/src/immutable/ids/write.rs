//! Writes the ids.

use super::key::IdKey;
use super::table::{id_record, number};
use crate::error::Error;
use crate::point::PointId;
use rayon::ThreadPool;
use vecstore_format::FileIdentity;
use vecstore_format::pages::PagesWriter;
use vecstore_format::perfect_hash::PerfectHash;
use vecstore_format::postings;
use vecstore_format::table::write_table;

/// Writes the ids of points `0..ids.len()`. It computes on the threads of `pool`. Returns the checksum of the
/// file's header, or [`Error::Overlap`] if two ids are equal.
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
    let identity = pages.identity();
    let (nums, uuids) = (Hashed::new(nums, identity, pool)?, Hashed::new(uuids, identity, pool)?);
    pages.begin_section().await?;
    for number in [ids.len() as u64, uuids.keys.len() as u64, nums.salt, uuids.salt] {
        pages.write(&number.to_le_bytes()).await?;
    }
    if uuids.keys.is_empty() {
        write_table(&mut pages, ids.iter().map(|&id| (number(id) as u64).to_le_bytes())).await?;
    } else {
        write_table(&mut pages, ids.iter().map(|&id| id_record(id))).await?;
    }
    pages.begin_section().await?;
    pages.write(&postings::encode(&uuid_points)).await?;
    nums.write(&mut pages).await?;
    uuids.write(&mut pages).await?;
    Ok(pages.finish().await?)
}

/// Ids of one kind in order, each with its point, and their hash.
struct Hashed<K> {
    keys: Vec<(K, u32)>,
    salt: u64,
    hash: PerfectHash,
}

impl<K, const N: usize> Hashed<K>
where
    K: IdKey<Entry = [u8; N]>,
{
    fn new(mut keys: Vec<(K, u32)>, identity: FileIdentity, pool: &ThreadPool) -> Result<Self, Error> {
        keys.sort_unstable();
        if let Some(twice) = keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::Overlap { id: twice[0].0.id() });
        }
        let only_keys: Vec<K> = keys.iter().map(|&(key, _)| key).collect();
        let hashed = |salt| Some((salt, pool.install(|| PerfectHash::build(&only_keys, salt))?));
        let (salt, hash) = salts(identity).find_map(hashed).expect("different ids differ with some salt");
        Ok(Self { keys, salt, hash })
    }

    async fn write(&self, pages: &mut PagesWriter) -> Result<(), Error> {
        write_table(pages, self.keys.iter().map(|&(key, point)| key.entry(point))).await?;
        pages.begin_section().await?;
        pages.write(&self.hash.write()).await?;
        let mut slots = vec![None; self.keys.len()];
        for &(key, point) in &self.keys {
            slots[self.hash.slot(&key).expect("a key it was built from") as usize] = Some(key.entry(point));
        }
        Ok(write_table(pages, slots.into_iter().map(|slot| slot.expect("as many slots as keys"))).await?)
    }
}

/// Salts to try for the hash, until one tells all ids apart. Users choose ids, and must not know the salt
/// before: they could choose ids that the hash does not tell apart. So the salts come from the random
/// identity of the segment.
fn salts(identity: FileIdentity) -> impl Iterator<Item = u64> {
    let (first, step) = identity.owner.split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let (first, step) = (number(first), number(step) | 1);
    (0..100).map(move |turn| first.wrapping_add(step.wrapping_mul(turn)))
}
