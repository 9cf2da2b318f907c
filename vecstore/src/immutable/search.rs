//! Finding candidates in an immutable segment by the codes of its points. A search walks the graph, or scores
//! every allowed point where filters and deletions leave few. Graph and codes may be in memory or on disk.

use super::graph::LINKS_SECTION;
use super::outcome::ended;
use super::segment::{CodesData, SegmentReader};
use crate::error::{Error, FormatError};
use io_core::{ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::ops::Range;
use vecstore_format::links;
use vecstore_index::TopK;
use vecstore_index::graph::{Candidate, GraphSearch, SearchScratch, Step};
use vecstore_quant::Scorer;

/// Points whose codes are scored at once.
const SCAN_BATCH: usize = 1024;
/// A walk that would keep more candidates than this gives way to scoring every point.
const WALK_KEPT_MAX: usize = 10_000;
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
    /// How many of a segment's points these are.
    fn count(&self, points: u32) -> u64 {
        match self {
            Self::Except(deleted) => u64::from(points) - deleted.len(),
            Self::Only(points) => points.len(),
        }
    }

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
    /// Candidates wanted. Fewer come back only where fewer points are allowed.
    pub(crate) wanted: usize,
    /// Candidates the graph search keeps.
    pub(crate) ef: usize,
    pub(crate) allowed: Allowed<'a>,
    /// Where a filter, or deletions of more than half, leave no more points than this, each is scored...
    pub(crate) scan_max: u64,
    /// ...or no more than this part of the segment's points: a walk over the graph would lose its way among
    /// the others.
    pub(crate) scan_ratio: f32,
    /// Whether bounds are asked for; else they are infinite.
    pub(crate) bounded: bool,
    /// Which part of a bound counts in [`FoundByCodes::rest`], if that is asked for.
    pub(crate) part_of_rest: Option<f32>,
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

/// The best candidates of a segment.
#[derive(Clone, Debug)]
pub(crate) struct FoundByCodes {
    /// Best first, equal scores by point.
    pub(crate) best: Vec<Bounded>,
    /// The best score that any other point may have whose code was scored; `NEG_INFINITY` where there is
    /// none. Bounds differ between points, so the last of the best does not tell.
    pub(crate) rest: f32,
}

/// The bounds of points whose codes were read: where codes are in memory they are computed for the best only.
type Bounds = HashMap<u32, f32>;

impl CandidateSearch<'_> {
    /// The best candidates.
    pub(crate) async fn run(
        &self,
        segment: &SegmentReader,
        scratch: &mut WalkScratch,
        stats: &mut CandidateStats,
    ) -> Result<FoundByCodes, Error> {
        let mut bounds = Bounds::new();
        let (best, rest) = self.best(segment, scratch, &mut bounds, stats).await?;
        let bound = |Candidate { id, score }: Candidate| match &segment.data.codes {
            _ if !self.bounded => f32::INFINITY,
            CodesData::Pinned(records) => {
                let start = id as usize * segment.data.codec.record_bytes();
                self.bound(&records[start..], score)
            }
            CodesData::OnDisk(_) => bounds.get(&id).copied().unwrap_or(f32::INFINITY),
        };
        let bounded = |found: Candidate| Bounded { point: found.id, score: found.score, bound: bound(found) };
        Ok(FoundByCodes { best: best.into_iter().map(bounded).collect(), rest })
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
    ) -> Result<(Vec<Candidate>, f32), Error> {
        let points = segment.data.points;
        let live;
        let allowed = match self.allowed {
            // What most of a segment is hidden by is a filter like any other. Of fewer deletions a walk
            // hardly takes notice.
            Allowed::Except(deleted) if deleted.len() > u64::from(points) / 2 => {
                live = segment.all() - deleted;
                Allowed::Only(&live)
            }
            allowed => allowed,
        };
        let count = allowed.count(points);
        let kept = self.ef.max(self.wanted);
        let is_few = match allowed {
            Allowed::Only(_) => {
                let part = (f64::from(points) * f64::from(self.scan_ratio)) as u64;
                count <= self.scan_max.max(part)
            }
            Allowed::Except(_) => false,
        };
        // A walk that keeps all that are allowed scores each of them, and may not reach some. One that keeps
        // very many takes the square of how many those are, since they are kept in order.
        if !is_few && count > kept as u64 && kept <= WALK_KEPT_MAX {
            let found = self.walk(segment, allowed, kept, scratch, bounds, stats).await?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
        match allowed {
            Allowed::Only(points) => self.scan(segment, points, bounds, stats).await,
            Allowed::Except(deleted) => self.scan(segment, &(segment.all() - deleted), bounds, stats).await,
        }
    }

    async fn scan(
        &self,
        segment: &SegmentReader,
        points: &RoaringBitmap,
        bounds: &mut Bounds,
        stats: &mut CandidateStats,
    ) -> Result<(Vec<Candidate>, f32), Error> {
        let mut best = TopK::new(self.wanted, |(a, _): &(Candidate, f32), (b, _): &(Candidate, f32)| {
            b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
        });
        let mut rest = f32::NEG_INFINITY;
        let mut batch = Vec::with_capacity(SCAN_BATCH);
        let mut scores = Scores::default();
        let mut points = points.iter();
        loop {
            batch.clear();
            batch.extend(points.by_ref().take(SCAN_BATCH));
            if batch.is_empty() {
                let best = best.into_sorted_or(|(_, at_most)| rest = rest.max(at_most));
                return Ok((best.into_iter().map(|(candidate, _)| candidate).collect(), rest));
            }
            self.check_stop()?;
            self.score(segment, &batch, &mut scores, bounds, stats).await?;
            for (id, score, at_most) in scores.of(&batch) {
                best.offer_or((Candidate { id, score }, at_most), |(_, at_most)| rest = rest.max(at_most));
            }
            if bounds.len() > 2 * best.iter().len() + SCAN_BATCH {
                let kept = best.iter().filter_map(|(found, _)| Some((found.id, *bounds.get(&found.id)?)));
                *bounds = kept.collect();
            }
        }
    }

    /// Walks the graph, keeping the best `kept` of more points. None when it ends before it has found as
    /// many: then the points are not all connected, by the graph or by the ways around those that are not
    /// allowed.
    async fn walk(
        &self,
        segment: &SegmentReader,
        allowed: Allowed<'_>,
        kept: usize,
        scratch: &mut WalkScratch,
        bounds: &mut Bounds,
        stats: &mut CandidateStats,
    ) -> Result<Option<(Vec<Candidate>, f32)>, Error> {
        let graph = &segment.data.graph;
        let WalkScratch { search, ways, scores, seen } = scratch;
        seen.clear();
        let some_forbidden = !matches!(allowed, Allowed::Except(deleted) if deleted.is_empty());
        // The last level is entered at a point that may not be allowed, and takes the place of one that is.
        let ef = kept + usize::from(some_forbidden);
        let mut search = GraphSearch::new(search, graph.len() as usize, graph.entry(), ef);
        if let Allowed::Only(points) = allowed {
            let step = (points.len() / SEEDS).max(1);
            search.seed((0..SEEDS).filter_map(|seed| points.select((seed * step) as u32)));
        }
        loop {
            match search.next() {
                Step::Expand { node, level: 0 } => {
                    self.check_stop()?;
                    let around = some_forbidden.then_some(allowed);
                    ways.expand(segment, node, self.control, around, &mut search, stats).await?;
                    search.links(&ways.allowed);
                }
                Step::Expand { node, level } => search.links(graph.upper_links(node, level)),
                Step::Score(points) => {
                    self.score(segment, points, scores, bounds, stats).await?;
                    if self.part_of_rest.is_some() {
                        seen.extend(scores.of(points));
                    }
                    search.scores(&scores.scores);
                }
                Step::Done => break,
            }
        }
        let mut found: Vec<Candidate> = search.finish().to_vec();
        found.retain(|found| allowed.contains(found.id));
        let is_complete = found.len() >= kept;
        found.truncate(self.wanted);
        if !is_complete {
            return Ok(None);
        }
        let rest = best_of_others(seen, &found, allowed);
        Ok(Some((found, rest)))
    }

    fn check_stop(&self) -> Result<(), Error> {
        if self.control.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }

    async fn score(
        &self,
        segment: &SegmentReader,
        points: &[u32],
        scores: &mut Scores,
        bounds: &mut Bounds,
        stats: &mut CandidateStats,
    ) -> Result<(), Error> {
        stats.codes_scored += points.len() as u64;
        let Scores { scores, at_most } = scores;
        scores.resize(points.len(), 0.0);
        at_most.clear();
        at_most.resize(points.len(), f32::NEG_INFINITY);
        let best_possible = |score: f32, bound: f32| match self.part_of_rest {
            // Of a code that is no vector's nothing is known.
            Some(part) if (score + part * bound).is_nan() => f32::INFINITY,
            Some(part) => score + part * bound,
            None => f32::NEG_INFINITY,
        };
        match (&segment.data.codes, &segment.codes) {
            (CodesData::Pinned(records), _) => {
                self.scorer.score_many(records, points, scores);
                if self.part_of_rest.is_some() {
                    let record_bytes = segment.data.codec.record_bytes();
                    for ((&point, &score), at_most) in points.iter().zip(&*scores).zip(at_most) {
                        let bound = self.bound(&records[point as usize * record_bytes..], score);
                        *at_most = best_possible(score, bound);
                    }
                }
            }
            (CodesData::OnDisk(_), Some(file)) => {
                let sink = |index: usize, record: &[u8]| {
                    scores[index] = self.scorer.score(record);
                    if self.bounded {
                        let bound = self.bound(record, scores[index]);
                        bounds.insert(points[index], bound);
                        at_most[index] = best_possible(scores[index], bound);
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

/// The best score that any point may have which was seen and not found. On the way down the walk sees points
/// that are not allowed, and others that it may not come by again, however good they are.
fn best_of_others(seen: &[(u32, f32, f32)], found: &[Candidate], allowed: Allowed<'_>) -> f32 {
    let last = found.last().map_or(f32::INFINITY, |last| last.score);
    let mut ids: Vec<u32> = found.iter().map(|found| found.id).collect();
    ids.sort_unstable();
    let mut rest = f32::NEG_INFINITY;
    for &(point, score, at_most) in seen {
        // The cheap checks first.
        if at_most > rest && (score < last || ids.binary_search(&point).is_err()) && allowed.contains(point) {
            rest = at_most;
        }
    }
    rest
}

/// The scores of some codes, and the best that their vectors may have, if that is asked for.
#[derive(Default)]
struct Scores {
    scores: Vec<f32>,
    at_most: Vec<f32>,
}

impl Scores {
    /// Each of the points that were scored with its two scores.
    fn of(&self, points: &[u32]) -> impl Iterator<Item = (u32, f32, f32)> {
        let scores = self.scores.iter().zip(&self.at_most);
        points.iter().zip(scores).map(|(&point, (&score, &at_most))| (point, score, at_most))
    }
}

/// The memory of a walk, to be used again by the next one.
#[derive(Default)]
pub(crate) struct WalkScratch {
    search: SearchScratch,
    ways: Ways,
    scores: Scores,
    /// What was scored, as [`Scores::of`] gives it.
    seen: Vec<(u32, f32, f32)>,
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
    /// Collects the points a point is linked to; of these the allowed, unless all are. What the others are
    /// linked to stands in for them (after Patel et al., "ACORN", 2024), as long as that is no more than a
    /// point has links.
    async fn expand(
        &mut self,
        segment: &SegmentReader,
        node: u32,
        control: &ReadControl,
        allowed: Option<Allowed<'_>>,
        search: &mut GraphSearch<'_>,
        stats: &mut CandidateStats,
    ) -> Result<(), Error> {
        self.links.clear();
        read_links(segment, &[node], control, stats, |links| self.links.extend_from_slice(links)).await?;
        let Some(allowed) = allowed else {
            std::mem::swap(&mut self.allowed, &mut self.links);
            return Ok(());
        };
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
            read_links(segment, forbidden, control, stats, |links| {
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

/// Hands the links of points on level 0 to `sink`, in the order of the points: from memory, or read in one
/// batch.
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
            links::decode(record, graph.len(), &mut lists[index]).ok_or_else(|| {
                let reason = format!("the links of point {} are none", points[index]);
                FormatError::damaged(pages.data().path(), None, reason)
            })
        })
        .await?;
    stats.read.add(&ended(read)?);
    lists.iter().for_each(|links| sink(links));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whichever of the points that were seen are found, also if some that are better were only come by
        /// on the way down.
        #[test]
        fn the_rest_is_all_that_was_seen_and_not_found(
            points in vec((0i8..6, 0u8..4, any::<bool>(), any::<bool>()), 1..40),
            wanted in 1usize..12,
        ) {
            let seen: Vec<(u32, f32, f32)> = (0..)
                .zip(&points)
                .map(|(point, &(score, bound, ..))| (point, f32::from(score), f32::from(score) + f32::from(bound)))
                .collect();
            let is_allowed = |point: u32| points[point as usize].2;
            let deleted: RoaringBitmap = (0..points.len() as u32).filter(|&point| !is_allowed(point)).collect();
            let walked = seen.iter().filter(|(point, ..)| is_allowed(*point) && points[*point as usize].3);
            let mut found: Vec<Candidate> = walked.map(|&(id, score, _)| Candidate { id, score }).collect();
            found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
            found.truncate(wanted);
            let is_found = |point: u32| found.iter().any(|found| found.id == point);
            let others = seen.iter().filter(|(point, ..)| is_allowed(*point) && !is_found(*point));
            let expected = others.map(|&(.., at_most)| at_most).fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(best_of_others(&seen, &found, Allowed::Except(&deleted)), expected);
        }
    }
}
