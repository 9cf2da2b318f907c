//! Distances, kernels and codecs. A codec turns a vector into a short code, which a search scores instead of
//! the vector.
//!
//! A [`Quantization`] is [trained](train) on a sample of the vectors. The result is a [`Codec`]. It encodes a
//! vector into a *record* of fixed length, parameters included. It turns a query into a [`Scorer`], which
//! keeps more precision than the records. The *model*, which training learned, is bytes as well. Keep it
//! beside the records.
//!
//! Vectors and queries pass [`Distance::prepare`] first. [`OriginalScorer`] ranks the best candidates by the
//! vectors as they were given.
//!
//! A record of dimension `n` has these bytes, before it is filled up as [`Codec::record_bytes`] says:
//!
//! | method | bytes | code | score |
//! |---|---|---|---|
//! | [`Int8`](Quantization::Int8) | `n + 16` | range of each vector | bound, always kept |
//! | [`Int8Global`](Quantization::Int8Global) | `n`, euclid `n + 4` | one range for all vectors | no bound |
//! | [`Int4`](Quantization::Int4) | `n / 2 + 12` | range of each vector, corrected | unbiased, no bound |
//! | [`Product`](Quantization::Product) | `n * 4 / compression` | nearest centroid of each part | no bound |
//! | [`Binary`](Quantization::Binary) | `n / 8` | side of the mean | no bound |
//! | [`Rotated4`], [`Rotated2`], [`Rotated1`] | `n * bits / 8 + 12` | rotated, corrected | unbiased, bound |
//!
//! [`Rotated4`]: Quantization::Rotated4
//! [`Rotated2`]: Quantization::Rotated2
//! [`Rotated1`]: Quantization::Rotated1
//!
//! - `Int8Global` takes its range from quantiles, as Qdrant does. It cuts outliers off.
//! - `Product` is from Jégou et al., "Product quantization for nearest neighbor search", 2011.
//! - `Binary` is from Charikar, "Similarity estimation techniques from rounding algorithms", 2002.
//! - The rotated codes are RaBitQ (arXiv 2405.12497, 2409.09913), relative to the nearest of up to 1,025
//!   centres. [`CONFIDENCE`] of the scores keep the bound. `Int4` has RaBitQ's correction too.
//!
//! A [`NeighbourCodec`] encodes up to 32 neighbours of a vector together, one bit a component. One fast scan
//! then estimates the scores of all of them.
//!
//! The bound of an int8 score is certain: [`Scorer::bound`] is never smaller than the error. A search
//! therefore knows which points may be nearer than its hits, and can rank those by their vectors too.
//!
//! This crate does no IO, and its results are the same on every machine for the same seed. Checks of vectors,
//! such as [`first_non_finite`], are the caller's.

#![deny(unsafe_code)]

mod codecs;
mod distance;
#[doc(hidden)]
pub mod kernels;
mod quantization;
mod random;

pub use codecs::{
    CONFIDENCE, CodeScores, Codec, CodesError, DIM_MAX, ModelError, NEIGHBOURS_MAX, NeighbourCodec,
    NeighbourScorer, SAMPLE_MAX, ScalarCodes, ScalarQuery, Scorer, from_model, train,
};
pub use distance::{Distance, OriginalScorer, UnknownDistanceError, first_non_finite};
pub use kernels::prefetch;
pub use quantization::{
    Compression, Quantile, Quantization, QuantizationParameterError, UnknownQuantizationError,
};
pub use random::SplitMix64;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
