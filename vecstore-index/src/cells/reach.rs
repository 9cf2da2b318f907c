//! How far from their centroids cells have what a search looks for.

use super::divide::{CellVectors, Cells};
use super::map::CellMap;
use crate::top_k::TopK;
use rayon::prelude::*;

/// Neighbours of a sampled point that a search should find.
const NEIGHBOURS: usize = 10;
/// The part of these neighbours whose cells a search should scan that keeps no more than these. A search that
/// keeps more of them scans more cells. So it finds 95 % of ten neighbours if it keeps about twenty.
const FOUND: f64 = 0.88;
/// The most pairs of points that are scored.
const PAIRS_MAX: usize = 8_000_000;
/// The least and most number of sampled points.
const SAMPLE: (usize, usize) = (16, 200);

impl CellMap {
    /// Learns [`CellParts::reach`](super::CellParts::reach) from points that are searched for. `score` is the
    /// score of two points. The points of the map are those of `cells`, in their order. It learns less once
    /// `stop` returns true. Uses the current rayon pool.
    ///
    /// # Panics
    ///
    /// If the map has other cells.
    pub fn learn_reach(
        &mut self,
        vectors: &impl CellVectors,
        cells: &Cells,
        score: impl Fn(u32, u32) -> f32 + Sync,
        stop: &(impl Fn() -> bool + Sync),
    ) {
        assert_eq!(self.parts().ends, cells.ends, "the cells of the map");
        let count = cells.points.len();
        let sampled = (PAIRS_MAX / count.max(1)).clamp(SAMPLE.0, SAMPLE.1).min(count);
        let needed = (0..sampled).into_par_iter().flat_map_iter(|index| {
            let point = cells.points[index * count / sampled];
            let mut vector = vec![0.0; vectors.dim()];
            vectors.read(point, &mut vector);
            let mut nearest = TopK::new(NEIGHBOURS, |a: &(f32, u32), b: &(f32, u32)| {
                b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
            });
            for (place, &other) in (0..).zip(&cells.points).take_while(|_| !stop()) {
                if other != point {
                    nearest.offer((score(point, other), place));
                }
            }
            let nearest = nearest.into_sorted();
            let worst = nearest.last().map_or(f32::NEG_INFINITY, |last| last.0);
            let reach = |(_, place)| {
                let cell = cells.ends.partition_point(|&end| end <= place) as u32;
                self.reach_for(&vector, cell, worst)
            };
            nearest.into_iter().map(reach).collect::<Vec<f32>>()
        });
        let mut needed: Vec<f32> = needed.collect();
        needed.sort_unstable_by(f32::total_cmp);
        needed.truncate((needed.len() as f64 * FOUND) as usize + 1);
        self.set_reach(needed.into_iter().rfind(|reach| reach.is_finite()).unwrap_or(0.0));
    }
}
