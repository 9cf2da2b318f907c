//! The search over cells, as a state machine that does no IO and computes no score.
//!
//! ```text
//! new(…) ──> next() ──> Scan(cell) ──> its driver gets the cell's blocks ──> scan(…) ──┐
//!              ^   └──> Score(point) ──> its driver gets the point's score ──> scored(…) ──┤
//!              └───────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Cells come by what they promise, and the points of scanned cells by their estimates. The search ends when
//! nothing that waits may be among the best. A driver may take several points before it scores the first one.

use super::layout::CellLayout;
use super::map::CellMap;
use crate::pool::{Candidate, Entry, Pool};
use std::collections::BinaryHeap;
use std::ops::Range;
use vecstore_quant::{NEIGHBOURS_MAX, NeighbourScorer};

/// The memory of a search. The next search reuses it.
#[derive(Clone, Debug, Default)]
pub struct CellScratch {
    promises: Vec<f32>,
    /// Cells by their promises.
    cells: BinaryHeap<Entry>,
    /// Points of scanned cells by their estimates.
    waiting: BinaryHeap<Entry>,
    best: Pool,
    found: Vec<Candidate>,
}

impl CellScratch {
    /// An empty scratch. The first search grows it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// What a search wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellStep {
    /// The blocks of a cell. Answer with [`CellSearch::scan`] before the next call.
    Scan(u32),
    /// The score of a point. Answer with [`CellSearch::scored`], now or later.
    Score(u32),
    /// Nothing, as far as is known. Points whose scores are still to come may change that.
    Done,
}

/// A search in progress.
#[derive(Debug)]
pub struct CellSearch<'s, F> {
    scratch: &'s mut CellScratch,
    map: &'s CellMap,
    may_find: F,
    ef: usize,
    /// Cells to scan before any point is scored.
    ahead: usize,
}

impl<'s, F: Fn(u32) -> bool> CellSearch<'s, F> {
    /// Begins a search for points that may be found. It ends when no other may be among the best `ef`, and
    /// finds at least `wanted`, if there are as many. `may_scan` says whether a range of points has a point
    /// that may be found. The search scans `ahead` cells before it wants a score: more of them cost
    /// time, and then fewer points are scored in vain.
    #[must_use]
    pub fn new(
        scratch: &'s mut CellScratch,
        map: &'s CellMap,
        prepared: &[f32],
        (ef, wanted, ahead): (usize, usize, usize),
        may_scan: impl Fn(Range<u32>) -> bool,
        may_find: F,
    ) -> Self {
        let CellScratch { promises, cells, waiting, best, .. } = &mut *scratch;
        map.promises(prepared, map.parts().reach, promises);
        let mut all = std::mem::take(cells).into_vec();
        all.clear();
        let scanned = (0..).zip(&*promises).filter(|&(cell, _)| may_scan(map.points(cell)));
        all.extend(scanned.map(|(cell, &promise)| Entry::new(cell, promise)));
        *cells = all.into();
        waiting.clear();
        let ef = ef.max(1);
        best.begin(ef.max(wanted));
        Self { scratch, map, may_find, ef, ahead }
    }

    /// The score that a point must exceed, once there are as many as are kept.
    #[inline]
    fn threshold(&self) -> Option<f32> {
        let best = &self.scratch.best;
        best.is_full().then(|| best.score_of(self.ef))
    }

    /// What the search wants next.
    #[must_use]
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "an iterator that may go on after its end misleads")]
    pub fn next(&mut self) -> CellStep {
        let threshold = self.threshold();
        let CellScratch { cells, waiting, .. } = &mut *self.scratch;
        if (self.ahead == 0 || cells.is_empty())
            && let Some(point) = pop_above(waiting, threshold)
        {
            return CellStep::Score(point);
        }
        match pop_above(cells, threshold) {
            Some(cell) => {
                self.ahead = self.ahead.saturating_sub(1);
                CellStep::Scan(cell)
            }
            None if self.ahead > 0 => {
                self.ahead = 0;
                self.next()
            }
            None => CellStep::Done,
        }
    }

    /// Estimates the scores of a cell's points. `centre` is the score of its centroid.
    ///
    /// # Panics
    ///
    /// If the blocks are too few, or the scorer is of another layout.
    pub fn scan(
        &mut self,
        layout: &CellLayout,
        scorer: &NeighbourScorer,
        cell: u32,
        centre: f32,
        blocks: &[u8],
    ) {
        let threshold = self.threshold();
        let points = self.map.points(cell);
        if !centre.is_finite() {
            // Beyond the range of `f32`, codes say nothing.
            let found = points.filter(|&point| (self.may_find)(point));
            self.scratch.waiting.extend(found.map(|point| Entry::new(point, f32::INFINITY)));
            return;
        }
        let mut scores = [0.0; NEIGHBOURS_MAX];
        let blocks = blocks.chunks_exact(layout.block_bytes());
        assert!(blocks.len() >= CellLayout::blocks(points.len() as u32) as usize, "all blocks of a cell");
        for (first, block) in points.clone().step_by(NEIGHBOURS_MAX).zip(blocks) {
            let mut above = scorer.estimate(block, centre, threshold.unwrap_or(0.0), &mut scores);
            if threshold.is_none() {
                // Every point counts, even one without a sensible estimate.
                above = u32::MAX;
            }
            while above != 0 {
                let place = above.trailing_zeros();
                above &= above - 1;
                let point = first + place;
                if point < points.end && (self.may_find)(point) {
                    self.scratch.waiting.push(Entry::new(point, scores[place as usize]));
                }
            }
        }
    }

    /// Notes the score of a point, which may be found. The search need not have asked for it, and may still
    /// ask for it later. Call this once for each point.
    #[inline]
    pub fn scored(&mut self, point: u32, score: f32) {
        self.scratch.best.push(point, score);
    }

    /// The best points that were scored, best first, ties by id: the larger of `ef` and `wanted`.
    #[must_use]
    pub fn finish(self) -> &'s [Candidate] {
        let CellScratch { best, found, .. } = self.scratch;
        found.clear();
        found.extend(best.candidates());
        found
    }
}

/// Takes the first of a queue if it is above the threshold. Otherwise none is, and the queue is emptied.
#[inline]
fn pop_above(queue: &mut BinaryHeap<Entry>, threshold: Option<f32>) -> Option<u32> {
    let first = queue.pop()?.candidate();
    if threshold.is_some_and(|threshold| first.score <= threshold) {
        // The threshold only rises.
        queue.clear();
        return None;
    }
    Some(first.id)
}
