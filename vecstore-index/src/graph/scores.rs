//! How the builder asks for scores between points. [`CodeScores`] answers from int8 codes.

use vecstore_quant::CodeScores;

/// Scores between the points of a graph under construction. They are symmetric, higher is better, and each
/// call returns the same.
///
/// The builder is generic over it, so that its inner loop is compiled for each implementation.
pub trait PointScores: Sync {
    /// Number of points; their ids are `0..len`.
    fn len(&self) -> usize;

    /// Whether there is no point.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of two points.
    fn score(&self, a: u32, b: u32) -> f32;

    /// The scores of a point with each of some others. An implementation may fetch those to come while it
    /// scores one.
    fn score_many(&self, point: u32, others: &[u32], scores: &mut [f32]) {
        for (score, &other) in scores.iter_mut().zip(others) {
            *score = self.score(point, other);
        }
    }
}

impl PointScores for CodeScores<'_> {
    fn len(&self) -> usize {
        self.codes().len()
    }

    #[inline]
    fn score(&self, a: u32, b: u32) -> f32 {
        CodeScores::score(self, a, b)
    }

    #[inline]
    fn score_many(&self, point: u32, others: &[u32], scores: &mut [f32]) {
        CodeScores::score_many(self, point, others, scores);
    }
}
