//! The codes of many vectors in memory.

use super::encode::{DIM_MAX, ScalarParams, encode_into};
use rayon::prelude::*;

/// The codes of many vectors of one dimension, in memory, in the order of the points.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarCodes {
    pub(super) dim: usize,
    pub(super) codes: Vec<i8>,
    pub(super) params: Vec<ScalarParams>,
}

/// Parts that do not make up codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodesError {
    /// A dimension that codes are not defined for.
    #[error("codes of dimension {dim}: it must be from 1 to {DIM_MAX}")]
    Dimension {
        /// The dimension given.
        dim: usize,
    },
    /// More points than an id can name.
    #[error("codes of {points} points: at most {} fit", u32::MAX)]
    TooManyPoints {
        /// The dimension given.
        points: usize,
    },
    /// The bytes of the codes are not the dimension times the number of points.
    #[error("{bytes} bytes of codes for {points} points of dimension {dim}")]
    Length {
        /// Components of a code.
        dim: usize,
        /// Points, by the parameters.
        points: usize,
        /// Bytes of codes found.
        bytes: usize,
    },
}

impl ScalarCodes {
    /// An empty set of codes, for vectors of this dimension.
    ///
    /// # Errors
    ///
    /// If the dimension is 0 or above [`DIM_MAX`].
    pub fn new(dim: usize) -> Result<Self, CodesError> {
        Self::from_parts(dim, Vec::new(), Vec::new())
    }

    /// Makes codes of the results of [`ScalarCodes::codes`] and [`ScalarCodes::params`], as read back from a
    /// file.
    ///
    /// # Errors
    ///
    /// If codes do not have this dimension, or the lengths do not fit together.
    pub(crate) fn from_parts(
        dim: usize,
        codes: Vec<i8>,
        params: Vec<ScalarParams>,
    ) -> Result<Self, CodesError> {
        if dim == 0 || dim > DIM_MAX {
            return Err(CodesError::Dimension { dim });
        }
        let points = params.len();
        if u32::try_from(points).is_err() {
            return Err(CodesError::TooManyPoints { points });
        }
        if dim.checked_mul(points) != Some(codes.len()) {
            return Err(CodesError::Length { dim, points, bytes: codes.len() });
        }
        Ok(Self { dim, codes, params })
    }

    /// Appends the codes of prepared vectors, `dim` components each, one after the other. Uses the current
    /// rayon pool.
    ///
    /// # Panics
    ///
    /// If the length is no multiple of the dimension.
    pub fn extend(&mut self, vectors: &[f32]) {
        assert!(vectors.len().is_multiple_of(self.dim), "whole vectors of dimension {}", self.dim);
        let (old, added) = (self.params.len(), vectors.len() / self.dim);
        self.codes.resize((old + added) * self.dim, 0);
        self.params.resize(old + added, ScalarParams::default());
        vectors
            .par_chunks_exact(self.dim)
            .zip(self.codes[old * self.dim..].par_chunks_exact_mut(self.dim))
            .zip(&mut self.params[old..])
            .with_min_len(64)
            .for_each(|((vector, code), params)| *params = encode_into(vector, code));
    }

    /// Makes room for `points` more points, so that [`ScalarCodes::extend`] need not move the existing ones.
    pub fn reserve_exact(&mut self, points: usize) {
        self.codes.reserve_exact(points * self.dim);
        self.params.reserve_exact(points);
    }

    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Components of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All codes, `len * dim` bytes.
    #[must_use]
    pub fn codes(&self) -> &[i8] {
        &self.codes
    }

    /// The parameters of all points.
    #[must_use]
    pub(crate) fn params(&self) -> &[ScalarParams] {
        &self.params
    }

    /// The code of a point.
    ///
    /// # Panics
    ///
    /// If there is no such point.
    #[must_use]
    #[inline]
    pub fn code(&self, point: u32) -> &[i8] {
        let start = point as usize * self.dim;
        &self.codes[start..start + self.dim]
    }

    /// Writes the vector that the code of a point stands for, in its prepared form.
    ///
    /// # Panics
    ///
    /// If there is no such point, or `vector` is not of its dimension.
    pub fn decode_into(&self, point: u32, vector: &mut [f32]) {
        assert_eq!(vector.len(), self.dim, "a vector of the dimension of the codes");
        let params = self.params[point as usize];
        for (x, &code) in vector.iter_mut().zip(self.code(point)) {
            let value = f64::from(params.offset) + f64::from(params.scale) * f64::from(code);
            // Near the ends of the range of `f32`, half a step may leave it.
            *x = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        }
    }
}
