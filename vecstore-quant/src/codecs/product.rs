//! Product quantization (Jégou, Douze, Schmid, "Product quantization for nearest neighbor search", 2011). The
//! vector is cut into parts of 1 to 16 components. Each part is coded by the nearest of 256 centroids, which
//! k-means finds in the sample.
//!
//! A query first computes its score with every centroid of every part. The score of a code is the sum of the
//! scores that its bytes name.

use super::model::{ModelError, ModelReader, put_floats};
use super::{Codec, Compression, Scorer};
use crate::distance::Distance;
use crate::kernels::{Kernels, Records};
use crate::random::SplitMix64;
use rayon::prelude::*;

const CENTROIDS: usize = 256;
/// Rounds of k-means. More rounds hardly move the centroids.
const ROUNDS: usize = 12;

#[derive(Clone, Debug)]
pub(super) struct Product {
    distance: Distance,
    dim: usize,
    parts: Vec<Part>,
}

/// The centroids of one part: all their first components, then all their second ones, and so on. So a vector
/// is compared with all centroids side by side.
#[derive(Clone, Debug)]
struct Part {
    components: Vec<[f32; CENTROIDS]>,
}

impl Part {
    /// The nearest centroid by squared distance. The first one if all distances are beyond `f32`.
    #[inline]
    fn nearest(&self, part: &[f32]) -> u8 {
        let mut distances = [0.0f32; CENTROIDS];
        for (centroids, &x) in self.components.iter().zip(part) {
            for (distance, centroid) in distances.iter_mut().zip(centroids) {
                let difference = x - centroid;
                *distance += difference * difference;
            }
        }
        let (mut nearest, mut least) = (0, f32::INFINITY);
        for (index, &distance) in distances.iter().enumerate() {
            if distance < least {
                (nearest, least) = (index, distance);
            }
        }
        nearest as u8
    }

    /// K-means, starting from random vectors of the sample. A centroid that is nearest to no vector stays
    /// where it is.
    fn train(parts: &[f32], width: usize, random: &mut SplitMix64) -> Self {
        let mut part = Self { components: vec![[0.0; CENTROIDS]; width] };
        let count = parts.len() / width;
        if count == 0 {
            return part;
        }
        for centroid in 0..CENTROIDS {
            // The first centroids are distinct vectors if there are enough: one of each 256th of the sample.
            let (start, end) = (centroid * count / CENTROIDS, (centroid + 1) * count / CENTROIDS);
            let vector = if end > start { start + random.below(end - start) } else { centroid % count };
            for (component, &x) in part.components.iter_mut().zip(&parts[vector * width..]) {
                component[centroid] = x;
            }
        }
        for _ in 0..ROUNDS {
            let mut sums = vec![[0.0f64; CENTROIDS]; width];
            let mut counts = [0u32; CENTROIDS];
            for vector in parts.chunks_exact(width) {
                let nearest = usize::from(part.nearest(vector));
                counts[nearest] += 1;
                for (sums, &x) in sums.iter_mut().zip(vector) {
                    sums[nearest] += f64::from(x);
                }
            }
            for (component, sums) in part.components.iter_mut().zip(&sums) {
                for ((x, sum), &count) in component.iter_mut().zip(sums).zip(&counts) {
                    if count > 0 {
                        *x = (sum / f64::from(count)) as f32;
                    }
                }
            }
        }
        part
    }
}

impl Product {
    pub(super) fn train(
        distance: Distance,
        dim: usize,
        compression: Compression,
        sample: &[f32],
        seed: u64,
    ) -> Self {
        let width = compression.components();
        let train = |part: usize| {
            let (start, end) = (part * width, dim.min((part + 1) * width));
            let parts: Vec<f32> =
                sample.chunks_exact(dim).flat_map(|vector| &vector[start..end]).copied().collect();
            Part::train(&parts, end - start, &mut SplitMix64::new(seed, part as u64))
        };
        Self { distance, dim, parts: (0..dim.div_ceil(width)).into_par_iter().map(train).collect() }
    }

    pub(super) fn read(
        distance: Distance,
        dim: usize,
        compression: Compression,
        reader: &mut ModelReader<'_>,
    ) -> Result<Self, ModelError> {
        let floats = reader.floats(dim * CENTROIDS)?;
        let (components, _) = floats.as_chunks();
        let parts = components.chunks(compression.components());
        Ok(Self { distance, dim, parts: parts.map(|part| Part { components: part.to_vec() }).collect() })
    }

    fn components(&self) -> impl Iterator<Item = &[f32; CENTROIDS]> {
        self.parts.iter().flat_map(|part| &part.components)
    }
}

impl Codec for Product {
    fn dim(&self) -> usize {
        self.dim
    }

    fn record_bytes(&self) -> usize {
        self.parts.len()
    }

    fn model(&self) -> Vec<u8> {
        let mut model = Vec::with_capacity(self.model_bytes());
        self.components().for_each(|component| put_floats(&mut model, component));
        model
    }

    fn model_bytes(&self) -> usize {
        4 * CENTROIDS * self.dim
    }

    fn encode(&self, prepared: &[f32], record: &mut [u8]) {
        assert_eq!(prepared.len(), self.dim, "a vector of the codec's dimension");
        assert_eq!(record.len(), self.parts.len(), "a record of the codec's length");
        let mut rest = prepared;
        for (byte, part) in record.iter_mut().zip(&self.parts) {
            let (own, after) = rest.split_at(part.components.len());
            *byte = part.nearest(own);
            rest = after;
        }
    }

    fn query(&self, prepared: &[f32]) -> Box<dyn Scorer> {
        assert_eq!(prepared.len(), self.dim, "a vector of the codec's dimension");
        let mut tables = vec![[0.0f32; CENTROIDS]; self.parts.len()];
        let mut rest = prepared;
        for (table, part) in tables.iter_mut().zip(&self.parts) {
            let (own, after) = rest.split_at(part.components.len());
            for (centroids, &x) in part.components.iter().zip(own) {
                for (score, centroid) in table.iter_mut().zip(centroids) {
                    *score += match self.distance {
                        Distance::Cosine | Distance::Dot => x * centroid,
                        Distance::Euclid => -(x - centroid) * (x - centroid),
                    };
                }
            }
            rest = after;
        }
        Box::new(ProductScorer { tables })
    }
}

#[derive(Clone, Debug)]
struct ProductScorer {
    /// For each part, the scores of its centroids.
    tables: Vec<[f32; CENTROIDS]>,
}

impl Scorer for ProductScorer {
    fn score_many(&self, records: &[u8], points: &[u32], scores: &mut [f32]) {
        let codes = Records { bytes: records, stride: self.tables.len(), skip: 0 };
        (Kernels::get().scan_tables)(codes, points, &self.tables, &mut scores[..points.len()]);
    }

    fn bound(&self, _record: &[u8], _score: f32) -> Option<f32> {
        None
    }
}
