//! A centre, such as the mean of the sample. Vectors and queries are taken relative to it before they are
//! encoded. Codes then describe the differences between vectors.
//!
//! Let `c` be the centre, `r = x - c` and `p = q - c`. A score then needs the codes for one dot product only:
//!
//! ```text
//!  <q, x>   =  <q, c>   +  <c, r>  +     <p, r>
//! -|q - x|² = -|p|²     -  |r|²    + 2 * <p, r>
//!              of query    of record     of both
//! ```

use super::finite;
use super::model::{ModelError, ModelReader, put_floats};
use crate::distance::Distance;

#[derive(Clone, Debug)]
pub(super) struct Centre {
    distance: Distance,
    centre: Vec<f32>,
}

/// A vector relative to the centre, as direction and length.
pub(super) struct Residual {
    /// The direction, of length 1. Zero if the vector is the centre.
    pub(super) unit: Vec<f32>,
    pub(super) norm: f64,
    /// The part of a score that depends on this side alone.
    pub(super) own: f64,
}

impl Centre {
    pub(super) fn of(distance: Distance, dim: usize, sample: &[f32]) -> Self {
        let mut sums = vec![0.0f64; dim];
        for vector in sample.chunks_exact(dim) {
            for (sum, &x) in sums.iter_mut().zip(vector) {
                *sum += f64::from(x);
            }
        }
        let count = (sample.len() / dim).max(1) as f64;
        Self::at(distance, sums.into_iter().map(|sum| (sum / count) as f32).collect())
    }

    pub(super) fn at(distance: Distance, centre: Vec<f32>) -> Self {
        Self { distance, centre }
    }

    pub(super) fn read(
        distance: Distance,
        dim: usize,
        reader: &mut ModelReader<'_>,
    ) -> Result<Self, ModelError> {
        Ok(Self::at(distance, reader.floats(dim)?))
    }

    pub(super) fn write(&self, model: &mut Vec<u8>) {
        put_floats(model, &self.centre);
    }

    pub(super) fn dim(&self) -> usize {
        self.centre.len()
    }

    pub(super) fn vector(&self) -> &[f32] {
        &self.centre
    }

    /// The factor of the residuals' dot product in a score.
    pub(super) fn weight(&self) -> f32 {
        match self.distance {
            Distance::Cosine | Distance::Dot => 1.0,
            Distance::Euclid => 2.0,
        }
    }

    pub(super) fn residual_of_vector(&self, prepared: &[f32]) -> Residual {
        self.residual(prepared, |centre, residual, _| centre * residual)
    }

    pub(super) fn residual_of_query(&self, prepared: &[f32]) -> Residual {
        self.residual(prepared, |centre, _, query| centre * query)
    }

    /// Computes in `f64`, whose range no difference and no square of finite `f32` leaves.
    fn residual(&self, prepared: &[f32], own: impl Fn(f64, f64, f64) -> f64) -> Residual {
        assert_eq!(prepared.len(), self.centre.len(), "a vector of the codec's dimension");
        let pairs = || prepared.iter().zip(&self.centre).map(|(&x, &c)| (f64::from(x), f64::from(c)));
        let norm_sq: f64 = pairs().map(|(x, c)| (x - c) * (x - c)).sum();
        let norm = norm_sq.sqrt();
        let inverse = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        Residual {
            unit: pairs().map(|(x, c)| ((x - c) * inverse) as f32).collect(),
            norm,
            own: match self.distance {
                Distance::Cosine | Distance::Dot => pairs().map(|(x, c)| own(c, x - c, x)).sum(),
                Distance::Euclid => -norm_sq,
            },
        }
    }
}

impl Residual {
    pub(super) fn own(&self) -> f32 {
        finite(self.own)
    }
}
