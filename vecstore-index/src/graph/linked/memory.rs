//! The search over records in memory.

use super::record::LinkedLayout;
use super::search::{LinkedScratch, LinkedSearch};
use crate::graph::pool::Candidate;
use crate::graph::search::SearchStoppedError;
use vecstore_quant::{NeighbourScorer, prefetch};

/// Searches a graph in memory for the best `ef` points, best first, ties by id.
///
/// `record` gives the record of a node, of `points` nodes; its links were
/// [checked](LinkedLayout::check). `score` gives the score of a node. The search begins at the points of
/// `entries`. It calls `stop` before it expands a node.
///
/// # Errors
///
/// If `stop` returned true.
#[expect(clippy::too_many_arguments, reason = "each is one of the parts that a search joins")]
pub fn search_linked_in_memory<'s, 'r>(
    layout: &LinkedLayout,
    points: usize,
    record: impl Fn(u32) -> &'r [u8],
    scorer: &NeighbourScorer,
    scratch: &'s mut LinkedScratch,
    ef: usize,
    entries: impl IntoIterator<Item = u32>,
    mut score: impl FnMut(u32) -> f32,
    mut stop: impl FnMut() -> bool,
) -> Result<&'s [Candidate], SearchStoppedError> {
    let mut search = LinkedSearch::new(scratch, points, ef);
    for point in entries {
        search.enter(point, score(point));
    }
    let mut ahead = search.next();
    while let Some(node) = ahead.take().or_else(|| search.next()) {
        if stop() {
            return Err(SearchStoppedError);
        }
        // The walk is one node ahead of itself. So the next record arrives while this one is scored.
        ahead = search.next();
        if let Some(coming) = ahead {
            prefetch(record(coming));
        }
        let own = score(node);
        search.score(node, own);
        let threshold = search.threshold();
        layout
            .estimate(scorer, record(node), own, threshold, |link, estimate| search.estimate(link, estimate));
    }
    Ok(search.finish())
}
