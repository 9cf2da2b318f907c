//! The search over linked records, as a state machine that does no IO and computes no score.
//!
//! ```text
//! new(…) ──> next() ──> a node ──> its driver gets its record and its score ──> expand(…) ──┐
//!              ^                                                                            │
//!              └────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Estimates say what the score of a point may well be, which is a deviation above what is likely. The search
//! expands the most promising point, until none that waits may be among the best `ef`. So it goes on where
//! estimates are uncertain, and ends early where they are not. The result ranks the expanded nodes by their
//! own scores.
//!
//! A driver may take several nodes before it expands the first one.

use super::evidence::Evidence;
use super::record::LinkedLayout;
use crate::graph::pool::{Candidate, Entry, Pool};
use crate::graph::visited::Visited;
use std::collections::BinaryHeap;
use vecstore_quant::NeighbourScorer;

/// The memory of a search. The next search reuses it, so that in steady state a search allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct LinkedScratch {
    seen: Visited,
    /// Points by their estimates, the most promising first.
    waiting: BinaryHeap<Entry>,
    /// The best nodes by their own scores.
    best: Pool,
    /// Of a search that combines estimates: what is known of points.
    evidence: Evidence,
    /// The points where the search begins. Then what it found.
    ends: Vec<Candidate>,
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
    /// The worst score of the points where the search began, if these are as many as it keeps.
    floor: f32,
    /// Whether estimates of a point are combined. Then `seen` has the points that were taken. Otherwise it
    /// has all that waited.
    combines: bool,
}

impl<'s> LinkedSearch<'s> {
    /// Begins a search of `points` points at those of `entries`. It ends when no other point may be among the
    /// best `ef`. It expands at least `wanted` nodes if they are connected, and finds as many. Points beyond
    /// the graph are ignored.
    #[must_use]
    pub fn new(
        scratch: &'s mut LinkedScratch,
        points: usize,
        kept: (usize, usize),
        entries: &[Candidate],
    ) -> Self {
        Self::begin(scratch, points, kept, entries, false)
    }

    /// As [`LinkedSearch::new`]. The search combines the estimates of a point that several nodes have. It
    /// expands fewer nodes, and each takes more time. This suits a driver that waits for reads.
    #[must_use]
    pub fn combining(
        scratch: &'s mut LinkedScratch,
        points: usize,
        kept: (usize, usize),
        entries: &[Candidate],
    ) -> Self {
        Self::begin(scratch, points, kept, entries, true)
    }

    fn begin(
        scratch: &'s mut LinkedScratch,
        points: usize,
        (ef, wanted): (usize, usize),
        entries: &[Candidate],
        combines: bool,
    ) -> Self {
        let kept = ef.max(wanted).clamp(1, points.max(1));
        let LinkedScratch { seen, waiting, best, ends, evidence } = &mut *scratch;
        evidence.clear();
        seen.begin(points);
        waiting.clear();
        best.begin(kept);
        ends.clear();
        ends.extend(entries.iter().filter(|entry| seen.insert(entry.id)));
        let is_enough = ends.len() >= kept;
        if is_enough {
            let entry = |end: &Candidate| Entry::new(end.id, end.score);
            ends.select_nth_unstable_by(kept - 1, |a, b| entry(b).cmp(&entry(a)));
            ends.truncate(kept);
        }
        if combines {
            seen.begin(points);
            for end in &*ends {
                evidence.insert(end.id, Entry::new(end.id, end.score).candidate().score);
            }
        }
        waiting.extend(ends.iter().map(|end| Entry::new(end.id, end.score)));
        let floor = if is_enough { ends[kept - 1].score } else { f32::NEG_INFINITY };
        Self { scratch, ef: ef.clamp(1, points.max(1)), floor, combines }
    }

    /// The score that an estimate must exceed.
    #[inline]
    fn threshold(&self) -> f32 {
        let best = &self.scratch.best;
        if best.is_full() { best.score_of(self.ef).max(self.floor) } else { self.floor }
    }

    /// The next node to expand. `None` if no point is left that may be among the best `ef`; nodes that were
    /// taken and not yet expanded may lead to more.
    #[must_use]
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "an iterator that may go on after its end misleads")]
    pub fn next(&mut self) -> Option<u32> {
        let threshold = self.threshold();
        let mut next = self.scratch.waiting.pop()?.candidate();
        if self.combines {
            let LinkedScratch { seen, waiting, evidence, .. } = &mut *self.scratch;
            // What was promised before does not count.
            while seen.contains(next.id) || !evidence.is_current(next.id, next.score) {
                next = waiting.pop()?.candidate();
            }
        }
        if next.score <= threshold && self.scratch.best.is_full() {
            // No other one is better, and the threshold only rises.
            self.scratch.waiting.clear();
            return None;
        }
        if self.combines {
            self.scratch.seen.insert(next.id);
        }
        Some(next.id)
    }

    /// Expands a node with this record and this score of its own. Call it once for each node.
    ///
    /// # Panics
    ///
    /// As [`LinkedLayout::estimate`].
    #[inline]
    pub fn expand(
        &mut self,
        layout: &LinkedLayout,
        scorer: &NeighbourScorer,
        node: u32,
        record: &[u8],
        score: f32,
    ) {
        self.scratch.best.push(node, score);
        let threshold = self.threshold();
        let LinkedScratch { seen, waiting, evidence, .. } = &mut *self.scratch;
        if self.combines {
            return layout.estimate_all(scorer, record, score, |link, estimate, deviation| {
                if !seen.contains(link)
                    && let Some(promise) = evidence.add(link, estimate, deviation)
                    && promise > threshold
                {
                    waiting.push(Entry::new(link, promise));
                }
            });
        }
        layout.estimate(scorer, record, score, threshold, |link, estimate| {
            // Points that were refused are not remembered. Another node may have a better estimate of them.
            if seen.insert(link) {
                waiting.push(Entry::new(link, estimate));
            }
        });
    }

    /// The best nodes that were scored, best first, ties by id: the larger of `ef` and `wanted`.
    #[must_use]
    pub fn finish(self) -> &'s [Candidate] {
        let LinkedScratch { best, ends, .. } = self.scratch;
        ends.clear();
        ends.extend(best.candidates());
        ends
    }
}
