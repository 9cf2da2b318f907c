//! The search over records in memory.

use super::record::LinkedLayout;
use super::search::{LinkedScratch, LinkedSearch, LinkedWanted};
use crate::graph::search::SearchStoppedError;
use crate::pool::Candidate;
use vecstore_quant::{NeighbourScorer, prefetch};

/// The nodes of a graph in memory.
pub trait LinkedNodes {
    /// The record of a node. Its links were [checked](LinkedLayout::check).
    fn record(&self, node: u32) -> &[u8];

    /// The score of a node.
    fn score(&mut self, node: u32) -> f32;

    /// Fetches what expanding a node will read.
    fn fetch(&self, node: u32) {
        prefetch(self.record(node));
    }
}

/// Searches a graph in memory, as [`LinkedSearch::new`] says. Returns the best points, best first, ties by
/// id. It calls `stop` before it expands a node.
///
/// # Errors
///
/// If `stop` returned true.
pub fn search_linked_in_memory<'s>(
    layout: &LinkedLayout,
    nodes: &mut impl LinkedNodes,
    scorer: &NeighbourScorer,
    scratch: &'s mut LinkedScratch,
    wanted: LinkedWanted<impl Fn(u32) -> bool>,
    entries: &[Candidate],
    mut stop: impl FnMut() -> bool,
) -> Result<&'s [Candidate], SearchStoppedError> {
    let mut search = LinkedSearch::new(scratch, wanted, entries);
    let mut coming = search.next();
    while let Some(node) = coming.take().or_else(|| search.next()) {
        if stop() {
            return Err(SearchStoppedError);
        }
        // The walk is one node ahead of itself. So the next record arrives while this one is scored.
        coming = search.next();
        if let Some(coming) = coming {
            nodes.fetch(coming);
        }
        let score = nodes.score(node);
        search.expand(layout, scorer, node, nodes.record(node), score);
    }
    Ok(search.finish())
}
