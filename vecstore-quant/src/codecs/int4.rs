//! Half a byte a component, with the range of each vector.
//!
//! A component of the residual to the centre is coded as one of 16 levels, from the smallest component to the
//! largest. The decoded vector is then stretched until its dot product with the residual is the residual's
//! squared norm. RaBitQ does the same (see [`super::rotated`]). The stretch takes no space, since the range
//! is stored anyway. It removes the part of the error that all queries near the vector would share.

use super::centre::Centre;
use super::model::{ModelError, ModelReader};
use super::packed::{Layout, PackedQuery};
use super::{Codec, Scorer, finite, params, put_params};
use crate::distance::Distance;

const LEVEL_MAX: f64 = 15.0;

#[derive(Clone, Debug)]
pub(super) struct Int4 {
    centre: Centre,
    layout: Layout<4>,
}

impl Int4 {
    pub(super) fn train(distance: Distance, dim: usize, sample: &[f32]) -> Self {
        Self { centre: Centre::of(distance, dim, sample), layout: Layout::new(dim, 3) }
    }

    pub(super) fn read(
        distance: Distance,
        dim: usize,
        reader: &mut ModelReader<'_>,
    ) -> Result<Self, ModelError> {
        Ok(Self { centre: Centre::read(distance, dim, reader)?, layout: Layout::new(dim, 3) })
    }
}

impl Codec for Int4 {
    fn dim(&self) -> usize {
        self.centre.dim()
    }

    fn record_bytes(&self) -> usize {
        self.layout.record_bytes()
    }

    fn model(&self) -> Vec<u8> {
        let mut model = Vec::new();
        self.centre.write(&mut model);
        model
    }

    fn model_bytes(&self) -> usize {
        4 * self.dim()
    }

    fn encode(&self, prepared: &[f32], record: &mut [u8]) {
        let residual = self.centre.residual_of_vector(prepared);
        let (min, max) = residual
            .unit
            .iter()
            .fold((f64::MAX, f64::MIN), |(min, max), &x| (min.min(f64::from(x)), max.max(f64::from(x))));
        let scale = (max - min) / LEVEL_MAX;
        let mut dot = 0.0;
        let level = |&x: &f32| {
            let level = if scale > 0.0 { ((f64::from(x) - min) / scale).round() } else { 0.0 };
            dot += f64::from(x) * (min + scale * level);
            level as u8
        };
        let levels: Vec<u8> = residual.unit.iter().map(level).collect();
        self.layout.put_levels(record, &levels);
        // No stretch helps if the code points away from the vector. That takes hundreds of components of
        // unusual sizes.
        let stretch = if dot > 0.0 { residual.norm / dot } else { residual.norm };
        put_params(record, &[finite(stretch * scale), finite(stretch * min), residual.own()]);
    }

    fn query(&self, prepared: &[f32]) -> Box<dyn Scorer> {
        let residual = self.centre.residual_of_query(prepared);
        let packed = PackedQuery::new(self.layout, &residual.unit);
        let scale = self.centre.weight() * finite(residual.norm) * packed.step();
        Box::new(Int4Scorer { layout: self.layout, own: residual.own(), scale, packed })
    }
}

#[derive(Clone, Debug)]
struct Int4Scorer {
    layout: Layout<4>,
    packed: PackedQuery<4>,
    own: f32,
    /// The factor that one step of the query has in a score, besides the record's factor.
    scale: f32,
}

impl Scorer for Int4Scorer {
    fn score_many(&self, records: &[u8], points: &[u32], scores: &mut [f32]) {
        let scores = &mut scores[..points.len()];
        self.packed.sums(records, points, scores);
        for (score, &point) in scores.iter_mut().zip(points) {
            let [scale, min, own] = params(&records[point as usize * self.layout.record_bytes()..]);
            *score = self.own + (own + self.scale * (scale * *score + min * self.packed.sum()));
        }
    }

    fn bound(&self, _record: &[u8], _score: f32) -> Option<f32> {
        None
    }
}
