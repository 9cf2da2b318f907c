//! A byte a component, with one range for all vectors. The range goes from one quantile of the sample's
//! components to another. Components beyond it are cut off.
//!
//! For cosine and dot it needs no parameters. It loses recall if components differ in their ranges. Other
//! systems use it, such as Qdrant in its scalar quantization, so it is here for comparison.

use super::model::{ModelError, ModelReader, put_floats};
use super::scalar::integers;
use super::{Codec, Quantile, Scorer, finite, params, put_params};
use crate::distance::Distance;
use crate::kernels::{Kernels, Records};

#[derive(Clone, Debug)]
pub(super) struct Int8Global {
    distance: Distance,
    dim: usize,
    /// The value of code 0, in the middle of the range.
    offset: f32,
    /// The value of one step of a code.
    scale: f32,
}

impl Int8Global {
    pub(super) fn train(distance: Distance, dim: usize, sample: &[f32], quantile: Quantile) -> Self {
        let mut components = sample.to_vec();
        let mut at = |part: f64| {
            let last = components.len().checked_sub(1)?;
            let (_, x, _) =
                components.select_nth_unstable_by((part * last as f64).round() as usize, f32::total_cmp);
            Some(f64::from(*x))
        };
        let outside = (1.0 - f64::from(quantile.get())) / 2.0;
        let (min, max) = (at(outside).unwrap_or(0.0), at(1.0 - outside).unwrap_or(0.0));
        let scale = (max - min) / 255.0;
        Self { distance, dim, offset: (min + 128.0 * scale) as f32, scale: scale as f32 }
    }

    pub(super) fn read(
        distance: Distance,
        dim: usize,
        reader: &mut ModelReader<'_>,
    ) -> Result<Self, ModelError> {
        let floats = reader.floats(2)?;
        Ok(Self { distance, dim, offset: floats[0], scale: floats[1] })
    }

    fn params_bytes(&self) -> usize {
        if self.distance == Distance::Euclid { 4 } else { 0 }
    }
}

impl Codec for Int8Global {
    fn dim(&self) -> usize {
        self.dim
    }

    fn record_bytes(&self) -> usize {
        self.params_bytes() + self.dim
    }

    fn model(&self) -> Vec<u8> {
        let mut model = Vec::new();
        put_floats(&mut model, &[self.offset, self.scale]);
        model
    }

    fn model_bytes(&self) -> usize {
        8
    }

    fn encode(&self, prepared: &[f32], record: &mut [u8]) {
        assert_eq!(prepared.len(), self.dim, "a vector of the codec's dimension");
        assert_eq!(record.len(), self.record_bytes(), "a record of the codec's length");
        let (params, code) = record.split_at_mut(self.params_bytes());
        let (offset, scale) = (f64::from(self.offset), f64::from(self.scale));
        let mut norm_sq = 0.0;
        for (byte, &x) in code.iter_mut().zip(prepared) {
            let step = if scale > 0.0 {
                ((f64::from(x) - offset) / scale).round().clamp(-128.0, 127.0)
            } else {
                0.0
            };
            norm_sq += (scale * step) * (scale * step);
            *byte = step as i8 as u8;
        }
        put_params(params, &[finite(-norm_sq)]);
    }

    fn query(&self, prepared: &[f32]) -> Box<dyn Scorer> {
        assert_eq!(prepared.len(), self.dim, "a vector of the codec's dimension");
        let (offset, scale) = (f64::from(self.offset), f64::from(self.scale));
        let query = prepared.iter().map(|&x| f64::from(x));
        // For euclid, both sides are taken relative to the offset. So no large numbers cancel.
        let (components, own, weight) = match self.distance {
            Distance::Cosine | Distance::Dot => (query.clone().collect(), offset * query.sum::<f64>(), 1.0),
            Distance::Euclid => {
                let shifted: Vec<f64> = query.map(|x| x - offset).collect();
                let norm_sq = shifted.iter().map(|x| x * x).sum::<f64>();
                (shifted, -norm_sq, 2.0)
            }
        };
        let (steps, step) = integers(&components);
        Box::new(Int8GlobalScorer {
            skip: self.params_bytes(),
            steps,
            scale: finite(weight * step * scale),
            own: finite(own),
        })
    }
}

#[derive(Clone, Debug)]
struct Int8GlobalScorer {
    skip: usize,
    steps: Vec<i16>,
    scale: f32,
    own: f32,
}

impl Scorer for Int8GlobalScorer {
    fn score_many(&self, records: &[u8], points: &[u32], scores: &mut [f32]) {
        let scores = &mut scores[..points.len()];
        let stride = self.skip + self.steps.len();
        let codes = Records { bytes: records, stride, skip: self.skip };
        (Kernels::get().scan_i8)(codes, points, &self.steps, scores);
        for (score, &point) in scores.iter_mut().zip(points) {
            let [own] = if self.skip == 0 { [0.0] } else { params(&records[point as usize * stride..]) };
            *score = self.own + (own + self.scale * *score);
        }
    }

    fn bound(&self, _record: &[u8], _score: f32) -> Option<f32> {
        None
    }
}
