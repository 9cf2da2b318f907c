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
//! Points that may not be found lead to others. So the search expands some of them as well: all that promise
//! something, or a given number for each point that may be found.
//!
//! A driver may take several nodes before it expands the first one.

use super::evidence::Evidence;
use super::record::LinkedLayout;
use crate::graph::visited::Visited;
use crate::pool::{Candidate, Entry, Pool};
use std::collections::BinaryHeap;
use vecstore_quant::NeighbourScorer;

/// What a search looks for.
#[derive(Clone, Copy, Debug)]
pub struct LinkedWanted<F = fn(u32) -> bool> {
    points: usize,
    ef: usize,
    kept: usize,
    combines: bool,
    may_find: F,
    detours: f32,
}

impl LinkedWanted {
    /// A search of `points` points ends when no other one may be among the best `ef`. It expands at least
    /// `wanted` nodes if they are connected, and finds as many.
    #[must_use]
    pub fn new(points: usize, ef: usize, wanted: usize) -> Self {
        let kept = |count: usize| count.clamp(1, points.max(1));
        let (ef, kept) = (kept(ef), kept(ef.max(wanted)));
        Self { points, ef, kept, combines: false, may_find: |_| true, detours: f32::INFINITY }
    }
}

impl<F> LinkedWanted<F> {
    /// The search combines the estimates of a point that several nodes have. It expands fewer nodes, and each
    /// takes more time. This suits a driver that waits for reads.
    #[must_use]
    pub fn combining(self) -> Self {
        Self { combines: true, ..self }
    }

    /// Only some points may be found. For each of them that it expands, the search may expand so many others.
    /// If it is infinite, the search expands any point that promises something.
    #[must_use]
    pub fn among<G: Fn(u32) -> bool>(self, may_find: G, detours: f32) -> LinkedWanted<G> {
        let Self { points, ef, kept, combines, .. } = self;
        LinkedWanted { points, ef, kept, combines, may_find, detours }
    }

    /// Whether points that may not be found wait in a queue of their own.
    fn counts_detours(&self) -> bool {
        self.detours < f32::INFINITY
    }
}

/// The memory of a search. The next search reuses it, so that in steady state a search allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct LinkedScratch {
    seen: Visited,
    /// Points by their estimates, the most promising first.
    waiting: BinaryHeap<Entry>,
    /// The same of points that may not be found, if a search counts those that it expands.
    detours: BinaryHeap<Entry>,
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
pub struct LinkedSearch<'s, F = fn(u32) -> bool> {
    scratch: &'s mut LinkedScratch,
    /// If the search combines estimates, `seen` has the points that were taken. Otherwise it has all that
    /// waited.
    wanted: LinkedWanted<F>,
    /// The worst score of the points where the search began, if these are as many as it keeps.
    floor: f32,
    /// How many points that may not be found it may expand now.
    credit: f32,
    /// How many more of them it may expand if no other point is left and it has found too few.
    reserve: u32,
}

/// [`LinkedSearch::reserve`] at the beginning.
const RESERVE: u32 = 64;

impl<'s, F: Fn(u32) -> bool> LinkedSearch<'s, F> {
    /// Begins a search at some points, with their scores. Points beyond the graph are ignored.
    #[must_use]
    pub fn new(scratch: &'s mut LinkedScratch, wanted: LinkedWanted<F>, entries: &[Candidate]) -> Self {
        let LinkedScratch { seen, waiting, detours, best, ends, evidence } = &mut *scratch;
        let kept = wanted.kept;
        evidence.clear();
        seen.begin(wanted.points);
        waiting.clear();
        detours.clear();
        best.begin(kept);
        ends.clear();
        ends.extend(entries.iter().filter(|entry| seen.insert(entry.id)));
        let mut findable = 0;
        for index in 0..ends.len() {
            if (wanted.may_find)(ends[index].id) {
                ends.swap(index, findable);
                findable += 1;
            }
        }
        let entry = |end: &Candidate| Entry::new(end.id, end.score);
        let mut floor = f32::NEG_INFINITY;
        if findable >= kept {
            ends[..findable].select_nth_unstable_by(kept - 1, |a, b| entry(b).cmp(&entry(a)));
            floor = ends[kept - 1].score;
            ends.drain(kept..findable);
        }
        if wanted.combines {
            seen.begin(wanted.points);
            for end in &*ends {
                evidence.insert(end.id, entry(end).candidate().score);
            }
        }
        for end in &*ends {
            queue(&wanted, waiting, detours, end.id).push(entry(end));
        }
        let credit = if wanted.counts_detours() { 0.0 } else { f32::INFINITY };
        Self { scratch, wanted, floor, credit, reserve: RESERVE }
    }

    /// The score that an estimate must exceed.
    #[inline]
    fn threshold(&self) -> f32 {
        let best = &self.scratch.best;
        if best.is_full() { best.score_of(self.wanted.ef).max(self.floor) } else { self.floor }
    }

    /// The next node to expand. `None` if no point is left that may be among the best `ef`; nodes that were
    /// taken and not yet expanded may lead to more.
    #[must_use]
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "an iterator that may go on after its end misleads")]
    pub fn next(&mut self) -> Option<u32> {
        let threshold = self.scratch.best.is_full().then(|| self.threshold());
        let LinkedScratch { seen, waiting, detours, evidence, .. } = &mut *self.scratch;
        let counts = |candidate: Candidate| {
            // What was promised before does not count.
            !self.wanted.combines
                || !seen.contains(candidate.id) && evidence.is_current(candidate.id, candidate.score)
        };
        let direct = first(waiting, threshold, counts);
        let detour = first(detours, threshold, counts);
        let next = match (direct, detour) {
            (Some(direct), Some(detour)) if self.credit >= 1.0 && detour.score > direct.score => detour,
            (Some(direct), _) => direct,
            (None, Some(detour)) if self.credit >= 1.0 => detour,
            (None, Some(detour)) if threshold.is_none() && self.reserve > 0 => {
                self.reserve -= 1;
                self.credit += 1.0;
                detour
            }
            (None, _) => return None,
        };
        if direct == Some(next) {
            waiting.pop();
            self.credit += self.wanted.detours;
        } else {
            detours.pop();
            self.credit -= 1.0;
        }
        if self.wanted.combines {
            seen.insert(next.id);
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
        if (self.wanted.may_find)(node) {
            self.scratch.best.push(node, score);
        }
        let threshold = self.threshold();
        let wanted = &self.wanted;
        let LinkedScratch { seen, waiting, detours, evidence, .. } = &mut *self.scratch;
        if wanted.combines {
            return layout.estimate_all(scorer, record, score, |link, estimate, deviation| {
                if !seen.contains(link)
                    && let Some(promise) = evidence.add(link, estimate, deviation)
                    && promise > threshold
                {
                    queue(wanted, waiting, detours, link).push(Entry::new(link, promise));
                }
            });
        }
        layout.estimate(scorer, record, score, threshold, |link, estimate| {
            // Points that were refused are not remembered. Another node may have a better estimate of them.
            if seen.insert(link) {
                queue(wanted, waiting, detours, link).push(Entry::new(link, estimate));
            }
        });
    }

    /// The best nodes that were scored and may be found, best first, ties by id: the larger of `ef` and
    /// `wanted`.
    #[must_use]
    pub fn finish(self) -> &'s [Candidate] {
        let LinkedScratch { best, ends, .. } = self.scratch;
        ends.clear();
        ends.extend(best.candidates());
        ends
    }
}

/// Where a point waits.
#[inline]
fn queue<'q, F: Fn(u32) -> bool>(
    wanted: &LinkedWanted<F>,
    waiting: &'q mut BinaryHeap<Entry>,
    detours: &'q mut BinaryHeap<Entry>,
    point: u32,
) -> &'q mut BinaryHeap<Entry> {
    if wanted.counts_detours() && !(wanted.may_find)(point) { detours } else { waiting }
}

/// The first point of a queue that counts and is above the threshold. Drops what is before it.
#[inline]
fn first(
    queue: &mut BinaryHeap<Entry>,
    threshold: Option<f32>,
    counts: impl Fn(Candidate) -> bool,
) -> Option<Candidate> {
    loop {
        let first = queue.peek()?.candidate();
        if !counts(first) {
            queue.pop();
        } else if threshold.is_some_and(|threshold| first.score <= threshold) {
            // No other one is better, and the threshold only rises.
            queue.clear();
            return None;
        } else {
            return Some(first);
        }
    }
}
