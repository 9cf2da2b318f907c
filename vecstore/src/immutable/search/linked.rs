//! Walking a graph whose nodes have codes of their neighbours.
//!
//! The walk scores only the points that it expands, and expands deleted points too. A filter needs another
//! walk: it would leave few of the points that this one expands.
//!
//! The order of the walk does not depend on where records and codes are. If they are on disk, those of the
//! next nodes are read ahead.

use super::scores::Scores;
use super::walk::{WalkScratch, best_of_others};
use super::{Allowed, Bounded, Bounds, CandidateSearch, CandidateStats};
use crate::error::Error;
use crate::immutable::segment::{CodesData, LINKED, LinkedData, SegmentReader};
use roaring::RoaringBitmap;
use std::collections::{HashMap, HashSet};
use vecstore_index::graph::{Candidate, GraphSearch, LinkedSearch, Step};
use vecstore_quant::{NeighbourScorer, prefetch};

/// Nodes that are read at once: the next one, and those that wait behind it. Most of these are expanded
/// later. With more of them, a search has fewer rounds of reads, and more reads are in vain.
const READ_AT_ONCE: usize = 8;
/// If more nodes were read and not expanded, those are dropped that no longer wait.
const AHEAD_MAX: usize = 256;
/// Points of level 1 where the walk begins.
const ENTRIES: usize = 4;

/// What was read of a node: its record and its score, each if it is on disk.
#[derive(Default)]
struct Ahead {
    record: Option<Box<[u8]>>,
    scored: Option<Bounded>,
}

/// The linked layout of a segment, and a query for it.
pub(super) struct Linked<'a> {
    data: &'a LinkedData,
    scorer: NeighbourScorer,
}

impl CandidateSearch<'_> {
    /// The linked layout of a segment, if it has one and estimates for this query mean anything.
    pub(super) fn linked<'a>(&self, segment: &'a SegmentReader) -> Option<Linked<'a>> {
        let data = segment.data.linked.as_ref()?;
        let scorer = data.layout.codec().query(self.prepared);
        scorer.is_sound().then_some(Linked { data, scorer })
    }

    /// Walks the graph and keeps the best `kept` points. Returns `None` if the walk finds fewer than wanted:
    /// the points are then not all connected.
    pub(super) async fn walk_linked(
        &self,
        segment: &SegmentReader,
        linked: &Linked<'_>,
        kept: usize,
        scratch: &mut WalkScratch,
        bounds: &mut Bounds,
        stats: &mut CandidateStats,
    ) -> Result<Option<(Vec<Candidate>, f32)>, Error> {
        let nothing = RoaringBitmap::new();
        let deleted = match self.allowed {
            Allowed::Except(deleted) => deleted,
            Allowed::Only(_) => &nothing,
        };
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
        let mut ahead = HashMap::new();
        let mut coming = search.next();
        while let Some(node) = coming.take().or_else(|| search.next()) {
            self.check_stop()?;
            // The walk is one node ahead of itself. So the next record arrives while this one is scored.
            coming = search.next();
            if let Some(coming) = coming {
                fetch(segment, linked.data, coming);
            }
            let is_on_disk = segment.linked.is_some() || segment.codes.is_some();
            if is_on_disk && !ahead.contains_key(&node) {
                let next = std::iter::once(node).chain(coming);
                if ahead.len() > AHEAD_MAX {
                    let waiting: HashSet<u32> = next.clone().chain(search.waiting()).collect();
                    ahead.retain(|node, _| waiting.contains(node));
                }
                let wanted = next.chain(search.waiting()).filter(|node| !ahead.contains_key(node));
                let nodes: Vec<u32> = wanted.take(READ_AT_ONCE).collect();
                self.read_ahead(segment, &nodes, &mut ahead, scores, bounds, stats).await?;
            }
            let Ahead { record: read, scored } = ahead.remove(&node).unwrap_or_default();
            let scored = match scored {
                Some(scored) => scored,
                None => {
                    self.score(segment, &[node], scores, bounds, stats).await?;
                    scores.bounded(&[node]).next().expect("one point was scored")
                }
            };
            if self.part_of_rest.is_some() {
                seen.push(scored.with_best(self.part_of_rest));
            }
            let record = match &read {
                Some(record) => record,
                None => linked.data.record(node).expect("records that are not on disk are pinned"),
            };
            search.score(node, scored.score);
            let threshold = search.threshold();
            linked.data.layout.estimate(&linked.scorer, record, scored.score, threshold, |link, estimate| {
                search.estimate(link, estimate);
            });
        }
        let mut found: Vec<Candidate> = search.finish().to_vec();
        found.retain(|found| !deleted.contains(found.id));
        found.truncate(self.wanted);
        if found.len() < self.wanted {
            return Ok(None);
        }
        let rest = best_of_others(seen, &found, self.allowed);
        Ok(Some((found, rest)))
    }

    /// Reads of some nodes what is on disk: records, codes, or both.
    async fn read_ahead(
        &self,
        segment: &SegmentReader,
        nodes: &[u32],
        ahead: &mut HashMap<u32, Ahead>,
        scores: &mut Scores,
        bounds: &mut Bounds,
        stats: &mut CandidateStats,
    ) -> Result<(), Error> {
        ahead.extend(nodes.iter().map(|&node| (node, Ahead::default())));
        if segment.codes.is_some() {
            self.score(segment, nodes, scores, bounds, stats).await?;
            for scored in scores.bounded(nodes) {
                ahead.entry(scored.point).or_default().scored = Some(scored);
            }
        }
        let (Some(file), Some(linked)) = (&segment.linked, &segment.data.linked) else { return Ok(()) };
        let path = segment.data.dir.join(LINKED);
        let mut checked = Ok(());
        let sink = |index: usize, record: &[u8]| {
            if checked.is_ok() {
                checked = linked.check(&path, record);
            }
            ahead.entry(nodes[index]).or_default().record = Some(record.into());
        };
        stats.read.add(&file.read(nodes, self.control, sink).await?);
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
            let Some((entry, _)) = graph.entry() else { return Ok(Vec::new()) };
            self.score(segment, &[entry], scores, bounds, stats).await?;
            return Ok(vec![Candidate { id: entry, score: scores.scores[0] }]);
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
