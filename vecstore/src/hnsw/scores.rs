//! How the builder asks for scores between points, and the answer from `f32` vectors in memory. The answer from codes is
//! [`CodeScores`].

use crate::distance::Distance;
use crate::kernels::Kernels;
use crate::quantization::CodeScores;

/// Scores between the points of a graph under construction: symmetric, higher is better, the same at every call.
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
}

/// Scores between prepared vectors of `f32`.
#[derive(Clone, Copy, Debug)]
pub struct VectorScores<'a> {
    distance: Distance,
    vectors: &'a [f32],
    dim: usize,
    kernels: &'static Kernels,
}

impl<'a> VectorScores<'a> {
    /// Scores between vectors of `dim` components each, one after the other.
    ///
    /// # Panics
    ///
    /// When `dim` is 0 or the length is no multiple of it.
    #[must_use]
    pub fn new(distance: Distance, vectors: &'a [f32], dim: usize) -> Self {
        assert!(dim > 0 && vectors.len().is_multiple_of(dim), "whole vectors of dimension {dim}");
        Self { distance, vectors, dim, kernels: Kernels::get() }
    }

    #[inline]
    fn vector(&self, point: u32) -> &[f32] {
        let start = point as usize * self.dim;
        &self.vectors[start..start + self.dim]
    }
}

impl PointScores for VectorScores<'_> {
    fn len(&self) -> usize {
        self.vectors.len() / self.dim
    }

    #[inline]
    fn score(&self, a: u32, b: u32) -> f32 {
        self.distance.score_with(self.kernels, self.vector(a), self.vector(b))
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
}
