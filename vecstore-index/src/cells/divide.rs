//! Divides points into cells.

use super::centroids::Centroids;
use super::kmeans::{Nearest, Stop, by_group, centroids, for_each, mean};
use crate::graph::SearchStoppedError;
use rayon::prelude::*;
use std::ops::Range;
use vecstore_quant::{Distance, ScalarCodes, ScalarQuery, SplitMix64};

/// Vectors of the sample for each cell.
const SAMPLE_EACH: usize = 64;
/// A cell with more times the wanted number of points is divided.
const DIVIDED_ABOVE: usize = 2;
/// A cell with less than this part of the wanted number of points is dissolved.
const DISSOLVED_BELOW: usize = 8;
/// The most parts that k-means divides a cell into.
const PARTS_MAX: usize = 64;

/// Prepared vectors, by point.
pub trait CellVectors: Sync {
    /// Components of a vector.
    fn dim(&self) -> usize;

    /// Number of points.
    fn len(&self) -> usize;

    /// Whether there is no point.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the vector of a point.
    fn read(&self, point: u32, vector: &mut [f32]);

    /// Writes the Euclidean scores of a point with some centroids. Whoever has codes of the vectors can do
    /// that faster.
    fn score_centroids(&self, point: u32, centroids: &ScalarCodes, some: &[u32], scores: &mut [f32]) {
        let mut vector = vec![0.0; self.dim()];
        self.read(point, &mut vector);
        ScalarQuery::new(Distance::Euclid, &vector).score_many(centroids, some, scores);
    }
}

/// Points divided into cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    /// The centroid of each cell: the mean of its vectors. One after the other.
    pub centroids: Vec<f32>,
    /// The points of all cells, one cell after the other. Cells follow the order of the groups.
    pub points: Vec<u32>,
    /// The end of each cell in `points`.
    pub ends: Vec<u32>,
}

/// Divides points into cells of about `points_each` near ones. `groups` has the end of each group of points
/// that should lie together: a cell has points of one group, or of several small ones that follow each other.
/// The same seed gives the same cells. Uses the current rayon pool.
///
/// # Errors
///
/// If `stop` returned true.
///
/// # Panics
///
/// If the groups do not have all points.
pub fn divide(
    vectors: &impl CellVectors,
    groups: &[usize],
    points_each: usize,
    seed: u64,
    stop: &(impl Fn() -> bool + Sync),
) -> Result<Cells, SearchStoppedError> {
    let points_each = points_each.max(1);
    let members = in_groups(vectors, groups, points_each, |group| {
        divide_group(vectors, &group.collect::<Vec<_>>(), points_each, seed, stop)
    })?;
    cells_of(vectors, &members, stop)
}

/// Makes cells of groups. Small groups are packed, and `divide` divides each large one.
pub(super) fn in_groups(
    vectors: &impl CellVectors,
    groups: &[usize],
    points_each: usize,
    divide: impl Fn(Range<u32>) -> Result<Vec<Vec<u32>>, SearchStoppedError>,
) -> Result<Vec<Vec<u32>>, SearchStoppedError> {
    assert_eq!(groups.last().copied().unwrap_or(0), vectors.len(), "groups of all points");
    let mut members: Vec<Vec<u32>> = Vec::new();
    // Small groups that wait for more.
    let mut packed = 0..0;
    for &end in groups {
        let group = packed.end..end as u32;
        if group.len() > points_each * DIVIDED_ABOVE {
            members.extend((!packed.is_empty()).then(|| packed.collect()));
            packed = group.end..group.end;
            members.extend(divide(group)?);
        } else {
            packed.end = group.end;
            if packed.len() >= points_each {
                let whole = std::mem::replace(&mut packed, group.end..group.end);
                members.push(whole.collect());
            }
        }
    }
    members.extend((!packed.is_empty()).then(|| packed.collect()));
    Ok(members)
}

/// The means of the points of cells.
pub(super) fn centroids_of(
    vectors: &impl CellVectors,
    members: &[Vec<u32>],
    stop: &Stop<'_>,
) -> Result<Vec<f32>, SearchStoppedError> {
    let mean_of = |members: &Vec<u32>| match stop() {
        true => Vec::new(),
        false => mean(vectors, members.iter().copied()),
    };
    let means: Vec<Vec<f32>> = members.par_iter().map(mean_of).collect();
    check(stop)?;
    Ok(means.concat())
}

/// Cells of these points.
pub(super) fn cells_of(
    vectors: &impl CellVectors,
    members: &[Vec<u32>],
    stop: &Stop<'_>,
) -> Result<Cells, SearchStoppedError> {
    let mut end = 0;
    let ends = members.iter().map(|members| {
        end += members.len() as u32;
        end
    });
    let ends = ends.collect();
    Ok(Cells { ends, centroids: centroids_of(vectors, members, stop)?, points: members.concat() })
}

/// Divides the points of a group, of which there are many. None of the cells is empty.
pub(super) fn divide_group(
    vectors: &impl CellVectors,
    group: &[u32],
    points_each: usize,
    seed: u64,
    stop: &Stop<'_>,
) -> Result<Vec<Vec<u32>>, SearchStoppedError> {
    let cells = group.len().div_ceil(points_each);
    let sample = sample(group, cells * SAMPLE_EACH);
    let trained = Centroids::train(vectors, &sample, cells, seed, stop);
    check(stop)?;
    let nearest = trained.nearest_of(vectors, group, stop);
    check(stop)?;
    let members = by_group(&nearest, trained.len());
    let members = members.into_iter().map(|members| members.iter().map(|&at| group[at as usize]).collect());
    let members = dissolve(vectors, &trained, members.collect(), points_each, stop)?;
    divide_large(vectors, members, points_each, seed, stop)
}

/// Some points, spread evenly over all.
fn sample(points: &[u32], count: usize) -> Vec<u32> {
    let count = points.len().min(count);
    (0..count).map(|index| points[index * points.len() / count]).collect()
}

pub(super) fn check(stop: &Stop<'_>) -> Result<(), SearchStoppedError> {
    if stop() { Err(SearchStoppedError) } else { Ok(()) }
}

/// Moves the points of small cells to the nearest of the others. `centroids` has those of all cells.
pub(super) fn dissolve(
    vectors: &impl CellVectors,
    centroids: &Centroids,
    mut members: Vec<Vec<u32>>,
    points_each: usize,
    stop: &Stop<'_>,
) -> Result<Vec<Vec<u32>>, SearchStoppedError> {
    let is_small = |members: &[u32]| members.len() * DISSOLVED_BELOW < points_each;
    let (small, others): (Vec<u32>, Vec<u32>) =
        (0..members.len() as u32).partition(|&cell| is_small(&members[cell as usize]));
    if others.is_empty() {
        return Ok(members);
    }
    let homeless: Vec<u32> = small.iter().flat_map(|&cell| &members[cell as usize]).copied().collect();
    let homes = centroids.only(&others).nearest_of(vectors, &homeless, stop);
    check(stop)?;
    for (&point, home) in homeless.iter().zip(homes) {
        members[others[home as usize] as usize].push(point);
    }
    let mut cell = 0;
    members.retain(|_| {
        cell += 1;
        others.binary_search(&(cell - 1)).is_ok()
    });
    Ok(members)
}

/// Divides the cells that have too many points, and drops those without any.
pub(super) fn divide_large(
    vectors: &impl CellVectors,
    members: Vec<Vec<u32>>,
    points_each: usize,
    seed: u64,
    stop: &Stop<'_>,
) -> Result<Vec<Vec<u32>>, SearchStoppedError> {
    let divided = members.into_par_iter().enumerate().flat_map_iter(|(cell, members)| {
        if members.len() <= points_each * DIVIDED_ABOVE {
            return vec![members];
        }
        parts(vectors, &members, points_each, &mut SplitMix64::new(seed, cell as u64), stop)
    });
    let divided: Vec<Vec<u32>> = divided.filter(|members| !members.is_empty()).collect();
    check(stop)?;
    Ok(divided)
}

/// Divides a cell that has too many points. Points that are all alike are divided as they come.
fn parts(
    vectors: &impl CellVectors,
    points: &[u32],
    points_each: usize,
    random: &mut SplitMix64,
    stop: &Stop<'_>,
) -> Vec<Vec<u32>> {
    let count = points.len().div_ceil(points_each).min(PARTS_MAX);
    let sample = sample(points, count * SAMPLE_EACH);
    let nearest = Nearest::of(&centroids(vectors, &sample, count, random, stop), vectors.dim());
    let groups = for_each(points, stop, |point, scores| nearest.to(vectors, point, scores));
    let groups = by_group(&groups, count).into_iter();
    let groups = groups.map(|group| group.into_iter().map(|at| points[at as usize]).collect::<Vec<u32>>());
    let parts = groups.flat_map(|group| match group.len() {
        len if len <= points_each * DIVIDED_ABOVE => vec![group],
        _ => group.chunks(points_each).map(<[u32]>::to_vec).collect(),
    });
    parts.collect()
}
