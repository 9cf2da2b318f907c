//! Finding candidates in an immutable segment by the codes of its points: over the graph, or by scoring each where a filter
//! leaves few. Graph and codes may be in memory or on disk.

use super::graph::{LINKS_SECTION, decode_links};
use super::segment::{CodesData, SegmentReader};
use crate::error::Error;
use crate::hnsw::{Candidate, GraphSearch, SearchScratch, Step};
use crate::quantization::Scorer;
use io_core::{ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::ops::Range;

/// Points whose codes are scored at once.
const SCAN_BATCH: usize = 1024;
/// More candidates than this are found by scoring every point.
const WALK_WANTED_MAX: usize = 10_000;
/// Points that are not allowed whose links are read at once, to get around them.
const WAYS_AROUND: usize = 8;
/// Points that a filtered search begins at, besides where the graph leads it.
const SEEDS: u64 = 16;

/// Which points of a segment may be found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allowed<'a> {
    /// All but these, which are deleted.
    Except(&'a RoaringBitmap),
    /// These: a filter holds for them, and they are not deleted.
    Only(&'a RoaringBitmap),
}

impl Allowed<'_> {
    #[inline]
    fn contains(&self, point: u32) -> bool {
        match self {
            Self::Except(deleted) => !deleted.contains(point),
            Self::Only(points) => points.contains(point),
        }
    }
}

/// What to look for.
pub(crate) struct CandidateSearch<'a> {
    pub(crate) scorer: &'a dyn Scorer,
    /// Candidates wanted.
    pub(crate) wanted: usize,
    /// Candidates the graph search keeps.
    pub(crate) ef: usize,
    pub(crate) allowed: Allowed<'a>,
    /// Where no more points than this are allowed, each is scored...
    pub(crate) scan_max: u64,
    /// ...or no more than this part of the segment's points: a walk over the graph would lose its way among the others.
    pub(crate) scan_ratio: f32,
    /// Whether bounds are asked for.
    pub(crate) bounded: bool,
    pub(crate) control: &'a ReadControl,
}

/// What it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CandidateStats {
    pub(crate) codes_scored: u64,
    pub(crate) read: ReadStats,
}

/// A candidate, and how far its score may be from that of its vector; infinite where the codec does not know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounded {
    pub(crate) point: u32,
    pub(crate) score: f32,
    pub(crate) bound: f32,
}

/// The bounds of points whose codes were read: where codes are in memory they are computed for the best only.
type Bounds = HashMap<u32, f32>;

impl CandidateSearch<'_> {
    /// The best candidates, best first, equal scores by point.
    pub(crate) async fn run(
        &self,
        segment: &SegmentReader,
        scratch: &mut WalkScratch,
        stats: &mut CandidateStats,
    ) -> Result<Vec<Bounded>, Error> {
        let mut bounds = Bounds::new();
        let best = self.best(segment, scratch, &mut bounds, stats).await?;
        let bound = |Candidate { id, score }: Candidate| match &segment.data.codes {
            CodesData::Pinned(records) => {
                let start = id as usize * segment.data.codec.record_bytes();
                self.bound(&records[start..], score)
            }
            CodesData::OnDisk(_) => bounds.get(&id).copied().unwrap_or(f32::INFINITY),
        };
        let bounded = |found: Candidate| Bounded { point: found.id, score: found.score, bound: bound(found) };
        Ok(best.into_iter().map(bounded).collect())
    }

    fn bound(&self, record: &[u8], score: f32) -> f32 {
        self.scorer.bound(record, score).unwrap_or(f32::INFINITY)
    }

    async fn best(
        &self,
        segment: &SegmentReader,
        scratch: &mut WalkScratch,
        bounds: &mut Bounds,
        stats: &mut CandidateStats,
    ) -> Result<Vec<Candidate>, Error> {
        let part = |ratio: f32| (f64::from(segment.data.points) * f64::from(ratio)) as u64;
        match self.allowed {
            Allowed::Only(points) if points.len() <= self.scan_max.max(part(self.scan_ratio)) => {
                self.scan(segment, points, bounds, stats).await
            }
            // A walk keeps what it finds in order, which takes the square of how many that are.
            Allowed::Only(points) if self.wanted > WALK_WANTED_MAX => {
                self.scan(segment, points, bounds, stats).await
            }
            Allowed::Except(deleted) if self.wanted > WALK_WANTED_MAX => {
                self.scan(segment, &(segment.all() - deleted), bounds, stats).await
            }
            _ => self.walk(segment, scratch, bounds, stats).await,
        }
    }

    async fn scan(
        &self,
        segment: &SegmentReader,
        points: &RoaringBitmap,
        bounds: &mut Bounds,
        stats: &mut CandidateStats,
    ) -> Result<Vec<Candidate>, Error> {
        let mut best: Vec<Candidate> = Vec::new();
        let mut batch = Vec::with_capacity(SCAN_BATCH);
        let mut scores = vec![0.0; SCAN_BATCH];
        let mut rest = points.iter();
        loop {
            batch.clear();
            batch.extend(rest.by_ref().take(SCAN_BATCH));
            if batch.is_empty() {
                return Ok(best);
            }
            self.check_stop()?;
            self.score(segment, &batch, &mut scores, bounds, stats).await?;
            best.extend(batch.iter().zip(&scores).map(|(&id, &score)| Candidate { id, score }));
            best.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
            best.truncate(self.wanted);
            if bounds.len() > 2 * best.len() + SCAN_BATCH {
                let kept = best.iter().filter_map(|found| Some((found.id, *bounds.get(&found.id)?)));
                *bounds = kept.collect();
            }
        }
    }

    async fn walk(
        &self,
        segment: &SegmentReader,
        scratch: &mut WalkScratch,
        bounds: &mut Bounds,
        stats: &mut CandidateStats,
    ) -> Result<Vec<Candidate>, Error> {
        let graph = &segment.data.graph;
        let ef = self.ef.max(self.wanted);
        let WalkScratch { search, ways, scores } = scratch;
        let mut search = GraphSearch::new(search, graph.len() as usize, graph.entry(), ef);
        if let Allowed::Only(points) = self.allowed {
            let step = (points.len() / SEEDS).max(1);
            search.seed((0..SEEDS).filter_map(|seed| points.select((seed * step) as u32)));
        }
        let some_forbidden = !matches!(self.allowed, Allowed::Except(deleted) if deleted.is_empty());
        loop {
            match search.next() {
                Step::Expand { node, level: 0 } => {
                    self.check_stop()?;
                    ways.expand(segment, node, self, some_forbidden, &mut search, stats).await?;
                    search.links(&ways.allowed);
                }
                Step::Expand { node, level } => search.links(graph.upper_links(node, level)),
                Step::Score(points) => {
                    scores.resize(points.len(), 0.0);
                    self.score(segment, points, scores, bounds, stats).await?;
                    search.scores(scores);
                }
                Step::Done => break,
            }
        }
        let found = search.finish().iter().filter(|found| self.allowed.contains(found.id));
        Ok(found.take(self.wanted).copied().collect())
    }

    fn check_stop(&self) -> Result<(), Error> {
        if self.control.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }

    async fn score(
        &self,
        segment: &SegmentReader,
        points: &[u32],
        scores: &mut [f32],
        bounds: &mut Bounds,
        stats: &mut CandidateStats,
    ) -> Result<(), Error> {
        stats.codes_scored += points.len() as u64;
        match (&segment.data.codes, &segment.codes) {
            (CodesData::Pinned(records), _) => self.scorer.score_many(records, points, scores),
            (CodesData::OnDisk(_), Some(file)) => {
                let sink = |index: usize, record: &[u8]| {
                    scores[index] = self.scorer.score(record);
                    if let Some(bound) = self.scorer.bound(record, scores[index]).filter(|_| self.bounded) {
                        bounds.insert(points[index], bound);
                    }
                };
                let read = file.read(points, self.control, sink).await?;
                stats.read.add(&read);
            }
            (CodesData::OnDisk(_), None) => unreachable!("codes on disk are opened with the segment"),
        }
        // What no vector was encoded to may score NaN, which is to be the worst there is.
        scores.iter_mut().for_each(|score| *score = score.max(f32::NEG_INFINITY));
        Ok(())
    }
}

/// The memory of a walk, to be used again by the next one.
#[derive(Default)]
pub(crate) struct WalkScratch {
    search: SearchScratch,
    ways: Ways,
    scores: Vec<f32>,
}

/// Where a walk may go from a point.
#[derive(Default)]
struct Ways {
    /// The points that are allowed.
    allowed: Vec<u32>,
    links: Vec<u32>,
    forbidden: Vec<u32>,
}

impl Ways {
    /// Collects the allowed points a point is linked to. Where some are not allowed, what those are linked to stands in for
    /// them (after Patel et al., "ACORN", 2024), as long as that is no more than a point has links.
    async fn expand(
        &mut self,
        segment: &SegmentReader,
        node: u32,
        params: &CandidateSearch<'_>,
        some_forbidden: bool,
        search: &mut GraphSearch<'_>,
        stats: &mut CandidateStats,
    ) -> Result<(), Error> {
        let allowed = params.allowed;
        self.links.clear();
        read_links(segment, &[node], params.control, stats, |links| self.links.extend_from_slice(links))
            .await?;
        if !some_forbidden {
            std::mem::swap(&mut self.allowed, &mut self.links);
            return Ok(());
        }
        self.allowed.clear();
        self.forbidden.clear();
        for &link in &self.links {
            if allowed.contains(link) {
                self.allowed.push(link);
            } else if search.see(link) {
                self.forbidden.push(link);
            }
        }
        let (ways, ways_max) = (&mut self.allowed, self.links.len());
        for forbidden in self.forbidden.chunks(WAYS_AROUND) {
            if ways.len() >= ways_max {
                break;
            }
            read_links(segment, forbidden, params.control, stats, |links| {
                if ways.len() < ways_max {
                    let links = links.iter().copied();
                    ways.extend(links.filter(|&link| allowed.contains(link) && search.is_unseen(link)));
                }
            })
            .await?;
        }
        Ok(())
    }
}

/// Hands the links of points on level 0 to `sink`, in the order of the points: from memory, or read in one batch.
async fn read_links(
    segment: &SegmentReader,
    points: &[u32],
    control: &ReadControl,
    stats: &mut CandidateStats,
    mut sink: impl FnMut(&[u32]),
) -> Result<(), Error> {
    let graph = &segment.data.graph;
    let Some(pages) = &segment.graph else {
        for &point in points {
            sink(graph.links(point).expect("a graph that is not on disk is pinned"));
        }
        return Ok(());
    };
    let ranges: Vec<Range<u64>> = points.iter().map(|&point| graph.record_range(point)).collect();
    // They arrive in any order, and the answer of a search must not depend on it.
    let mut lists = vec![Vec::new(); points.len()];
    let read = pages
        .read(LINKS_SECTION, &ranges, control, |index, record| {
            decode_links(record, graph.len(), &mut lists[index]).ok_or_else(|| {
                let reason = format!("the links of point {} are none", points[index]);
                Error::damaged(pages.data().path(), None, reason)
            })
        })
        .await?;
    stats.read.add(&read);
    lists.iter().for_each(|links| sink(links));
    Ok(())
}
