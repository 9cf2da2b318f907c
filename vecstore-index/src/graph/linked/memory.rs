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
    while let Some(node) = search.next() {
        if stop() {
            return Err(SearchStoppedError);
        }
        // The best candidate by now is often the next node, unless a neighbour of this one is better.
        if let Some(coming) = search.waiting().next() {
            prefetch(record(coming));
        }
        let own = score(node);
        search.score(node, own);
        layout.estimate(scorer, record(node), own, |links, estimates| {
            search.estimates(links, estimates);
        });
    }
    Ok(search.finish())
}
