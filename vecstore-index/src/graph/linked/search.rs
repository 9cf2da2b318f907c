//! The search over linked records, as a state machine that does no IO and computes no score.
//!
//! ```text
//! enter(…) ──> next() ──> a node ──> its driver scores it, and estimates its neighbours ──> expand(…) ──┐
//!                ^                                                                                      │
//!                └──────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The search keeps the best `ef` points by their estimates, and expands each of them. The result ranks the
//! expanded nodes by their own scores. A driver may take several nodes before it expands the first one. A
//! driver that must not change the order of the walk looks at what is waiting instead.

use crate::graph::pool::{Candidate, Pool};
use crate::graph::visited::Visited;

/// The memory of a search. The next search reuses it, so that in steady state a search allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct LinkedScratch {
    seen: Visited,
    pool: Pool,
    expanded: Vec<Candidate>,
}

impl LinkedScratch {
    /// An empty scratch. The first search grows it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// A search in progress.
#[derive(Debug)]
pub struct LinkedSearch<'s> {
    scratch: &'s mut LinkedScratch,
    ef: usize,
}

impl<'s> LinkedSearch<'s> {
    /// Begins a search for the best `ef` (at least 1) of `points` points.
    #[must_use]
    pub fn new(scratch: &'s mut LinkedScratch, points: usize, ef: usize) -> Self {
        let ef = ef.clamp(1, points.max(1));
        scratch.seen.begin(points);
        scratch.pool.begin(ef);
        scratch.expanded.clear();
        Self { scratch, ef }
    }

    /// Begins at a point with this score. Points beyond the graph are ignored, and so are points that the
    /// search has seen.
    pub fn enter(&mut self, point: u32, score: f32) {
        if self.scratch.seen.insert(point) {
            self.scratch.pool.push(point, score);
        }
    }

    /// The next node to expand. `None` if no point is left that could be better than the best `ef`; nodes
    /// that were taken and not yet expanded may lead to more.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "an iterator that may go on after its end misleads")]
    pub fn next(&mut self) -> Option<u32> {
        self.scratch.pool.expand_next()
    }

    /// The nodes that [`LinkedSearch::next`] would return if no further ones came, in that order. Their
    /// records can be fetched meanwhile.
    #[inline]
    pub fn waiting(&self) -> impl Iterator<Item = u32> {
        self.scratch.pool.waiting()
    }

    /// A node was scored: `score` is its own.
    #[inline]
    pub fn score(&mut self, node: u32, score: f32) {
        self.scratch.expanded.push(Candidate { id: node, score });
    }

    /// The score that an estimate must exceed. Lower ones change nothing.
    #[must_use]
    #[inline]
    pub fn threshold(&self) -> f32 {
        self.scratch.pool.worst().unwrap_or(f32::NEG_INFINITY)
    }

    /// A neighbour of a node, and an estimate of its score. Ids beyond the graph are ignored.
    #[inline]
    pub fn estimate(&mut self, link: u32, estimate: f32) {
        let LinkedScratch { seen, pool, .. } = &mut *self.scratch;
        // Points that were refused are not remembered. Another node may have a better estimate of them.
        if pool.worst().is_none_or(|worst| estimate > worst) && seen.insert(link) {
            pool.push(link, estimate);
        }
    }

    /// The best `ef` nodes that were scored, best first, ties by id.
    #[must_use]
    pub fn finish(self) -> &'s [Candidate] {
        let expanded = &mut self.scratch.expanded;
        expanded.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        expanded.truncate(self.ef);
        expanded
    }
}
