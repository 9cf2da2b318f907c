//! Divides points into cells.

use super::centroids::Centroids;
use super::kmeans::{Nearest, by_group, centroids};
use crate::graph::SearchStoppedError;
use rayon::prelude::*;
use std::ops::Range;
use vecstore_quant::SplitMix64;

/// Vectors of the sample for each cell.
const SAMPLE_EACH: usize = 64;
/// A cell with more times the wanted number of points is divided.
const DIVIDED_ABOVE: usize = 2;
/// A cell with less than this part of the wanted number of points is dissolved.
const DISSOLVED_BELOW: usize = 8;
/// Points that are read and compared at a time, by each thread.
const BATCH: usize = 256;

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
    assert_eq!(groups.last().copied().unwrap_or(0), vectors.len(), "groups of all points");
    let points_each = points_each.max(1);
    let is_large = |points: &Range<u32>| points.len() > points_each * DIVIDED_ABOVE;
    let mut members: Vec<Vec<u32>> = Vec::new();
    // Small groups that wait for more.
    let mut packed = 0..0;
    for &end in groups {
        let group = packed.end..end as u32;
        if is_large(&group) {
            members.extend((!packed.is_empty()).then(|| packed.collect()));
            members.extend(divide_group(vectors, &group, points_each, seed, stop)?);
            packed = group.end..group.end;
        } else {
            packed.end = group.end;
            if packed.len() >= points_each {
                let whole = std::mem::replace(&mut packed, group.end..group.end);
                members.push(whole.collect());
            }
        }
    }
    members.extend((!packed.is_empty()).then(|| packed.collect()));
    let means = members.par_iter().map(|members| if stop() { Vec::new() } else { mean(vectors, members) });
    let means: Vec<Vec<f32>> = means.collect();
    if stop() {
        return Err(SearchStoppedError);
    }
    let mut end = 0;
    let ends = members.iter().map(|members| {
        end += members.len() as u32;
        end
    });
    Ok(Cells { ends: ends.collect(), centroids: means.concat(), points: members.concat() })
}

/// Divides the points of a group. None of the cells is empty.
fn divide_group(
    vectors: &impl CellVectors,
    group: &Range<u32>,
    points_each: usize,
    seed: u64,
    stop: &(impl Fn() -> bool + Sync),
) -> Result<Vec<Vec<u32>>, SearchStoppedError> {
    let (dim, count) = (vectors.dim(), group.len());
    let cells = count.div_ceil(points_each);
    let sampled = count.min(cells * SAMPLE_EACH);
    let sample: Vec<u32> = (0..sampled).map(|index| group.start + (index * count / sampled) as u32).collect();
    let trained = Centroids::train(&gather(vectors, &sample), dim, cells, seed);
    let check_stop = || if stop() { Err(SearchStoppedError) } else { Ok(()) };
    check_stop()?;
    let nearest = |centroids: &Centroids, points: &[u32]| -> Vec<u32> {
        let of_batch = |points: &[u32]| {
            let vectors = if stop() { Vec::new() } else { gather(vectors, points) };
            let mut scores = Vec::new();
            vectors.chunks_exact(dim).map(|vector| centroids.nearest(vector, &mut scores)).collect::<Vec<_>>()
        };
        points.par_chunks(BATCH).flat_map_iter(of_batch).collect()
    };
    let all: Vec<u32> = group.clone().collect();
    let groups = nearest(&trained, &all);
    check_stop()?;
    let members = by_group(&groups, trained.len());
    let mut members: Vec<Vec<u32>> =
        members.into_iter().map(|members| members.into_iter().map(|at| all[at as usize]).collect()).collect();
    // Points of small cells go to the nearest of the others.
    let is_small = |members: &[u32]| members.len() * DISSOLVED_BELOW < points_each;
    let (small, kept): (Vec<u32>, Vec<u32>) =
        (0..members.len() as u32).partition(|&cell| is_small(&members[cell as usize]));
    if !kept.is_empty() {
        let homeless: Vec<u32> = small.iter().flat_map(|&cell| &members[cell as usize]).copied().collect();
        let homes = nearest(&trained.only(&kept), &homeless);
        check_stop()?;
        members = kept.iter().map(|&cell| std::mem::take(&mut members[cell as usize])).collect();
        homeless.iter().zip(homes).for_each(|(&point, cell)| members[cell as usize].push(point));
    }
    let divided = members.into_par_iter().enumerate().flat_map_iter(|(cell, members)| {
        parts(vectors, members, points_each, &mut SplitMix64::new(seed, cell as u64))
    });
    let divided: Vec<Vec<u32>> = divided.filter(|members| !members.is_empty()).collect();
    check_stop()?;
    Ok(divided)
}

/// Divides a cell that has too many points.
fn parts(
    vectors: &impl CellVectors,
    points: Vec<u32>,
    points_each: usize,
    random: &mut SplitMix64,
) -> Vec<Vec<u32>> {
    if points.len() <= points_each * DIVIDED_ABOVE {
        return vec![points];
    }
    let (dim, count) = (vectors.dim(), points.len().div_ceil(points_each));
    let own = gather(vectors, &points);
    let nearest = Nearest::of(&centroids(&own, dim, count, random), dim);
    let mut scores = Vec::new();
    let groups: Vec<u32> = own.chunks_exact(dim).map(|vector| nearest.to(vector, &mut scores)).collect();
    let groups = by_group(&groups, count).into_iter();
    groups.map(|group| group.into_iter().map(|at| points[at as usize]).collect()).collect()
}

/// The vectors of some points, one after the other.
fn gather(vectors: &impl CellVectors, points: &[u32]) -> Vec<f32> {
    let dim = vectors.dim();
    let mut gathered = vec![0.0; points.len() * dim];
    for (vector, &point) in gathered.chunks_exact_mut(dim).zip(points) {
        vectors.read(point, vector);
    }
    gathered
}

fn mean(vectors: &impl CellVectors, points: &[u32]) -> Vec<f32> {
    let dim = vectors.dim();
    let (mut sums, mut vector) = (vec![0.0f64; dim], vec![0.0; dim]);
    for &point in points {
        vectors.read(point, &mut vector);
        sums.iter_mut().zip(&vector).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sums.iter().map(|sum| (sum / points.len() as f64) as f32).collect()
}
