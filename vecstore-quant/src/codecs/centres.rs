//! Each vector is taken relative to the nearest of some centres. The nearer that centre, the shorter is the
//! residual that is encoded. The error of a code is proportional to that length.
//!
//! The first centre is the mean of the sample. If enough vectors will be encoded, k-means adds further
//! centres.

use super::centre::Centre;
use super::model::{ModelError, ModelReader};
use super::scalar::{ScalarCodes, ScalarQuery, encode_into};
use crate::distance::Distance;
use crate::kernels::Kernels;
use crate::random::SplitMix64;
use rayon::prelude::*;
use std::sync::OnceLock;

/// Maximum of further centres. A query looks at each centre, so more of them would make it slow to prepare.
const FURTHER_MAX: usize = 1024;
/// Minimum of the sample's vectors for each centre.
const SAMPLE_EACH: usize = 16;
/// The codes of all vectors take at least this many times the memory of the centres.
const CODES_TO_CENTRES: usize = 16;
/// Rounds of k-means. More rounds hardly move the centres.
const ROUNDS: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct Centres {
    distance: Distance,
    /// The mean, then the further centres.
    all: Vec<Centre>,
    /// The int8 codes of the centres, which only encoding needs. They are fast to search, with the same
    /// result on every machine.
    codes: OnceLock<ScalarCodes>,
}

impl Centres {
    /// Trains for codes that will take `codes_bytes` altogether.
    pub(super) fn train(
        distance: Distance,
        dim: usize,
        sample: &[f32],
        codes_bytes: usize,
        seed: u64,
    ) -> Self {
        let vectors = sample.len() / dim;
        let affordable = codes_bytes / CODES_TO_CENTRES / (4 * dim);
        let further = affordable.min(vectors / SAMPLE_EACH).min(FURTHER_MAX);
        let mut random = SplitMix64::new(seed, 0);
        let mut all = vec![Centre::of(distance, dim, sample)];
        all.extend((0..further).map(|index| {
            // One random vector from each part of the sample. If neighbours are together in the sample, these
            // spread over all vectors.
            let (start, end) = (index * vectors / further, (index + 1) * vectors / further);
            let vector = start + random.below(end - start);
            Centre::at(distance, sample[vector * dim..][..dim].to_vec())
        }));
        let mut centres = Self { distance, all, codes: OnceLock::new() };
        for _ in 0..if further > 0 { ROUNDS } else { 0 } {
            centres = centres.moved(dim, sample);
        }
        centres
    }

    /// Moves each further centre to the mean of the vectors that are nearest to it. A centre without such
    /// vectors stays.
    fn moved(self, dim: usize, sample: &[f32]) -> Self {
        let nearest: Vec<usize> =
            sample.par_chunks_exact(dim).map(|vector| usize::from(self.nearest(vector).0)).collect();
        let mut sums = vec![(0u32, vec![0.0f64; dim]); self.all.len()];
        for (vector, nearest) in sample.chunks_exact(dim).zip(nearest) {
            let (count, sums) = &mut sums[nearest];
            *count += 1;
            sums.iter_mut().zip(vector).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let moved = self.all.into_iter().zip(sums).enumerate().map(|(index, (centre, (count, sums)))| {
            if index == 0 || count == 0 {
                return centre;
            }
            let mean = sums.into_iter().map(|sum| (sum / f64::from(count)) as f32);
            Centre::at(self.distance, mean.collect())
        });
        Self { distance: self.distance, all: moved.collect(), codes: OnceLock::new() }
    }

    pub(super) fn read(
        distance: Distance,
        dim: usize,
        reader: &mut ModelReader<'_>,
    ) -> Result<Self, ModelError> {
        let mut all = vec![Centre::read(distance, dim, reader)?];
        if !reader.is_at_end() {
            let count = reader.u64()?;
            let further = u16::try_from(count).ok().filter(|&further| further > 0);
            let further = usize::from(further.ok_or(ModelError::Centres { count })?);
            let floats = reader.floats(further * dim)?;
            all.extend(floats.chunks_exact(dim).map(|centre| Centre::at(distance, centre.to_vec())));
        }
        Ok(Self { distance, all, codes: OnceLock::new() })
    }

    /// Writes the mean. If there are further centres, writes their number and all of them.
    pub(super) fn write(&self, model: &mut Vec<u8>) {
        self.mean().write(model);
        if self.several() {
            model.extend(((self.all.len() - 1) as u64).to_le_bytes());
            self.all[1..].iter().for_each(|centre| centre.write(model));
        }
    }

    pub(super) fn model_bytes(&self) -> usize {
        self.all.len() * 4 * self.mean().dim() + if self.several() { 8 } else { 0 }
    }

    pub(super) fn several(&self) -> bool {
        self.all.len() > 1
    }

    pub(super) fn mean(&self) -> &Centre {
        &self.all[0]
    }

    /// The centre nearest to a vector, and its number. It is the nearest but for the rounding of codes.
    pub(super) fn nearest(&self, prepared: &[f32]) -> (u16, &Centre) {
        if !self.several() {
            return (0, self.mean());
        }
        let codes = self.codes.get_or_init(|| {
            let dim = self.mean().dim();
            // The centres are encoded one after the other. The threads that wait here may be all threads of
            // the pool that would encode them in parallel.
            let mut codes = vec![0; dim * self.all.len()];
            let each = self.all.iter().zip(codes.chunks_exact_mut(dim));
            let params = each.map(|(centre, code)| encode_into(centre.vector(), code)).collect();
            ScalarCodes::from_parts(dim, codes, params).expect("a code for each centre")
        });
        let query = ScalarQuery::new(Distance::Euclid, prepared);
        let (mut nearest, mut best) = (0, f32::NEG_INFINITY);
        for (index, params) in (0u16..).zip(codes.params()) {
            let score = query.score(codes.code(u32::from(index)), params);
            if score > best {
                (nearest, best) = (index, score);
            }
        }
        (nearest, &self.all[usize::from(nearest)])
    }

    /// For each centre, the part of a score that depends on the query and the centre alone.
    pub(super) fn own(&self, prepared: &[f32]) -> Vec<f32> {
        let kernels = Kernels::get();
        let own = |centre: &Centre| {
            let fast = match self.distance {
                Distance::Cosine | Distance::Dot => (kernels.dot_f32)(prepared, centre.vector()),
                Distance::Euclid => -(kernels.l2_f32)(prepared, centre.vector()),
            };
            // If the sum leaves the range of `f32`, the definition is computed in `f64`.
            if fast.is_finite() { fast } else { centre.residual_of_query(prepared).own() }
        };
        self.all.iter().map(own).collect()
    }

    /// The norm of a query if the distance takes dot products of it, otherwise 0.
    pub(super) fn dot_norm(&self, prepared: &[f32]) -> f32 {
        match self.distance {
            Distance::Cosine | Distance::Dot => (Kernels::get().dot_f32)(prepared, prepared).sqrt(),
            Distance::Euclid => 0.0,
        }
    }

    /// The distance of a vector from the centre with this number, if there is one.
    pub(super) fn distance(&self, prepared: &[f32], index: u16) -> Option<f32> {
        let centre = self.all.get(usize::from(index))?;
        Some((Kernels::get().l2_f32)(prepared, centre.vector()).sqrt())
    }
}
