//! Vectors made from a seed, for the demo, tests and benches. They are the same on every machine.

use crate::input::{Rows, VectorSource, VectorSourceError};
use std::path::Path;
use vecstore_format::ElementType;
use vecstore_quant::SplitMix64;

/// The standard deviation of a component from its cluster's centre. Components of centres deviate by about 1.
const SPREAD: f32 = 0.4;
/// About this many points form a cluster.
const CLUSTER_POINTS: usize = 500;

/// Vectors in normally distributed clusters, and queries from the same distribution.
#[derive(Clone, Debug)]
pub struct Clustered {
    count: usize,
    dim: usize,
    seed: u64,
    centres: Vec<f32>,
    row_next: usize,
    block: Vec<f32>,
}

impl Clustered {
    /// `count` vectors of `dim` components.
    ///
    /// # Panics
    /// If `dim` is 0.
    #[must_use]
    pub fn new(count: usize, dim: usize, seed: u64) -> Self {
        assert!(dim > 0, "vectors have components");
        let clusters = (count / CLUSTER_POINTS).max(1);
        let mut centres = Vec::with_capacity(clusters * dim);
        for cluster in 0..clusters {
            let mut random = SplitMix64::new(seed, CENTRES + cluster as u64);
            centres.extend((0..dim).map(|_| random.normal()));
        }
        Self { count, dim, seed, centres, row_next: 0, block: Vec::new() }
    }

    /// Queries. None of them is one of the vectors.
    #[must_use]
    pub fn queries(&self, count: usize) -> Vec<Vec<f32>> {
        (0..count)
            .map(|query| {
                let mut vector = Vec::with_capacity(self.dim);
                self.push(QUERIES + query as u64, &mut vector);
                vector
            })
            .collect()
    }

    /// Appends vector `index` of the stream of vectors, or of queries.
    fn push(&self, index: u64, vectors: &mut Vec<f32>) {
        let mut random = SplitMix64::new(self.seed, index);
        let cluster = random.below(self.centres.len() / self.dim);
        let centre = &self.centres[cluster * self.dim..][..self.dim];
        vectors.extend(centre.iter().map(|&x| x + SPREAD * random.normal()));
    }
}

/// The random streams of queries and of centres begin here. Those of vectors begin at 0.
const QUERIES: u64 = 1 << 40;
const CENTRES: u64 = 1 << 41;

impl VectorSource for Clustered {
    fn name(&self) -> &Path {
        Path::new("(clustered vectors)")
    }

    fn count(&self) -> u64 {
        self.count as u64
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn element(&self) -> ElementType {
        ElementType::F32
    }

    fn next_rows(&mut self, rows_max: usize) -> Result<Rows<'_>, VectorSourceError> {
        let end = self.count.min(self.row_next + rows_max);
        let mut block = std::mem::take(&mut self.block);
        block.clear();
        for row in self.row_next..end {
            self.push(row as u64, &mut block);
        }
        self.row_next = end;
        self.block = block;
        Ok(Rows::F32(&self.block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_vectors_in_blocks_of_any_size() {
        let mut whole = Clustered::new(1000, 8, 3);
        let Rows::F32(whole) = whole.next_rows(2000).unwrap() else { unreachable!() };
        let mut pieces = Clustered::new(1000, 8, 3);
        let mut joined = Vec::new();
        while joined.len() < 8000 {
            let Rows::F32(rows) = pieces.next_rows(77).unwrap() else { unreachable!() };
            joined.extend_from_slice(rows);
        }
        assert_eq!(whole, joined);
        let other = Clustered::new(1000, 8, 4).queries(1);
        assert_ne!(pieces.queries(1), other);
    }

    #[test]
    fn vectors_lie_in_clusters() {
        let mut source = Clustered::new(2000, 16, 5);
        let Rows::F32(rows) = source.next_rows(2000).unwrap() else { unreachable!() };
        let distance_sq = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f32>();
        let (nearest, mean) = {
            let first = &rows[..16];
            let distances: Vec<f32> =
                rows[16..].chunks_exact(16).map(|row| distance_sq(first, row)).collect();
            (
                distances.iter().copied().fold(f32::MAX, f32::min),
                distances.iter().sum::<f32>() / distances.len() as f32,
            )
        };
        assert!(nearest < mean / 3.0, "nearest {nearest}, mean {mean}");
    }
}
