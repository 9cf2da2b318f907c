//! Every point that may be among the best, by bounds that are certain.

use super::scan::SCAN_BATCH;
use super::scores::Scores;
use super::{Allowed, Bounded, Bounds, CandidateSearch, CandidateStats};
use crate::error::Error;
use crate::immutable::segment::SegmentReader;
use vecstore_index::TopK;

/// The worst scores that the best points may have. Points whose best possible score is below the last of them
/// are none of the best.
pub(crate) type AtLeast = TopK<f32, fn(&f32, &f32) -> std::cmp::Ordering>;

impl CandidateSearch<'_> {
    /// Scores all allowed points, and returns those that may be among the best of all that `at_least` has
    /// seen.
    pub(crate) async fn possible(
        &self,
        segment: &SegmentReader,
        at_least: &mut AtLeast,
        stats: &mut CandidateStats,
    ) -> Result<Vec<Bounded>, Error> {
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
                return Ok(possible);
            }
            self.check_stop()?;
            self.score(segment, &batch, &mut scores, &mut Bounds::new(), stats).await?;
            for found in scores.bounded(&batch) {
                at_least.offer(found.at_least());
                possible.push(found);
            }
            // Most points are soon out of reach.
            if possible.len() >= 2 * checked {
                keep_possible(&mut possible, at_least.threshold().copied());
                checked = possible.len().max(SCAN_BATCH);
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
