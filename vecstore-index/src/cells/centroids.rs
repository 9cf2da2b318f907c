//! The centroids of cells, in two levels.

use super::kmeans::{Nearest, by_group, centroids, move_to_means};
use rayon::prelude::*;
use std::ops::Range;
use vecstore_quant::{Distance, ScalarQuery, SplitMix64};

/// Groups of centroids that are looked at for the nearest one.
const GROUPS_NEAR: usize = 8;
/// Rounds that move all centroids together, after each group found its own.
const ROUNDS_TOGETHER: usize = 2;

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
    /// Finds `count` centroids of a sample of vectors. It has at least as many. Uses the current rayon pool.
    pub(super) fn train(sample: &[f32], dim: usize, count: usize, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed, 0);
        let group_count = (count as f64).sqrt().ceil() as usize;
        let of_groups = centroids(sample, dim, group_count, &mut random);
        let nearest = Nearest::of(&of_groups, dim);
        let groups: Vec<u32> = sample
            .par_chunks_exact(dim)
            .map_init(Vec::new, |scores, vector| nearest.to(vector, scores))
            .collect();
        let members = by_group(&groups, group_count);
        let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
        let shares = shares(&sizes, count);
        let own: Vec<Vec<f32>> = members
            .into_par_iter()
            .zip(&shares)
            .enumerate()
            .map(|(group, (members, &share))| {
                let vectors: Vec<f32> = members
                    .iter()
                    .flat_map(|&member| &sample[member as usize * dim..][..dim])
                    .copied()
                    .collect();
                centroids(&vectors, dim, share, &mut SplitMix64::new(seed, group as u64 + 1))
            })
            .collect();
        let mut all = Self::new(own.concat(), &shares, dim);
        for _ in 0..ROUNDS_TOGETHER {
            let cells = all.nearest_of_all(sample);
            let mut vectors = std::mem::take(&mut all.vectors);
            move_to_means(&mut vectors, sample, dim, &cells);
            all = Self::new(vectors, &shares, dim);
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
        let mut means = vec![0.0; groups.len() * dim];
        let of =
            groups.iter().enumerate().flat_map(|(group, range)| range.clone().map(move |_| group as u32));
        move_to_means(&mut means, &vectors, dim, &of.collect::<Vec<u32>>());
        let (nearest, of_groups) = (Nearest::of(&vectors, dim), Nearest::of(&means, dim));
        Self { dim, vectors, nearest, groups, of_groups }
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

    /// The number of the nearest centroid, but for the rounding of codes, and for those of far groups.
    pub(super) fn nearest(&self, vector: &[f32], scores: &mut Vec<f32>) -> u32 {
        let query = ScalarQuery::new(Distance::Euclid, vector);
        let groups = self.of_groups.first(&query, GROUPS_NEAR, scores);
        let some: Vec<u32> = groups.iter().flat_map(|&group| self.groups[group as usize].clone()).collect();
        self.nearest.among(&query, &some, scores)
    }

    /// The nearest centroid of each vector.
    pub(super) fn nearest_of_all(&self, vectors: &[f32]) -> Vec<u32> {
        let nearest = vectors.par_chunks_exact(self.dim).with_min_len(64);
        nearest.map_init(Vec::new, |scores, vector| self.nearest(vector, scores)).collect()
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
