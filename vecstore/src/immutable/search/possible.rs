//! Every point that may be among the best, by bounds that are certain.

use super::scan::SCAN_BATCH;
use super::scores::Scores;
use super::{Allowed, Bounded, CandidateSearch, CandidateStats, Known};
use crate::error::Error;
use crate::immutable::segment::SegmentReader;
use vecstore_index::TopK;

/// The points of a segment that may be among the best are in memory. If more are left than this, and than
/// twice as many as are wanted, codes decide nothing.
const POSSIBLE_MAX: usize = 1 << 20;

/// The best lower bounds of scores. A point whose upper bound is below the last of them is no hit.
pub(crate) type AtLeast = TopK<f32, fn(&f32, &f32) -> std::cmp::Ordering>;

impl CandidateSearch<'_> {
    /// Scores all allowed points, and returns those that may be among the best of all that `at_least` has
    /// seen. `None` if these are too many.
    pub(crate) async fn possible(
        &self,
        segment: &SegmentReader,
        at_least: &mut AtLeast,
        stats: &mut CandidateStats,
    ) -> Result<Option<Vec<Bounded>>, Error> {
        let points = match self.allowed {
            Allowed::Only(points) => points.clone(),
            Allowed::Except(deleted) => segment.all() - deleted,
        };
        let (mut possible, mut checked) = (Vec::new(), SCAN_BATCH);
        let (mut scores, mut batch, mut points) = (Scores::default(), Vec::new(), points.iter());
        loop {
            batch.clear();
            batch.extend(points.by_ref().take(SCAN_BATCH));
            if batch.is_empty() {
                keep_possible(&mut possible, at_least.threshold().copied());
                return Ok(Some(possible));
            }
            self.check_stop()?;
            self.score(segment, &batch, &mut scores, &mut Known::default(), stats).await?;
            for found in scores.bounded(&batch) {
                at_least.offer(found.at_least());
                possible.push(found);
            }
            // Most points are soon out of reach.
            if possible.len() >= 2 * checked {
                keep_possible(&mut possible, at_least.threshold().copied());
                checked = possible.len().max(SCAN_BATCH);
                if checked > POSSIBLE_MAX.max(2 * self.wanted) {
                    return Ok(None);
                }
            }
        }
    }
}

/// Drops the points that cannot reach a score. Those that may equal it are kept, since ids decide then.
pub(crate) fn keep_possible(points: &mut Vec<Bounded>, score: Option<f32>) {
    if let Some(score) = score {
        points.retain(|point| point.at_most() >= score);
    }
}
