//! The best points of the immutable segments: candidates by their codes from every segment at once, ranked by
//! their vectors.
//!
//! At first as many candidates are ranked as oversampling asks for. Further ones follow while their bounds
//! allow that they are better than the worst hit, up to
//! [`SearchParams::candidates_max`](super::SearchParams::candidates_max):
//!
//! ```text
//! search the codes ──> rank the first ──> may another be a hit? ──no──> one beyond the last? ──no──> done
//!        ^                                    │ yes: rank some <──┐         │ yes
//!        │                                    └───────────────────┘         │
//!        └──────────────────────── for more candidates <────────────────────┘
//! ```

use super::decide::{Scored, best_possible, by_score, decide, nth_best};
use super::reader::{CollectionReader, OpenEntry};
use super::request::{Rescore, SearchRequest, SearchStats};
use super::search::near_enough;
use super::ties::{KnownIds, ids_of, keep_best_and_ties, order_ties_at};
use crate::element;
use crate::error::Error;
use crate::immutable::search::{Allowed, Bounded, CandidateSearch, CandidateStats};
use crate::point::PointId;
use futures_util::future::try_join_all;
use io_core::{ReadControl, ReadStats};
use roaring::RoaringBitmap;
use std::collections::HashSet;
use vecstore_quant::OriginalScorer;

/// The least number of further candidates in a batch. Small batches stop early, because each may decide the
/// rest.
const RANKED_MIN: usize = 32;
/// The factor by which a repeated search asks for more candidates.
const GROWTH: usize = 4;

/// A search of the segments of one version.
pub(super) struct DiskSearch<'a> {
    pub(super) reader: &'a CollectionReader,
    pub(super) request: &'a SearchRequest,
    pub(super) entries: &'a [OpenEntry],
    /// The points that the filter allows, by segment. `None` without a filter.
    pub(super) allowed: &'a [Option<RoaringBitmap>],
    pub(super) scorer: &'a OriginalScorer,
    pub(super) control: &'a ReadControl,
}

/// What searches of some segments found by codes.
struct Found {
    /// Candidates of all these segments, best first.
    candidates: Vec<Scored>,
    /// By segment: the best score that a point outside of `candidates` may have.
    rests: Vec<(usize, f32)>,
    /// The ids that were read on the way.
    ids: KnownIds,
}

impl DiskSearch<'_> {
    /// Returns the best candidates in no order, at least as many as wanted if they exist. Scores are those of
    /// vectors, or of codes where `rescore` allows it. `known` are the scores of points in memory.
    pub(super) async fn best(
        &self,
        known: &[f32],
        stats: &mut SearchStats,
    ) -> Result<Vec<(Scored, PointId)>, Error> {
        let (mut scored, known_ids) = self.decided(known, stats).await?;
        for scored in &mut scored {
            scored.score = self.scorer.distance().comparable(scored.score);
        }
        keep_best_and_ties(&mut scored, self.request.wanted());
        let ids = ids_of(&scored, self.entries, &known_ids, self.control, &mut stats.read).await?;
        Ok(scored.into_iter().zip(ids).collect())
    }

    /// The best candidates, and the ids that were read on the way.
    async fn decided(
        &self,
        known: &[f32],
        stats: &mut SearchStats,
    ) -> Result<(Vec<Scored>, KnownIds), Error> {
        let (params, schema) = (&self.request.params, &self.reader.shared.schema);
        let first = self.request.candidates(schema.quantization);
        let all_segments: Vec<usize> = (0..self.entries.len()).collect();
        let Some(part) = params.rescore.part_of_bounds() else {
            let Found { candidates, ids, .. } = self.candidates(&all_segments, first, stats).await?;
            return Ok((candidates, ids));
        };
        let candidates_max = self.request.candidates_max(schema.quantization);
        // A walk finds `ef` anyway.
        let mut found_max =
            candidates_max.map_or(first, |candidates_max| first.max(params.ef.min(candidates_max)));
        let Found { candidates: mut waiting, mut rests, mut ids } =
            self.candidates(&all_segments, found_max, stats).await?;
        order_ties_at(&mut waiting, first, self.entries, &ids, self.control, &mut stats.read).await?;
        let mut candidates: Vec<Scored> = waiting.drain(..first.min(waiting.len())).collect();
        let asked_for = candidates.len();
        decide(&mut candidates, &waiting, known, self.request.wanted(), part);
        let may_be_better = |at_least: f32| rests.iter().any(|&(_, at_most)| at_most >= at_least);
        for candidate in &mut candidates {
            candidate.sure &= !may_be_better(candidate.at_least(part));
        }
        let (sure, undecided): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| self.is_told(candidate, part));
        stats.vectors_spared += (asked_for - undecided.len()) as u64;
        let mut ranked = undecided.len();
        let mut scored = self.rank(undecided, stats).await?;
        scored.extend(sure);
        let Some(candidates_max) = candidates_max else { return Ok((scored, ids)) };
        let best_possible = best_possible(schema.distance, self.request.score_threshold);
        loop {
            let mut scores: Vec<f32> = scored.iter().map(|scored| scored.at_least(part)).collect();
            scores.extend(known);
            let worst = nth_best(&mut scores, self.request.wanted() - 1).unwrap_or(f32::NEG_INFINITY);
            let may_be_hit = |at_most: f32| at_most.min(best_possible) > worst;
            waiting.retain(|candidate| may_be_hit(candidate.at_most(part)));
            rests.retain(|&(_, at_most)| may_be_hit(at_most));
            if waiting.is_empty() && rests.is_empty() {
                return Ok((scored, ids));
            }
            if ranked == candidates_max || waiting.is_empty() && found_max == candidates_max {
                stats.undecided = true;
                return Ok((scored, ids));
            }
            if waiting.is_empty() {
                found_max = (found_max * GROWTH).min(candidates_max);
                let segments: Vec<usize> = rests.iter().map(|&(segment, _)| segment).collect();
                let known: HashSet<(usize, u32)> =
                    scored.iter().map(|scored| (scored.segment, scored.point)).collect();
                let found = self.candidates(&segments, found_max, stats).await?;
                (waiting, rests) = (found.candidates, found.rests);
                ids.extend(found.ids);
                waiting.retain(|candidate| !known.contains(&(candidate.segment, candidate.point)));
            } else {
                let count = waiting.len().min(ranked.max(RANKED_MIN)).min(candidates_max - ranked);
                ranked += count;
                scored.extend(self.rank(waiting.drain(..count).collect(), stats).await?);
            }
        }
    }

    /// Whether the codes decide about a candidate, so that its vector need not be read.
    fn is_told(&self, candidate: &Scored, part: f32) -> bool {
        let is_near =
            |score| near_enough(self.reader.shared.schema.distance, score, self.request.score_threshold);
        self.request.params.rescore != Rescore::All
            && candidate.sure
            && is_near(candidate.at_least(part)) == is_near(candidate.at_most(part))
    }

    /// The best `wanted` candidates of each of some segments by their codes.
    async fn candidates(
        &self,
        segments: &[usize],
        wanted: usize,
        stats: &mut SearchStats,
    ) -> Result<Found, Error> {
        let params = &self.request.params;
        let candidates_max = self.request.candidates_max(self.reader.shared.schema.quantization);
        let mut prepared = self.request.vector.clone();
        self.reader.shared.schema.distance.prepare(&mut prepared);
        let searches = segments.iter().map(async |&segment| {
            let (entry, allowed) = (&self.entries[segment], &self.allowed[segment]);
            let scorer = entry.reader.data.codec.query(&prepared);
            let search = CandidateSearch {
                prepared: &prepared,
                scorer: &*scorer,
                wanted,
                ef: params.ef.max(self.request.wanted()),
                allowed: allowed.as_ref().map_or(Allowed::Except(&entry.deleted), Allowed::Only),
                scan_max: params.scan_max,
                scan_ratio: params.scan_ratio,
                bounded: params.rescore != Rescore::Never,
                part_of_rest: candidates_max.and(params.rescore.part_of_bounds()),
                control: self.control,
            };
            let mut stats = CandidateStats::default();
            let mut scratch = self.reader.take_scratch();
            let found = search.run(&entry.reader, scratch.get(), &mut stats).await?;
            Ok::<_, Error>((segment, found, stats))
        });
        let (mut candidates, mut rests, mut ids) = (Vec::new(), Vec::new(), KnownIds::new());
        for (segment, found, cost) in try_join_all(searches).await? {
            let scored =
                |Bounded { point, score, bound }| Scored { segment, point, score, bound, sure: false };
            candidates.extend(found.best.into_iter().map(scored));
            rests.push((segment, found.rest));
            ids.extend(found.ids.into_iter().map(|(point, id)| ((segment, point), id)));
            stats.codes_scored += cost.codes_scored;
            stats.read.add(&cost.read);
        }
        candidates.sort_unstable_by(|a, b| {
            by_score(a, b).then_with(|| (a.segment, a.point).cmp(&(b.segment, b.point)))
        });
        Ok(Found { candidates, rests, ids })
    }

    /// Scores candidates by their vectors, read in one batch a segment, all segments at once.
    pub(super) async fn rank(
        &self,
        candidates: Vec<Scored>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Scored>, Error> {
        let reads = (0..self.entries.len()).map(async |segment| {
            let own = candidates.iter().filter(|candidate| candidate.segment == segment);
            let points: Vec<u32> = own.map(|candidate| candidate.point).collect();
            self.score(segment, &points).await
        });
        let mut scored = Vec::with_capacity(candidates.len());
        for (found, read) in try_join_all(reads).await? {
            stats.vectors_scored += found.len() as u64;
            stats.read.add(&read);
            scored.extend(found);
        }
        Ok(scored)
    }

    pub(super) async fn score(
        &self,
        segment: usize,
        points: &[u32],
    ) -> Result<(Vec<Scored>, ReadStats), Error> {
        let element = self.reader.shared.schema.element;
        let mut scored: Vec<Scored> = points
            .iter()
            .map(|&point| Scored { segment, point, score: 0.0, bound: 0.0, sure: false })
            .collect();
        let sink = |index: usize, bytes: &[u8]| {
            scored[index].score = element::score(element, bytes, self.scorer);
        };
        let read = self.entries[segment].reader.vectors.read(points, self.control, sink).await?;
        Ok((scored, read))
    }
}
