//! Walking a graph whose nodes have codes of their neighbours.
//!
//! The walk scores only the points that it expands, and expands deleted points too. A filter needs another
//! walk: it would leave few of the points that this one expands.
//!
//! The order of the walk does not depend on where records are. If they are on disk, those of the next nodes
//! are read ahead.

use super::walk::{WalkScratch, best_of_others};
use super::{Allowed, Bounds, CandidateSearch, CandidateStats};
use crate::error::Error;
use crate::immutable::segment::{CodesData, LINKED, LinkedData, SegmentReader};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use vecstore_index::graph::{Candidate, GraphSearch, LinkedSearch, Step};
use vecstore_quant::prefetch;

/// Records that are read at once: that of the next node, and of those that wait behind it. Most of these are
/// expanded later. With more of them, a search has fewer rounds of reads, and more reads are in vain.
const READ_AT_ONCE: usize = 8;
/// Points of level 1 where the walk begins.
const ENTRIES: usize = 4;

/// Records that were read and not expanded yet.
type Ahead = HashMap<u32, Box<[u8]>>;

impl CandidateSearch<'_> {
    /// Walks the graph and keeps the best `kept` points. Returns `None` if the walk finds fewer than wanted:
    /// the points are then not all connected.
    pub(super) async fn walk_linked(
        &self,
        segment: &SegmentReader,
        deleted: &RoaringBitmap,
        kept: usize,
        scratch: &mut WalkScratch,
        bounds: &mut Bounds,
        stats: &mut CandidateStats,
    ) -> Result<Option<(Vec<Candidate>, f32)>, Error> {
        let linked = segment.data.linked.as_ref().expect("the caller saw that the layout is linked");
        let points = segment.data.points as usize;
        let entries = self.entries(segment, scratch, bounds, stats).await?;
        let WalkScratch { linked: linked_scratch, scores, seen, .. } = scratch;
        // As many deleted points as there are on average take a place.
        let live = points as u64 - deleted.len();
        let ef = (kept as u64 * points as u64).div_ceil(live.max(1)) as usize;
        let mut search = LinkedSearch::new(linked_scratch, points, ef);
        for entry in entries {
            search.enter(entry.id, entry.score);
        }
        let scorer = &linked.layout.codec().query(self.prepared);
        let mut ahead = Ahead::new();
        let mut coming = search.next();
        while let Some(node) = coming.take().or_else(|| search.next()) {
            self.check_stop()?;
            // The walk is one node ahead of itself. So the next record arrives while this one is scored.
            coming = search.next();
            if let Some(coming) = coming {
                fetch(segment, linked, coming);
            }
            self.score(segment, &[node], scores, bounds, stats).await?;
            if self.part_of_rest.is_some() {
                seen.extend(scores.of(&[node], self.part_of_rest));
            }
            let read;
            let record = match linked.record(node) {
                Some(record) => record,
                None => {
                    if !ahead.contains_key(&node) {
                        let wanted = std::iter::once(node).chain(coming).chain(search.waiting());
                        self.read_ahead(segment, linked, wanted, &mut ahead, stats).await?;
                    }
                    read = ahead.remove(&node).expect("just read");
                    &read
                }
            };
            let score = scores.scores[0];
            search.score(node, score);
            let threshold = search.threshold();
            linked.layout.estimate(scorer, record, score, threshold, |link, estimate| {
                search.estimate(link, estimate);
            });
        }
        let mut found: Vec<Candidate> = search.finish().to_vec();
        found.retain(|found| !deleted.contains(found.id));
        found.truncate(self.wanted);
        if found.len() < self.wanted {
            return Ok(None);
        }
        let rest = best_of_others(seen, &found, Allowed::Except(deleted));
        Ok(Some((found, rest)))
    }

    /// Reads the records of the first of some nodes, without those that were read.
    async fn read_ahead(
        &self,
        segment: &SegmentReader,
        linked: &LinkedData,
        wanted: impl Iterator<Item = u32>,
        ahead: &mut Ahead,
        stats: &mut CandidateStats,
    ) -> Result<(), Error> {
        let file = segment.linked.as_ref().expect("records that are not pinned are on disk");
        let nodes: Vec<u32> = wanted.filter(|node| !ahead.contains_key(node)).take(READ_AT_ONCE).collect();
        let path = segment.data.dir.join(LINKED);
        let mut checked = Ok(());
        let sink = |index: usize, record: &[u8]| {
            if checked.is_ok() {
                checked = linked.check(&path, record);
            }
            ahead.insert(nodes[index], record.into());
        };
        stats.read.add(&file.read(&nodes, self.control, sink).await?);
        checked
    }

    /// Where the walk begins: the best points of level 1, or else the entry point.
    async fn entries(
        &self,
        segment: &SegmentReader,
        scratch: &mut WalkScratch,
        bounds: &mut Bounds,
        stats: &mut CandidateStats,
    ) -> Result<Vec<Candidate>, Error> {
        let graph = &segment.data.graph;
        let WalkScratch { search, scores, seen, .. } = scratch;
        seen.clear();
        let Some(mut search) = GraphSearch::above(search, graph.len() as usize, graph.entry(), ENTRIES)
        else {
            let entry = graph.entry().map(|(entry, _)| Candidate { id: entry, score: 0.0 });
            return Ok(entry.into_iter().collect());
        };
        loop {
            match search.next() {
                Step::Expand { node, level } => search.links(graph.upper_links(node, level)),
                Step::Score(points) => {
                    self.score(segment, points, scores, bounds, stats).await?;
                    if self.part_of_rest.is_some() {
                        seen.extend(scores.of(points, self.part_of_rest));
                    }
                    search.scores(&scores.scores);
                }
                Step::Done => return Ok(search.finish().to_vec()),
            }
        }
    }
}

/// Fetches what expanding a node will read, as far as it is in memory.
fn fetch(segment: &SegmentReader, linked: &LinkedData, node: u32) {
    if let Some(record) = linked.record(node) {
        prefetch(record);
    }
    if let CodesData::Pinned(records) = &segment.data.codes {
        let record_bytes = segment.data.codec.record_bytes();
        prefetch(&records[node as usize * record_bytes..][..record_bytes]);
    }
}
