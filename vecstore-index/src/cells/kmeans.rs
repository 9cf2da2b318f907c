//! K-means: centroids of groups of near vectors.

use rayon::prelude::*;
use vecstore_quant::{Distance, ScalarCodes, ScalarQuery, SplitMix64};

/// Rounds of k-means. More rounds hardly move the centroids.
const ROUNDS: usize = 8;

/// The nearest of some centroids.
#[derive(Clone, Debug)]
pub(super) struct Nearest {
    codes: ScalarCodes,
    all: Vec<u32>,
}

impl Nearest {
    /// Of centroids of `dim` components each, one after the other.
    pub(super) fn of(centroids: &[f32], dim: usize) -> Self {
        let mut codes = ScalarCodes::new(dim).expect("a dimension that codes have");
        codes.extend(centroids);
        let all = (0..codes.len() as u32).collect();
        Self { codes, all }
    }

    /// The number of the centroid that is nearest to a vector, but for the rounding of codes. The first of
    /// equal ones.
    pub(super) fn to(&self, vector: &[f32], scores: &mut Vec<f32>) -> u32 {
        self.among(&ScalarQuery::new(Distance::Euclid, vector), &self.all, scores)
    }

    /// As [`Nearest::to`], among some of the centroids.
    pub(super) fn among(&self, query: &ScalarQuery, some: &[u32], scores: &mut Vec<f32>) -> u32 {
        scores.resize(some.len(), 0.0);
        query.score_many(&self.codes, some, scores);
        let mut best = (f32::NEG_INFINITY, 0);
        for (&centroid, &score) in some.iter().zip(&*scores) {
            if score > best.0 {
                best = (score, centroid);
            }
        }
        best.1
    }

    /// The numbers of the `count` nearest centroids, the nearest first.
    pub(super) fn first(&self, query: &ScalarQuery, count: usize, scores: &mut Vec<f32>) -> Vec<u32> {
        scores.resize(self.all.len(), 0.0);
        query.score_many(&self.codes, &self.all, scores);
        let nearer = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
        let mut first = self.all.clone();
        if count < first.len() {
            first.select_nth_unstable_by(count, nearer);
            first.truncate(count);
        }
        first.sort_unstable_by(nearer);
        first
    }
}

/// Finds `count` centroids of vectors of `dim` components each, one after the other. There are at least
/// `count` vectors. The same random numbers give the same centroids.
pub(super) fn centroids(vectors: &[f32], dim: usize, count: usize, random: &mut SplitMix64) -> Vec<f32> {
    let points = vectors.len() / dim;
    let start = |centroid: usize| {
        // A vector from each part, so that centroids begin spread over all vectors.
        let part = centroid * points / count..(centroid + 1) * points / count;
        let vector = part.start + random.below(part.len());
        vectors[vector * dim..][..dim].iter().copied()
    };
    let mut centroids: Vec<f32> = (0..count).flat_map(start).collect();
    let rounds = if (1..points).contains(&count) { ROUNDS } else { 0 };
    for _ in 0..rounds {
        let nearest = Nearest::of(&centroids, dim);
        let groups =
            vectors.par_chunks_exact(dim).map_init(Vec::new, |scores, vector| nearest.to(vector, scores));
        move_to_means(&mut centroids, vectors, dim, &groups.collect::<Vec<u32>>());
    }
    centroids
}

/// Moves each centroid to the mean of its vectors. A centroid without vectors stays.
pub(super) fn move_to_means(centroids: &mut [f32], vectors: &[f32], dim: usize, groups: &[u32]) {
    let members = by_group(groups, centroids.len() / dim);
    centroids.par_chunks_exact_mut(dim).zip(members).for_each_init(
        || vec![0.0f64; dim],
        |sums, (centroid, members)| {
            if members.is_empty() {
                return;
            }
            sums.fill(0.0);
            for &member in &members {
                let vector = &vectors[member as usize * dim..][..dim];
                sums.iter_mut().zip(vector).for_each(|(sum, &x)| *sum += f64::from(x));
            }
            let count = members.len() as f64;
            centroid.iter_mut().zip(&*sums).for_each(|(x, sum)| *x = (sum / count) as f32);
        },
    );
}

/// The members of each group, in their order.
pub(super) fn by_group(groups: &[u32], count: usize) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); count];
    for (member, &group) in (0..).zip(groups) {
        members[group as usize].push(member);
    }
    members
}
