//! Rotated codes with a correction and an error bound for each vector: RaBitQ (Gao and Long, arXiv 2405.12497) for one bit,
//! extended RaBitQ (Gao et al., arXiv 2409.09913) for more.
//!
//! The residual `r` of a vector to the nearest of some centres is rotated, and coded by the grid point `g` that points most nearly
//! in its direction. With `p` the query's residual to the same centre, rotated likewise, `<p, r>` is estimated by
//!
//! ```text
//! <p, g> * |r|² / <g, r>
//! ```
//!
//! which is exact for the part of `p` along `r`. What is left is the part of `p` across `r` times that of `g`, and after a
//! random rotation the one has a random direction seen from the other: it is as good as normally distributed around 0, with
//! a standard deviation of `|p| * |r| * tan(r, g) / sqrt(dim - 1)`.
//!
//! So that a query need not be rotated for each centre, it is taken relative to the mean, `m`, of all vectors, and what that leaves out,
//! `<c - m, g>`, is known when the vector is encoded. The record has the factor of the estimator, what else of the score depends on the vector
//! alone, and the deviation without `|p|`: 12 bytes. Where there are several centres, the number of the centre takes half of the deviation's.
//!
//! Vectors are extended by zeros to as many components as fit the record anyway, before they are rotated: the error falls with
//! the root of the dimension, and the bytes are there. Relative to `|p| * |r|` it is, at dimension 384, 0.5 % with 4 bits,
//! 1.8 % with 2, 3.7 % with 1.

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

/// Standard deviations in a bound: those of [`super::CONFIDENCE`].
const DEVIATIONS: f32 = 3.0;
/// What rounding to `f32` does to a score at most, relative to its largest term.
const ROUNDING: f32 = 8.0 * f32::EPSILON;

#[derive(Clone, Debug)]
pub(super) struct Rotated<const BITS: usize> {
    /// Scorers have it too.
    centres: Arc<Centres>,
    seed: u64,
    rotation: Rotation,
    layout: Layout<BITS>,
}

impl<const BITS: usize> Rotated<BITS> {
    /// For so many vectors.
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

    /// The way from the mean to a centre, rotated, times a grid's point.
    fn shift(&self, centre: &Centre, levels: &[u8]) -> f64 {
        let way = self.centres.mean().residual_of_vector(centre.vector());
        let grid = levels.iter().map(|&level| f64::from(level) - f64::from(outermost(BITS)));
        let products = self.rotated(way.unit).into_iter().zip(grid).map(|(x, g)| f64::from(x) * g);
        way.norm * products.sum::<f64>()
    }
}

/// The grid's outermost component, which levels are counted from.
const fn outermost(bits: usize) -> f32 {
    ((1 << bits) - 1) as f32 / 2.0
}

/// A record's last parameter, where there are several centres: the deviation, rounded up to 16 bits, and which one it is.
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
    /// What of a score depends on the query and the centre alone.
    own: Vec<f32>,
    /// What a step of the query is worth in a score, but for the record's factor.
    scale: f32,
    outermost_sum: f32,
    /// Norm of the query relative to the mean, as often as it goes into a score.
    weighted: f32,
    /// How often the dot product of the residuals goes into a score.
    weight: f32,
    /// Norm of the query where its dot product with a centre, which is no longer than query and distance together, is computed.
    norm: f32,
    /// No point of the grid is longer.
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

    /// The deviation of the code, and that of the query's rounding, whose direction is as random.
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
