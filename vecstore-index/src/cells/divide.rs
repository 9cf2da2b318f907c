//! Divides points into cells.

use super::centroids::Centroids;
use super::kmeans::{Nearest, Stop, by_group, centroids, for_each, mean};
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
    let mean_of = |members: &Vec<u32>| match stop() {
        true => Vec::new(),
        false => mean(vectors, members.iter().copied()),
    };
    let means: Vec<Vec<f32>> = members.par_iter().map(mean_of).collect();
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
    stop: &Stop<'_>,
) -> Result<Vec<Vec<u32>>, SearchStoppedError> {
    let count = group.len();
    let cells = count.div_ceil(points_each);
    let sampled = count.min(cells * SAMPLE_EACH);
    let sample: Vec<u32> = (0..sampled).map(|index| group.start + (index * count / sampled) as u32).collect();
    let trained = Centroids::train(vectors, &sample, cells, seed, stop);
    let check_stop = || if stop() { Err(SearchStoppedError) } else { Ok(()) };
    check_stop()?;
    let all: Vec<u32> = group.clone().collect();
    let groups = trained.nearest_of(vectors, &all, stop);
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
        let homes = trained.only(&kept).nearest_of(vectors, &homeless, stop);
        check_stop()?;
        members = kept.iter().map(|&cell| std::mem::take(&mut members[cell as usize])).collect();
        homeless.iter().zip(homes).for_each(|(&point, cell)| members[cell as usize].push(point));
    }
    let divided = members.into_par_iter().enumerate().flat_map_iter(|(cell, members)| {
        parts(vectors, members, points_each, &mut SplitMix64::new(seed, cell as u64), stop)
    });
    let divided: Vec<Vec<u32>> = divided.filter(|members| !members.is_empty()).collect();
    check_stop()?;
    Ok(divided)
}

/// Divides a cell that has too many points. Points that are all alike are divided as they come.
fn parts(
    vectors: &impl CellVectors,
    points: Vec<u32>,
    points_each: usize,
    random: &mut SplitMix64,
    stop: &Stop<'_>,
) -> Vec<Vec<u32>> {
    let points_max = points_each * DIVIDED_ABOVE;
    if points.len() <= points_max {
        return vec![points];
    }
    let count = points.len().div_ceil(points_each).min(PARTS_MAX);
    let sampled = points.len().min(count * SAMPLE_EACH);
    let sample: Vec<u32> = (0..sampled).map(|index| points[index * points.len() / sampled]).collect();
    let nearest = Nearest::of(&centroids(vectors, &sample, count, random, stop), vectors.dim());
    let groups = for_each(vectors, &points, stop, |vector, scores| nearest.to(vector, scores));
    let groups = by_group(&groups, count).into_iter();
    let groups = groups.map(|group| group.into_iter().map(|at| points[at as usize]).collect::<Vec<u32>>());
    let parts = groups.flat_map(|group| match group.len() {
        len if len <= points_max => vec![group],
        _ => group.chunks(points_each).map(<[u32]>::to_vec).collect(),
    });
    parts.collect()
}
