//! Scoring every allowed point.

use super::scores::Scores;
use super::{CandidateSearch, CandidateStats, Known};
use crate::error::Error;
use crate::immutable::segment::SegmentReader;
use roaring::RoaringBitmap;
use std::collections::HashSet;
use vecstore_index::TopK;
use vecstore_index::graph::Candidate;

/// Points whose codes are scored at once.
pub(super) const SCAN_BATCH: usize = 1024;

impl CandidateSearch<'_> {
    pub(super) async fn scan(
        &self,
        segment: &SegmentReader,
        points: &RoaringBitmap,
        known: &mut Known,
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
            self.score(segment, &batch, &mut scores, known, stats).await?;
            for (id, score, at_most) in scores.of(&batch, self.part_of_rest) {
                best.offer_or((Candidate { id, score }, at_most), |(_, at_most)| rest = rest.max(at_most));
            }
            if known.bounds.len().max(known.ids.len()) > 2 * best.iter().len() + SCAN_BATCH {
                let kept: HashSet<u32> = best.iter().map(|(found, _)| found.id).collect();
                known.bounds.retain(|point, _| kept.contains(point));
                known.ids.retain(|point, _| kept.contains(point));
            }
        }
    }
}
