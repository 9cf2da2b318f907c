//! Walking the graph.

use super::scores::Scores;
use super::ways::Ways;
use super::{Allowed, CandidateSearch, CandidateStats, Known};
use crate::error::Error;
use crate::immutable::graph::GraphData;
use crate::immutable::segment::SegmentReader;
use vecstore_index::cells::CellScratch;
use vecstore_index::graph::{Candidate, GraphSearch, LinkedScratch, SearchScratch, Step};

/// Allowed points where a filtered search also begins.
const SEEDS: u64 = 16;

impl CandidateSearch<'_> {
    /// Walks the graph and keeps the best `kept` points. Returns `None` if the walk ends early: the allowed
    /// points are then not all connected.
    pub(super) async fn walk(
        &self,
        (segment, graph): (&SegmentReader, &GraphData),
        allowed: Allowed<'_>,
        kept: usize,
        scratch: &mut WalkScratch,
        known: &mut Known,
        stats: &mut CandidateStats,
    ) -> Result<Option<(Vec<Candidate>, f32)>, Error> {
        let WalkScratch { search, ways, scores, seen, .. } = scratch;
        seen.clear();
        let some_forbidden = !matches!(allowed, Allowed::Except(deleted) if deleted.is_empty());
        // The entry point may be forbidden and still take a place.
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
                    ways.expand((segment, graph), node, self.control, around, &mut search, stats).await?;
                    search.links(&ways.allowed);
                }
                Step::Expand { node, level } => search.links(graph.upper_links(node, level)),
                Step::Score(points) => {
                    self.score(segment, points, scores, known, stats).await?;
                    if self.part_of_rest.is_some() {
                        seen.extend(scores.of(points, self.part_of_rest));
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
}

/// The best score of a point that was scored but not returned. The walk also scores points on upper levels
/// and forbidden ones.
pub(super) fn best_of_others(seen: &[(u32, f32, f32)], found: &[Candidate], allowed: Allowed<'_>) -> f32 {
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

/// The memory of a walk, to be used again by the next one.
#[derive(Default)]
pub(crate) struct WalkScratch {
    pub(super) search: SearchScratch,
    pub(super) linked: LinkedScratch,
    pub(super) cells: CellScratch,
    ways: Ways,
    pub(super) scores: Scores,
    /// What was scored, as [`Scores::of`] gives it.
    pub(super) seen: Vec<(u32, f32, f32)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use roaring::RoaringBitmap;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// For any choice of the found points among those that were scored, also if better ones were scored
        /// only on upper levels.
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
