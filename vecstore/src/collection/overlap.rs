//! Finds points that are in two segments, by a walk through all segments in the order of ids. It keeps little
//! in memory.

use crate::error::Error;
use crate::immutable::ids::IdsData;
use crate::point::PointId;
use io_core::{ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use vecstore_format::pages::Pages;

/// Ids of a segment that are read at a time.
const BATCH: usize = 1024;

/// The ids of a segment's live points, in order.
pub(super) struct LiveIds {
    pages: Pages,
    data: IdsData,
    deleted: RoaringBitmap,
    /// The ids that were read and not returned yet, and the last id read.
    batch: VecDeque<(PointId, u32)>,
    after: Option<PointId>,
}

impl LiveIds {
    pub(super) async fn new(pages: Pages, deleted: RoaringBitmap) -> Result<Self, Error> {
        let data = IdsData::load(&pages).await?;
        Ok(Self { pages, data, deleted, batch: VecDeque::new(), after: None })
    }

    async fn next(&mut self, control: &ReadControl) -> Result<Option<PointId>, Error> {
        loop {
            while let Some((id, point)) = self.batch.pop_front() {
                if !self.deleted.contains(point) {
                    return Ok(Some(id));
                }
            }
            let stats = &mut ReadStats::default();
            self.batch = self.data.in_order(&self.pages, self.after, BATCH, control, stats).await?.into();
            match self.batch.back() {
                Some(&(last, _)) => self.after = Some(last),
                None => return Ok(None),
            }
        }
    }

    pub(super) async fn close(&self) -> Result<(), Error> {
        Ok(self.pages.close().await?)
    }
}

/// Two segments, by their indexes, and the first point that is in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    pub(super) segments: [usize; 2],
    pub(super) id: PointId,
}

/// Finds every pair of segments that share a point.
pub(super) async fn overlaps(segments: &mut [LiveIds], control: &ReadControl) -> Result<Vec<Overlap>, Error> {
    let (mut heads, mut found, mut pairs) = (BinaryHeap::new(), Vec::new(), BTreeSet::new());
    for (index, segment) in segments.iter_mut().enumerate() {
        heads.extend(segment.next(control).await?.map(|id| Reverse((id, index))));
    }
    let mut before: Option<(PointId, usize)> = None;
    while let Some(Reverse((id, index))) = heads.pop() {
        if let Some((_, other)) = before.filter(|(before, other)| *before == id && *other != index)
            && pairs.insert([other, index])
        {
            found.push(Overlap { segments: [other, index], id });
        }
        before = Some((id, index));
        heads.extend(segments[index].next(control).await?.map(|id| Reverse((id, index))));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::pool;
    use crate::immutable::ids::write_ids;
    use io_core::testing::MemoryBackend;
    use io_core::{DynBackend, OpenOptions};
    use io_core::{Executor, FileSystem};
    use std::path::PathBuf;
    use vecstore_format::RandomId;
    use vecstore_format::pages::{PagesKind, PagesWriter};

    #[test]
    fn what_is_in_two_segments_is_found_once_for_each_two() {
        let mut random = fastrand::Rng::with_seed(1);
        for run in 0..30 {
            // For each segment, its ids, numbers or UUIDs, and whether each is deleted.
            let segments: Vec<Vec<(PointId, bool)>> = (0..random.usize(1..5))
                .map(|_| {
                    let range = random.u64(1..4000);
                    let ids: BTreeSet<PointId> = (0..random.u64(0..3000))
                        .map(|_| random.u64(0..range * 50))
                        .map(|id| if id % 3 == 0 { PointId::Uuid(id.into()) } else { PointId::Num(id) })
                        .collect();
                    ids.into_iter().map(|id| (id, random.u32(0..4) == 0)).collect()
                })
                .collect();
            let live = |index: usize| -> BTreeSet<PointId> {
                segments[index].iter().filter(|(_, deleted)| !deleted).map(|(id, _)| *id).collect()
            };
            // The reference uses sets. If several segments share a point, each two neighbours among them are
            // reported.
            let shared = |a: usize, b: usize| live(a).intersection(&live(b)).count();
            let backend = DynBackend::new(MemoryBackend::new(run));
            let found = backend
                .run(|| async {
                    let mut opened = Vec::new();
                    for (index, ids) in segments.iter().enumerate() {
                        let (path, options) = (PathBuf::from(format!("{index}")), OpenOptions::default());
                        let writer = backend.create(&path, &options).await.unwrap();
                        let identity = RandomId::random().file(0);
                        let only_ids: Vec<PointId> = ids.iter().map(|(id, _)| *id).collect();
                        write_ids(
                            PagesWriter::new(writer, PagesKind::Ids, identity),
                            &only_ids,
                            pool().unwrap(),
                        )
                        .await
                        .unwrap();
                        let reader = backend.open(&path, &options).await.unwrap();
                        let pages = Pages::open_any(reader, PagesKind::Ids).await.unwrap();
                        let deleted =
                            (0..).zip(ids).filter(|(_, (_, deleted))| *deleted).map(|(point, _)| point);
                        opened.push(LiveIds::new(pages, deleted.collect()).await.unwrap());
                    }
                    overlaps(&mut opened, &ReadControl::default()).await.unwrap()
                })
                .unwrap();
            for Overlap { segments: [a, b], id } in &found {
                assert!(a < b && live(*a).contains(id) && live(*b).contains(id), "run {run}");
            }
            let pairs: BTreeSet<[usize; 2]> = found.iter().map(|overlap| overlap.segments).collect();
            assert_eq!(pairs.len(), found.len(), "each two once");
            for b in 0..segments.len() {
                let with_b = |a: &usize| shared(*a, b) > 0;
                assert_eq!(
                    (0..b).any(|a| with_b(&a)),
                    pairs.iter().any(|pair| pair[1] == b),
                    "run {run}, {b}"
                );
            }
        }
    }
}
