//! Where cells are, and what they promise a query.

use std::ops::Range;
use vecstore_quant::{Distance, ScalarCodes, ScalarQuery};

/// The parts of a [`CellMap`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CellParts {
    /// The centroids of prepared vectors, one after the other.
    pub centroids: Vec<f32>,
    /// For each cell, the root of the mean squared distance of its vectors from the centroid.
    pub spreads: Vec<f32>,
    /// For each cell, the end of its points. The first point is 0, and no cell is empty.
    pub ends: Vec<u32>,
    /// How many spreads from the centroid a cell may have the points that a search looks for.
    pub reach: f32,
}

/// Parts that make no map of cells.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CellPartsError {
    /// The numbers of centroids, spreads and ends differ.
    #[error("{centroids} components of centroids, {spreads} spreads and {ends} ends, at dimension {dim}")]
    Lengths {
        /// Components of a vector.
        dim: usize,
        /// Components of all centroids.
        centroids: usize,
        /// Spreads.
        spreads: usize,
        /// Ends.
        ends: usize,
    },
    /// A cell ends before it begins, or is empty.
    #[error("cell {cell} has no points")]
    Empty {
        /// The cell.
        cell: usize,
    },
    /// A number that is infinite, NaN or, for a spread, negative.
    #[error("a centroid, a spread or the reach is no sensible number")]
    Number,
}

/// The cells of a segment, without their codes.
#[derive(Clone, Debug)]
pub struct CellMap {
    distance: Distance,
    dim: usize,
    parts: CellParts,
    /// Codes of the centroids, which are faster to score.
    codes: ScalarCodes,
    all: Vec<u32>,
}

impl CellMap {
    /// Makes a map from its parts.
    ///
    /// # Errors
    ///
    /// If they do not fit each other.
    ///
    /// # Panics
    ///
    /// If the dimension is 0 or above [`vecstore_quant::DIM_MAX`].
    pub fn new(distance: Distance, dim: usize, parts: CellParts) -> Result<Self, CellPartsError> {
        let CellParts { centroids, spreads, ends, reach } = &parts;
        if centroids.len() != ends.len() * dim || spreads.len() != ends.len() {
            let (centroids, spreads, ends) = (centroids.len(), spreads.len(), ends.len());
            return Err(CellPartsError::Lengths { dim, centroids, spreads, ends });
        }
        let starts = [0].iter().chain(ends);
        if let Some(cell) = starts.zip(ends).position(|(start, end)| start >= end) {
            return Err(CellPartsError::Empty { cell });
        }
        let is_sound = |number: &f32| number.is_finite();
        if !centroids.iter().all(is_sound) || !spreads.iter().chain([reach]).all(|x| is_sound(x) && *x >= 0.0)
        {
            return Err(CellPartsError::Number);
        }
        let mut codes = ScalarCodes::new(dim).expect("a dimension that codes have");
        codes.extend(centroids);
        let all = (0..ends.len() as u32).collect();
        Ok(Self { distance, dim, parts, codes, all })
    }

    pub(super) fn set_reach(&mut self, reach: f32) {
        self.parts.reach = reach;
    }

    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &CellParts {
        &self.parts
    }

    /// Number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.ends.len()
    }

    /// Whether there is no cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The points of a cell.
    ///
    /// # Panics
    ///
    /// If there is no such cell.
    #[must_use]
    pub fn points(&self, cell: u32) -> Range<u32> {
        let start = cell.checked_sub(1).map_or(0, |before| self.parts.ends[before as usize]);
        start..self.parts.ends[cell as usize]
    }

    /// The cell of a point.
    ///
    /// # Panics
    ///
    /// If there is no such point.
    #[must_use]
    pub fn of(&self, point: u32) -> u32 {
        let cell = self.parts.ends.partition_point(|&end| end <= point);
        assert!(cell < self.len(), "a point of the cells");
        cell as u32
    }

    /// The score of a centroid for a prepared query.
    ///
    /// # Panics
    ///
    /// If there is no such cell, or the query has another dimension.
    #[must_use]
    pub fn score(&self, prepared: &[f32], cell: u32) -> f32 {
        self.distance.score(prepared, self.centroid(cell))
    }

    /// The centroid of a cell.
    ///
    /// # Panics
    ///
    /// If there is no such cell.
    #[must_use]
    pub fn centroid(&self, cell: u32) -> &[f32] {
        &self.parts.centroids[cell as usize * self.dim..][..self.dim]
    }

    /// Writes what each cell promises a prepared query: the score that its best points may well have, if they
    /// are as many spreads from the centroid as the reach.
    pub(super) fn promises(&self, prepared: &[f32], reach: f32, promises: &mut Vec<f32>) {
        promises.resize(self.len(), 0.0);
        ScalarQuery::new(self.distance, prepared).score_many(&self.codes, &self.all, promises);
        let spreads = &self.parts.spreads;
        let length = match self.distance {
            Distance::Dot => prepared.iter().map(|x| x * x).sum::<f32>().sqrt(),
            Distance::Cosine | Distance::Euclid => 1.0,
        };
        for (promise, spread) in promises.iter_mut().zip(spreads) {
            *promise += match self.distance {
                Distance::Cosine | Distance::Dot => reach * length * spread,
                // A query within the spread may have points at its own place.
                Distance::Euclid if -*promise <= spread * spread => f32::INFINITY,
                // The squared distance of a point is that of the centroid, and that of the point from it,
                // less twice what the point is nearer along the way.
                Distance::Euclid => 2.0 * reach * (-*promise).sqrt() * spread - spread * spread,
            };
            // Beyond the range of `f32`, nothing is known.
            if !promise.is_finite() {
                *promise = f32::INFINITY;
            }
        }
    }

    /// The reach that a cell needs to promise a score. Infinite if none is enough.
    #[must_use]
    pub fn reach_for(&self, prepared: &[f32], cell: u32, score: f32) -> f32 {
        let (centre, spread) = (self.score(prepared, cell), self.parts.spreads[cell as usize]);
        let (wanted, per_reach) = match self.distance {
            Distance::Cosine => (score - centre, spread),
            Distance::Dot => (score - centre, spread * prepared.iter().map(|x| x * x).sum::<f32>().sqrt()),
            Distance::Euclid if -centre <= spread * spread => return 0.0,
            Distance::Euclid => (score - centre + spread * spread, 2.0 * (-centre).sqrt() * spread),
        };
        if wanted <= 0.0 { 0.0 } else { wanted / per_reach }
    }

    /// Bytes in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let CellParts { centroids, spreads, ends, .. } = &self.parts;
        size_of_val(centroids.as_slice())
            + size_of_val(spreads.as_slice())
            + size_of_val(ends.as_slice())
            + self.codes.codes().len()
            + self.len() * (size_of::<u32>() + 16)
    }
}
