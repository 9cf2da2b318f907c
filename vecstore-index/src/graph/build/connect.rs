//! Links for points that choosing links leaves without: they would hardly be found.

use super::growing::Growing;
use super::level::GrowingLevel;
use super::scratch::Scratches;
use crate::graph::params::HnswParams;
use crate::graph::scores::PointScores;
use crate::graph::search::SearchStoppedError;

impl Growing {
    /// Makes every point reachable from its best neighbour in two steps, where there is room for a link, and then, on level 0, from the
    /// entry. What choosing links leaves without would hardly be found.
    ///
    /// By a dot product a point that is a little shorter than those around it is nobody's best match, and codes make points shorter. A
    /// group of points that are far from all others may have no link from these: it gets one from where a walk that looks for it ends.
    /// Where there is no room for a link a point stays as it is. The walk comes down through the upper levels, so it may end at
    /// the point itself, or among others that are lost: no link from there would help.
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
    /// Gives points that their best neighbour does not lead to, in two steps, a link from it or from the best of its neighbours. Level
    /// 0 only, where slots are ids.
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

    /// Gives points that no walk from the entry can reach a link from the best place with room for one, among their
    /// neighbours and the neighbours of these. Choosing links leaves a few in ten thousand without any. Returns what is reached
    /// then, and the points that are not. Level 0 only, where slots are ids.
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
            // One that was connected may be the place that another was waiting for.
            if lost.len() == before || lost.is_empty() {
                return (reached, lost);
            }
        }
    }
}

/// The best of some points for a point, of equals the one of the lower id.
fn best_for<S: PointScores>(point: u32, places: impl Iterator<Item = u32>, scores: &S) -> Option<u32> {
    places
        .map(|id| (scores.score(id, point), id))
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
        .map(|(_, id)| id)
}
