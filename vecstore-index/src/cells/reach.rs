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
/// The most pairs of points that are scored.
const PAIRS_MAX: usize = 8_000_000;
/// The least and most number of sampled points.
const SAMPLE: (usize, usize) = (64, 200);
/// One of so many of them tells which reaches are tried.
const TELLS: usize = 4;

/// A sampled point that is searched for.
struct Sampled {
    vector: Vec<f32>,
    /// The scores of all other points, in the order of the cells. Nobody looks for the point itself.
    scores: Vec<f32>,
    /// The scores and places of its neighbours.
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
        let samples = (PAIRS_MAX / count.max(1)).clamp(SAMPLE.0, SAMPLE.1).min(count);
        let sampled = |index: usize| {
            let point = cells.points[index * count / samples];
            let mut vector = vec![0.0; vectors.dim()];
            vectors.read(point, &mut vector);
            let score = |&other: &u32| if other == point { f32::NEG_INFINITY } else { score(point, other) };
            let scores: Vec<f32> = cells.points.iter().take_while(|_| !stop()).map(score).collect();
            let nearer = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            let mut nearest = TopK::new(NEIGHBOURS, nearer);
            scores.iter().copied().zip(0..).for_each(|scored| nearest.offer(scored));
            let mut neighbours = nearest.into_sorted();
            neighbours.retain(|scored| scored.0 > f32::NEG_INFINITY);
            Sampled { vector, scores, neighbours }
        };
        // The scores of a sample take much memory, so they are not kept for the second use.
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

    /// The reach that the cell of each neighbour needs to promise the last of them.
    fn needed(&self, of: &Sampled) -> Vec<f32> {
        let reach = |&(_, place): &(f32, u32)| self.reach_for(&of.vector, self.of(place), of.worst());
        of.neighbours.iter().map(reach).collect()
    }

    /// How many neighbours a search with this reach finds.
    fn found(&self, of: &Sampled, reach: f32, stop: &(impl Fn() -> bool + Sync)) -> u64 {
        let mut promises = Vec::new();
        self.promises(&of.vector, reach, &mut promises);
        let mut cells: Vec<u32> = (0..self.len() as u32).collect();
        let promise = |cell: u32| promises[cell as usize];
        cells.sort_unstable_by(|&a, &b| promise(b).total_cmp(&promise(a)).then(a.cmp(&b)));
        let mut kept = Pool::default();
        kept.begin(KEPT);
        for cell in cells {
            if stop() || kept.is_full() && promise(cell) <= kept.score_of(KEPT) {
                break;
            }
            self.points(cell).for_each(|point| kept.push(point, of.scores[point as usize]));
        }
        // Any of equal points will do.
        let as_good = kept.candidates().filter(|candidate| candidate.score >= of.worst()).count();
        as_good.min(of.neighbours.len()) as u64
    }
}
