//! Scoring codes, which are in memory or on disk.

use super::{Bounded, CandidateSearch, CandidateStats, Known};
use crate::error::Error;
use crate::immutable::segment::{CodesData, SegmentReader};

/// The scores of some codes, and the bounds of their errors, if they are asked for.
#[derive(Default)]
pub(super) struct Scores {
    pub(super) scores: Vec<f32>,
    bounds: Vec<f32>,
}

impl Scores {
    /// Each of the points that were scored, with its score and bound.
    pub(super) fn bounded(&self, points: &[u32]) -> impl Iterator<Item = Bounded> {
        let scores = self.scores.iter().zip(&self.bounds);
        points.iter().zip(scores).map(|(&point, (&score, &bound))| Bounded { point, score, bound })
    }

    /// Each of the points that were scored, with its score and the best that its vector may have.
    pub(super) fn of(
        &self,
        points: &[u32],
        part_of_rest: Option<f32>,
    ) -> impl Iterator<Item = (u32, f32, f32)> {
        self.bounded(points).map(move |scored| scored.with_best(part_of_rest))
    }
}

impl Bounded {
    /// The point, its score, and the best score that its vector may have. Only this part of the bound counts.
    pub(super) fn with_best(self, part_of_rest: Option<f32>) -> (u32, f32, f32) {
        let at_most = match part_of_rest {
            // Bytes that encode no vector may score NaN. Nothing is known then.
            Some(part) if (self.score + part * self.bound).is_nan() => f32::INFINITY,
            Some(part) => self.score + part * self.bound,
            None => f32::NEG_INFINITY,
        };
        (self.point, self.score, at_most)
    }
}

impl CandidateSearch<'_> {
    pub(super) async fn score(
        &self,
        segment: &SegmentReader,
        points: &[u32],
        scores: &mut Scores,
        known: &mut Known,
        stats: &mut CandidateStats,
    ) -> Result<(), Error> {
        stats.codes_scored += points.len() as u64;
        let Scores { scores, bounds: all_bounds } = scores;
        scores.resize(points.len(), 0.0);
        all_bounds.clear();
        all_bounds.resize(points.len(), f32::INFINITY);
        match (&segment.data.codes, &segment.codes) {
            (CodesData::Pinned(records), _) => {
                self.scorer.score_many(records, points, scores);
                if self.part_of_rest.is_some() {
                    let record_bytes = segment.data.codec.record_bytes();
                    for ((&point, &score), bound) in points.iter().zip(&*scores).zip(all_bounds) {
                        *bound = self.bound(&records[point as usize * record_bytes..], score);
                    }
                }
            }
            (CodesData::OnDisk(_), Some(file)) => {
                let sink = |index: usize, record: &[u8]| {
                    (scores[index], all_bounds[index]) =
                        self.score_record(segment, points[index], record, known);
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

    /// The score of a record on disk, and its bound, which is infinite if nobody wants it.
    pub(super) fn score_record(
        &self,
        segment: &SegmentReader,
        point: u32,
        record: &[u8],
        known: &mut Known,
    ) -> (f32, f32) {
        let (code, id) = record.split_at(segment.data.codec.record_bytes());
        if !id.is_empty() {
            known.ids.insert(point, segment.data.ids.in_record(point, id));
        }
        let score = self.scorer.score(code);
        let mut bound = f32::INFINITY;
        if self.bounded {
            bound = self.bound(code, score);
            known.bounds.insert(point, bound);
        }
        // Bytes that encode no vector may score NaN, which counts as the worst score.
        (score.max(f32::NEG_INFINITY), bound)
    }
}
