//! Finding the best of many points without keeping all of them.

use crate::point::PointId;

/// The best of many points in memory: the nearer, of equally near ones the one of the smaller id.
pub(super) struct Best {
    wanted: usize,
    /// At most twice as many, and some, so that sorting out is rare.
    kept: Vec<(f32, PointId, u32)>,
    /// What is further away is none of them.
    least: f32,
}

impl Best {
    pub(super) fn new(wanted: usize) -> Self {
        Self { wanted, kept: Vec::new(), least: f32::NEG_INFINITY }
    }

    /// Whether a point whose score is no better than this can be one of them.
    pub(super) fn may_hold(&self, at_most: f32) -> bool {
        at_most.total_cmp(&self.least).is_ge()
    }

    pub(super) fn offer(&mut self, score: f32, slot: u32, id: impl FnOnce() -> PointId) {
        if !self.may_hold(score) {
            return;
        }
        self.kept.push((score, id(), slot));
        if self.kept.len() > 2 * self.wanted + 64 {
            self.sort_out();
            self.least = self.kept.last().map_or(f32::INFINITY, |last| last.0);
        }
    }

    /// Leaves as many as are wanted, the last of them at the end.
    fn sort_out(&mut self) {
        if self.kept.len() > self.wanted {
            if let Some(last) = self.wanted.checked_sub(1) {
                let better = |a: &(f32, PointId, u32), b: &(f32, PointId, u32)| {
                    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
                };
                self.kept.select_nth_unstable_by(last, better);
            }
            self.kept.truncate(self.wanted);
        }
    }

    pub(super) fn into_vec(mut self) -> Vec<(f32, PointId, u32)> {
        self.sort_out();
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_those_of_all_in_order() {
        let mut random = fastrand::Rng::with_seed(1);
        for (count, wanted) in [(0, 3), (5, 0), (3, 3), (200, 1), (1000, 10), (1000, 700), (5000, 60)] {
            // Few different scores, so that ids decide.
            let points: Vec<(f32, PointId, u32)> =
                (0..count).map(|slot| (random.u8(..20).into(), PointId::Num(random.u64(..)), slot)).collect();
            let mut best = Best::new(wanted);
            for &(score, id, slot) in &points {
                best.offer(score, slot, || id);
            }
            let mut expected = points;
            expected.sort_by_key(|&(score, id, _)| (-(score as i32), id));
            expected.truncate(wanted);
            let mut found = best.into_vec();
            found.sort_by_key(|&(score, id, _)| (-(score as i32), id));
            assert_eq!(found, expected, "{wanted} of {count}");
        }
    }
}
