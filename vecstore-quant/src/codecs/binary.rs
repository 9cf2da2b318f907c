//! One bit a component: the side of the sample's mean on which it lies. The idea is that of Charikar,
//! "Similarity estimation techniques from rounding algorithms" (2002), but the query is not rounded to bits.
//!
//! The score takes each vector to be as far from the mean as those of the sample are on average. For cosine,
//! that ranks well enough for rescoring. If lengths differ much, [`super::Quantization::Rotated1`] is better,
//! because it stores them. Up to 160 components the records of both have 32 bytes, and `Rotated1` finds more.

use super::centre::Centre;
use super::model::{ModelError, ModelReader, put_floats};
use super::packed::{Layout, PackedQuery};
use super::{Codec, Scorer, finite};
use crate::distance::Distance;

#[derive(Clone, Debug)]
pub(super) struct Binary {
    centre: Centre,
    /// The mean distance of the sample's vectors from their mean.
    norm: f32,
    /// The mean of the part of a score that depends on the vector alone.
    own: f32,
    layout: Layout<1>,
}

impl Binary {
    pub(super) fn train(distance: Distance, dim: usize, sample: &[f32]) -> Self {
        let centre = Centre::of(distance, dim, sample);
        let (mut norm, mut own, mut count) = (0.0, 0.0, 0.0);
        for vector in sample.chunks_exact(dim) {
            let residual = centre.residual_of_vector(vector);
            norm += residual.norm;
            own += residual.own;
            count += 1.0;
        }
        let mean = |sum: f64| if count > 0.0 { finite(sum / count) } else { 0.0 };
        Self { norm: mean(norm), own: mean(own), layout: Layout::new(dim, 0), centre }
    }

    pub(super) fn read(
        distance: Distance,
        dim: usize,
        reader: &mut ModelReader<'_>,
    ) -> Result<Self, ModelError> {
        let (norms, centre) = (reader.floats(2)?, Centre::read(distance, dim, reader)?);
        Ok(Self { centre, norm: norms[0], own: norms[1], layout: Layout::new(dim, 0) })
    }
}

impl Codec for Binary {
    fn dim(&self) -> usize {
        self.centre.dim()
    }

    fn record_bytes(&self) -> usize {
        self.layout.record_bytes()
    }

    fn model(&self) -> Vec<u8> {
        let mut model = Vec::new();
        put_floats(&mut model, &[self.norm, self.own]);
        self.centre.write(&mut model);
        model
    }

    fn model_bytes(&self) -> usize {
        8 + 4 * self.dim()
    }

    fn encode(&self, prepared: &[f32], record: &mut [u8]) {
        let residual = self.centre.residual_of_vector(prepared);
        let levels: Vec<u8> = residual.unit.iter().map(|x| u8::from(x.is_sign_positive())).collect();
        self.layout.put_levels(record, &levels);
    }

    fn query(&self, prepared: &[f32]) -> Box<dyn Scorer> {
        let residual = self.centre.residual_of_query(prepared);
        let packed = PackedQuery::new(self.layout, &residual.unit);
        let component = f64::from(self.norm) / (self.dim() as f64).sqrt();
        let weighted = f64::from(self.centre.weight()) * residual.norm * component;
        Box::new(BinaryScorer {
            own: residual.own() + self.own,
            scale: finite(weighted * f64::from(packed.step())),
            packed,
        })
    }
}

#[derive(Clone, Debug)]
struct BinaryScorer {
    packed: PackedQuery<1>,
    own: f32,
    /// The factor that one step of the query has in a score.
    scale: f32,
}

impl Scorer for BinaryScorer {
    fn score_many(&self, records: &[u8], points: &[u32], scores: &mut [f32]) {
        let scores = &mut scores[..points.len()];
        self.packed.sums(records, points, scores);
        for score in scores {
            // A bit stands for 1 or -1.
            *score = self.own + self.scale * (2.0 * *score - self.packed.sum());
        }
    }

    fn bound(&self, _record: &[u8], _score: f32) -> Option<f32> {
        None
    }
}
