//! One kind of ids: look-up, and iteration in order.

use super::key::IdKey;
use crate::error::Error;
use crate::immutable::outcome::ended;
use crate::point::PointId;
use io_core::{ReadControl, ReadStats};
use std::ops::Range;
use vecstore_format::pages::Pages;
use vecstore_format::perfect_hash::PerfectHash;
use vecstore_format::table::{entry_range, page_range, per_page, section_bytes};

/// The part of one kind of keys that is in memory.
#[derive(Debug)]
pub(super) struct Keys<K> {
    pub(super) count: u64,
    /// The first key of each page of the sorted table.
    pub(super) firsts: Vec<K>,
    pub(super) hash: PerfectHash,
}

pub(super) async fn load_keys<K: IdKey>(pages: &Pages, count: u64, salt: u64) -> Result<Keys<K>, Error> {
    let damaged = |reason: &str| Error::damaged(pages.data().path(), None, reason);
    let entry_bytes = K::ENTRY_BYTES;
    for section in [K::SORTED, K::SLOTS] {
        if pages.data().bytes(section) != section_bytes(count, entry_bytes) {
            return Err(damaged("a table of ids is not as long as there are ids"));
        }
    }
    let hash = PerfectHash::read(&pages.read_section(K::HASH).await?, count, salt)
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
    pub(super) async fn find(
        &self,
        pages: &Pages,
        keys: impl Iterator<Item = (usize, K)>,
        control: &ReadControl,
        stats: &mut ReadStats,
        found: &mut [Option<u32>],
    ) -> Result<(), Error> {
        let (mut wanted, mut ranges) = (Vec::new(), Vec::new());
        for (index, key) in keys {
            // The hash may give an unknown key a slot that does not exist.
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

    pub(super) async fn in_order(
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
        // Few entries of the first page may be wanted.
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
