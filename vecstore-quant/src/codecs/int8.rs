//! A byte a component, with the range of each vector: the codes of [`super::scalar`], as records.
//!
//! ```text
//! record:  scale | offset | mean | deviation_sq | code of `dim` bytes
//! ```
//!
//! A component is off by half a step at most. The bound allows for all of these errors at once, and for
//! rounding. So it always holds. It is infinite where `f32` cannot hold the products.

use super::scalar::{ScalarParams, ScalarQuery, encode_into, sum};
use super::{Codec, Scorer, params, put_params};
use crate::distance::Distance;
use crate::kernels::{Kernels, Records};

const PARAMS_BYTES: usize = 16;
/// If the squared lengths of vector and query add up to more, sums of products may overflow.
const LENGTH_SQ_MAX: f32 = 1e30;
/// If the squared length of either is less, products lose precision near zero. Only a dot product needs them.
const LENGTH_SQ_MIN: f32 = 1e-30;
/// Allows for what sums lose below the normal numbers of `f32`.
const SMALLEST: f32 = 1e-33;

#[derive(Clone, Debug)]
pub(super) struct Int8 {
    distance: Distance,
    dim: usize,
}

impl Int8 {
    pub(super) fn new(distance: Distance, dim: usize) -> Self {
        Self { distance, dim }
    }
}

impl Codec for Int8 {
    fn dim(&self) -> usize {
        self.dim
    }

    fn record_bytes(&self) -> usize {
        PARAMS_BYTES + self.dim
    }

    fn model(&self) -> Vec<u8> {
        Vec::new()
    }

    fn model_bytes(&self) -> usize {
        0
    }

    fn encode(&self, prepared: &[f32], record: &mut [u8]) {
        let (params, code) = record.split_at_mut(PARAMS_BYTES);
        let ScalarParams { scale, offset, mean, deviation_sq } =
            encode_into(prepared, bytemuck::cast_slice_mut(code));
        put_params(params, &[scale, offset, mean, deviation_sq]);
    }

    fn query(&self, prepared: &[f32]) -> Box<dyn Scorer> {
        assert_eq!(prepared.len(), self.dim, "a vector of the codec's dimension");
        let norm_1 = sum(prepared, |x| f64::from(x).abs()) as f32;
        Box::new(Int8Scorer {
            distance: self.distance,
            query: ScalarQuery::new(self.distance, prepared),
            norm_1,
        })
    }
}

#[derive(Clone, Debug)]
struct Int8Scorer {
    distance: Distance,
    query: ScalarQuery,
    /// Sum of the query's magnitudes.
    norm_1: f32,
}

fn scalar_params(record: &[u8]) -> ScalarParams {
    let [scale, offset, mean, deviation_sq] = params(record);
    ScalarParams { scale, offset, mean, deviation_sq }
}

impl Scorer for Int8Scorer {
    fn score_many(&self, records: &[u8], points: &[u32], scores: &mut [f32]) {
        let scores = &mut scores[..points.len()];
        let stride = PARAMS_BYTES + self.query.deviations().len();
        let codes = Records { bytes: records, stride, skip: PARAMS_BYTES };
        (Kernels::get().scan_i8)(codes, points, self.query.deviations(), scores);
        for (score, &point) in scores.iter_mut().zip(points) {
            *score = self.query.score_of_sum(*score, &scalar_params(&records[point as usize * stride..]));
        }
    }

    fn bound(&self, record: &[u8], score: f32) -> Option<f32> {
        let params = scalar_params(record);
        let dim = self.query.deviations().len() as f32;
        let (mean, step, deviation_sq) = self.query.parts();
        let of_query = dim * mean * mean + deviation_sq;
        let of_vector = dim * params.mean * params.mean + params.deviation_sq;
        let vanishes = self.distance == Distance::Dot && of_query.min(of_vector) < LENGTH_SQ_MIN;
        if vanishes || of_query + of_vector > LENGTH_SQ_MAX {
            return Some(f32::INFINITY);
        }
        // Half a step, and the rounding of the record's parameters to `f32`.
        let component = params.scale * 0.5
            + 4.0 * f32::EPSILON * (params.offset.abs() + 128.0 * params.scale + mean.abs());
        // Each component of the query was rounded by half a step at most. These errors multiply codes whose
        // mean need not be 0.
        // The difference of two rounded numbers is off by as much as they are.
        let code_mean =
            (params.mean - params.offset).abs() + f32::EPSILON * (params.mean.abs() + params.offset.abs());
        let query_rounded = 0.5 * step * (dim * (params.deviation_sq + dim * code_mean * code_mean)).sqrt();
        let rounding = 8.0 * f32::EPSILON;
        // The score of the vector itself is rounded in each of its sums, relative to the lengths.
        let vector_rounding = (8.0 + dim / 4.0) * f32::EPSILON;
        Some(match self.distance {
            Distance::Cosine | Distance::Dot => {
                // Roots come first: the product of two small squares may vanish.
                let terms =
                    dim * (mean * params.mean).abs() + deviation_sq.sqrt() * params.deviation_sq.sqrt();
                let lengths = of_query.sqrt() * of_vector.sqrt();
                component * self.norm_1
                    + query_rounded
                    + rounding * terms
                    + vector_rounding * lengths
                    + SMALLEST
            }
            Distance::Euclid => {
                let between_means = mean - params.mean;
                let terms = dim * between_means * between_means + deviation_sq + params.deviation_sq;
                let computed = 2.0 * query_rounded + rounding * terms;
                // The largest possible distance between query and code. The vector is within half a step of
                // the code.
                let distance = (computed - score).max(0.0).sqrt();
                let off = component * dim.sqrt();
                off * (2.0 * distance + off)
                    + computed
                    + vector_rounding * (distance + off) * (distance + off)
                    + SMALLEST
            }
        })
    }
}
