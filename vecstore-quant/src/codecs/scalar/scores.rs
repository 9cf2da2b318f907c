//! Scoring codes against each other.

use super::codes::ScalarCodes;
use super::query::combine;
use crate::distance::Distance;
use crate::kernels::Kernels;

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

    /// The score of two points' codes, higher is better.
    ///
    /// # Panics
    ///
    /// If there is no such point.
    #[must_use]
    #[inline]
    pub fn score(&self, a: u32, b: u32) -> f32 {
        let sum = (self.kernels.dot_i8_i8)(self.codes.code(a), self.codes.code(b));
        let (a, b) = (&self.codes.params[a as usize], &self.codes.params[b as usize]);
        let dim = self.codes.dim as f32;
        // Codes need not add up to zero, as deviations do. Their mean is (mean - offset) / scale.
        let deviations = a.scale * b.scale * sum as f32 - dim * ((a.mean - a.offset) * (b.mean - b.offset));
        combine(self.distance, dim, deviations, (a.mean, a.deviation_sq), b)
    }
}
