//! The search, as a state machine that does no IO and computes no score. It asks for links and scores, and
//! its driver feeds them. This module has a driver over memory. A driver that reads from disk can feed the
//! same machine.
//!
//! ```text
//!            ┌──────────────── links, all seen: next node ────────────────┐
//! Score ──> Expand ── links(…) ──> Score ── scores(…) ──> Expand ... ──> Done
//! (entry)                                                   │ nothing left that could be better
//! ```
//!
//! On the levels above the last one the walk is greedy. On the last level it keeps the best `ef`.

use super::finished::{Graph, Links};
use super::visited::Visited;
use crate::pool::{Candidate, Pool};

/// The memory of a search. The next search reuses it, so that in steady state a search allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct SearchScratch {
    visited: Visited,
    pool: Pool,
    /// The points whose scores the search wants.
    pending: Vec<u32>,
    scores: Vec<f32>,
    found: Vec<Candidate>,
    /// The points where the walk enters the last level, in addition to the best point of the level above.
    seeds: Vec<u32>,
}

impl SearchScratch {
    /// An empty scratch. The first search grows it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// What a search wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The links of a node on a level. Answer with [`GraphSearch::links`].
    Expand {
        /// The point.
        node: u32,
        /// The level of the links.
        level: usize,
    },
    /// The scores of these points. Answer with [`GraphSearch::scores`].
    Score(&'a [u32]),
    /// Nothing. [`GraphSearch::finish`] has the result.
    Done,
}

#[derive(Clone, Copy, Debug)]
enum State {
    ScoreEntry,
    Expand(u32),
    Score,
    Done,
}

/// A search in progress.
#[derive(Debug)]
pub struct GraphSearch<'s> {
    scratch: &'s mut SearchScratch,
    points: usize,
    ef: usize,
    level: usize,
    /// The level whose best `ef` points are the result.
    last_level: usize,
    state: State,
    /// The best point so far, while the walk is greedy.
    best: Candidate,
}

impl<'s> GraphSearch<'s> {
    /// Begins a search for the best `ef` (at least 1) points of a graph of `points` points. `entry` is
    /// [`Graph::entry`].
    #[must_use]
    pub fn new(
        scratch: &'s mut SearchScratch,
        points: usize,
        entry: Option<(u32, usize)>,
        ef: usize,
    ) -> Self {
        Self::on_level(scratch, points, entry, ef, 0)
    }

    /// Begins a search for the best point of level 1, of the same graph. `None` if there is only level 0. The
    /// search of the [linked layout](super::LinkedSearch) begins at the points that this one scores.
    #[must_use]
    pub fn above(scratch: &'s mut SearchScratch, points: usize, entry: Option<(u32, usize)>) -> Option<Self> {
        let has_levels = entry.is_some_and(|(_, level)| level > 0);
        has_levels.then(|| Self::on_level(scratch, points, entry, 1, 1))
    }

    /// Also begins on the last level at these points. A search restricted to few points uses this, because
    /// the descent from the entry may miss their surroundings.
    pub fn seed(&mut self, points: impl IntoIterator<Item = u32>) {
        self.scratch.seeds.extend(points);
    }

    /// Whether the search has not seen this point yet on this level.
    #[inline]
    pub fn is_unseen(&self, point: u32) -> bool {
        !self.scratch.visited.contains(point)
    }

    /// Marks a point as seen without asking for its score. Returns true if it was unseen.
    #[inline]
    pub fn see(&mut self, point: u32) -> bool {
        self.scratch.visited.insert(point)
    }

    /// Begins a search for the best `ef` points of a level.
    pub(crate) fn on_level(
        scratch: &'s mut SearchScratch,
        points: usize,
        entry: Option<(u32, usize)>,
        ef: usize,
        last_level: usize,
    ) -> Self {
        let (entry, level, state) = match entry {
            Some((entry, level)) => (entry, level, State::ScoreEntry),
            None => (0, 0, State::Done),
        };
        let ef = ef.clamp(1, points.max(1));
        scratch.visited.begin(points);
        scratch.pool.begin(ef);
        scratch.pending.clear();
        scratch.seeds.clear();
        scratch.pending.push(entry);
        scratch.visited.insert(entry);
        let best = Candidate { id: entry, score: f32::NEG_INFINITY };
        Self { scratch, points, ef, level, last_level: last_level.min(level), state, best }
    }

    /// What the search wants next. It returns the same step until the search is fed.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "the step borrows the search, which no Iterator can say"
    )]
    pub fn next(&mut self) -> Step<'_> {
        match self.state {
            State::Expand(node) => Step::Expand { node, level: self.level },
            State::ScoreEntry | State::Score => Step::Score(&self.scratch.pending),
            State::Done => Step::Done,
        }
    }

    /// Feeds the links that [`Step::Expand`] asked for. Ids beyond the graph are ignored.
    ///
    /// # Panics
    ///
    /// If the search did not ask for links.
    pub fn links(&mut self, links: &[u32]) {
        assert!(matches!(self.state, State::Expand(_)), "links that the search did not ask for");
        let SearchScratch { visited, pending, .. } = &mut *self.scratch;
        pending.clear();
        // Reserves room for all links, so that a scratch stops growing after the first full list.
        pending.reserve(links.len());
        pending.extend(links.iter().copied().filter(|&link| visited.insert(link)));
        if pending.is_empty() { self.advance() } else { self.state = State::Score }
    }

    /// Feeds the scores that [`Step::Score`] asked for, in the order of its ids.
    ///
    /// # Panics
    ///
    /// If the search did not ask for scores, or asked for another number of them.
    pub fn scores(&mut self, scores: &[f32]) {
        self.score_with(|ids, out| {
            assert_eq!(ids.len(), scores.len(), "a score for each point");
            out.copy_from_slice(scores);
        });
    }

    /// As [`GraphSearch::scores`], computed in place. The function takes the ids and the slots for their
    /// scores.
    ///
    /// # Panics
    ///
    /// If the search did not ask for scores.
    #[inline]
    pub(crate) fn score_with(&mut self, score_many: impl FnOnce(&[u32], &mut [f32])) {
        let SearchScratch { pending, scores, pool, .. } = &mut *self.scratch;
        if scores.len() < pending.len() {
            scores.resize(pending.capacity(), 0.0);
        }
        let scores = &mut scores[..pending.len()];
        match self.state {
            State::ScoreEntry => {
                score_many(pending, scores);
                self.best.score = scores[0];
                self.enter_level();
            }
            State::Score if self.level == self.last_level => {
                score_many(pending, scores);
                for (&id, &score) in pending.iter().zip(&*scores) {
                    pool.push(id, score);
                }
                self.advance();
            }
            State::Score => {
                score_many(pending, scores);
                let before = self.best.id;
                for (&id, &score) in pending.iter().zip(&*scores) {
                    if score > self.best.score || (score == self.best.score && id < self.best.id) {
                        self.best = Candidate { id, score };
                    }
                }
                if self.best.id == before { self.advance() } else { self.state = State::Expand(self.best.id) }
            }
            State::Expand(_) | State::Done => panic!("scores that the search did not ask for"),
        }
    }

    /// The best points of the last level, best first, ties by id. If the search is not done, the best so far.
    #[must_use]
    pub fn finish(self) -> &'s [Candidate] {
        let SearchScratch { pool, found, .. } = self.scratch;
        found.clear();
        found.extend(pool.candidates());
        found
    }

    /// Continues after a node that led to no new point, or whose links are scored.
    fn advance(&mut self) {
        if self.level > self.last_level {
            self.level -= 1;
            self.enter_level();
        } else {
            self.state = self.scratch.pool.expand_next().map_or(State::Done, State::Expand);
        }
    }

    /// Continues with the best point on the level just reached. Only the last level treats points seen above
    /// as unseen. On the other levels they are known to be worse than the best.
    fn enter_level(&mut self) {
        if self.level == self.last_level {
            self.scratch.visited.begin(self.points);
            self.scratch.visited.insert(self.best.id);
            self.scratch.pool.begin(self.ef);
            self.scratch.pool.push(self.best.id, self.best.score);
            let SearchScratch { visited, pending, seeds, .. } = &mut *self.scratch;
            pending.clear();
            pending.extend(seeds.iter().copied().filter(|&seed| visited.insert(seed)));
            if pending.is_empty() { self.advance() } else { self.state = State::Score }
        } else {
            self.state = State::Expand(self.best.id);
        }
    }
}

/// The caller stopped the search before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the search was stopped")]
pub struct SearchStoppedError;

/// Searches a graph in memory for the best `ef` points, best first, ties by id.
///
/// `score_many` writes the scores of the given ids; higher is better. The search calls `stop` before it
/// expands a node.
///
/// # Errors
///
/// If `stop` returned true.
pub fn search_in_memory<'s>(
    graph: &Graph,
    scratch: &'s mut SearchScratch,
    ef: usize,
    score_many: impl FnMut(&[u32], &mut [f32]),
    stop: impl FnMut() -> bool,
) -> Result<&'s [Candidate], SearchStoppedError> {
    search_level(graph, scratch, ef, 0, score_many, stop)
}

/// The driver, for any level of any graph in memory.
#[inline]
pub(crate) fn search_level<'s>(
    graph: &impl Links,
    scratch: &'s mut SearchScratch,
    ef: usize,
    level: usize,
    mut score_many: impl FnMut(&[u32], &mut [f32]),
    mut stop: impl FnMut() -> bool,
) -> Result<&'s [Candidate], SearchStoppedError> {
    let mut search = GraphSearch::on_level(scratch, graph.len(), graph.entry(), ef, level);
    loop {
        match search.state {
            State::Expand(_) if stop() => return Err(SearchStoppedError),
            State::Expand(node) => search.links(graph.links(node, search.level)),
            State::ScoreEntry | State::Score => search.score_with(&mut score_many),
            State::Done => return Ok(search.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{GraphParts, UpperLevel};

    /// Ten points on a line, each linked to its neighbours. Points 0, 4 and 8 are also on level 1, and 8 is
    /// on level 2.
    fn line() -> Graph {
        let neighbours = |points: &[u32], index: usize| {
            let (left, right) = (index.checked_sub(1), Some(index + 1));
            [left, right].into_iter().flatten().filter_map(|i| points.get(i).copied()).collect::<Vec<_>>()
        };
        let level = |points: Vec<u32>| {
            let mut level = UpperLevel { offsets: vec![0], ..UpperLevel::default() };
            for index in 0..points.len() {
                level.links.extend(neighbours(&points, index));
                level.offsets.push(level.links.len() as u64);
            }
            UpperLevel { nodes: points, ..level }
        };
        let base = level((0..10).collect());
        let upper = vec![level(vec![0, 4, 8]), level(vec![8])];
        Graph::from_parts(GraphParts { m: 2, entry: 8, offsets: base.offsets, links: base.links, upper })
            .unwrap()
    }

    fn scores_to(query: f32) -> impl Fn(&[u32], &mut [f32]) {
        move |ids, out| {
            for (out, &id) in out.iter_mut().zip(ids) {
                *out = -(id as f32 - query).abs();
            }
        }
    }

    /// The steps of a search, one by one. A driver that reads from disk sees this order.
    #[test]
    fn steps_come_in_the_documented_order() {
        let (graph, mut scratch) = (line(), SearchScratch::new());
        let mut search = GraphSearch::new(&mut scratch, graph.len(), graph.entry(), 2);
        let score = scores_to(2.9);
        let mut log = Vec::new();
        loop {
            let mut scores = [0.0; 4];
            let count = match search.next() {
                Step::Expand { node, level } => {
                    log.push(format!("{node}@{level}"));
                    search.links(graph.links(node, level));
                    continue;
                }
                Step::Score(ids) => {
                    log.push(format!("{ids:?}"));
                    score(ids, &mut scores);
                    ids.len()
                }
                Step::Done => break,
            };
            search.scores(&scores[..count]);
        }
        let found: Vec<u32> = search.finish().iter().map(|candidate| candidate.id).collect();
        assert_eq!(found, [3, 2]);
        let expected = "[8] 8@2 8@1 [4] 4@1 [0] 4@0 [3, 5] 3@0 [2] 2@0 [1]";
        assert_eq!(log.join(" "), expected);
    }

    #[test]
    fn asking_again_does_not_move_a_search() {
        let (graph, mut scratch) = (line(), SearchScratch::new());
        let mut search = GraphSearch::new(&mut scratch, graph.len(), graph.entry(), 2);
        assert_eq!(search.next(), Step::Score(&[8]));
        assert_eq!(search.next(), Step::Score(&[8]));
        search.scores(&[1.0]);
        assert_eq!(search.next(), Step::Expand { node: 8, level: 2 });
        assert_eq!(search.next(), Step::Expand { node: 8, level: 2 });
    }

    #[test]
    fn ties_rank_by_id_and_ef_is_what_fits() {
        let (graph, mut scratch) = (line(), SearchScratch::new());
        for ef in [10, 11, usize::MAX] {
            let found = search_in_memory(&graph, &mut scratch, ef, scores_to(4.0), || false).unwrap();
            let ids: Vec<u32> = found.iter().map(|candidate| candidate.id).collect();
            assert_eq!(ids, [4, 3, 5, 2, 6, 1, 7, 0, 8, 9]);
            assert_eq!(found[1].score, -1.0);
        }
        for ef in [0, 1] {
            let found = search_in_memory(&graph, &mut scratch, ef, scores_to(4.0), || false).unwrap();
            assert_eq!(found, [Candidate { id: 4, score: 0.0 }]);
        }
    }

    #[test]
    fn an_empty_graph_has_no_neighbours() {
        let parts = GraphParts { m: 2, entry: 0, offsets: vec![0], links: vec![], upper: vec![] };
        let graph = Graph::from_parts(parts).unwrap();
        let mut scratch = SearchScratch::new();
        let found = search_in_memory(&graph, &mut scratch, 5, |_, _| unreachable!(), || false);
        assert_eq!(found, Ok(&[][..]));
    }

    #[test]
    fn a_stop_ends_the_search() {
        let (graph, mut scratch) = (line(), SearchScratch::new());
        let mut expansions = 0;
        let found = search_in_memory(&graph, &mut scratch, 5, scores_to(1.0), || {
            expansions += 1;
            expansions > 3
        });
        assert_eq!(found, Err(SearchStoppedError));
    }

    #[test]
    fn links_and_scores_that_lie_do_no_harm() {
        let (graph, mut scratch) = (line(), SearchScratch::new());
        let mut search = GraphSearch::new(&mut scratch, graph.len(), graph.entry(), 3);
        search.scores(&[f32::NAN]);
        for _ in 0..2 {
            search.links(&[8]);
        }
        search.links(&[10, u32::MAX, 9, 9]);
        assert_eq!(search.next(), Step::Score(&[9]));
        search.scores(&[f32::INFINITY]);
        search.links(&[]);
        assert_eq!(search.next(), Step::Done);
        assert_eq!(search.finish().iter().map(|c| c.id).collect::<Vec<_>>(), [9, 8]);
    }

    #[test]
    #[should_panic(expected = "did not ask for")]
    fn links_out_of_turn_are_refused() {
        let mut scratch = SearchScratch::new();
        GraphSearch::new(&mut scratch, 10, Some((0, 0)), 3).links(&[1]);
    }
}
