//! Scoring codes, which are in memory or on disk.

use super::{Bounds, CandidateSearch, CandidateStats};
use crate::error::Error;
use crate::immutable::segment::{CodesData, SegmentReader};

/// The scores of some codes, and the best that their vectors may have, if that is asked for.
#[derive(Default)]
pub(super) struct Scores {
    pub(super) scores: Vec<f32>,
    at_most: Vec<f32>,
}

impl Scores {
    /// Each of the points that were scored with its two scores.
    pub(super) fn of(&self, points: &[u32]) -> impl Iterator<Item = (u32, f32, f32)> {
        let scores = self.scores.iter().zip(&self.at_most);
        points.iter().zip(scores).map(|(&point, (&score, &at_most))| (point, score, at_most))
    }
}

impl CandidateSearch<'_> {
    pub(super) async fn score(
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
            // Bytes that encode no vector may score NaN. Nothing is known then.
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
        // Bytes that encode no vector may score NaN, which counts as the worst score.
        scores.iter_mut().for_each(|score| *score = score.max(f32::NEG_INFINITY));
        Ok(())
    }
}
