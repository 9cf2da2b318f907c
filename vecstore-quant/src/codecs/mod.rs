//! Codecs encode vectors into records, and queries score records. This module has the traits, and a module
//! for each method.
//!
//! [`ScalarCodes`] are the int8 codes of all vectors of a graph under construction. They are scored against
//! each other too.

mod binary;
mod centre;
mod centres;
mod grid;
mod int4;
mod int8;
mod int8_global;
mod model;
mod neighbours;
mod packed;
mod product;
mod rotated;
mod rotation;
mod scalar;
#[cfg(test)]
mod tests;

pub use model::ModelError;
pub use neighbours::{NEIGHBOURS_MAX, NeighbourCodec, NeighbourScorer};
pub use scalar::{CodeScores, CodesError, DIM_MAX, ScalarCodes, ScalarQuery};

use crate::distance::Distance;
use crate::quantization::{Compression, Quantile, Quantization};
use model::ModelReader;
use std::fmt;

/// Maximum of vectors that training uses. It takes this many of a larger sample, evenly spread.
pub const SAMPLE_MAX: usize = 16_384;

/// The part of all scores that lie within [`Scorer::bound`], if there is one: three standard deviations of a
/// normal distribution. It holds over the seeds of [`train`]. With one seed, vectors of few directions share
/// their errors.
pub const CONFIDENCE: f64 = 0.997;

/// Encodes vectors, and prepares queries that score the codes.
///
/// A codec is for one dimension and one distance. The same sample and seed give the same codec on every
/// machine.
pub trait Codec: fmt::Debug + Send + Sync {
    /// Components of a vector.
    fn dim(&self) -> usize;

    /// Bytes of the record of one vector.
    ///
    /// Records of codes of 4, 2 and 1 bits have at least 32 bytes, and a multiple of 8. So their parameters
    /// are aligned if the first record is, and common sizes fall on cache lines.
    fn record_bytes(&self) -> usize;

    /// The model, which training learned, as bytes for [`from_model`].
    fn model(&self) -> Vec<u8>;

    /// Bytes of [`Codec::model`].
    fn model_bytes(&self) -> usize;

    /// Writes the record of a prepared vector. Every finite vector has one.
    ///
    /// # Panics
    ///
    /// If the vector is not of this dimension, or the record is not of [`Codec::record_bytes`].
    fn encode(&self, prepared: &[f32], record: &mut [u8]);

    /// A query in the form that scores records, from a prepared vector.
    ///
    /// # Panics
    ///
    /// If the vector is not of this dimension.
    fn query(&self, prepared: &[f32]) -> Box<dyn Scorer>;
}

/// Scores the records of a [`Codec`] for one query.
///
/// Records may be any bytes. Bytes that encode no vector have some score, which may be NaN.
pub trait Scorer: fmt::Debug + Send + Sync {
    /// Writes the scores of some records to `scores`. The records lie one after the other in `records`.
    /// Higher is better, as with [`Distance::score`].
    ///
    /// # Panics
    ///
    /// If a point has no record, or `scores` is shorter than `points`.
    fn score_many(&self, records: &[u8], points: &[u32], scores: &mut [f32]);

    /// The score of one record.
    ///
    /// # Panics
    ///
    /// If the record is shorter than [`Codec::record_bytes`].
    fn score(&self, record: &[u8]) -> f32 {
        let mut scores = [0.0];
        self.score_many(record, &[0], &mut scores);
        scores[0]
    }

    /// The largest difference between the score of the vector itself and `score`, the score of this record.
    /// At least [`CONFIDENCE`] of the records keep to it. `None` if the codec has no bound.
    ///
    /// # Panics
    ///
    /// If the record is shorter than [`Codec::record_bytes`].
    fn bound(&self, record: &[u8], score: f32) -> Option<f32>;
}

/// Trains a codec on a sample of prepared vectors, `dim` components each, one after the other. `vectors` is
/// the number of vectors that will be encoded. The more there are, the more training may learn. The same seed
/// gives the same codec.
///
/// An empty sample gives codes that are valid, but poor. Uses the current rayon pool.
///
/// # Panics
///
/// If the dimension is 0 or above [`DIM_MAX`], or the sample's length is no multiple of it.
#[must_use]
pub fn train(
    method: Quantization,
    distance: Distance,
    dim: usize,
    sample: &[f32],
    vectors: usize,
    seed: u64,
) -> Box<dyn Codec> {
    assert!((1..=DIM_MAX).contains(&dim), "vectors of codes have 1 to {DIM_MAX} components");
    assert!(sample.len().is_multiple_of(dim), "whole vectors of dimension {dim}");
    let count = sample.len() / dim;
    let spread: Vec<f32>;
    let sample = if count > SAMPLE_MAX {
        let chosen = (0..SAMPLE_MAX).map(|index| index * count / SAMPLE_MAX);
        spread = chosen.flat_map(|vector| &sample[vector * dim..][..dim]).copied().collect();
        &spread
    } else {
        sample
    };
    match method {
        Quantization::Int8 => Box::new(int8::Int8::new(distance, dim)),
        Quantization::Int8Global { quantile } => {
            Box::new(int8_global::Int8Global::train(distance, dim, sample, quantile))
        }
        Quantization::Int4 => Box::new(int4::Int4::train(distance, dim, sample)),
        Quantization::Product { compression } => {
            Box::new(product::Product::train(distance, dim, compression, sample, seed))
        }
        Quantization::Binary => Box::new(binary::Binary::train(distance, dim, sample)),
        Quantization::Rotated4 => {
            Box::new(rotated::Rotated::<4>::train(distance, dim, sample, vectors, seed))
        }
        Quantization::Rotated2 => {
            Box::new(rotated::Rotated::<2>::train(distance, dim, sample, vectors, seed))
        }
        Quantization::Rotated1 => {
            Box::new(rotated::Rotated::<1>::train(distance, dim, sample, vectors, seed))
        }
    }
}

/// The codec with this [`Codec::model`]. The caller knows its method, distance and dimension.
///
/// # Errors
///
/// If codecs do not have this dimension, if the length does not fit such a model, or if a number is not
/// finite. Nothing is allocated before the length is checked.
pub fn from_model(
    method: Quantization,
    distance: Distance,
    dim: usize,
    model: &[u8],
) -> Result<Box<dyn Codec>, ModelError> {
    let mut reader = ModelReader::new(dim, model)?;
    let codec: Box<dyn Codec> = match method {
        Quantization::Int8 => Box::new(int8::Int8::new(distance, dim)),
        Quantization::Int8Global { .. } => {
            Box::new(int8_global::Int8Global::read(distance, dim, &mut reader)?)
        }
        Quantization::Int4 => Box::new(int4::Int4::read(distance, dim, &mut reader)?),
        Quantization::Product { compression } => {
            Box::new(product::Product::read(distance, dim, compression, &mut reader)?)
        }
        Quantization::Binary => Box::new(binary::Binary::read(distance, dim, &mut reader)?),
        Quantization::Rotated4 => Box::new(rotated::Rotated::<4>::read(distance, dim, &mut reader)?),
        Quantization::Rotated2 => Box::new(rotated::Rotated::<2>::read(distance, dim, &mut reader)?),
        Quantization::Rotated1 => Box::new(rotated::Rotated::<1>::read(distance, dim, &mut reader)?),
    };
    reader.finish()?;
    Ok(codec)
}

/// The parameters that a record begins with.
#[inline]
fn params<const COUNT: usize>(record: &[u8]) -> [f32; COUNT] {
    let (params, _) = record.as_chunks();
    std::array::from_fn(|index| f32::from_le_bytes(params[index]))
}

fn put_params(record: &mut [u8], params: &[f32]) {
    for (bytes, param) in record.chunks_exact_mut(4).zip(params) {
        bytes.copy_from_slice(&param.to_le_bytes());
    }
}

/// Converts to `f32`. A value beyond its range becomes the end of the range, since an infinity would turn
/// scores into NaN.
fn finite(value: f64) -> f32 {
    value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}
