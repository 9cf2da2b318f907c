//! K-means: centroids of groups of near vectors.

use super::divide::CellVectors;
use rayon::prelude::*;
use vecstore_quant::{ScalarCodes, SplitMix64};

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

    /// The number of the centroid that is nearest to a point, but for the rounding of codes. The first of
    /// equal ones.
    pub(super) fn to(&self, vectors: &impl CellVectors, point: u32, scores: &mut Vec<f32>) -> u32 {
        self.among(vectors, point, &self.all, scores)
    }

    /// As [`Nearest::to`], among some of the centroids.
    pub(super) fn among(
        &self,
        vectors: &impl CellVectors,
        point: u32,
        some: &[u32],
        scores: &mut Vec<f32>,
    ) -> u32 {
        self.score(vectors, point, some, scores);
        let mut best = (f32::NEG_INFINITY, some.first().copied().unwrap_or(0));
        for (&centroid, &score) in some.iter().zip(&*scores) {
            if score > best.0 {
                best = (score, centroid);
            }
        }
        best.1
    }

    fn score(&self, vectors: &impl CellVectors, point: u32, some: &[u32], scores: &mut Vec<f32>) {
        scores.resize(some.len(), 0.0);
        vectors.score_centroids(point, &self.codes, some, scores);
    }

    /// The numbers of the `count` centroids nearest to a point, the nearest first.
    pub(super) fn first(
        &self,
        vectors: &impl CellVectors,
        point: u32,
        count: usize,
        scores: &mut Vec<f32>,
    ) -> Vec<u32> {
        self.first_of(vectors, point, self.all.clone(), count, scores)
    }

    /// As [`Nearest::first`], among some of the centroids.
    pub(super) fn first_of(
        &self,
        vectors: &impl CellVectors,
        point: u32,
        some: Vec<u32>,
        count: usize,
        scores: &mut Vec<f32>,
    ) -> Vec<u32> {
        self.score(vectors, point, &some, scores);
        let mut first: Vec<(f32, u32)> = scores.iter().copied().zip(some).collect();
        let nearer = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if count < first.len() {
            first.select_nth_unstable_by(count, nearer);
            first.truncate(count);
        }
        first.sort_unstable_by(nearer);
        first.into_iter().map(|(_, centroid)| centroid).collect()
    }
}

/// Finds `count` centroids of some points, of which there are at least as many. The same random numbers give
/// the same centroids.
pub(super) fn centroids(
    vectors: &impl CellVectors,
    points: &[u32],
    count: usize,
    random: &mut SplitMix64,
    stop: &Stop<'_>,
) -> Vec<f32> {
    let dim = vectors.dim();
    let mut centroids = vec![0.0; count * dim];
    for (index, centroid) in centroids.chunks_exact_mut(dim).enumerate() {
        // A point from each part, so that centroids begin spread over all points.
        let part = index * points.len() / count..(index + 1) * points.len() / count;
        vectors.read(points[part.start + random.below(part.len())], centroid);
    }
    let rounds = if (1..points.len()).contains(&count) { ROUNDS } else { 0 };
    for _ in 0..rounds {
        let nearest = Nearest::of(&centroids, dim);
        let groups = for_each(points, stop, |point, scores| nearest.to(vectors, point, scores));
        move_to_means(&mut centroids, vectors, points, &groups);
    }
    centroids
}

/// Whether the work should end. What it gives then means nothing.
pub(super) type Stop<'a> = dyn Fn() -> bool + Sync + 'a;

/// What a function says of each of some points. The function also gets memory that it may use.
pub(super) fn for_each(
    points: &[u32],
    stop: &Stop<'_>,
    say: impl Fn(u32, &mut Vec<f32>) -> u32 + Sync,
) -> Vec<u32> {
    let points = points.par_iter().with_min_len(64);
    points.map_init(Vec::new, |scores, &point| if stop() { 0 } else { say(point, scores) }).collect()
}

/// Moves each centroid to the mean of its points. A centroid without points stays.
pub(super) fn move_to_means(
    centroids: &mut [f32],
    vectors: &impl CellVectors,
    points: &[u32],
    groups: &[u32],
) {
    let dim = vectors.dim();
    let members = by_group(groups, centroids.len() / dim);
    centroids.par_chunks_exact_mut(dim).zip(members).for_each(|(centroid, members)| {
        if !members.is_empty() {
            let points = members.iter().map(|&member| points[member as usize]);
            centroid.copy_from_slice(&mean(vectors, points));
        }
    });
}

/// The mean of some points, of which there is one.
pub(super) fn mean(vectors: &impl CellVectors, points: impl ExactSizeIterator<Item = u32>) -> Vec<f32> {
    let (mut sums, mut vector) = (vec![0.0f64; vectors.dim()], vec![0.0; vectors.dim()]);
    let count = points.len() as f64;
    for point in points {
        vectors.read(point, &mut vector);
        sums.iter_mut().zip(&vector).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sums.iter().map(|sum| (sum / count) as f32).collect()
}

/// The members of each group, in their order.
pub(super) fn by_group(groups: &[u32], count: usize) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); count];
    for (member, &group) in (0..).zip(groups) {
        members[group as usize].push(member);
    }
    members
}
