//! Cells of a merge: those of the largest source, which take in the points of the others.
//!
//! That costs a third of new cells, or a bit more. For the same recall, a search scans about a fifth more
//! points after a merge of two segments, and more after one of many. With the cells of all sources it would
//! scan up to twice as many: the cells of two sources lie in the same places.

use super::centroids::Centroids;
use super::divide::{
    CellVectors, Cells, cells_of, centroids_of, check, dissolve, divide_group, divide_large, in_groups,
};
use super::kmeans::Stop;
use crate::graph::SearchStoppedError;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

/// Cells that are looked at for the nearest one of a point: those nearest to its own.
const NEAR: usize = 16;
/// Points are divided anew if the cells are more than this many times the wanted number...
const CELLS_MAX: usize = 3;
/// ...or less than the wanted number over this one.
const CELLS_MIN: usize = 32;

/// The cells that points come from.
#[derive(Clone, Copy, Debug)]
pub struct CellsBefore<'a> {
    /// The cell of each point, or [`CellsBefore::NONE`]. The cells of a source follow those of the source
    /// before.
    pub of_points: &'a [u32],
    /// The end of each source's cells.
    pub ends: &'a [u32],
}

impl CellsBefore<'_> {
    /// Stands for the cell of a point without one.
    pub const NONE: u32 = u32::MAX;
}

/// As [`divide`](super::divide), for points that have cells already. Cells of the source with most points
/// take in the points of the others, and those without a cell. Then large ones are divided, and small ones
/// dissolved.
///
/// # Errors
///
/// If `stop` returned true.
///
/// # Panics
///
/// If the groups, or the cells before, do not have all points.
pub fn merge(
    vectors: &impl CellVectors,
    groups: &[usize],
    before: CellsBefore<'_>,
    points_each: usize,
    seed: u64,
    stop: &(impl Fn() -> bool + Sync),
) -> Result<Cells, SearchStoppedError> {
    assert_eq!(before.of_points.len(), vectors.len(), "a cell of each point");
    let points_each = points_each.max(1);
    let members = in_groups(vectors, groups, points_each, |group| {
        merge_group(vectors, group, before, points_each, seed, stop)
    })?;
    cells_of(vectors, &members, stop)
}

fn merge_group(
    vectors: &impl CellVectors,
    group: Range<u32>,
    before: CellsBefore<'_>,
    points_each: usize,
    seed: u64,
    stop: &Stop<'_>,
) -> Result<Vec<Vec<u32>>, SearchStoppedError> {
    let wanted = group.len().div_ceil(points_each);
    let (mut largest, others, new) = by_source(group.clone(), before);
    if largest.len() > wanted * CELLS_MAX || largest.len() * CELLS_MIN < wanted {
        return divide_group(vectors, &group.collect::<Vec<_>>(), points_each, seed, stop);
    }
    let centroids = arrange(vectors, &mut largest, seed, stop)?;
    let means = centroids_of(vectors, &others, stop)?;
    let others = homes(vectors, &others, Some(&means), &centroids, stop)?;
    let of_new = centroids.nearest_of(vectors, &new, stop);
    check(stop)?;
    new.into_iter().zip(of_new).for_each(|(point, cell)| largest[cell as usize].push(point));
    for (members, mut other) in largest.iter_mut().zip(others) {
        members.append(&mut other);
        members.sort_unstable();
    }
    let whole = dissolve(vectors, &centroids, largest, points_each, stop)?;
    let mut divided = divide_large(vectors, whole, points_each, seed, stop)?;
    // Points of a divided cell may be nearer to others now, and those of others to its parts.
    let centroids = arrange(vectors, &mut divided, seed, stop)?;
    let mut settled = homes(vectors, &divided, None, &centroids, stop)?;
    settled.retain(|members| !members.is_empty());
    Ok(settled)
}

/// The cells of the source with most points of a group, those of all others, and points without a cell. No
/// cell is empty.
fn by_source(group: Range<u32>, before: CellsBefore<'_>) -> (Vec<Vec<u32>>, Vec<Vec<u32>>, Vec<u32>) {
    let source = |cell: u32| before.ends.partition_point(|&end| end <= cell);
    let mut cells: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let (mut points, mut new) = (vec![0usize; before.ends.len()], Vec::new());
    for point in group {
        match before.of_points[point as usize] {
            CellsBefore::NONE => new.push(point),
            cell => {
                cells.entry(cell).or_default().push(point);
                points[source(cell)] += 1;
            }
        }
    }
    let largest = (0..points.len()).rev().max_by_key(|&source| points[source]);
    let (own, others): (Vec<_>, Vec<_>) =
        cells.into_iter().partition(|&(cell, _)| Some(source(cell)) == largest);
    let members = |cells: Vec<(u32, Vec<u32>)>| cells.into_iter().map(|(_, members)| members).collect();
    (members(own), members(others), new)
}

/// Brings cells into groups of near ones. Returns their centroids.
fn arrange(
    vectors: &impl CellVectors,
    members: &mut Vec<Vec<u32>>,
    seed: u64,
    stop: &Stop<'_>,
) -> Result<Centroids, SearchStoppedError> {
    let (centroids, order) =
        Centroids::of_others(&centroids_of(vectors, members, stop)?, vectors.dim(), seed, stop);
    check(stop)?;
    *members = order.iter().map(|&cell| std::mem::take(&mut members[cell as usize])).collect();
    Ok(centroids)
}

/// For each of `centroids`, the points of some cells that are nearest to it. Only those near the centroid of
/// their own cell are looked at. `own` has these, or else the cells are those of `centroids`.
fn homes(
    vectors: &impl CellVectors,
    cells: &[Vec<u32>],
    own: Option<&[f32]>,
    centroids: &Centroids,
    stop: &Stop<'_>,
) -> Result<Vec<Vec<u32>>, SearchStoppedError> {
    let dim = vectors.dim();
    let of_cell = |(number, cell): (usize, &Vec<u32>)| {
        let mut scores = Vec::new();
        let own_centroid = &own.unwrap_or(&centroids.vectors)[number * dim..][..dim];
        let mut near = centroids.near(own_centroid, NEAR, &mut scores);
        if own.is_none() {
            // The first of equal ones is taken. So points that are all alike stay.
            near.retain(|&other| other as usize != number);
            near.insert(0, number as u32);
        }
        let to = |&point: &u32| (point, centroids.nearest_among(vectors, point, &near, &mut scores));
        cell.iter().take_while(|_| !stop()).map(to).collect::<Vec<(u32, u32)>>()
    };
    let homes: Vec<(u32, u32)> = cells.par_iter().enumerate().flat_map_iter(of_cell).collect();
    check(stop)?;
    let mut members = vec![Vec::new(); centroids.len()];
    homes.into_iter().for_each(|(point, home)| members[home as usize].push(point));
    members.iter_mut().for_each(|members: &mut Vec<u32>| members.sort_unstable());
    Ok(members)
}
