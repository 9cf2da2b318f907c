//! Scoring codes against a query.

use super::codes::ScalarCodes;
use super::encode::{DIM_MAX, ScalarParams};
use crate::distance::Distance;
use crate::kernels::Kernels;

/// A query in the form that scores codes with integers.
#[derive(Clone, Debug)]
pub struct ScalarQuery {
    distance: Distance,
    /// The deviation of the components from their mean, in units of `step`.
    deviations: Vec<i16>,
    step: f32,
    mean: f32,
    deviation_sq: f32,
    dim: f32,
    kernels: &'static Kernels,
}

impl ScalarQuery {
    /// A query for codes, from a prepared vector.
    ///
    /// # Panics
    ///
    /// If the dimension is 0 or above [`DIM_MAX`].
    #[must_use]
    pub fn new(distance: Distance, prepared: &[f32]) -> Self {
        Self::with_kernels(Kernels::get(), distance, prepared)
    }

    /// As [`ScalarQuery::new`], with kernels of choice. All kernels give the same scores.
    ///
    /// # Panics
    ///
    /// As [`ScalarQuery::new`].
    #[must_use]
    pub(crate) fn with_kernels(kernels: &'static Kernels, distance: Distance, prepared: &[f32]) -> Self {
        let dim = prepared.len();
        assert!((1..=DIM_MAX).contains(&dim), "a query has 1 to {DIM_MAX} components");
        let mean = sum(prepared, f64::from) / dim as f64;
        let deviations: Vec<f64> = prepared.iter().map(|&x| f64::from(x) - mean).collect();
        let deviation_sq = sum(&deviations, |deviation| deviation * deviation);
        let (deviations, step) = integers(&deviations);
        Self {
            distance,
            deviations,
            step: step as f32,
            mean: mean as f32,
            deviation_sq: deviation_sq as f32,
            dim: dim as f32,
            kernels,
        }
    }

    /// The score of a code, higher is better.
    ///
    /// # Panics
    ///
    /// If the code is not of the query's dimension.
    #[must_use]
    #[inline]
    pub(crate) fn score(&self, code: &[i8], params: &ScalarParams) -> f32 {
        self.score_of_sum((self.kernels.dot_i8_i16)(code, &self.deviations) as f32, params)
    }

    /// The score from the dot product of a code with [`ScalarQuery::deviations`].
    #[inline]
    pub(in crate::codecs) fn score_of_sum(&self, sum: f32, params: &ScalarParams) -> f32 {
        let deviations = self.step * params.scale * sum;
        combine(self.distance, self.dim, deviations, (self.mean, self.deviation_sq), params)
    }

    pub(in crate::codecs) fn deviations(&self) -> &[i16] {
        &self.deviations
    }

    /// The mean, the value of one step of a deviation, and the squared norm of the deviations.
    pub(in crate::codecs) fn parts(&self) -> (f32, f32, f32) {
        (self.mean, self.step, self.deviation_sq)
    }

    /// The scores of some points, in their order.
    ///
    /// # Panics
    ///
    /// If there is no such point, the dimensions differ, or `scores` is shorter than `points`.
    #[inline]
    pub fn score_many(&self, codes: &ScalarCodes, points: &[u32], scores: &mut [f32]) {
        let scores = &mut scores[..points.len()];
        for (score, &point) in scores.iter_mut().zip(points) {
            *score = self.score(codes.code(point), &codes.params[point as usize]);
        }
    }
}

/// The sum of a figure of each component, in `f64`. Partial sums need not wait for each other.
pub(in crate::codecs) fn sum<T: Copy>(components: &[T], figure: impl Fn(T) -> f64) -> f64 {
    const PARTS: usize = 8;
    let (chunks, rest) = components.as_chunks::<PARTS>();
    let mut sums = [0.0; PARTS];
    for chunk in chunks {
        for (sum, &component) in sums.iter_mut().zip(chunk) {
            *sum += figure(component);
        }
    }
    sums.into_iter().chain(rest.iter().map(|&component| figure(component))).sum()
}

/// A query's components in whole steps, and the value of a step. Steps are as fine as sums over int8 codes
/// allow.
pub(in crate::codecs) fn integers(components: &[f64]) -> (Vec<i16>, f64) {
    let largest = components.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let step = largest / f64::from(query_step_max(components.len()));
    let per_step = if step > 0.0 { step.recip() } else { 0.0 };
    // To the nearest whole number. `f64::round` is a call where the processor may be an old one.
    let whole = |x: &f64| (x * per_step + 0.5f64.copysign(*x)) as i16;
    (components.iter().map(whole).collect(), step)
}

/// The largest component of a query, in steps, with which no sum over codes of this dimension leaves `i32`.
pub(super) fn query_step_max(dim: usize) -> i16 {
    let fits = i32::MAX / (128 * dim as i32);
    i16::try_from(fits).unwrap_or(i16::MAX)
}

/// Computes the score from the dot product of the deviations, and the mean and the squared deviation of both
/// sides. Products are grouped so that the sides can be exchanged. So scores between codes are symmetric to
/// the last bit.
#[inline]
pub(super) fn combine(
    distance: Distance,
    dim: f32,
    deviations: f32,
    (mean, deviation_sq): (f32, f32),
    params: &ScalarParams,
) -> f32 {
    match distance {
        Distance::Cosine | Distance::Dot => dim * (mean * params.mean) + deviations,
        Distance::Euclid => {
            let between_means = mean - params.mean;
            let squared = dim * (between_means * between_means)
                + (deviation_sq + params.deviation_sq - 2.0 * deviations);
            -squared.max(0.0)
        }
    }
}
