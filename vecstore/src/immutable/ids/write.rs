//! Writes the ids.

use super::key::IdKey;
use crate::error::Error;
use crate::point::PointId;
use rayon::ThreadPool;
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
