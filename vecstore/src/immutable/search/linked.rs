//! Walking a graph whose nodes have codes of their neighbours.
//!
//! The walk scores only the points that it expands. It expands deleted points too, because they lead to
//! others. With a filter, it expands points that do not match only where those that match have few links
//! among themselves. It then also begins at points that match.
//!
//! On disk, the record of a node also has the node's own code and id. So a node takes one read. The walk
//! keeps several reads in flight. It also combines estimates of a point, so it may find other points than in
//! memory.

use super::walk::{WalkScratch, best_of_others};
use super::{Allowed, Bounded, CandidateSearch, CandidateStats, Known};
use crate::error::Error;
use crate::immutable::graph::GraphData;
use crate::immutable::records::Records;
use crate::immutable::segment::{CodesData, GraphIndex, LINKED, LinkedData, SegmentReader};
use roaring::RoaringBitmap;
use vecstore_index::TopK;
use vecstore_index::graph::{
    Candidate, GraphSearch, LinkedNodes, LinkedScratch, LinkedSearch, LinkedWanted, SearchScratch, Step,
    search_linked_in_memory,
};
use vecstore_quant::{NeighbourScorer, prefetch};

/// Nodes whose reads are in flight. With more of them a search waits less, and more reads lead to nothing.
const READ_AT_ONCE: usize = 6;
/// A point leads to so many that match a filter, on average. If links to them are fewer, the walk expands
/// other points in between.
const LINKS_MIN: f32 = 8.0;
/// The least number of other points for each that matches. Points that match may lie in groups apart.
const DETOURS_MIN: f32 = 0.25;
/// Points that match a filter where a walk also begins. Those that turn out to be far are not expanded.
const SEEDS: usize = 128;
/// The most points that are scored to choose these.
const SEEDS_SCORED_MAX: usize = 4096;

/// The linked layout of a segment, and a query for it.
pub(super) struct Linked<'a> {
    graph: &'a GraphData,
    data: &'a LinkedData,
    scorer: NeighbourScorer,
}

impl CandidateSearch<'_> {
    /// The linked layout of a segment, if it has one and estimates for this query mean anything.
    pub(super) fn linked<'a>(&self, index: &'a GraphIndex) -> Option<Linked<'a>> {
        let data = index.linked.as_ref()?;
        let scorer = data.layout.query(self.prepared);
        scorer.is_sound().then_some(Linked { graph: &index.graph, data, scorer })
    }

    /// Walks the graph until no other point is likely to be among the best `ef`. Returns `None` if the walk
    /// finds fewer than wanted: the points are not all connected, or others are in the way.
    pub(super) async fn walk_linked(
        &self,
        segment: &SegmentReader,
        linked: &Linked<'_>,
        allowed: Allowed<'_>,
        scratch: &mut WalkScratch,
        known: &mut Known,
        stats: &mut CandidateStats,
    ) -> Result<Option<(Vec<Candidate>, f32)>, Error> {
        let WalkScratch { search: upper, linked: scratch, seen, .. } = scratch;
        seen.clear();
        let mut walk = Walk { search: self, segment, linked, seen, known, stats };
        let mut entries = walk.entries(upper);
        let wanted = LinkedWanted::new(segment.data.points as usize, self.ef, self.wanted);
        let found = match allowed {
            Allowed::Except(deleted) if deleted.is_empty() => walk.run(wanted, &entries, scratch).await?,
            Allowed::Except(deleted) => {
                let is_live = |point| !deleted.contains(point);
                walk.run(wanted.among(is_live, f32::INFINITY), &entries, scratch).await?
            }
            Allowed::Only(points) => {
                walk.add_seeds(points, &mut entries);
                let detours = detours(linked.data, points.len(), segment.data.points);
                let wanted = wanted.among(|point| points.contains(point), detours);
                walk.run(wanted, &entries, scratch).await?
            }
        };
        let mut found = found.to_vec();
        // More points match than a search with a filter keeps. If it found fewer, it lost its way.
        let least = match allowed {
            Allowed::Except(_) => self.wanted,
            Allowed::Only(_) => self.ef.max(self.wanted),
        };
        let is_complete = found.len() >= least;
        found.truncate(self.wanted);
        if !is_complete {
            return Ok(None);
        }
        let rest = best_of_others(walk.seen, &found, allowed);
        Ok(Some((found, rest)))
    }
}

/// How many points that do not match a filter the walk expands for each that does.
pub(super) fn detours(data: &LinkedData, matching: u64, points: u32) -> f32 {
    let links = matching as f32 / points as f32 * data.layout.links_max() as f32;
    (LINKS_MIN / links - 1.0).max(DETOURS_MIN)
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
            let place = self.linked.graph.upper_points().binary_search(&point).ok()?;
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
        let graph = self.linked.graph;
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

    /// Adds the nearest points of level 1 that match a filter, by their codes, which are in memory. The way
    /// from the entry may miss their surroundings.
    fn add_seeds(&self, matching: &RoaringBitmap, entries: &mut Vec<Candidate>) {
        let upper = self.linked.graph.upper_points();
        let matching = || upper.iter().filter(|&&point| matching.contains(point));
        let step = matching().count().div_ceil(SEEDS_SCORED_MAX).max(1);
        let mut seeds = TopK::new(SEEDS, |a: &Candidate, b: &Candidate| b.score.total_cmp(&a.score));
        for &id in matching().step_by(step) {
            seeds.offer(Candidate { id, score: self.search.scorer.score(self.upper_code(id)) });
        }
        entries.extend(seeds.into_sorted());
    }

    async fn run<'s>(
        &mut self,
        wanted: LinkedWanted<impl Fn(u32) -> bool>,
        entries: &[Candidate],
        scratch: &'s mut LinkedScratch,
    ) -> Result<&'s [Candidate], Error> {
        match &self.segment.linked {
            None => self.in_memory(wanted, entries, scratch),
            Some(file) => self.on_disk(file, wanted, entries, scratch).await,
        }
    }

    fn in_memory<'s>(
        &mut self,
        wanted: LinkedWanted<impl Fn(u32) -> bool>,
        entries: &[Candidate],
        scratch: &'s mut LinkedScratch,
    ) -> Result<&'s [Candidate], Error> {
        let Linked { data, scorer, .. } = self.linked;
        let control = self.search.control;
        let stop = || control.is_stopped();
        search_linked_in_memory(&data.layout, self, scorer, scratch, wanted, entries, stop)
            .map_err(|_| Error::Stopped)
    }

    /// Expands nodes in the order in which it asks for their records, with several reads in flight. So the
    /// walk is the same on every disk.
    async fn on_disk<'s>(
        &mut self,
        file: &Records,
        wanted: LinkedWanted<impl Fn(u32) -> bool>,
        entries: &[Candidate],
        scratch: &'s mut LinkedScratch,
    ) -> Result<&'s [Candidate], Error> {
        let Linked { data, scorer, .. } = self.linked;
        let path = self.segment.data.dir.join(LINKED);
        let mut search = LinkedSearch::new(scratch, wanted.combining(), entries);
        let mut reads = file.in_order(self.search.control);
        loop {
            self.search.check_stop()?;
            while reads.len() < READ_AT_ONCE {
                let Some(node) = search.next() else { break };
                reads.push(node..node + 1)?;
            }
            let Some(run) = reads.next().await? else {
                self.stats.read.add(&reads.stats());
                return Ok(search.finish());
            };
            for (node, record) in run.iter() {
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
