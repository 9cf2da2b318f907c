//! Scoring codes against each other.

use super::codes::ScalarCodes;
use super::query::combine;
use crate::distance::Distance;
use crate::kernels::{Kernels, prefetch};

/// Codes that are fetched from memory while one is scored.
const FETCHED: usize = 8;

/// Scores codes against each other, to build a graph when only the codes are in memory.
#[derive(Clone, Copy, Debug)]
pub struct CodeScores<'a> {
    distance: Distance,
    codes: &'a ScalarCodes,
    kernels: &'static Kernels,
}

impl<'a> CodeScores<'a> {
    /// Scores between these codes.
    #[must_use]
    pub fn new(distance: Distance, codes: &'a ScalarCodes) -> Self {
        Self { distance, codes, kernels: Kernels::get() }
    }

    /// The codes.
    #[must_use]
    pub fn codes(&self) -> &'a ScalarCodes {
        self.codes
    }

    /// The scores of a point with each of some others, as [`CodeScores::score`] gives them. Codes of the next
    /// points are fetched meanwhile.
    ///
    /// # Panics
    ///
    /// If there is no such point.
    #[inline]
    pub fn score_many(&self, point: u32, others: &[u32], scores: &mut [f32]) {
        others.iter().take(FETCHED).for_each(|&other| self.fetch(other));
        for (index, (score, &other)) in scores.iter_mut().zip(others).enumerate() {
            if let Some(&coming) = others.get(index + FETCHED) {
                self.fetch(coming);
            }
            *score = self.score(point, other);
        }
    }

    #[inline]
    fn fetch(&self, point: u32) {
        prefetch(bytemuck::cast_slice(self.codes.code(point)));
        prefetch(bytemuck::bytes_of(&self.codes.params[point as usize]));
    }

    /// The score of two points' codes, higher is better.
    ///
    /// # Panics
    ///
    /// If there is no such point.
    #[must_use]
    #[inline]
    pub fn score(&self, a: u32, b: u32) -> f32 {
        self.score_with(a, self.codes, b)
    }

    /// The scores of a point with points of other codes, as [`CodeScores::score`] gives them.
    ///
    /// # Panics
    ///
    /// If there is no such point, or the dimensions differ.
    #[inline]
    pub fn score_others(&self, point: u32, codes: &ScalarCodes, others: &[u32], scores: &mut [f32]) {
        for (score, &other) in scores.iter_mut().zip(others) {
            *score = self.score_with(point, codes, other);
        }
    }

    #[inline]
    fn score_with(&self, a: u32, codes: &ScalarCodes, b: u32) -> f32 {
        let sum = (self.kernels.dot_i8_i8)(self.codes.code(a), codes.code(b));
        let (a, b) = (&self.codes.params[a as usize], &codes.params[b as usize]);
        let dim = self.codes.dim as f32;
        // Codes need not add up to zero, as deviations do. Their mean is (mean - offset) / scale.
        let deviations = a.scale * b.scale * sum as f32 - dim * ((a.mean - a.offset) * (b.mean - b.offset));
        combine(self.distance, dim, deviations, (a.mean, a.deviation_sq), b)
    }
}
