//! Adds links to points that few walks or none would reach.

use super::growing::Growing;
use super::level::GrowingLevel;
use super::scratch::Scratches;
use crate::graph::params::HnswParams;
use crate::graph::scores::PointScores;
use crate::graph::search::SearchStoppedError;

impl Growing {
    /// Adds links until every point has a path of at most two steps from its best neighbour. Then adds links
    /// until a walk from the entry reaches every point on level 0. A point gets no link if no suitable place
    /// has room for one.
    ///
    /// Choosing links leaves such points in two cases. Under a dot product, a point slightly shorter than its
    /// neighbours is the best match of none of them, and codes make points shorter. A distant group of points
    /// may have no link from the other points.
    ///
    /// A point that is still unreached gets a link from the points that a walk to it finds. The walk descends
    /// through the upper levels, so it may find the point itself or other unreached points. A link from those
    /// would not help.
    pub(super) fn connect<S: PointScores>(
        &mut self,
        scores: &S,
        params: &HnswParams,
        scratches: &Scratches,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), SearchStoppedError> {
        let Some(&entry) = self.order.first() else { return Ok(()) };
        self.levels[0].connect_to_best(scores);
        let (mut reached, lost) = self.levels[0].connect_nearby(entry, scores);
        for point in lost {
            if reached[point as usize] {
                continue;
            }
            let from = scratches.with(|scratch| {
                let found = self.nearest(point, params.ef_construct, 0, scores, &mut scratch.search, stop)?;
                let level = &self.levels[0];
                let near = found.iter().map(|found| found.id);
                let further = near.clone().flat_map(|near| level.get(near as usize)).copied();
                Ok(near.chain(further).find(|&id| reached[id as usize] && level.has_room(id)))
            })?;
            if let Some(from) = from {
                self.levels[0].add(from, point);
                self.levels[0].reach(point, &mut reached);
            }
        }
        Ok(())
    }
}

impl GrowingLevel {
    /// Adds a link to each point that its best neighbour does not reach in two steps. The link starts at the
    /// best place with room: that neighbour, or one of its neighbours. For level 0 only, where slots are ids.
    fn connect_to_best<S: PointScores>(&mut self, scores: &S) {
        for point in 0..self.counts.len() as u32 {
            let near = self.get(point as usize).iter().copied();
            let Some(best) = best_for(point, near, scores) else { continue };
            let of_best = self.get(best as usize);
            let leads_to = |from: u32| self.get(from as usize).contains(&point);
            if leads_to(best) || of_best.iter().any(|&from| leads_to(from)) {
                continue;
            }
            let places = std::iter::once(best).chain(of_best.iter().copied());
            if let Some(from) = best_for(point, places.filter(|&id| self.has_room(id)), scores) {
                self.add(from, point);
            }
        }
    }

    /// Adds a link to each point that no walk from the entry reaches: a few in ten thousand. The link starts
    /// at the best reached point with room among its neighbours, or else among their neighbours. For level 0
    /// only, where slots are ids. Returns which points are reached then, and the ids of those that are not.
    fn connect_nearby<S: PointScores>(&mut self, entry: u32, scores: &S) -> (Vec<bool>, Vec<u32>) {
        let mut reached = vec![false; self.counts.len()];
        self.reach(entry, &mut reached);
        let mut lost: Vec<u32> = (0..reached.len() as u32).filter(|&id| !reached[id as usize]).collect();
        loop {
            let before = lost.len();
            lost.retain(|&point| {
                if reached[point as usize] {
                    return false;
                }
                let near = self.get(point as usize).iter().copied();
                let further = near.clone().flat_map(|near| self.get(near as usize)).copied();
                let may_link = |id: &u32| reached[*id as usize] && self.has_room(*id);
                let Some(from) = best_for(point, near.filter(may_link), scores)
                    .or_else(|| best_for(point, further.filter(may_link), scores))
                else {
                    return true;
                };
                self.add(from, point);
                self.reach(point, &mut reached);
                false
            });
            // A point connected in this pass may give another lost point a place to link from.
            if lost.len() == before || lost.is_empty() {
                return (reached, lost);
            }
        }
    }
}

/// The place with the highest score for `point`. Ties go to the lower id.
fn best_for<S: PointScores>(point: u32, places: impl Iterator<Item = u32>, scores: &S) -> Option<u32> {
    places
        .map(|id| (scores.score(id, point), id))
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
        .map(|(_, id)| id)
}
