//! How far from their centroids cells have what a search looks for.

use super::divide::{CellVectors, Cells};
use super::map::CellMap;
use crate::pool::Pool;
use crate::top_k::TopK;
use rayon::prelude::*;

/// Neighbours of a sampled point that a search should find.
const NEIGHBOURS: usize = 10;
/// Points that this search keeps.
const KEPT: usize = 20;
/// The part of the neighbours that it should find.
const FOUND: f64 = 0.96;
/// The number of reaches that are tried.
const TRIED: usize = 16;
/// The most points that are sampled.
const SAMPLES_MAX: usize = 200;
/// One of so many of them tells which reaches are tried.
const TELLS: usize = 4;
/// Cells that may have the neighbours of a sampled point: at least this number of the nearest ones...
const NEAR_MIN: usize = 256;
/// ...and at least one of so many.
const NEAR_PART: usize = 8;

/// A sampled point that is searched for.
struct Sampled {
    vector: Vec<f32>,
    /// Near cells, with the scores of their points. Nobody looks for the point itself.
    near: Vec<(u32, Vec<f32>)>,
    /// The scores and cells of its neighbours.
    neighbours: Vec<(f32, u32)>,
}

impl Sampled {
    /// The score of the last neighbour.
    fn worst(&self) -> f32 {
        self.neighbours.last().map_or(f32::NEG_INFINITY, |last| last.0)
    }
}

impl CellMap {
    /// Learns [`CellParts::reach`](super::CellParts::reach) from points that are searched for. `score` is the
    /// score of two points. The points of the map are those of `cells`, in their order. It learns nothing
    /// once `stop` returns true. Uses the current rayon pool.
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
        let samples = count.min(SAMPLES_MAX);
        let sampled = |index: usize| {
            let point = cells.points[index * count / samples];
            let mut vector = vec![0.0; vectors.dim()];
            vectors.read(point, &mut vector);
            let score = |place: u32| match cells.points[place as usize] {
                other if other == point => f32::NEG_INFINITY,
                other => score(point, other),
            };
            let near = self.near(&vector).into_iter().take_while(|_| !stop());
            let near = near.map(|cell| (cell, self.points(cell).map(score).collect()));
            let near: Vec<(u32, Vec<f32>)> = near.collect();
            let nearer = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            let mut nearest = TopK::new(NEIGHBOURS, nearer);
            for (cell, scores) in &near {
                scores.iter().for_each(|&score| nearest.offer((score, *cell)));
            }
            let mut neighbours = nearest.into_sorted();
            neighbours.retain(|scored| scored.0 > f32::NEG_INFINITY);
            Sampled { vector, near, neighbours }
        };
        // Scores take much memory, so they are not kept for the second use.
        let tell = (0..samples).into_par_iter().step_by(TELLS);
        let mut needed: Vec<f32> = tell.flat_map_iter(|index| self.needed(&sampled(index))).collect();
        needed.retain(|reach| reach.is_finite());
        needed.sort_unstable_by(f32::total_cmp);
        let Some(last) = needed.len().checked_sub(1) else { return };
        let tried: Vec<f32> = (0..=TRIED).map(|step| needed[last * step / TRIED]).collect();
        // How many neighbours there are, and how many each reach finds.
        let found = (0..samples).into_par_iter().map(|index| {
            let of = sampled(index);
            let found = tried.iter().map(|&reach| self.found(&of, reach, stop));
            (of.neighbours.len() as u64, found.collect::<Vec<u64>>())
        });
        let add = |a: (u64, Vec<u64>), b: (u64, Vec<u64>)| {
            (a.0 + b.0, a.1.iter().zip(b.1).map(|(a, b)| a + b).collect())
        };
        let (neighbours, found) = found.reduce(|| (0, vec![0; tried.len()]), add);
        let wanted = (neighbours as f64 * FOUND) as u64;
        if !stop() {
            let least = found.iter().position(|&found| found >= wanted).unwrap_or(TRIED);
            // Between the last that finds too few and the first that does not.
            let before = least.saturating_sub(1);
            let part = (wanted - found[before].min(wanted)) as f32
                / found[least].saturating_sub(found[before]).max(1) as f32;
            self.set_reach(tried[before] + (tried[least] - tried[before]) * part.min(1.0));
        }
    }

    /// The cells that may have the neighbours of a vector.
    fn near(&self, vector: &[f32]) -> Vec<u32> {
        let mut promises = Vec::new();
        self.promises(vector, 0.0, &mut promises);
        let mut near: Vec<u32> = (0..self.len() as u32).collect();
        let count = NEAR_MIN.max(self.len() / NEAR_PART);
        if count < near.len() {
            let promise = |cell: u32| promises[cell as usize];
            near.select_nth_unstable_by(count, |&a, &b| promise(b).total_cmp(&promise(a)).then(a.cmp(&b)));
            near.truncate(count);
        }
        near
    }

    /// The reach that the cell of each neighbour needs to promise the last of them.
    fn needed(&self, of: &Sampled) -> Vec<f32> {
        let reach = |&(_, cell): &(f32, u32)| self.reach_for(&of.vector, cell, of.worst());
        of.neighbours.iter().map(reach).collect()
    }

    /// How many neighbours a search with this reach finds.
    fn found(&self, of: &Sampled, reach: f32, stop: &(impl Fn() -> bool + Sync)) -> u64 {
        let mut promises = Vec::new();
        self.promises(&of.vector, reach, &mut promises);
        let promise = |cell: u32| promises[cell as usize];
        let mut near: Vec<&(u32, Vec<f32>)> = of.near.iter().collect();
        near.sort_unstable_by(|a, b| promise(b.0).total_cmp(&promise(a.0)).then(a.0.cmp(&b.0)));
        let mut kept = Pool::default();
        kept.begin(KEPT);
        for (cell, scores) in near {
            if stop() || kept.is_full() && promise(*cell) <= kept.score_of(KEPT) {
                break;
            }
            self.points(*cell).zip(scores).for_each(|(point, &score)| kept.push(point, score));
        }
        // Any of equal points will do.
        let as_good = kept.candidates().filter(|candidate| candidate.score >= of.worst()).count();
        as_good.min(of.neighbours.len()) as u64
    }
}
