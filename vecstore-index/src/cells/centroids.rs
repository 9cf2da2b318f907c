//! The centroids of cells, in two levels.

use super::divide::CellVectors;
use super::kmeans::{Nearest, Stop, by_group, centroids, for_each, mean, move_to_means};
use rayon::prelude::*;
use std::ops::Range;
use vecstore_quant::SplitMix64;

/// Groups of centroids that are looked at for the nearest one.
const GROUPS_NEAR: usize = 8;
/// Rounds that move all centroids together, after each group found its own.
const ROUNDS_TOGETHER: usize = 2;
/// The most centroids of a group, in terms of how many groups there are.
const SHARE_MAX: usize = 4;

/// Centroids, in groups of near ones.
#[derive(Clone, Debug)]
pub(super) struct Centroids {
    dim: usize,
    pub(super) vectors: Vec<f32>,
    nearest: Nearest,
    /// The centroids of each group.
    groups: Vec<Range<u32>>,
    of_groups: Nearest,
}

impl Centroids {
    /// Finds about `count` centroids of a sample of points, of which there are at least as many. Uses the
    /// current rayon pool.
    pub(super) fn train(
        vectors: &impl CellVectors,
        sample: &[u32],
        count: usize,
        seed: u64,
        stop: &Stop<'_>,
    ) -> Self {
        let (dim, mut random) = (vectors.dim(), SplitMix64::new(seed, 0));
        let group_count = (count as f64).sqrt().ceil() as usize;
        let nearest = Nearest::of(&centroids(vectors, sample, group_count, &mut random, stop), dim);
        let groups = for_each(sample, stop, |point, scores| nearest.to(vectors, point, scores));
        let members = by_group(&groups, group_count);
        let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
        // A group of equal points would take as long as the square of its share.
        let shares = shares(&sizes, count).into_iter().map(|share| share.min(SHARE_MAX * group_count));
        let shares: Vec<usize> = shares.collect();
        let own = members.into_par_iter().zip(&shares).enumerate().map(|(group, (members, &share))| {
            let points: Vec<u32> = members.iter().map(|&member| sample[member as usize]).collect();
            centroids(vectors, &points, share, &mut SplitMix64::new(seed, group as u64 + 1), stop)
        });
        let mut all = Self::new(own.collect::<Vec<_>>().concat(), &shares, dim);
        for _ in 0..ROUNDS_TOGETHER {
            let cells = all.nearest_of(vectors, sample, stop);
            let mut moved = std::mem::take(&mut all.vectors);
            move_to_means(&mut moved, vectors, sample, &cells);
            all = Self::new(moved, &shares, dim);
        }
        all
    }

    /// Centroids one after the other, of groups of these sizes.
    pub(super) fn new(vectors: Vec<f32>, sizes: &[usize], dim: usize) -> Self {
        let mut end = 0;
        let groups = sizes.iter().filter(|&&size| size > 0).map(|&size| {
            end += size as u32;
            end - size as u32..end
        });
        let groups: Vec<Range<u32>> = groups.collect();
        let own = Flat { dim, vectors: &vectors };
        let means: Vec<Vec<f32>> = groups.iter().map(|range| mean(&own, range.clone())).collect();
        let (nearest, of_groups) = (Nearest::of(&vectors, dim), Nearest::of(&means.concat(), dim));
        Self { dim, vectors, nearest, groups, of_groups }
    }

    /// Centroids that were found elsewhere, in groups of near ones. Also returns their order.
    pub(super) fn of_others(vectors: &[f32], dim: usize, seed: u64, stop: &Stop<'_>) -> (Self, Vec<u32>) {
        let flat = Flat { dim, vectors };
        let all: Vec<u32> = (0..flat.len() as u32).collect();
        let count = (all.len() as f64).sqrt().ceil() as usize;
        let nearest = Nearest::of(&centroids(&flat, &all, count, &mut SplitMix64::new(seed, 0), stop), dim);
        let groups = for_each(&all, stop, |point, scores| nearest.to(&flat, point, scores));
        let members = by_group(&groups, count);
        let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
        let order = members.concat();
        let vectors = order.iter().flat_map(|&one| &vectors[one as usize * dim..][..dim]).copied().collect();
        (Self::new(vectors, &sizes, dim), order)
    }

    /// Some of the centroids, in ascending order.
    pub(super) fn only(&self, some: &[u32]) -> Self {
        let vectors = some.iter().flat_map(|&centroid| self.vector(centroid)).copied().collect();
        let sizes = self.groups.iter().map(|group| some.iter().filter(|&&one| group.contains(&one)).count());
        Self::new(vectors, &sizes.collect::<Vec<_>>(), self.dim)
    }

    pub(super) fn len(&self) -> usize {
        self.vectors.len() / self.dim
    }

    pub(super) fn vector(&self, centroid: u32) -> &[f32] {
        &self.vectors[centroid as usize * self.dim..][..self.dim]
    }

    /// The numbers of the `count` centroids nearest to a vector, but for the rounding of codes, and for those
    /// of far groups. The nearest first.
    pub(super) fn near(&self, vector: &[f32], count: usize, scores: &mut Vec<f32>) -> Vec<u32> {
        let flat = Flat { dim: self.dim, vectors: vector };
        let some = self.of_near_groups(&flat, 0, scores);
        self.nearest.first_of(&flat, 0, some, count, scores)
    }

    /// The number of the centroid nearest to a point, but for the rounding of codes, and for those of far
    /// groups.
    fn nearest(&self, vectors: &impl CellVectors, point: u32, scores: &mut Vec<f32>) -> u32 {
        let some = self.of_near_groups(vectors, point, scores);
        self.nearest.among(vectors, point, &some, scores)
    }

    /// As [`Centroids::nearest`], among some centroids.
    pub(super) fn nearest_among(
        &self,
        vectors: &impl CellVectors,
        point: u32,
        some: &[u32],
        scores: &mut Vec<f32>,
    ) -> u32 {
        self.nearest.among(vectors, point, some, scores)
    }

    /// The centroids of near groups.
    fn of_near_groups(&self, vectors: &impl CellVectors, point: u32, scores: &mut Vec<f32>) -> Vec<u32> {
        let groups = self.of_groups.first(vectors, point, GROUPS_NEAR, scores);
        groups.iter().flat_map(|&group| self.groups[group as usize].clone()).collect()
    }

    /// The nearest centroid of each of some points.
    pub(super) fn nearest_of(&self, vectors: &impl CellVectors, points: &[u32], stop: &Stop<'_>) -> Vec<u32> {
        for_each(points, stop, |point, scores| self.nearest(vectors, point, scores))
    }
}

/// Vectors one after the other.
struct Flat<'a> {
    dim: usize,
    vectors: &'a [f32],
}

impl CellVectors for Flat<'_> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn len(&self) -> usize {
        self.vectors.len() / self.dim
    }

    fn read(&self, point: u32, vector: &mut [f32]) {
        vector.copy_from_slice(&self.vectors[point as usize * self.dim..][..self.dim]);
    }
}

/// Divides `count` among groups by their sizes. Each group has at least as many members as its share.
fn shares(sizes: &[usize], count: usize) -> Vec<usize> {
    let total: usize = sizes.iter().sum();
    let (mut members, mut given) = (0, 0);
    let share = |&size: &usize| {
        members += size;
        // What is due up to here, less what was given. So the shares add up.
        let share = (members * count / total.max(1)) - given;
        given += share;
        share
    };
    sizes.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn shares_add_up_and_fit(sizes in prop::collection::vec(0usize..50, 1..20), part in 0.0f64..=1.0) {
            let total: usize = sizes.iter().sum();
            let count = (total as f64 * part) as usize;
            let shares = shares(&sizes, count);
            prop_assert_eq!(shares.iter().sum::<usize>(), count);
            for (share, size) in shares.iter().zip(&sizes) {
                prop_assert!(share <= size);
            }
        }
    }
}
