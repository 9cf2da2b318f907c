//! Scalar quantization to one byte a component, with the range of each vector. The codes of many vectors are
//! in memory, and are scored against a query and against each other.
//!
//! A component is stored as `offset + scale * code`. `code` is an `i8`, and `offset` is about the middle of
//! the vector's range. The decoded vector and the query are both split into their mean and the deviations
//! from it. Deviations add up to zero, so the cross terms of mean and deviation vanish. A score then takes
//! one integer sum:
//!
//! ```text
//! <q, x>   = dim * mean_q * mean_x + step_q * scale_x * sum(query_i * code_i)
//! |q - x|² = dim * (mean_q - mean_x)² + |dev_q|² + |dev_x|² - 2 * step_q * scale_x * sum(query_i * code_i)
//! ```
//!
//! No large numbers cancel if all components share a big offset. The query's deviation is an `i16` vector,
//! with as many bits as keep the sum within an `i32`. Up to 511 dimensions, these are all 15 bits. It costs
//! no more time than an int8 query, since the kernel widens to `i16` anyway. The codes remain the only
//! notable source of error.

use crate::distance::Distance;
use crate::kernels::Kernels;
use rayon::prelude::*;

/// The largest dimension of a vector. Its record of [`Quantization::Int8`](crate::Quantization::Int8) has
/// 65,536 bytes.
pub const DIM_MAX: usize = 65_520;

/// The parameters that are stored with the code of one vector. All are zero for a zero vector.
///
/// Plain old data of 16 bytes without padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct ScalarParams {
    /// The value of one step of the code: 1/255 of the range of the components. 0 if all components are
    /// equal.
    pub scale: f32,
    /// The value of code 0, about the middle of the range.
    pub offset: f32,
    /// Mean of the decoded components.
    pub mean: f32,
    /// Squared norm of the decoded vector's deviation from its mean.
    pub deviation_sq: f32,
}

/// Quantizes one prepared vector into `code`, of the same length. Returns the parameters to keep with it.
///
/// Every finite vector has a code, even if all its components are equal. The error of a component is at most
/// half a step, `scale / 2`, plus rounding of `f32`.
///
/// # Panics
///
/// If the lengths differ or exceed [`DIM_MAX`].
pub fn encode_into(vector: &[f32], code: &mut [i8]) -> ScalarParams {
    assert_eq!(vector.len(), code.len(), "a code has a byte for each component");
    assert!(vector.len() <= DIM_MAX, "codes have at most {DIM_MAX} components");
    code.fill(0);
    let (Some(min), Some(max)) =
        (vector.iter().copied().reduce(f32::min), vector.iter().copied().reduce(f32::max))
    else {
        return ScalarParams::default();
    };
    // The range of two finite `f32` may not fit in an `f32`. A 255th of it does.
    let (min, scale) = (f64::from(min), ((f64::from(max) - f64::from(min)) / 255.0) as f32);
    if scale <= 0.0 {
        return ScalarParams { scale: 0.0, offset: min as f32, mean: min as f32, deviation_sq: 0.0 };
    }
    let (mut sum, mut sum_sq) = (0i64, 0i64);
    for (code, &x) in code.iter_mut().zip(vector) {
        // Truncation after adding a half rounds to the nearest, since nothing here is negative.
        let step = ((f64::from(x) - min) / f64::from(scale) + 0.5) as i32;
        *code = (step.min(255) - 128) as i8;
        sum += i64::from(*code);
        sum_sq += i64::from(*code) * i64::from(*code);
    }
    let (dim, scale_f64) = (vector.len() as f64, f64::from(scale));
    let offset = (min + 128.0 * scale_f64) as f32;
    // Exact integers up to the division: dim * 2^14 * dim is below 2^53.
    let deviation_sq = (sum_sq * vector.len() as i64 - sum * sum) as f64 / dim;
    ScalarParams {
        scale,
        offset,
        mean: (f64::from(offset) + scale_f64 * (sum as f64 / dim)) as f32,
        deviation_sq: (scale_f64 * scale_f64 * deviation_sq) as f32,
    }
}

/// The codes of many vectors of one dimension, in memory, in the order of the points.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarCodes {
    dim: usize,
    codes: Vec<i8>,
    params: Vec<ScalarParams>,
}

/// Parts that do not make up codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodesError {
    /// A dimension that codes are not defined for.
    #[error("codes of dimension {dim}: it must be from 1 to {DIM_MAX}")]
    Dimension {
        /// The dimension given.
        dim: usize,
    },
    /// More points than an id can name.
    #[error("codes of {points} points: at most {} fit", u32::MAX)]
    TooManyPoints {
        /// The number of points given.
        points: usize,
    },
    /// The bytes of the codes are not the dimension times the number of points.
    #[error("{bytes} bytes of codes for {points} points of dimension {dim}")]
    Length {
        /// Components of a code.
        dim: usize,
        /// Points, by the parameters.
        points: usize,
        /// Bytes of codes found.
        bytes: usize,
    },
}

impl ScalarCodes {
    /// An empty set of codes, for vectors of this dimension.
    ///
    /// # Errors
    ///
    /// If the dimension is 0 or above [`DIM_MAX`].
    pub fn new(dim: usize) -> Result<Self, CodesError> {
        Self::from_parts(dim, Vec::new(), Vec::new())
    }

    /// Makes codes of the results of [`ScalarCodes::codes`] and [`ScalarCodes::params`], as read back from a
    /// file.
    ///
    /// # Errors
    ///
    /// If codes do not have this dimension, or the lengths do not fit together.
    pub fn from_parts(dim: usize, codes: Vec<i8>, params: Vec<ScalarParams>) -> Result<Self, CodesError> {
        if dim == 0 || dim > DIM_MAX {
            return Err(CodesError::Dimension { dim });
        }
        let points = params.len();
        if u32::try_from(points).is_err() {
            return Err(CodesError::TooManyPoints { points });
        }
        if dim.checked_mul(points) != Some(codes.len()) {
            return Err(CodesError::Length { dim, points, bytes: codes.len() });
        }
        Ok(Self { dim, codes, params })
    }

    /// Appends the codes of prepared vectors, `dim` components each, one after the other. Uses the current
    /// rayon pool.
    ///
    /// # Panics
    ///
    /// If the length is no multiple of the dimension.
    pub fn extend(&mut self, vectors: &[f32]) {
        assert!(vectors.len().is_multiple_of(self.dim), "whole vectors of dimension {}", self.dim);
        let (old, added) = (self.params.len(), vectors.len() / self.dim);
        self.codes.resize((old + added) * self.dim, 0);
        self.params.resize(old + added, ScalarParams::default());
        vectors
            .par_chunks_exact(self.dim)
            .zip(self.codes[old * self.dim..].par_chunks_exact_mut(self.dim))
            .zip(&mut self.params[old..])
            .with_min_len(64)
            .for_each(|((vector, code), params)| *params = encode_into(vector, code));
    }

    /// Makes room for `points` more points, so that [`ScalarCodes::extend`] need not move the existing ones.
    pub fn reserve_exact(&mut self, points: usize) {
        self.codes.reserve_exact(points * self.dim);
        self.params.reserve_exact(points);
    }

    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Components of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All codes, `len * dim` bytes.
    #[must_use]
    pub fn codes(&self) -> &[i8] {
        &self.codes
    }

    /// The parameters of all points.
    #[must_use]
    pub fn params(&self) -> &[ScalarParams] {
        &self.params
    }

    /// The code of a point.
    ///
    /// # Panics
    ///
    /// If there is no such point.
    #[must_use]
    #[inline]
    pub fn code(&self, point: u32) -> &[i8] {
        let start = point as usize * self.dim;
        &self.codes[start..start + self.dim]
    }

    /// Writes the vector that the code of a point stands for, in its prepared form.
    ///
    /// # Panics
    ///
    /// If there is no such point, or `vector` is not of its dimension.
    pub fn decode_into(&self, point: u32, vector: &mut [f32]) {
        assert_eq!(vector.len(), self.dim, "a vector of the dimension of the codes");
        let params = self.params[point as usize];
        for (x, &code) in vector.iter_mut().zip(self.code(point)) {
            let value = f64::from(params.offset) + f64::from(params.scale) * f64::from(code);
            // Near the ends of the range of `f32`, half a step may leave it.
            *x = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        }
    }
}

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
    pub fn with_kernels(kernels: &'static Kernels, distance: Distance, prepared: &[f32]) -> Self {
        let dim = prepared.len();
        assert!((1..=DIM_MAX).contains(&dim), "a query has 1 to {DIM_MAX} components");
        let mean = prepared.iter().copied().map(f64::from).sum::<f64>() / dim as f64;
        let deviations: Vec<f64> = prepared.iter().map(|&x| f64::from(x) - mean).collect();
        let deviation_sq = deviations.iter().map(|deviation| deviation * deviation).sum::<f64>();
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
    pub fn score(&self, code: &[i8], params: &ScalarParams) -> f32 {
        self.score_of_sum((self.kernels.dot_i8_i16)(code, &self.deviations) as f32, params)
    }

    /// The score from the dot product of a code with [`ScalarQuery::deviations`].
    #[inline]
    pub(super) fn score_of_sum(&self, sum: f32, params: &ScalarParams) -> f32 {
        let deviations = self.step * params.scale * sum;
        combine(self.distance, self.dim, deviations, (self.mean, self.deviation_sq), params)
    }

    pub(super) fn deviations(&self) -> &[i16] {
        &self.deviations
    }

    /// The mean, the value of one step of a deviation, and the squared norm of the deviations.
    pub(super) fn parts(&self) -> (f32, f32, f32) {
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

/// A query's components in whole steps, and the value of a step. Steps are as fine as sums over int8 codes
/// allow.
pub(super) fn integers(components: &[f64]) -> (Vec<i16>, f64) {
    let largest = components.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let step = largest / f64::from(query_step_max(components.len()));
    let whole = |x: &f64| if step > 0.0 { (x / step).round() as i16 } else { 0 };
    (components.iter().map(whole).collect(), step)
}

/// The largest component of a query, in steps, with which no sum over codes of this dimension leaves `i32`.
fn query_step_max(dim: usize) -> i16 {
    let fits = i32::MAX / (128 * dim as i32);
    i16::try_from(fits).unwrap_or(i16::MAX)
}

/// Computes the score from the dot product of the deviations, and the mean and the squared deviation of both
/// sides. Products are grouped so that the sides can be exchanged. So scores between codes are symmetric to
/// the last bit.
#[inline]
fn combine(
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn codes_of(vectors: &[f32], dim: usize) -> ScalarCodes {
        let mut codes = ScalarCodes::new(dim).unwrap();
        codes.extend(vectors);
        codes
    }

    fn decode(codes: &ScalarCodes, point: u32) -> Vec<f32> {
        let mut vector = vec![f32::NAN; codes.dim()];
        codes.decode_into(point, &mut vector);
        vector
    }

    /// The score in `f64`, term by term, and a magnitude that the errors of rounding are relative to.
    fn naive(distance: Distance, a: &[f32], b: &[f32]) -> (f64, f64) {
        let pairs = a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let magnitude = pairs.clone().map(|(a, b)| a * a + b * b).sum();
        let score = match distance {
            Distance::Cosine | Distance::Dot => pairs.map(|(a, b)| a * b).sum(),
            Distance::Euclid => -pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>(),
        };
        (score, magnitude)
    }

    #[test]
    fn a_code_is_what_the_definition_says() {
        let mut code = [0; 4];
        let params = encode_into(&[0.0, 255.0, 1.4, 100.6], &mut code);
        assert_eq!(code, [-128, 127, -127, -27]);
        let mean = (255.0 + 1.0 + 101.0) / 4.0;
        let deviations = [0.0, 255.0, 1.0, 101.0].map(|x: f32| (x - mean) * (x - mean));
        let deviation_sq = deviations.iter().sum();
        assert_eq!(params, ScalarParams { scale: 1.0, offset: 128.0, mean, deviation_sq });
    }

    #[test]
    fn vectors_without_a_range_have_codes() {
        for value in [0.0f32, -3.5, 1e-45, f32::MAX] {
            let codes = codes_of(&[value; 5], 5);
            let params = ScalarParams { scale: 0.0, offset: value, mean: value, deviation_sq: 0.0 };
            assert_eq!((codes.code(0), codes.params()), (&[0; 5][..], &[params][..]));
            assert_eq!(decode(&codes, 0), [value; 5]);
        }
        // The step of the smallest range is zero, so it counts as no range.
        assert_eq!(codes_of(&[0.0, 1e-45], 2).params()[0].scale, 0.0);
        let zero = codes_of(&[0.0; 3], 3);
        for distance in [Distance::Cosine, Distance::Dot] {
            let query = ScalarQuery::new(distance, &[1.0, 2.0, -7.0]);
            assert_eq!(query.score(zero.code(0), &zero.params()[0]), 0.0);
        }
        let query = ScalarQuery::new(Distance::Euclid, &[0.0; 3]);
        assert_eq!(query.score(zero.code(0), &zero.params()[0]), 0.0);
    }

    #[test]
    fn the_widest_range_is_encoded() {
        let codes = codes_of(&[f32::MIN, f32::MAX, 0.0], 3);
        assert_eq!(codes.code(0), [-128, 127, 0]);
        assert!(decode(&codes, 0).iter().all(|x| x.is_finite()));
    }

    /// Each component of code and query is at the end of its range. So the integer sum is as large as it
    /// gets.
    #[test]
    fn sums_fit_at_every_dimension() {
        for dim in [1, 2, 100, 511, 512, 513, 4096, 65_519, DIM_MAX] {
            let vector: Vec<f32> = (0..dim).map(|i| if i % 2 == 0 { -1.0 } else { 1.0 }).collect();
            let opposite: Vec<f32> = vector.iter().map(|x| -x).collect();
            let codes = codes_of(&vector, dim);
            let decoded = decode(&codes, 0);
            for query in [&vector, &opposite] {
                for distance in Distance::ALL {
                    let found = ScalarQuery::new(distance, query).score(codes.code(0), &codes.params()[0]);
                    let (expected, magnitude) = naive(distance, query, &decoded);
                    let error = (f64::from(found) - expected).abs();
                    assert!(error <= 1e-4 * magnitude, "{distance}, dim {dim}: {found}, not {expected}");
                }
            }
        }
        assert_eq!(
            (query_step_max(1), query_step_max(512), query_step_max(DIM_MAX)),
            (i16::MAX, 32_767, 256)
        );
        assert_eq!(query_step_max(513), 32_704);
    }

    /// A big offset common to all components must not drown the distances.
    #[test]
    fn euclid_survives_an_offset() {
        let near: Vec<f32> = (0..64).map(|i| 1000.0 + (i % 7) as f32 * 0.01).collect();
        let far: Vec<f32> = (0..64).map(|i| 1000.0 + (i % 5) as f32 * 0.01).collect();
        let query = ScalarQuery::new(Distance::Euclid, &near);
        let codes = codes_of(&[near.clone(), far.clone()].concat(), 64);
        let mut scores = [0.0; 2];
        query.score_many(&codes, &[0, 1], &mut scores);
        let (expected, _) = naive(Distance::Euclid, &near, &far);
        assert!(scores[0] > -1e-4, "{scores:?}");
        assert!((f64::from(scores[1]) / expected - 1.0).abs() < 0.05, "{scores:?}, {expected}");
    }

    #[test]
    fn wrong_parts_are_refused() {
        let params = vec![ScalarParams::default(); 2];
        let from = |dim, bytes| ScalarCodes::from_parts(dim, vec![0; bytes], params.clone());
        assert_eq!(from(0, 0), Err(CodesError::Dimension { dim: 0 }));
        assert_eq!(from(DIM_MAX + 1, 0), Err(CodesError::Dimension { dim: DIM_MAX + 1 }));
        assert_eq!(from(3, 5), Err(CodesError::Length { dim: 3, points: 2, bytes: 5 }));
        let codes = from(3, 6).unwrap();
        assert_eq!((codes.len(), codes.dim(), codes.is_empty()), (2, 3, false));
        let again = ScalarCodes::from_parts(3, codes.codes().to_vec(), codes.params().to_vec());
        assert_eq!(again, Ok(codes));
        assert!(ScalarCodes::new(1).unwrap().is_empty());
    }

    #[test]
    fn encoding_in_pieces_is_encoding_at_once() {
        let vectors: Vec<f32> = (0..7 * 300).map(|i| ((i * 7919) % 1009) as f32 - 500.0).collect();
        let whole = codes_of(&vectors, 7);
        let mut pieces = ScalarCodes::new(7).unwrap();
        pieces.reserve_exact(300);
        for piece in vectors.chunks(7 * 11) {
            pieces.extend(piece);
        }
        assert_eq!(pieces, whole);
    }

    proptest! {
        #[test]
        fn no_component_is_off_by_more_than_half_a_step(
            vector in vec(-100f32..100.0, 1..200),
        ) {
            let codes = codes_of(&vector, vector.len());
            let half_step = codes.params()[0].scale * 0.5;
            for (x, decoded) in vector.iter().zip(decode(&codes, 0)) {
                prop_assert!((x - decoded).abs() <= half_step + 1e-4, "{x} became {decoded}");
            }
        }

        /// The three terms give the score of the decoded vector.
        #[test]
        fn scores_are_those_of_the_decoded_vectors(
            rows in vec((-1f32..1.0, -1f32..1.0, -1f32..1.0), 1..200),
            shift in -3f32..3.0,
        ) {
            let dim = rows.len();
            let query: Vec<f32> = rows.iter().map(|row| row.0 - shift).collect();
            let a: Vec<f32> = rows.iter().map(|row| row.1 + shift).collect();
            let b: Vec<f32> = rows.iter().map(|row| row.2).collect();
            let codes = codes_of(&[a, b].concat(), dim);
            let (a, b) = (decode(&codes, 0), decode(&codes, 1));
            for distance in Distance::ALL {
                let mut scores = [0.0; 3];
                ScalarQuery::new(distance, &query).score_many(&codes, &[1, 0], &mut scores);
                let mut portable = [0.0; 2];
                ScalarQuery::with_kernels(Kernels::scalar(), distance, &query)
                    .score_many(&codes, &[1, 0], &mut portable);
                prop_assert_eq!(&scores[..2], &portable[..]);
                scores[2] = CodeScores::new(distance, &codes).score(0, 1);
                prop_assert_eq!(scores[2], CodeScores::new(distance, &codes).score(1, 0));
                for (found, (x, y)) in scores.into_iter().zip([(&query, &b), (&query, &a), (&a, &b)]) {
                    let (expected, magnitude) = naive(distance, x, y);
                    let error = (f64::from(found) - expected).abs();
                    prop_assert!(error <= 2e-4 * magnitude + 1e-6, "{}: {} not {}", distance, found, expected);
                }
            }
        }
    }
}
