//! Walking a graph whose nodes have codes of their neighbours.
//!
//! The walk scores only the points that it expands. It expands deleted points too, because they lead to
//! others. A filter needs another walk: it would leave few of the points that this one expands.
//!
//! On disk, the record of a node also has the node's own code and id. So a node takes one read. The walk
//! reads several nodes at a time and expands all of them. It also combines estimates of a point, so it may
//! find other points than in memory.

use super::walk::{WalkScratch, best_of_others};
use super::{Allowed, Bounded, CandidateSearch, CandidateStats, Known};
use crate::error::Error;
use crate::immutable::records::Records;
use crate::immutable::segment::{CodesData, LINKED, LinkedData, SegmentReader};
use roaring::RoaringBitmap;
use std::iter;
use vecstore_index::graph::{
    Candidate, GraphSearch, LinkedNodes, LinkedScratch, LinkedSearch, SearchScratch, Step,
    search_linked_in_memory,
};
use vecstore_quant::{NeighbourScorer, prefetch};

/// Nodes that are read at once. With more of them, a search has fewer rounds of reads, and more reads lead to
/// nothing.
const READ_AT_ONCE: usize = 6;

/// The linked layout of a segment, and a query for it.
pub(super) struct Linked<'a> {
    data: &'a LinkedData,
    scorer: NeighbourScorer,
}

impl CandidateSearch<'_> {
    /// The linked layout of a segment, if it has one and estimates for this query mean anything.
    pub(super) fn linked<'a>(&self, segment: &'a SegmentReader) -> Option<Linked<'a>> {
        let data = segment.data.linked.as_ref()?;
        let scorer = data.layout.query(self.prepared);
        scorer.is_sound().then_some(Linked { data, scorer })
    }

    /// Walks the graph until no other point is likely to be among the best `ef`. Returns `None` if the walk
    /// finds fewer than wanted: the points are not all connected, or others are in the way.
    pub(super) async fn walk_linked(
        &self,
        segment: &SegmentReader,
        linked: &Linked<'_>,
        deleted: &RoaringBitmap,
        scratch: &mut WalkScratch,
        known: &mut Known,
        stats: &mut CandidateStats,
    ) -> Result<Option<(Vec<Candidate>, f32)>, Error> {
        let points = u64::from(segment.data.points);
        // As many deleted points as there are on average take a place.
        let live = points - deleted.len();
        let with_deleted = |kept: usize| (kept as u64 * points).div_ceil(live.max(1)) as usize;
        let kept = (with_deleted(self.ef), with_deleted(self.wanted));
        let WalkScratch { search: upper, linked: scratch, seen, .. } = scratch;
        seen.clear();
        let mut walk = Walk { search: self, segment, linked, seen, known, stats };
        let entries = walk.entries(upper);
        let found = match &segment.linked {
            None => walk.in_memory(kept, &entries, scratch)?,
            Some(file) => walk.on_disk(file, kept, &entries, scratch).await?,
        };
        let mut found = found.to_vec();
        found.retain(|found| !deleted.contains(found.id));
        found.truncate(self.wanted);
        if found.len() < self.wanted {
            return Ok(None);
        }
        let rest = best_of_others(walk.seen, &found, Allowed::Except(deleted));
        Ok(Some((found, rest)))
    }
}

/// A walk, and what it has seen.
struct Walk<'a> {
    search: &'a CandidateSearch<'a>,
    segment: &'a SegmentReader,
    linked: &'a Linked<'a>,
    seen: &'a mut Vec<(u32, f32, f32)>,
    known: &'a mut Known,
    stats: &'a mut CandidateStats,
}

impl<'a> Walk<'a> {
    /// The code of a point, if it is in memory.
    #[inline]
    fn code(&self, point: u32) -> Option<&'a [u8]> {
        match &self.segment.data.codes {
            CodesData::Pinned(records) => {
                let record_bytes = self.segment.data.codec.record_bytes();
                Some(&records[point as usize * record_bytes..][..record_bytes])
            }
            CodesData::OnDisk(_) => self.linked.data.code(point),
        }
    }

    /// The code of a point on a level above 0, or of the entry point.
    fn upper_code(&self, point: u32) -> &'a [u8] {
        let of_entry = || {
            let codes = self.linked.data.entries()?;
            let place = self.segment.data.graph.upper_points().binary_search(&point).ok()?;
            let record_bytes = self.segment.data.codec.record_bytes();
            Some(&codes[place * record_bytes..][..record_bytes])
        };
        self.code(point).or_else(of_entry).expect("the codes of upper levels are in memory")
    }

    /// Scores a point by its code.
    #[inline]
    fn score_code(&mut self, point: u32, code: &[u8]) -> f32 {
        self.scored(point, code, self.search.scorer.score(code))
    }

    /// Scores points on levels above 0.
    fn score_upper(&mut self, points: &[u32], scores: &mut Vec<f32>) {
        scores.resize(points.len(), 0.0);
        if let CodesData::Pinned(records) = &self.segment.data.codes {
            self.search.scorer.score_many(records, points, scores);
        } else {
            for (&point, score) in points.iter().zip(&mut *scores) {
                *score = self.search.scorer.score(self.upper_code(point));
            }
        }
        for (&point, score) in points.iter().zip(scores) {
            *score = self.scored(point, self.upper_code(point), *score);
        }
    }

    /// Notes what is known of a point whose code has this score.
    #[inline]
    fn scored(&mut self, point: u32, code: &[u8], score: f32) -> f32 {
        let CandidateSearch { part_of_rest, bounded, .. } = *self.search;
        self.stats.codes_scored += 1;
        // Bytes that encode no vector may score NaN, which counts as the worst score.
        let score = score.max(f32::NEG_INFINITY);
        let is_on_disk = matches!(self.segment.data.codes, CodesData::OnDisk(_));
        if part_of_rest.is_some() || bounded && is_on_disk {
            let bound = self.search.bound(code, score);
            if is_on_disk {
                self.known.bounds.insert(point, bound);
            }
            if part_of_rest.is_some() {
                self.seen.push(Bounded { point, score, bound }.with_best(part_of_rest));
            }
        }
        score
    }

    /// Where the walk begins: all that the way to the best point of level 1 leads past.
    fn entries(&mut self, scratch: &mut SearchScratch) -> Vec<Candidate> {
        let graph = &self.segment.data.graph;
        let Some((entry, _)) = graph.entry() else { return Vec::new() };
        let Some(mut search) = GraphSearch::above(scratch, graph.len() as usize, graph.entry()) else {
            let score = self.score_code(entry, self.upper_code(entry));
            return vec![Candidate { id: entry, score }];
        };
        let (mut scores, mut entries) = (Vec::new(), Vec::new());
        loop {
            match search.next() {
                Step::Expand { node, level } => search.links(graph.upper_links(node, level)),
                Step::Score(points) => {
                    self.score_upper(points, &mut scores);
                    entries.extend(points.iter().zip(&scores).map(|(&id, &score)| Candidate { id, score }));
                    search.scores(&scores);
                }
                Step::Done => return entries,
            }
        }
    }

    fn in_memory<'s>(
        &mut self,
        kept: (usize, usize),
        entries: &[Candidate],
        scratch: &'s mut LinkedScratch,
    ) -> Result<&'s [Candidate], Error> {
        let Linked { data, scorer } = self.linked;
        let control = self.search.control;
        let stop = || control.is_stopped();
        search_linked_in_memory(&data.layout, self, scorer, scratch, kept, entries, stop)
            .map_err(|_| Error::Stopped)
    }

    /// Reads several nodes, expands all of them in their order, and begins again. So the walk is the same on
    /// every disk.
    async fn on_disk<'s>(
        &mut self,
        file: &Records,
        kept: (usize, usize),
        entries: &[Candidate],
        scratch: &'s mut LinkedScratch,
    ) -> Result<&'s [Candidate], Error> {
        let Linked { data, scorer } = self.linked;
        let path = self.segment.data.dir.join(LINKED);
        let mut search = LinkedSearch::combining(scratch, self.len(), kept, entries);
        let mut records = vec![Vec::new(); READ_AT_ONCE];
        loop {
            self.search.check_stop()?;
            let nodes: Vec<u32> = iter::from_fn(|| search.next()).take(READ_AT_ONCE).collect();
            if nodes.is_empty() {
                return Ok(search.finish());
            }
            let sink = |index: usize, record: &[u8]| record.clone_into(&mut records[index]);
            let read = file.read(&nodes, self.search.control, sink).await?;
            self.stats.read.add(&read);
            for (&node, record) in nodes.iter().zip(&records) {
                let record = data.split(record);
                data.check(&path, record.links)?;
                let score = self.score_code(node, self.code(node).unwrap_or(record.code));
                self.known.ids.insert(node, self.segment.data.ids.in_record(node, record.id));
                search.expand(&data.layout, scorer, node, record.links, score);
            }
        }
    }
}

impl LinkedNodes for Walk<'_> {
    fn len(&self) -> usize {
        self.segment.data.points as usize
    }

    #[inline]
    fn record(&self, node: u32) -> &[u8] {
        self.linked.data.record(node).expect("the records are in memory")
    }

    #[inline]
    fn score(&mut self, node: u32) -> f32 {
        let code = self.code(node).expect("codes are in memory, or beside the records");
        self.score_code(node, code)
    }

    #[inline]
    fn fetch(&self, node: u32) {
        prefetch(self.record(node));
        self.code(node).into_iter().for_each(prefetch);
    }
}
