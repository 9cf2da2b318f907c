//! Rotated codes, with a correction and an error bound for each vector. One bit is RaBitQ (Gao and Long,
//! arXiv 2405.12497). More bits are extended RaBitQ (Gao et al., arXiv 2409.09913).
//!
//! The residual `r` of a vector to the nearest of some centres is rotated. The code is the grid point `g`
//! that is nearest to it in direction. Let `p` be the query's residual to the same centre, rotated likewise.
//! The estimate of `<p, r>` is
//!
//! ```text
//! <p, g> * |r|² / <g, r>
//! ```
//!
//! The estimate is exact for the part of `p` along `r`. The error is proportional to the dot product of the
//! parts of `p` and `g` across `r`. After a random rotation, one of these parts has a random direction as
//! seen from the other. So the error is nearly normally distributed around 0, with a standard deviation of
//! `|p| * |r| * tan(r, g) / sqrt(dim - 1)`.
//!
//! The query is taken relative to the mean `m` of all vectors, so that it is rotated only once, not for each
//! centre `c`. The term that this leaves out, `<c - m, g>`, is known when the vector is encoded.
//!
//! The record begins with three parameters of 4 bytes:
//!
//! - the factor of the estimate,
//! - the rest of the score that depends on the vector alone,
//! - the deviation without `|p|`. If there are several centres, the centre's number takes half of its bytes.
//!
//! Vectors are extended by zeros before they are rotated, to as many components as fit the record anyway. The
//! error falls with the root of the dimension, and the bytes are there. At dimension 384 it is, relative to
//! `|p| * |r|`:
//!
//! | bits | error |
//! |---|---|
//! | 4 | 0.5 % |
//! | 2 | 1.8 % |
//! | 1 | 3.7 % |

use super::centre::Centre;
use super::centres::Centres;
use super::grid;
use super::model::{ModelError, ModelReader};
use super::packed::{Layout, PackedQuery};
use super::rotation::Rotation;
use super::{Codec, Scorer, finite, params, put_params};
use crate::distance::Distance;
use half::bf16;
use std::sync::Arc;

/// Standard deviations in a bound, for [`super::CONFIDENCE`].
const DEVIATIONS: f32 = 3.0;
/// The largest effect of rounding to `f32` on a score, relative to the score's largest term.
const ROUNDING: f32 = 8.0 * f32::EPSILON;

#[derive(Clone, Debug)]
pub(super) struct Rotated<const BITS: usize> {
    /// Scorers share them.
    centres: Arc<Centres>,
    seed: u64,
    rotation: Rotation,
    layout: Layout<BITS>,
}

impl<const BITS: usize> Rotated<BITS> {
    /// Trains for this many vectors.
    pub(super) fn train(distance: Distance, dim: usize, sample: &[f32], vectors: usize, seed: u64) -> Self {
        let codes_bytes = vectors * Self::layout(dim).record_bytes();
        Self::new(Centres::train(distance, dim, sample, codes_bytes, seed), seed)
    }

    pub(super) fn read(
        distance: Distance,
        dim: usize,
        reader: &mut ModelReader<'_>,
    ) -> Result<Self, ModelError> {
        let seed = reader.u64()?;
        Ok(Self::new(Centres::read(distance, dim, reader)?, seed))
    }

    fn layout(dim: usize) -> Layout<BITS> {
        Layout::filled(dim, 3)
    }

    fn new(centres: Centres, seed: u64) -> Self {
        let layout = Self::layout(centres.mean().vector().len());
        Self { rotation: Rotation::new(layout.dim(), seed), layout, centres: Arc::new(centres), seed }
    }

    fn rotated(&self, mut vector: Vec<f32>) -> Vec<f32> {
        vector.resize(self.layout.dim(), 0.0);
        self.rotation.apply(&mut vector);
        vector
    }

    /// The dot product of a grid point with the rotated difference between a centre and the mean.
    fn shift(&self, centre: &Centre, levels: &[u8]) -> f64 {
        let way = self.centres.mean().residual_of_vector(centre.vector());
        let grid = levels.iter().map(|&level| f64::from(level) - f64::from(outermost(BITS)));
        let products = self.rotated(way.unit).into_iter().zip(grid).map(|(x, g)| f64::from(x) * g);
        way.norm * products.sum::<f64>()
    }
}

/// The grid's outermost component. A level minus this is a component of the grid.
const fn outermost(bits: usize) -> f32 {
    ((1 << bits) - 1) as f32 / 2.0
}

/// A record's last parameter if there are several centres: the deviation, rounded up to 16 bits, and the
/// number of the centre.
fn put_deviation(deviation: f32, centre: u16) -> f32 {
    let up = deviation.to_bits().saturating_add(0xFFFF).min(f32::MAX.to_bits());
    f32::from_bits((up & 0xFFFF_0000) | u32::from(centre))
}

fn deviation_and_centre(parameter: f32) -> (f32, u16) {
    let bits = parameter.to_bits();
    (bf16::from_bits((bits >> 16) as u16).to_f32(), bits as u16)
}

impl<const BITS: usize> Codec for Rotated<BITS> {
    fn dim(&self) -> usize {
        self.centres.mean().dim()
    }

    fn record_bytes(&self) -> usize {
        self.layout.record_bytes()
    }

    fn model(&self) -> Vec<u8> {
        let mut model = self.seed.to_le_bytes().to_vec();
        self.centres.write(&mut model);
        model
    }

    fn model_bytes(&self) -> usize {
        8 + self.centres.model_bytes()
    }

    fn encode(&self, prepared: &[f32], record: &mut [u8]) {
        let (index, centre) = self.centres.nearest(prepared);
        let residual = centre.residual_of_vector(prepared);
        let (norm, mut own) = (residual.norm, residual.own);
        let code = grid::nearest::<BITS>(&self.rotated(residual.unit));
        self.layout.put_levels(record, &code.levels);
        let (mut factor, mut deviation) = (0.0, 0.0);
        if norm > 0.0 {
            factor = norm / code.dot;
            // Rounding may leave the cosine a little above 1.
            let tangent_sq = (code.norm_sq / (code.dot * code.dot) - 1.0).max(0.0);
            deviation = norm * (tangent_sq / (self.layout.dim() - 1) as f64).sqrt();
            own -= f64::from(centre.weight()) * factor * self.shift(centre, &code.levels);
        }
        let mut last = finite(deviation);
        if self.centres.several() {
            last = put_deviation(last, index);
        }
        put_params(record, &[finite(factor), finite(own), last]);
    }

    fn query(&self, prepared: &[f32]) -> Box<dyn Scorer> {
        let mean = self.centres.mean();
        let residual = mean.residual_of_query(prepared);
        let weighted = mean.weight() * finite(residual.norm);
        let packed = PackedQuery::new(self.layout, &self.rotated(residual.unit));
        Box::new(RotatedScorer {
            layout: self.layout,
            own: self.centres.own(prepared),
            scale: weighted * packed.step(),
            outermost_sum: outermost(BITS) * packed.sum(),
            weighted,
            weight: mean.weight(),
            norm: self.centres.dot_norm(prepared),
            packed,
            norm_max: outermost(BITS) * (self.layout.dim() as f32).sqrt(),
            query: prepared.to_vec(),
            centres: Arc::clone(&self.centres),
        })
    }
}

#[derive(Clone, Debug)]
struct RotatedScorer<const BITS: usize> {
    layout: Layout<BITS>,
    packed: PackedQuery<BITS>,
    /// For each centre, the part of a score that depends on the query and the centre alone.
    own: Vec<f32>,
    /// The factor that one step of the query has in a score, besides the record's factor.
    scale: f32,
    outermost_sum: f32,
    /// The norm of the query relative to the mean, times `weight`.
    weighted: f32,
    /// The factor of the residuals' dot product in a score.
    weight: f32,
    /// The norm of the query if its dot products with centres are computed, otherwise 0. A centre is no
    /// longer than the query and the distance between them together.
    norm: f32,
    /// The norm of the grid's longest point.
    norm_max: f32,
    query: Vec<f32>,
    centres: Arc<Centres>,
}

impl<const BITS: usize> RotatedScorer<BITS> {
    fn deviation_and_centre(&self, parameter: f32) -> (f32, u16) {
        if self.centres.several() { deviation_and_centre(parameter) } else { (parameter, 0) }
    }
}

impl<const BITS: usize> Scorer for RotatedScorer<BITS> {
    fn score_many(&self, records: &[u8], points: &[u32], scores: &mut [f32]) {
        let scores = &mut scores[..points.len()];
        self.packed.sums(records, points, scores);
        for (score, &point) in scores.iter_mut().zip(points) {
            let [factor, own, last] = params(&records[point as usize * self.layout.record_bytes()..]);
            let of_query = self.own.get(usize::from(self.deviation_and_centre(last).1)).copied();
            *score =
                of_query.unwrap_or(f32::NAN) + (own + factor * (self.scale * (*score - self.outermost_sum)));
        }
    }

    /// Combines the deviation of the code with that of the query's rounding. The directions of both are
    /// random.
    fn bound(&self, record: &[u8], _score: f32) -> Option<f32> {
        let [factor, own, last] = params(record);
        let (deviation, centre) = self.deviation_and_centre(last);
        let from_centre = self.centres.distance(&self.query, centre)?;
        let longest = factor * self.norm_max;
        let rounded = longest * self.packed.error() / (self.layout.dim() as f32).sqrt();
        let of_query = self.own[usize::from(centre)].abs() + self.norm * (self.norm + from_centre);
        let rounding = ROUNDING * (of_query + own.abs() + self.weighted * longest);
        let deviation = self.weight * from_centre * deviation;
        Some(DEVIATIONS * deviation.hypot(self.weighted * rounded) + rounding)
    }
}
