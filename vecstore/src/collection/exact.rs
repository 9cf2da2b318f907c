//! Exact search of the segments. Its answer is proven: no vector that was not read can be a hit.
//!
//! Some codes have bounds that always hold. With these, all codes are scored first, and then only the vectors
//! are read that may be among the best. Without such bounds, all vectors are read.

use super::decide::{Scored, nth_best};
use super::disk_search::DiskSearch;
use super::request::SearchStats;
use super::ties::{KnownIds, by_score_and_id, ids_of, keep_best_and_ties};
use crate::error::Error;
use crate::immutable::search::{Allowed, AtLeast, Bounded, CandidateSearch, CandidateStats, keep_possible};
use crate::point::PointId;
use crate::schema::{ElementType, Placement, Schema};
use vecstore_index::TopK;

/// Vectors that are read in one batch if all are read.
const ALL_BATCH: usize = 4096;
/// The least number of vectors in a batch after the first. Each batch may decide the rest.
const FURTHER_MIN: usize = 8;

impl DiskSearch<'_> {
    /// The best of all vectors that are allowed, in no order, with those that tie with the last of them.
    /// `known` are the scores of points in memory.
    pub(super) async fn exact(
        &self,
        known: &[f32],
        stats: &mut SearchStats,
    ) -> Result<Vec<(Scored, PointId)>, Error> {
        let wanted = self.request.wanted();
        let possible = if self.codes_spare_reads() { self.possible(known, stats).await? } else { None };
        let Some(possible) = possible else { return self.exact_by_vectors(stats).await };
        let mut waiting = possible.into_iter();
        let mut scored: Vec<Scored> = Vec::new();
        loop {
            let mut scores: Vec<f32> = scored.iter().map(|scored| scored.score).collect();
            scores.extend(known);
            let worst = nth_best(&mut scores, wanted - 1);
            let at_once = if scored.is_empty() { wanted } else { FURTHER_MIN.max(scored.len() / 8) };
            let may_be_hit = |point: &Scored| worst.is_none_or(|worst| point.at_most(1.0) >= worst);
            let next: Vec<Scored> = waiting.by_ref().take(at_once).filter(may_be_hit).collect();
            if next.is_empty() {
                break;
            }
            scored.extend(self.rank(next, stats).await?);
        }
        keep_best_and_ties(&mut scored, wanted);
        let ids = ids_of(&scored, self.entries, &KnownIds::new(), self.control, &mut stats.read).await?;
        Ok(scored.into_iter().zip(ids).collect())
    }

    /// Whether codes have certain bounds, and reading them costs less than reading all vectors.
    fn codes_spare_reads(&self) -> bool {
        let Schema { quantization, element, placement, .. } = &self.reader.shared.schema;
        let is_pinned = |placement| placement == Placement::Pinned;
        // The code of a vector of bytes is longer than the vector.
        let are_dear = *element == ElementType::U8 || is_pinned(placement.vectors);
        quantization.has_certain_bounds() && (is_pinned(placement.codes) || !are_dear)
    }

    /// Every point that may be among the best by its codes. The best possible score comes first. `None` if
    /// there are so many that the codes decide nothing.
    async fn possible(&self, known: &[f32], stats: &mut SearchStats) -> Result<Option<Vec<Scored>>, Error> {
        let wanted = self.request.wanted();
        let mut at_least = AtLeast::new(wanted, |a, b| b.total_cmp(a));
        known.iter().for_each(|&score| at_least.offer(score));
        let mut prepared = self.request.vector.clone();
        self.reader.shared.schema.distance.prepare(&mut prepared);
        let mut by_segment = Vec::with_capacity(self.entries.len());
        for (entry, allowed) in self.entries.iter().zip(self.allowed) {
            let scorer = entry.reader.data.codec.query(&prepared);
            let search = CandidateSearch {
                prepared: &prepared,
                scorer: &*scorer,
                wanted,
                ef: 0,
                allowed: allowed.as_ref().map_or(Allowed::Except(&entry.deleted), Allowed::Only),
                scan_max: 0,
                scan_ratio: 0.0,
                bounded: true,
                part_of_rest: Some(1.0),
                control: self.control,
            };
            let mut cost = CandidateStats::default();
            let found = search.possible(&entry.reader, &mut at_least, &mut cost).await?;
            stats.codes_scored += cost.codes_scored;
            stats.read.add(&cost.read);
            let Some(found) = found else { return Ok(None) };
            by_segment.push(found);
        }
        // With fewer points than wanted, all of them are possible.
        let at_least = at_least.into_sorted().get(wanted - 1).copied();
        let mut possible = Vec::new();
        for (segment, mut points) in by_segment.into_iter().enumerate() {
            keep_possible(&mut points, at_least);
            possible.extend(points.into_iter().map(|Bounded { point, score, bound }| Scored {
                segment,
                point,
                score,
                bound,
                sure: false,
            }));
        }
        let key = |scored: &Scored| (scored.segment, scored.point);
        possible.sort_unstable_by(|a, b| {
            b.at_most(1.0).total_cmp(&a.at_most(1.0)).then_with(|| key(a).cmp(&key(b)))
        });
        Ok(Some(possible))
    }

    /// Reads all vectors.
    ///
    /// Ids are read only of points in a batch that may be hits. With many equal vectors these are all points
    /// of the batch, never more.
    async fn exact_by_vectors(&self, stats: &mut SearchStats) -> Result<Vec<(Scored, PointId)>, Error> {
        let wanted = self.request.wanted();
        let mut best = TopK::new(wanted, by_score_and_id);
        for (segment, (entry, allowed)) in self.entries.iter().zip(self.allowed).enumerate() {
            let points: Vec<u32> = match allowed {
                Some(allowed) => allowed.iter().collect(),
                None => (entry.reader.all() - &*entry.deleted).iter().collect(),
            };
            for batch in points.chunks(ALL_BATCH) {
                let (mut found, read) = self.score(segment, batch).await?;
                stats.vectors_scored += found.len() as u64;
                stats.read.add(&read);
                found.retain(|scored| best.threshold().is_none_or(|(worst, _)| scored.score >= worst.score));
                keep_best_and_ties(&mut found, wanted);
                let ids =
                    ids_of(&found, self.entries, &KnownIds::new(), self.control, &mut stats.read).await?;
                found.into_iter().zip(ids).for_each(|scored| best.offer(scored));
            }
        }
        Ok(best.into_vec())
    }
}
